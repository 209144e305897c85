"""The processes of a run that do not lead it."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Thread

from massrl.config.pretrain import TrainConfig
from massrl.data.build import training_source
from massrl.distributed import World
from massrl.errors import MassrlError
from massrl.evaluation.online_knn import make_probe
from massrl.train.launch import end_without, process_group
from massrl.train.session import PretrainResult, _kept, _learn, _same_images

logger = logging.getLogger("massrl")


def start_worker(*, gpu: bool, parent: int) -> None:
    """Take part in a run as the process of a further device; its place is in the environment."""
    Thread(target=end_without, args=(parent,), daemon=True).start()
    with process_group(TrainConfig(), gpu=gpu) as world:
        run_worker(world)


def run_worker(world: World) -> PretrainResult:
    """Take part in a run that another process leads."""
    logger.disabled = True  # what is to be said, the other one says
    try:
        config, checkpoint = world.broadcast()
        try:
            source = training_source(config.data)
        except MassrlError as error:
            world.all_gather_object(("", str(error)))
            raise
        _same_images(world, source)
        source = _kept(source, config)
        measure = make_probe(config, source, world)
        session, _ = _learn(config, source, checkpoint, world, None, measure=measure)
        return PretrainResult(Path(config.out), config, session, is_main=False)
    finally:
        logger.disabled = False
