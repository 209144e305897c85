"""The processes of a run other than the main process."""

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
from massrl.train.session import (
    PretrainResult,
    Run,
    cache_in_memory,
    check_same_images,
    run_session,
)

logger = logging.getLogger("massrl")


def start_worker(*, gpu: bool, parent: int) -> None:
    """Join a run as the process of another device; environment variables hold its rank."""
    Thread(target=end_without, args=(parent,), daemon=True).start()
    with process_group(TrainConfig(), gpu=gpu) as world:
        run_worker(world)


def run_worker(world: World) -> PretrainResult:
    """Take part in a run as a process other than the main one."""
    logger.disabled = True  # the main process logs
    try:
        config, checkpoint = world.broadcast()
        try:
            source = training_source(config.data)
        except MassrlError as error:
            world.all_gather_object(("", str(error)))
            raise
        check_same_images(world, source)
        source = cache_in_memory(source, config)
        measure = make_probe(config, source, world)
        run = Run(config=config, source=source, checkpoint=checkpoint, world=world, measure=measure)
        session, _ = run_session(run, None)
        return PretrainResult(Path(config.out), config, session, is_main=False)
    finally:
        logger.disabled = False
