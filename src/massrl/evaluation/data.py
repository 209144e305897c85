"""Which labelled images a backbone is judged by: while a run goes on, and after it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from massrl.config.evaluation import EvaluationDataConfig
from massrl.config.pretrain import Config
from massrl.config.sections import DataConfig
from massrl.data.annotated import ObjectSource, ObjectSubset, remap_object_classes
from massrl.data.build import training_source
from massrl.data.catalogue import absolute_spec, open_objects, open_source, validation_spec
from massrl.data.source import Source, Subset, remap_classes, whole
from massrl.data.sources.folders import FileSource
from massrl.data.splits import balanced_subset, holdout
from massrl.errors import DataError, ImageError

logger = logging.getLogger("massrl")


def validation_source(data: DataConfig) -> Source | None:
    """The labelled images to judge by: ``data.val``, or the data set's or folder's own such part."""
    spec = data.val if data.val is not None else validation_spec(data.train)
    if spec is None:
        return None
    source = open_source(spec, split="val", root=data.root, download=data.download)
    if source.labels is None and data.val is not None:
        raise DataError(
            f"{source.name} has no labels to judge by: a folder with one sub-folder per class, or the "
            f"name of a data set, is wanted (--data.val)"
        )
    return source if source.labels is not None else None


def evaluation_sources(
    data: EvaluationDataConfig, run: Config | None
) -> tuple[Source, Source, bool]:
    """The images to judge with.

    Args:
        data: what is asked for.
        run: the run that the backbone comes from, which says what is left open.

    Returns:
        The images to learn from, those to predict, and whether the latter were held out of the
        former for want of others.

    Raises:
        DataError: if there are no labels to judge by, or both are the same images.
    """
    if run is not None:
        learnt = run.data.train
        if data.train is None or absolute_spec(data.train) == absolute_spec(learnt):
            limit = data.limit if data.limit is not None else run.data.limit
            val, root = data.val or run.data.val, data.root or run.data.root
            data = replace(data, train=learnt, val=val, limit=limit, root=root)
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
            "no --data.val: a fifth of %s is held out to be judged by; the backbone may have been "
            "pre-trained on it",
            train_source.name,
        )
        kept, held = holdout(train_source.labels, 0.2, seed=0)
        return Subset(train_source, kept), Subset(train_source, held), True
    check_disjoint(train_source, test_source)
    return train_source, test_source, False


def check_disjoint(train: Source, test: Source) -> None:
    """Refuse images to be judged by that are among those to learn from, by where they lie.

    Raises:
        DataError: with the number of them.
    """
    shared = len(_places(train) & _places(test))
    if shared:
        raise DataError(
            f"{shared} of {len(test)} images of {test.name} are among the very images that {train.name} "
            f"learns from: other images are wanted (--data.val)"
        )
    one, other = whole(train), whole(test)
    if type(one) is not type(other) and one.fingerprint() == other.fingerprint():
        raise DataError(
            f"{test.name} and {train.name} are the same images, packed and as files: other images are "
            f"wanted (--data.val)"
        )


def _places(source: Source) -> set[str]:
    """What tells each image from others: its path, links followed, or the set's fingerprint and a number."""
    everything = whole(source)
    if isinstance(everything, FileSource):
        return {os.path.realpath(source.describe(index)) for index in range(len(source))}
    mark = everything.fingerprint()
    return {f"{mark} {source.describe(index)}" for index in range(len(source))}


def object_sources(
    data: EvaluationDataConfig, run: Config | None, *, maps: bool
) -> tuple[ObjectSource, ObjectSource]:
    """The images with objects to learn from, and those to be judged by.

    Args:
        data: what is asked for.
        run: the run that the backbone comes from, which says what is left open.
        maps: whether classes of pixels are wanted, rather than boxes.

    Raises:
        DataError: if there are no objects, or none that are judged by.
    """
    if run is not None and data.train in (None, run.data.train):
        limit = data.limit if data.limit is not None else run.data.limit
        val, root = data.val or run.data.val, data.root or run.data.root
        data = replace(data, train=run.data.train, val=val, limit=limit, root=root)
    spec = data.train
    if not spec:
        raise DataError("no images with objects to judge by: --data.train takes a folder or a name")
    where: dict[str, Any] = {"maps": maps, "root": data.root, "download": data.download}
    train = open_objects(spec, split="train", flag="--data.train", **where)
    if data.val is None and validation_spec(spec) is None:
        raise DataError(f"{spec} has no validation images: --data.val takes other images")
    test = open_objects(data.val or spec, split="val", flag="--data.val", **where)
    for source in (train, test):
        if maps and not source.has_maps:
            raise DataError(f"{source.name} knows boxes alone: --task segment needs masks")
    check_disjoint(train, test)
    test = remap_object_classes(test, train.object_names)
    if data.limit is not None and data.limit < len(train):
        chosen = balanced_subset(None, data.limit, seed=0, total=len(train))
        train = ObjectSubset(train, chosen)
    return train, test


@contextmanager
def with_skip_hint() -> Iterator[None]:
    """Add to the error of a broken image how to go on without it."""
    try:
        yield
    except ImageError as error:
        reason = f"{error.reason} (--data.on_error skip leaves such images out)"
        raise ImageError(error.name, reason) from None


def align_labels(train: Source, test: Source) -> Source:
    """The images to predict, their labels counted as those to learn from; they may lack some classes.

    Raises:
        DataError: if a set has no labels, or the images to predict have a class of their own.
    """
    for source, flag in ((train, "--data.train"), (test, "--data.val")):
        if source.labels is None:
            raise DataError(
                f"{source.name} has no labels to judge by: a folder with one sub-folder per class, "
                f"or the name of a data set, is wanted ({flag})"
            )
    unknown = sorted(set(test.class_names) - set(train.class_names))
    if unknown:
        raise DataError(
            f"{test.name} has classes that {train.name} has not, such as {unknown[:3]} (--data.val)"
        )
    return test if test.class_names == train.class_names else remap_classes(test, train.class_names)
