"""Open the images of a configuration."""

from __future__ import annotations

from massrl.config.pretrain import Config
from massrl.config.sections import DataConfig
from massrl.data.catalogue import is_name, open_objects, open_source, validation_spec
from massrl.data.source import Normalization, Source, Subset
from massrl.data.splits import balanced_subset
from massrl.errors import ConfigError


def training_source(data: DataConfig) -> Source:
    """Open the images to train on: ``data.train``, or a balanced subset of ``data.limit`` images of it."""
    source = open_source(data.train, split="train", root=data.root, download=data.download)
    if data.limit is None or data.limit >= len(source):
        return source
    return Subset(source, balanced_subset(source.labels, data.limit, seed=0, total=len(source)))


def open_images(images: str, *, root: str | None, whole: bool = False) -> Source:
    """Open the images that a command is given.

    Args:
        images: the spec; see ``open_source``.
        root: folder of the sets that have a name.
        whole: whether all of a folder with ``train/`` and ``val/`` is opened, not its training images.

    Raises:
        ConfigError: if no images are given.
        DataError: if they cannot be used.
    """
    if not images:
        raise ConfigError("no images; accepted: a folder, a list of paths or a name (IMAGES)")
    split = "whole" if whole and not is_name(images) else "train"
    return open_source(images, split=split, root=root, flag="IMAGES")


def open_parts(
    source: Source, images: str, val: str | None, *, root: str | None
) -> tuple[Source, Source] | None:
    """Open training and validation images, which must have none in common.

    Args:
        source: all of the images that a command is given.
        images: their spec.
        val: the spec of the validation images; None for those that are in a divided folder.
        root: folder of the sets that have a name.

    Returns:
        None if there are no validation images.

    Raises:
        DataError: if they cannot be used.
    """
    if val is not None and val.endswith(".json"):  # the images that it annotates
        return source, open_objects(val, split="val", root=root, flag="--val")
    if val is not None:
        return source, open_source(val, split="val", root=root, flag="--val", draw=False)
    if is_name(images) or validation_spec(images) is None:
        return None
    train = open_source(images, split="train", root=root, flag="IMAGES")
    return train, open_source(images, split="val", root=root, flag="IMAGES")


def normalization_of(config: Config, source: Source) -> Normalization:
    """Return the constants of a run: the configuration's, or else the data set's own."""
    own = source.normalization
    return Normalization(mean=config.data.mean or own.mean, std=config.data.std or own.std)
