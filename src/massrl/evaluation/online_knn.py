"""The k-NN accuracy that is measured while a run trains."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from massrl.config.evaluation import EvaluateConfig
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

_MAX_BANK = 5000  # images: a probe must cost seconds, not minutes
_MAX_QUERIES = 2000
_TIMED_IMAGES = 256

Measure = Callable[[nn.Module], float]
"""From a backbone to its k-NN accuracy in percent."""


def make_probe(config: Config, source: Source, world: World) -> Measure | None:
    """Build the online k-NN monitor, ``None`` where labels do not allow one.

    Validation images are the queries; without them it is leave-one-out on training images. The accuracy is
    logged only, never used for selection.

    Args:
        config: of the run.
        source: the training images.
        world: the processes of the run, which share the images.

    Returns:
        From a backbone to its accuracy in percent.
    """
    labelled = source.labels is not None and len(source.class_names) > 1
    queries = validation_source(config.data) if labelled or config.data.val else None
    try:
        if queries is not None:
            queries = align_labels(source, queries)
    except DataError as error:
        logger.warning("no k-NN while training: %s", error)
        return None
    if not labelled:
        return None
    bank = _subset(source, _MAX_BANK)
    queries = queries and _subset(queries, _MAX_QUERIES)
    if config.data.on_error == "skip":
        bank = drop_broken(bank)[0]
        queries = queries and drop_broken(queries)[0]
    for part in filter(None, (bank, queries)):
        part.normalization = normalization_of(config, source)
    return OnlineKnn(
        bank=bank,
        queries=queries,
        num_classes=len(source.class_names),
        side=config.view_size,
        world=world,
    )


@dataclass(frozen=True, kw_only=True)
class OnlineKnn:
    """Measures the k-NN accuracy of a backbone, in percent.

    Attributes:
        bank: labelled training images.
        queries: images to classify; ``None`` classifies the bank's own by leave-one-out.
        num_classes: number of classes.
        side: side of the images that the backbone is given, pixels.
        world: the processes that share the images.
    """

    bank: Source
    queries: Source | None
    num_classes: int
    side: int
    world: World

    def __call__(self, backbone: nn.Module) -> float:
        """Return the accuracy, the same in every process."""
        with with_skip_hint():
            bank = self._features(backbone, self.bank)
            queries = bank if self.queries is None else self._features(backbone, self.queries)
        scores = knn_predict(
            bank.values,
            bank.labels,
            queries.values,
            num_classes=self.num_classes,
            k=min(EvaluateConfig.k, len(self.bank) - 1),
            exclude_self=self.queries is None,
        )
        return float((scores.argmax(1) == queries.labels).float().mean()) * 100

    def estimate_seconds(self, backbone: nn.Module) -> float:
        """Return about how many seconds a call takes, from those of a few images in this process alone."""
        total = len(self.bank) + (len(self.queries) if self.queries is not None else 0)
        few = Subset(self.bank, np.arange(min(_TIMED_IMAGES, len(self.bank))))
        few.normalization = self.bank.normalization
        seconds = []
        for _ in range(2):  # the first time is slower
            begin = time.perf_counter()
            extract_features(backbone, few, side=self.side)
            seconds.append(time.perf_counter() - begin)
        return min(seconds) * total / len(few) / self.world.size

    def _features(self, backbone: nn.Module, source: Source) -> Features:
        """Return the features of all images; each process extracts its own part of them."""
        own = np.arange(self.world.rank, len(source), self.world.size)
        part = Subset(source, own) if self.world.size > 1 else source
        part.normalization = source.normalization
        features = extract_features(backbone, part, side=self.side) if len(own) else None
        gathered = [
            (item.values, item.labels, indices)
            for item, indices in self.world.all_gather_object((features, own))
            if item is not None
        ]
        values, labels, indices = (
            torch.cat(list(map(torch.as_tensor, items))) for items in zip(*gathered, strict=True)
        )
        order = indices.argsort()
        return Features(values[order], labels[order])


def _subset(source: Source, most: int) -> Source:
    """Return at most this many images, class-balanced, as a source whose constants may be set."""
    if len(source) <= most:
        return Subset(source, np.arange(len(source)))
    return Subset(source, balanced_subset(source.labels, most, seed=0, total=len(source)))
