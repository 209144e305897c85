"""The rows of a contact sheet: images with their plans and views, and the colours of the sheet."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from massrl.errors import ImageError
from massrl.images.pictures import Pixels
from massrl.images.reading import read_image
from massrl.views.image_source import ImageSource
from massrl.views.plan import Plan
from massrl.views.view_maker import ViewMaker

logger = logging.getLogger("massrl")

_COLOURS = (  # all of them at least 4.5 : 1 on white, so that they serve as text too
    "#2563a8",
    "#c2410c",
    "#15803d",
    "#7e3fa8",
    "#b4235a",
    "#0e7490",
    "#806500",
    "#4b5563",
    "#9f1f1f",
    "#4338ca",
)


@dataclass(frozen=True)
class SheetRow:
    """One image of a sheet.

    Attributes:
        title: name of the image.
        image: uint8 ``(H, W, 3)``, RGB; it is not written to.
        plan: what was drawn for it.
        views: N times uint8 ``(S, S, 3)``, RGB: the plan executed.
    """

    title: str
    image: Pixels
    plan: Plan
    views: Sequence[Pixels]


def sheet_rows(
    source: ImageSource,
    maker: ViewMaker,
    *,
    count: int,
    epoch: int = 0,
    indices: Iterable[int] | None = None,
) -> list[SheetRow]:
    """Return rows of the first images that can be decoded; others are skipped with a warning.

    Args:
        source: the images.
        maker: makes their views.
        count: largest number of rows.
        epoch: number of the epoch.
        indices: the images to take them from; all by default.
    """
    rows: list[SheetRow] = []
    for index in range(len(source)) if indices is None else indices:
        if len(rows) == count:
            break
        try:
            encoded = read_image(source, index)
            pixels, plan = maker.decode_and_plan(encoded, epoch=epoch, index=index)
            whole = pixels.shape[:2] == (plan.height, plan.width)
            image = pixels if whole else maker.load(encoded, index=index)
        except ImageError as error:
            logger.warning("skipped on the sheet: %s: %s", source.describe(index), error.reason)
            continue
        title = Path(source.describe(index)).name
        rows.append(SheetRow(title, image, plan, plan.cut(maker.make(pixels, plan))))
    return rows


def sheet_colours(rows: Sequence[SheetRow]) -> tuple[dict[str, str], dict[int, str]]:
    """Return the colour of each policy and of each crop, the same throughout a sheet."""
    views = [view for row in rows for view in row.plan.views]
    policies = list(dict.fromkeys(view.policy for view in views))
    by_policy = {policy: _COLOURS[number % len(_COLOURS)] for number, policy in enumerate(policies)}
    pairs = {(view.crop, view.policy) for view in views}
    crops = sorted({crop for crop, _ in pairs})
    if len(pairs) == len(crops) == len(policies):  # a crop for each policy: one colour for both
        return by_policy, {crop: by_policy[policy] for crop, policy in pairs}
    return by_policy, {
        crop: _COLOURS[(len(policies) + number) % len(_COLOURS)]
        for number, crop in enumerate(crops)
    }
