"""The k-NN accuracy that is measured while a run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from massrl.config.pretrain import Config
from massrl.data.build import normalization_of
from massrl.data.check import drop_broken
from massrl.data.source import Source, Subset
from massrl.data.splits import balanced_subset
from massrl.distributed import World
from massrl.errors import DataError
from massrl.evaluation.data import align_labels, validation_source, with_skip_hint
from massrl.evaluation.features import Features, extract_features
from massrl.evaluation.tasks.knn import knn_predict

logger = logging.getLogger("massrl")

_PROBE_BANK = 5000  # images: a probe must cost seconds, not minutes


_PROBE_QUERIES = 2000


def make_probe(config: Config, source: Source, world: World) -> Callable[[nn.Module], float] | None:
    """A k-NN probe on images of the run itself, ``None`` where their labels do not allow one.

    With validation images it asks for those; otherwise every training image asks the others. It is
    shown and never acted on. Each process looks at its share of the images.
    """
    labelled = source.labels is not None and len(source.class_names) > 1
    asked = validation_source(config.data) if labelled or config.data.val else None
    try:
        if asked is not None:
            asked = align_labels(source, asked)
    except DataError as error:
        logger.warning("no k-NN while training: %s", error)
        return None
    if not labelled:
        return None
    bank = _part(source, _PROBE_BANK)
    asked = asked and _part(asked, _PROBE_QUERIES)
    if config.data.on_error == "skip":
        bank = drop_broken(bank)[0]
        asked = asked and drop_broken(asked)[0]
    for part in filter(None, (bank, asked)):
        part.normalization = normalization_of(config, source)

    def features(backbone: nn.Module, part: Source) -> Features:
        share = np.arange(world.rank, len(part), world.size)
        mine = Subset(part, share) if world.size > 1 else part
        mine.normalization = part.normalization
        own = extract_features(backbone, mine, side=config.view_size) if len(share) else None
        parts = [
            (part.values, part.labels, places)
            for part, places in world.all_gather_object((own, share))
            if part is not None
        ]
        values, labels, places = (
            torch.cat(list(map(torch.as_tensor, items))) for items in zip(*parts, strict=True)
        )
        order = places.argsort()
        return Features(values[order], labels[order])

    def measure(backbone: nn.Module) -> float:
        with with_skip_hint():
            known = features(backbone, bank)
            query = known if asked is None else features(backbone, asked)
        scores = knn_predict(
            known.values,
            known.labels,
            query.values,
            num_classes=len(source.class_names),
            k=min(20, len(bank) - 1),
            exclude_self=asked is None,
        )
        return float((scores.argmax(1) == query.labels).float().mean()) * 100

    return measure


def _part(source: Source, most: int) -> Source:
    """At most this many images, balanced; a source of its own, whose constants may be set."""
    if len(source) <= most:
        return Subset(source, np.arange(len(source)))
    return Subset(source, balanced_subset(source.labels, most, seed=0, total=len(source)))
