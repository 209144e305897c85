"""The network that is judged, and the means by which tasks see images with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any, cast

import torch
from torch import Tensor, nn

from massrl.config import Config
from massrl.data.loader import StepBatches, build_loader, steps_per_epoch
from massrl.data.sources import Source
from massrl.errors import ConfigError, ImageError
from massrl.evaluation.feature_cache import cached_features
from massrl.evaluation.features import Features, extract_features, normalised
from massrl.evaluation.subject import Subject
from massrl.pretrained import load_backbone
from massrl.run_log import TaskProgress
from massrl.train.resolve import Machine
from massrl.view_maker import ViewMaker
from massrl.views.layouts import Layout

logger = logging.getLogger("massrl")

_FEW_IMAGES = 2000  # below, crops are made before workers have started
_MOST_WORKERS = 8
# What classifiers learn from: a random crop, mirrored half the time, and nothing else.
_CROPS = Layout(name="crops", summary="", arrangement="shared", num_crops=1, policies=("weak",))


def network_to_judge(
    backbone: str | Path | nn.Module, run: Config | None, *, untrained: bool
) -> tuple[nn.Module, dict[str, Any]]:
    """The network, and how its images are to be prepared; says so where its run is not complete."""
    if isinstance(backbone, nn.Module):
        about = getattr(backbone, "about", None)
        if not isinstance(about, dict) or untrained:
            raise ConfigError(
                "a module to judge is one from massrl.load_backbone, which says how images are prepared "
                "for it; load_backbone(…, untrained=True) gives the untrained one"
            )
        return backbone, about
    network = load_backbone(backbone, untrained=untrained)
    about = cast(dict[str, Any], network.about)
    total = run.train.max_steps if run is not None else None
    if total and about["step"] < total and not untrained:
        logger.warning(
            "the run is not complete: its weights after step %d of %d are judged; "
            "massrl pretrain --resume %s completes it",
            about["step"],
            total,
            quote(str(backbone)),
        )
    return network, about


def make_subject(
    network: nn.Module,
    train: Source,
    test: Source,
    *,
    side: int,
    machine: Machine,
    fingerprint: str | None = None,
    progress: TaskProgress,
) -> Subject:
    """A backbone with its images, and the means to see them.

    Args:
        network: the backbone.
        train: labelled images to learn from.
        test: labelled images of the same classes to predict.
        side: side of the images that it is given, pixels.
        machine: what there is to compute on.
        fingerprint: of the backbone, to keep its features by; ``None`` keeps none.
        progress: shows how far it is.
    """
    device = torch.device("cuda" if machine.has_gpu else "cpu")

    def extract(module: nn.Module, source: Source) -> Features:
        def compute() -> Features:
            said = partial(progress, f"features of {source.name}")
            return extract_features(
                module, source, side=side, device=device, workers=machine.cores, progress=said
            )

        if fingerprint is None or module is not network:  # a network that a task has trained
            return compute()
        return cached_features(fingerprint, source, side=side, extract=compute)

    def crops(
        source: Source, *, batch_size: int, epochs: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        batches = StepBatches(
            len(source),
            batch_size,
            seed=seed,
            total_steps=epochs * steps_per_epoch(len(source), batch_size),
        )
        workers = min(_MOST_WORKERS, machine.cores - 1) if len(source) > _FEW_IMAGES else 0
        maker = ViewMaker(_CROPS, size=side, seed=seed)
        for batch in build_loader(source, maker, batches=batches, workers=workers):
            if batch.failures:
                raise ImageError(*batch.failures[0])
            yield normalised(batch.views[0], source.normalization, device=device), batch.indices

    return Subject(
        network=network,
        train=train,
        test=test,
        extract=extract,
        crops=crops,
        device=device,
        progress=progress,
    )
