"""Executes a plan on one image with OpenCV: uint8 in, uint8 out.

What makes it fast: a crop is cut before anything else and resized once for all the views that share
it; a view's steps become the few instructions of ``program``; a blur's kernel is as long as its σ
needs; whole-pixel warps are copies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from massrl.views.crops import Box
from massrl.views.plan import Plan, ViewPlan
from massrl.views.program import (
    ERASED,
    LEVELS,
    LUMA,
    Matrix,
    Program,
    blur_taps,
    compile_view,
    truncated,
)
from massrl.views.resize import Image, resize_crop


def execute(image: Image, plan: Plan, *, out: NDArray[np.uint8] | None = None) -> Image:
    """Make all views of one image.

    Args:
        image: uint8 ``(H, W, 3)``, RGB, of the plan's height and width, or smaller by no more than
            the plan's ``reduction``; it is not written to.
        plan: what was drawn for this image.
        out: where to write the views; made where it is left out.

    Returns:
        uint8 ``(N, side, side, 3)``, RGB; a view of a smaller side lies in the upper left corner of zeros.
    """
    side = plan.side
    views = np.empty((len(plan.views), side, side, 3), np.uint8) if out is None else out
    crops = crops_of(image, plan)
    for view, result in zip(plan.views, views, strict=True):
        own = view.side or side
        if own < side:
            result[...] = 0
        result[:own, :own] = apply_steps(crops[view.crop], view, fill=plan.fill)
    return views


def crops_of(image: Image, plan: Plan) -> dict[int, Image]:
    """Each crop of a plan by its number, resized; several views may show one."""
    boxes = {view.crop: view.box for view in plan.views}
    sides = {view.crop: view.side or plan.side for view in plan.views}
    times = next(each for each in (1, 2, 4, 8) if -(-plan.height // each) == image.shape[0])
    if times > 1:
        boxes = {number: Box(*(edge // times for edge in box)) for number, box in boxes.items()}
    return {number: resize_crop(image, box, sides[number]) for number, box in boxes.items()}


def apply_steps(crop: Image, view: ViewPlan, *, fill: int) -> Image:
    """Apply flip and steps of one view to its resized crop, which is not written to."""
    height, width = crop.shape[:2]
    return run(crop, compile_view(view, height=height, width=width), fill=fill)


def run(image: Image, program: Program, *, fill: int) -> Image:
    """Follow a program; the image is not written to, and is the result where nothing is to be done."""
    for kind, value in program:
        image = _warped(image, value, fill=fill) if kind == "warp" else _RUN[kind](image, value)
    return image


def _warped(image: Image, matrix: Matrix, *, fill: int) -> Image:
    """Bilinear warp; a mirror or a shift by whole pixels is a copy."""
    height, width = image.shape[:2]
    (xx, xy, x), (yx, yy, y) = matrix[:2].tolist()
    if xy == yx == 0.0 and yy == 1.0 and abs(xx) == 1.0 and x.is_integer() and y.is_integer():
        if xx < 0:
            image, x = cv2.flip(image, 1), x - width
        return _shifted(image, int(x), int(y), fill=fill)
    # OpenCV counts from pixel centres: half a pixel from the edges.
    centres = np.array(
        [[xx, xy, x + (xx + xy) / 2 - 0.5], [yx, yy, y + (yx + yy) / 2 - 0.5]], np.float64
    )
    # A fourth channel lets OpenCV move whole words: half the time, though it takes two conversions.
    warped = cv2.warpAffine(
        cv2.cvtColor(image, cv2.COLOR_RGB2RGBA),
        centres,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill),
    )
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)


def _shifted(image: Image, x: int, y: int, *, fill: int) -> Image:
    """To the right by ``x`` and down by ``y`` pixels."""
    if x == y == 0:
        return image
    height, width = image.shape[:2]
    result = np.full_like(image, fill)
    if abs(x) >= width or abs(y) >= height:
        return result
    result[max(0, y) : height + y, max(0, x) : width + x] = image[
        max(0, -y) : height - y, max(0, -x) : width - x
    ]
    return result


def _contrast(image: Image, factor: float) -> Image:
    red, green, blue, _ = cv2.mean(image)
    mean = red * float(LUMA[0]) + green * float(LUMA[1]) + blue * float(LUMA[2])
    # OpenCV rounds; from nearly half a level lower, that cuts fractions off, as torchvision does.
    return cv2.addWeighted(image, factor, image, 0.0, mean * (1 - factor) - 0.4995)


def _autocontrast(image: Image, _: float) -> Image:
    channels = []
    for channel in cv2.split(image):
        low, high, _, _ = cv2.minMaxLoc(channel)
        if high > low:  # a reciprocal first, as torch divides a number by a tensor
            scale = np.float32(1) / np.float32(high - low) * np.float32(255)
            channel = cv2.LUT(channel, truncated((LEVELS - np.float32(low)) * scale))
        channels.append(channel)
    return cv2.merge(channels)


def _equalize(image: Image, _: float) -> Image:
    """Pillow's and torchvision's histogram equalisation; OpenCV's own rounds otherwise."""
    channels = []
    for channel in cv2.split(image):
        counts = cv2.calcHist([channel], [0], None, [256], [0, 256]).ravel().astype(np.int64)
        last = int(counts[np.flatnonzero(counts)[-1]])
        per_level = (channel.size - last) // 255
        if per_level:
            below = np.cumsum(counts) - counts
            table = np.minimum((below + per_level // 2) // per_level, 255)
            channel = cv2.LUT(channel, table.astype(np.uint8))
        channels.append(channel)
    return cv2.merge(channels)


def _hue(image: Image, turn: int) -> Image:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    rows = hsv.reshape(hsv.shape[0], -1)
    turns = np.zeros((hsv.shape[1], 3), np.uint8)
    turns[:, 0] = turn
    np.add(rows, turns.ravel(), out=rows)  # wraps around, as the circle does
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def _sharpness(image: Image, factor: float) -> Image:
    smooth = cv2.filter2D(image, -1, _SMOOTH)
    smooth[[0, -1]] = image[[0, -1]]
    smooth[:, [0, -1]] = image[:, [0, -1]]
    return cv2.addWeighted(image, factor, smooth, 1 - factor, 0)


def _blur(image: Image, sigma: float) -> Image:
    kernel = blur_taps(sigma)
    return cv2.sepFilter2D(image, -1, kernel, kernel)


def _erase(image: Image, box: tuple[int, int, int, int]) -> Image:
    top, left, bottom, right = box
    result = image.copy()
    result[top:bottom, left:right] = ERASED
    return result


_RUN: dict[str, Callable[[Image, Any], Image]] = {
    "table": lambda image, table: cv2.LUT(image, table),
    "mix": lambda image, matrix: cv2.transform(image, matrix),
    "contrast": _contrast,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "hue": _hue,
    "sharpness": _sharpness,
    "blur": _blur,
    "erase": _erase,
}
