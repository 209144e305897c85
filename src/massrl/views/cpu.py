"""The CPU executor: a plan on one image, uint8 in, uint8 out.

What makes it fast: a crop is cut before anything else and resized once for all the views that share
it; a view's steps become the few instructions of ``program``, each of them one kernel in C
(``kernels``); the last one writes directly into the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from massrl.views import kernels
from massrl.views.crops import Box
from massrl.views.operations.base import Image, Program, operations
from massrl.views.plan import Plan, ViewPlan
from massrl.views.program import MIRROR, TABLE, WARP, Warp, compile_view


def execute(image: Image, plan: Plan, *, out: NDArray[np.uint8] | None = None) -> Image:
    """Make all views of one image.

    Args:
        image: uint8 ``(H, W, 3)``, RGB, of the plan's height and width, or smaller by no more than
            the plan's ``reduction``; it is not written to.
        plan: what was drawn for this image.
        out: where to write the views; a new array by default.

    Returns:
        uint8 ``(N, side, side, 3)``, RGB; a smaller view is in the upper left corner, the rest is zeros.
    """
    side = plan.side
    views = np.empty((len(plan.views), side, side, 3), np.uint8) if out is None else out
    sides = [view.side or side for view in plan.views]
    programs = [
        compile_view(view, height=own, width=own, fill=plan.fill)
        for view, own in zip(plan.views, sides, strict=True)
    ]
    boxes = _boxes_in(image, plan)
    shown = [view.crop for view in plan.views]
    crops: dict[int, Image] = {}  # those that several views show
    for view, own, program, result in zip(plan.views, sides, programs, views, strict=True):
        if own < side:
            result[...] = 0
            result = result[:own, :own]
        if shown.count(view.crop) == 1:
            # Resized only now, so that it is still in the processor's cache; mirroring it costs nothing.
            mirrored = bool(program) and program[0].kind == MIRROR
            program = program[1:] if mirrored else program
            place = None if program else result
            crop = resize_crop(image, boxes[view.crop], own, mirrored=mirrored, out=place)
        else:
            if view.crop not in crops:
                crops[view.crop] = resize_crop(image, boxes[view.crop], own)
            crop = crops[view.crop]
        run(crop, program, out=result)
    return views


def crops_of(image: Image, plan: Plan, *, out: NDArray[np.uint8] | None = None) -> dict[int, Image]:
    """Cut and resize each crop of a plan.

    Args:
        image: as for ``execute``.
        plan: what was drawn for this image.
        out: uint8 ``(C, side, side, 3)`` to write the crops into; new arrays by default.

    Returns:
        Crops by their number, uint8 ``(side, side, 3)``; several views may show one.
    """
    sides = {view.crop: view.side or plan.side for view in plan.views}
    return {
        number: resize_crop(image, box, sides[number], out=None if out is None else out[number])
        for number, box in _boxes_in(image, plan).items()
    }


def _boxes_in(image: Image, plan: Plan) -> dict[int, Box]:
    """Return each crop's box in an image that may be decoded at a smaller scale than the plan's."""
    boxes = {view.crop: view.box for view in plan.views}
    times = next(each for each in (1, 2, 4, 8) if -(-plan.height // each) == image.shape[0])
    if times == 1:
        return boxes
    return {number: Box(*(edge // times for edge in box)) for number, box in boxes.items()}


def apply_steps(crop: Image, view: ViewPlan, *, fill: int, out: Image | None = None) -> Image:
    """Apply flip and steps of one view to its resized crop, which is not written to.

    Args:
        crop: uint8 ``(H, W, 3)``.
        view: what is to be done.
        fill: grey level that warps bring in from outside.
        out: where to write the result, of the crop's shape; a new array by default.

    Returns:
        ``out``.
    """
    height, width = crop.shape[:2]
    program = compile_view(view, height=height, width=width, fill=fill)
    return run(crop, program, out=np.empty_like(crop) if out is None else out)


def run(image: Image, program: Program, *, out: Image) -> Image:
    """Execute a program on an image, which is not written to; return ``out`` with the result."""
    if not program and image is not out:
        np.copyto(out, image)
    spare: list[Image] = []  # kernels do not work in place: two buffers take turns
    for number, (kind, value) in enumerate(program, start=1):
        if number == len(program):
            result = out
        else:
            result = spare.pop() if len(spare) > 1 else np.empty(out.shape, np.uint8)
        compute = _RUN.get(kind) or operations[kind].cpu
        assert compute is not None
        compute(image, result, value)
        spare.insert(0, result)
        image = result
    return out


def _mirror(image: Image, out: Image, _: None) -> None:
    kernels.flip(image, out)


def _warp(image: Image, out: Image, warp: Warp) -> None:
    """Warp bilinearly; a shift by whole pixels, mirrored or not, is a copy."""
    xx, xy, x, yx, yy, y = warp.map
    if xy != 0 or yx != 0 or yy != 1 or abs(xx) != 1 or x % 1 != 0 or y % 1 != 0:
        kernels.warp(image, out, warp.map, warp.fill)
    elif xx < 0:
        mirrored = np.empty_like(out)
        kernels.flip(image, mirrored)
        _shift(mirrored, out, int(x) - out.shape[1], int(y), fill=warp.fill)
    else:
        _shift(image, out, int(x), int(y), fill=warp.fill)


def _shift(image: Image, out: Image, x: int, y: int, *, fill: int) -> None:
    """Shift to the right by ``x`` and down by ``y`` pixels."""
    height, width = image.shape[:2]
    out[...] = fill
    if abs(x) < width and abs(y) < height:
        out[max(0, y) : height + y, max(0, x) : width + x] = image[
            max(0, -y) : height - y, max(0, -x) : width - x
        ]


_RUN: dict[str, Callable[[Image, Image, Any], None]] = {
    MIRROR: _mirror,
    WARP: _warp,
    TABLE: kernels.table,
}


def resize_crop(
    image: Image, box: Box, side: int, *, mirrored: bool = False, out: Image | None = None
) -> Image:
    """Cut a box out and resize it to ``side`` × ``side``, bicubic, antialiased where it shrinks.

    This is Pillow's bicubic filter without its rounding between the two passes.

    Args:
        image: uint8 ``(H, W, 3)``.
        box: the part, within the image.
        side: height and width of the result, pixels.
        mirrored: whether the result is flipped left to right, at no cost.
        out: where to write the result; a new array by default.

    Returns:
        uint8 ``(side, side, 3)``; ``out`` where it is given.
    """
    top, left, height, width = box
    cut = image[top : top + height, left : left + width]
    resized = np.empty((side, side, 3), np.uint8) if out is None else out
    if height == width == side and not mirrored:
        np.copyto(resized, cut)
    else:
        kernels.resize(cut, resized, mirrored)
    return resized
