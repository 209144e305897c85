"""From a configuration to the parts of a run: images and views; nothing heavy."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from massrl.config import DataConfig, ViewsConfig
from massrl.data.catalogue import is_name, open_source
from massrl.data.sources import Source, Subset
from massrl.data.splits import balanced_subset
from massrl.errors import ConfigError, ImageError
from massrl.view_maker import ViewMaker
from massrl.views.layouts import resolve_layout
from massrl.views.sheet import SheetRow

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


def make_view_maker(views: ViewsConfig, *, size: int, seed: int) -> ViewMaker:
    """The view maker of a configuration, with the executor that it names."""
    layout = resolve_layout(views)
    if views.executor == "device":
        from massrl.device_view_maker import DeviceViewMaker

        return DeviceViewMaker(layout, size=size, seed=seed)
    return ViewMaker(layout, size=size, seed=seed)


def sheet_rows(
    source: Source,
    maker: ViewMaker,
    *,
    count: int,
    epoch: int = 0,
    indices: Iterable[int] | None = None,
) -> list[SheetRow]:
    """The first images that can be decoded, of all or of these, each with its plan and its views."""
    rows: list[SheetRow] = []
    for index in range(len(source)) if indices is None else indices:
        if len(rows) == count:
            break
        try:
            image = maker.load(source.read(index), index=index)
        except ImageError as error:
            logger.warning("left out of the sheet: %s: %s", source.describe(index), error.reason)
            continue
        plan = maker.plan(epoch=epoch, index=index, height=image.shape[0], width=image.shape[1])
        title = Path(source.describe(index)).name
        views = maker(source.read(index), epoch=epoch, index=index)
        rows.append(SheetRow(title, image, plan, plan.cut(views)))
    return rows
