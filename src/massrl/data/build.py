"""From a configuration to the parts of a run: images and views; nothing heavy."""

from __future__ import annotations

import logging

from massrl.config.pretrain import Config
from massrl.config.sections import DataConfig
from massrl.data.catalogue import is_name, open_source
from massrl.data.source import Normalization, Source, Subset
from massrl.data.splits import balanced_subset
from massrl.errors import ConfigError

logger = logging.getLogger("massrl")


def training_source(data: DataConfig) -> Source:
    """The images to learn from, cut to ``data.limit`` where it is set."""
    source = open_source(data.train, split="train", root=data.root, download=data.download)
    if data.limit is None or data.limit >= len(source):
        return source
    return Subset(source, balanced_subset(source.labels, data.limit, seed=0, total=len(source)))


def open_images(images: str, *, root: str | None, whole: bool = False) -> Source:
    """Images that are only looked at: to learn from, or the whole of a divided folder."""
    if not images:
        raise ConfigError("no images: a folder, a list of paths or a name is wanted (IMAGES)")
    split = "whole" if whole and not is_name(images) else "train"
    return open_source(images, split=split, root=root, flag="IMAGES")


def normalization_of(config: Config, source: Source) -> Normalization:
    """The constants in use: the configuration's, or else the data set's own."""
    own = source.normalization
    return Normalization(mean=config.data.mean or own.mean, std=config.data.std or own.std)
