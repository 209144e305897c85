"""From a configuration to the parts of a run: images, views, networks, probe."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from massrl.config import Config, DataConfig
from massrl.data.catalogue import open_source
from massrl.data.check import drop_broken
from massrl.data.sources import Source, Subset
from massrl.data.splits import balanced_subset, holdout
from massrl.errors import DataError, ImageError
from massrl.evaluation.features import extract_features
from massrl.evaluation.judge import check_labels
from massrl.evaluation.knn import knn_predict
from massrl.methods.base import Method
from massrl.methods.build import build_method
from massrl.methods.pairs import ViewLabel
from massrl.options import JudgeDataConfig
from massrl.train.resolve import normalization_of
from massrl.view_maker import ViewMaker
from massrl.views.cpu import execute
from massrl.views.layouts import resolve_layout
from massrl.views.sheet import SheetRow

logger = logging.getLogger("massrl")

_PROBE_BANK = 5000  # images: a probe must cost seconds, not minutes
_PROBE_QUERIES = 2000


def training_source(data: DataConfig) -> Source:
    """The images to learn from, cut to ``data.limit`` where it is set."""
    source = open_source(data.train, split="train", root=_folder(data.root), download=data.download)
    if data.limit is None or data.limit >= len(source):
        return source
    return Subset(source, balanced_subset(source.labels, data.limit, seed=0, total=len(source)))


def validation_source(data: DataConfig) -> Source | None:
    """The labelled images to judge by: ``data.val``, or a known data set's own validation part."""
    spec = data.val
    if spec is None and not Path(data.train).expanduser().exists():
        spec = data.train.partition(":")[0]  # the set's own validation part, where it has one
    if spec is None:
        return None
    source = open_source(spec, split="val", root=_folder(data.root), download=data.download)
    if source.labels is None and data.val is not None:
        raise DataError(
            f"{source.name} has no labels to judge by: a folder with one sub-folder per class, or the "
            f"name of a data set, is wanted (--data.val)"
        )
    return source if source.labels is not None else None


def judging_sources(data: JudgeDataConfig, run: Config | None) -> tuple[Source, Source]:
    """The images to judge with, to learn from and to predict.

    Args:
        data: what is asked for.
        run: the run that the backbone comes from, which says what is left open.
    """
    if run is not None:
        learnt = run.data.train
        if data.train in (None, learnt) or str(Path(data.train or "").resolve()) == learnt:
            limit = data.limit if data.limit is not None else run.data.limit
            data = replace(data, train=learnt, limit=limit, root=data.root or run.data.root)
        data = replace(data, val=data.val or run.data.val)
    if not data.train:
        raise DataError("no labelled images to judge by: --data.train takes a folder or a name")
    where = DataConfig(
        train=data.train, val=data.val, limit=data.limit, root=data.root, download=data.download
    )
    train_source = training_source(where)
    test_source = validation_source(where)
    if test_source is None:
        if train_source.labels is None:
            raise DataError(
                f"{train_source.name} has no labels, and no --data.val is given: a labelled folder or "
                f"the name of a data set is wanted (--data.train, --data.val)"
            )
        logger.warning(
            "no --data.val: a fifth of %s is held out to be judged by", train_source.name
        )
        kept, held = holdout(train_source.labels, 0.2, seed=0)
        return Subset(train_source, kept), Subset(train_source, held)
    return train_source, test_source


def open_images(images: str, *, root: str | None) -> Source:
    """Images that are only looked at."""
    return open_source(images, root=_folder(root), flag="IMAGES")


def _folder(root: str | None) -> Path | None:
    return Path(root).expanduser() if root else None


def make_view_maker(config: Config) -> ViewMaker:
    """The view maker of a resolved configuration."""
    layout = resolve_layout(config.views)
    return ViewMaker(layout, size=_side(config), seed=config.train.seed)


def make_method(config: Config) -> Method:
    """The objective of a resolved configuration, with its networks as the run starts with them."""
    layout = resolve_layout(config.views)
    return build_method(
        config.method,
        config.model,
        views=[ViewLabel(policy, crop) for crop, policy in layout.cells()],
        image_side=_side(config),
        seed=config.train.seed,
    )


def _side(config: Config) -> int:
    assert config.views.size is not None
    return config.views.size


def make_probe(config: Config, source: Source) -> Callable[[nn.Module], float] | None:
    """A k-NN probe on images of the run itself, ``None`` where they have no labels.

    With validation images it asks for those; otherwise every training image asks the others. It is
    shown and never acted on.
    """
    labelled = source.labels is not None and len(source.class_names) > 1
    asked = validation_source(config.data) if labelled or config.data.val else None
    if not labelled:
        return None
    bank = _part(source, _PROBE_BANK)
    if asked is not None:
        check_labels(source, asked)
        asked = _part(asked, _PROBE_QUERIES)
    if config.data.on_error == "skip":
        bank = drop_broken(bank)[0]
        asked = asked and drop_broken(asked)[0]
    for part in filter(None, (bank, asked)):
        part.normalization = normalization_of(config, source)

    def measure(backbone: nn.Module) -> float:
        known = extract_features(backbone, bank, side=_side(config))
        query = known if asked is None else extract_features(backbone, asked, side=_side(config))
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


def sheet_rows(source: Source, maker: ViewMaker, *, count: int, epoch: int = 0) -> list[SheetRow]:
    """The first images that can be decoded, each with its plan and its views."""
    rows: list[SheetRow] = []
    for index in range(len(source)):
        if len(rows) == count:
            break
        try:
            image = maker.load(source.read(index), index=index)
        except ImageError as error:
            logger.warning("left out of the sheet: %s: %s", source.describe(index), error.reason)
            continue
        plan = maker.plan(epoch=epoch, index=index, height=image.shape[0], width=image.shape[1])
        title = Path(source.describe(index)).name
        rows.append(SheetRow(title, image, plan, execute(image, plan)))
    return rows
