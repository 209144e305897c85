"""Images that a backbone is evaluated on: labelled ones, ones with objects, and other data sets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from massrl.config.evaluation import EvaluationDataConfig
from massrl.config.pretrain import Config
from massrl.config.sections import DataConfig
from massrl.data.annotated import ObjectSource, ObjectSubset, remap_object_classes
from massrl.data.build import training_source
from massrl.data.catalogue import (
    absolute_spec,
    multilabel_specs,
    open_objects,
    open_source,
    validation_spec,
    without_prefix,
)
from massrl.data.check import drop_broken
from massrl.data.overlap import check_disjoint, warn_of_same_contents
from massrl.data.source import Source, Subset, remap_classes, unlabelled
from massrl.data.splits import balanced_subset, holdout
from massrl.errors import DataError, ImageError, counted

logger = logging.getLogger("massrl")


@dataclass(frozen=True)
class EvaluationData:
    """Images of one evaluation.

    Attributes:
        train: images that tasks are trained and selected on.
        test: images, of the same classes, that are only ever predicted.
        held_out: whether the test images were held out of the training images for want of others.
        left_out: number of broken images that were left out.
        name: short name of a data set that a backbone is transferred to; otherwise empty.
    """

    train: Source
    test: Source
    held_out: bool = False
    left_out: int = 0
    name: str = ""


def validation_source(data: DataConfig) -> Source | None:
    """Open the labelled test images of a run, ``None`` where there are none.

    These are ``data.val``, or else the validation part of the data set or folder ``data.train``.

    Raises:
        DataError: if ``data.val`` has no labels.
    """
    spec = data.val if data.val is not None else validation_spec(data.train)
    if spec is None:
        return None
    source = open_source(spec, split="val", root=data.root, download=data.download)
    if source.labels is None and data.val is not None:
        raise DataError(unlabelled(source, "--data.val"))
    return source if source.labels is not None else None


def labelled_images(data: EvaluationDataConfig, run: Config | None) -> EvaluationData:
    """Open labelled images; without test images a fifth of the training images is held out.

    Args:
        data: what the user asked for.
        run: the run that the backbone comes from; fields that are not set are as in the run where both
            have the same training images.

    Raises:
        DataError: if there are no labels, or training and test images are the same.
    """
    if run is not None:
        trained_on = run.data.train
        if data.train is None or absolute_spec(data.train) == absolute_spec(trained_on):
            data = _completed(data, run, train=trained_on)
    if not data.train:
        raise DataError("no labelled images to evaluate on: --data.train takes a folder or a name")
    where = DataConfig(
        train=data.train, val=data.val, limit=data.limit, root=data.root, download=data.download
    )
    train, test = training_source(where), validation_source(where)
    if test is not None:
        check_disjoint(train, test)
        return EvaluationData(train, align_labels(train, test))
    if train.labels is None:
        raise DataError(
            unlabelled(train, "--data.train; with test images of their own, --data.val too")
        )
    logger.warning(
        "no --data.val: a fifth of %s is held out as test images; the backbone may have been "
        "pre-trained on them",
        train.name,
    )
    kept, held = holdout(train.labels, 0.2, seed=0)
    train, test = Subset(train, kept), Subset(train, held)
    return EvaluationData(train, align_labels(train, test), held_out=True)


def _completed(
    data: EvaluationDataConfig, run: Config, *, train: str | None
) -> EvaluationDataConfig:
    """Return the data that was asked for, with what is not set taken from the run."""
    return replace(
        data,
        train=train,
        val=data.val or run.data.val,
        limit=data.limit if data.limit is not None else run.data.limit,
        root=data.root or run.data.root,
    )


def annotated_images(
    data: EvaluationDataConfig, run: Config | None, *, maps: bool
) -> EvaluationData:
    """Open images with objects.

    Args:
        data: what the user asked for.
        run: the run that the backbone comes from, as for ``labelled_images``.
        maps: whether a class per pixel is needed, rather than boxes.

    Raises:
        DataError: if there are no objects, no test images, or both parts are the same images.
    """
    if run is not None and data.train in (None, run.data.train):
        data = _completed(data, run, train=run.data.train)
    spec = data.train
    if not spec:
        raise DataError(
            "no images with objects to evaluate on: --data.train takes a folder or a name"
        )
    other = data.val is not None and absolute_spec(data.val) != absolute_spec(spec)
    where: dict[str, Any] = {"root": data.root, "download": data.download}
    where |= {"maps": maps, "draw": not other}
    train = open_objects(spec, split="train", flag="--data.train", **where)
    if data.val is None and validation_spec(spec) is None:
        raise DataError(f"{spec} has no validation images: --data.val takes other images")
    test = open_objects(data.val or spec, split="val", flag="--data.val", **where)
    for source in (train, test):
        if maps and not source.has_maps:
            raise DataError(
                f"{source.name} has boxes only: semantic segmentation needs masks (--task)"
            )
    check_disjoint(train, test)
    test = remap_object_classes(test, train.object_names)
    if data.limit is not None and data.limit < len(train):
        train = ObjectSubset(train, balanced_subset(None, data.limit, seed=0, total=len(train)))
    return EvaluationData(train, test)


_OPENERS: dict[str, Callable[[EvaluationDataConfig, Config | None], EvaluationData]] = {
    "images": labelled_images,
    "objects": partial(annotated_images, maps=False),
    "maps": partial(annotated_images, maps=True),
}
SETS = "sets"  # each of several data sets in turn; see ``transfer_images``
NEEDS = (*_OPENERS, SETS)
"""What a task may need to be evaluated on."""


def open_images(need: str, data: EvaluationDataConfig, run: Config | None) -> EvaluationData:
    """Open the images that a task needs; with ``data.on_error`` ``skip``, without the broken ones.

    Args:
        need: ``images``, ``objects`` or ``maps``.
        data: what the user asked for.
        run: the run that the backbone comes from, if any.

    Raises:
        DataError: if there are none.
    """
    opened = _OPENERS[need](data, run)
    warn_of_same_contents(opened.train, opened.test)
    return _without_broken(opened, annotated=need != "images") if data.skips_broken else opened


def transfer_images(spec: str, data: EvaluationDataConfig, *, name: str) -> EvaluationData:
    """Open a data set that a backbone is transferred to; its images may have several classes each.

    Args:
        spec: a name or a folder.
        data: ``limit``, ``root`` and more of what the user asked for.
        name: short name of the data set.

    Raises:
        DataError: if it cannot be opened, or has no labels.
    """
    data = replace(data, train=spec, val=None)
    specs = multilabel_specs(spec, root=data.root, download=data.download)
    if specs is None:
        opened = labelled_images(data, None)
    else:
        parts = replace(data, train=specs[0], val=specs[1], limit=None)
        opened = annotated_images(parts, None, maps=False)
        count = min(data.limit or len(opened.train), len(opened.train))
        subset = balanced_subset(None, count, seed=0, total=len(opened.train))
        opened = replace(opened, train=Subset(opened.train, subset))
    warn_of_same_contents(opened.train, opened.test)
    opened = _without_broken(opened, annotated=False) if data.skips_broken else opened
    return replace(opened, name=name)


def short_names(specs: Sequence[str]) -> dict[str, str]:
    """Return data sets by short names; by all of their text where two would have the same one."""
    short = [Path(without_prefix(spec).partition(":")[0]).name for spec in specs]
    return {
        spec if short.count(name) > 1 else name: spec
        for name, spec in zip(short, specs, strict=True)
    }


def _without_broken(data: EvaluationData, *, annotated: bool) -> EvaluationData:
    """Return the same data without images that cannot be decoded, which are counted and logged."""
    (train, first), (test, second) = (
        _decodable(source, annotated=annotated) for source in (data.train, data.test)
    )
    left_out = first + second
    if left_out:
        logger.warning("%s left out", counted(left_out, "broken image"))
    return replace(data, train=train, test=test, left_out=left_out)


def _decodable(source: Source, *, annotated: bool) -> tuple[Source, int]:
    kept, broken = drop_broken(source)
    if not annotated:
        return kept, broken
    assert isinstance(kept, Subset)
    assert isinstance(source, ObjectSource)
    return (ObjectSubset(source, kept.indices) if broken else source), broken


@contextmanager
def with_skip_hint() -> Iterator[None]:
    """Add to the error of a broken image how to go on without it."""
    try:
        yield
    except ImageError as error:
        reason = f"{error.reason} (--data.on_error skip leaves such images out)"
        raise ImageError(error.name, reason) from None


def align_labels(train: Source, test: Source) -> Source:
    """Return the test images with labels numbered as the training images'; some classes may be missing.

    Raises:
        DataError: if a set has no labels, or the test images have a class of their own.
    """
    for source, flag in ((train, "--data.train"), (test, "--data.val")):
        if source.labels is None:
            raise DataError(unlabelled(source, flag))
    if len(train.class_names) < 2:
        raise DataError(unlabelled(train, "--data.train"))
    unknown = sorted(set(test.class_names) - set(train.class_names))
    if unknown:
        raise DataError(
            f"{test.name} has classes that {train.name} has not, such as {unknown[:3]} (--data.val)"
        )
    return test if test.class_names == train.class_names else remap_classes(test, train.class_names)
