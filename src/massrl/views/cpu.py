"""Executes a plan on one image with OpenCV: uint8 in, uint8 out.

What makes it fast: a crop is cut before anything else and resized once for all the views that share
it; neighbouring table operations become one look-up; neighbouring geometric operations, and the
flip before them, become one warp; a blur's kernel is as long as its σ needs. Antialiasing stays:
a crop is shrunk by area averaging.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from massrl.views.crops import Box
from massrl.views.operations import OPERATIONS
from massrl.views.plan import Plan, ViewPlan
from massrl.views.policies import Step

Image = NDArray[np.uint8]  # (height, width, 3), RGB
Matrix = NDArray[np.float64]  # (3, 3), pixel-edge coordinates, source to result

_LUMA = np.array([0.2989, 0.587, 0.114], np.float32)  # as torchvision's rgb_to_grayscale
_LEVELS = np.arange(256, dtype=np.float32)
_ERASED = (125, 123, 114)  # Fast AutoAugment's cutout colour, the mean of ImageNet


def execute(image: Image, plan: Plan) -> Image:
    """Make all views of one image.

    Args:
        image: uint8 ``(plan.height, plan.width, 3)``, RGB; it is not written to.
        plan: what was drawn for this image.

    Returns:
        uint8 ``(N, side, side, 3)``, RGB.
    """
    side = plan.side
    views = np.empty((len(plan.views), side, side, 3), np.uint8)
    crops: dict[int, Image] = {}
    for view, result in zip(plan.views, views, strict=True):
        if view.crop not in crops:
            crops[view.crop] = resize_crop(image, view.box, side)
        result[...] = apply_steps(crops[view.crop], view, fill=plan.fill)
    return views


def resize_crop(image: Image, box: Box, side: int) -> Image:
    """Cut a box out and bring it to ``side`` × ``side``; area averaging down, bicubic up."""
    top, left, height, width = box
    cut = image[top : top + height, left : left + width]
    if (height, width) == (side, side):
        return cut
    shrinks = height >= side and width >= side
    return cv2.resize(
        cut, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    )


def apply_steps(crop: Image, view: ViewPlan, *, fill: int) -> Image:
    """Apply flip and steps of one view to its resized crop, which is not written to."""
    height, width = crop.shape[:2]
    image = crop
    warp: Matrix | None = _mirror(width) if view.flip else None
    table: Image | None = None
    for step in view.steps:
        kind = OPERATIONS[step.operation].kind
        if kind == "none":
            continue
        if warp is not None and kind != "geometric":
            image, warp = _warped(image, warp, fill=fill), None
        if table is not None and kind != "lookup":
            image, table = cv2.LUT(image, table), None
        if kind == "geometric":
            matrix = geometric_matrix(step, height=height, width=width)
            warp = matrix if warp is None else matrix @ warp
        elif kind == "lookup":
            level = _TABLES[step.operation](step)
            table = level if table is None else level[table]
        else:
            image = _PIXELS[step.operation](image, step)
    if warp is not None:
        image = _warped(image, warp, fill=fill)
    return image if table is None else cv2.LUT(image, table)


# ---------------------------------------------------------------- geometry


def geometric_matrix(step: Step, *, height: int, width: int) -> Matrix:
    """The map of a geometric operation from source to result.

    Coordinates are pixel edges, x to the right and y down, (0, 0) the upper left corner. Signs and
    centres are torchvision's: a shear keeps the upper left corner, a rotation the centre, and a
    translation moves by whole pixels.
    """
    name, value = step.operation, step.values[0]
    matrix = np.eye(3)
    if name == "shear_x":
        matrix[0, 1] = -value
    elif name == "shear_y":
        matrix[1, 0] = -value
    elif name == "translate_x":
        matrix[0, 2] = whole_pixels(value * width)
    elif name == "translate_y":
        matrix[1, 2] = whole_pixels(value * height)
    else:
        cosine, sine = math.cos(math.radians(value)), math.sin(math.radians(value))
        x, y = width / 2, height / 2
        matrix[0] = cosine, sine, x - cosine * x - sine * y
        matrix[1] = -sine, cosine, y + sine * x - cosine * y
    return matrix


def whole_pixels(shift: float) -> int:
    """The fraction cut off, but not where only rounding keeps a whole number from being one."""
    return int(round(shift, 6))


def _mirror(width: int) -> Matrix:
    return np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def _warped(image: Image, matrix: Matrix, *, fill: int) -> Image:
    """Bilinear warp; a pure mirror or whole-pixel shift comes out exact."""
    height, width = image.shape[:2]
    if np.array_equal(matrix, _mirror(width)):
        return cv2.flip(image, 1)
    if np.array_equal(matrix, np.eye(3)):
        return image
    centres = matrix[:2].copy()  # OpenCV counts from pixel centres: half a pixel from the edges
    centres[:, 2] += matrix[:2, :2].sum(axis=1) / 2 - 0.5
    return cv2.warpAffine(
        image,
        centres,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(fill, fill, fill),
    )


# ---------------------------------------------------------------- tables


def _truncated(levels: NDArray[np.float32]) -> Image:
    """To uint8 as torchvision does it: clamped, the fraction cut off."""
    return np.clip(levels, 0, 255).astype(np.uint8)


def _brightness(step: Step) -> Image:
    return _truncated(_LEVELS * np.float32(step.values[0]))


def _posterize(step: Step) -> Image:
    return np.arange(256, dtype=np.uint8) & np.uint8(256 - (1 << (8 - int(step.values[0]))))


def _solarize(step: Step) -> Image:
    levels = np.arange(256, dtype=np.uint8)
    return np.where(levels >= step.values[0], 255 - levels, levels)


def _invert(_: Step) -> Image:
    return 255 - np.arange(256, dtype=np.uint8)


_TABLES: dict[str, Callable[[Step], Image]] = {
    "brightness": _brightness,
    "posterize": _posterize,
    "solarize": _solarize,
    "invert": _invert,
}


# ---------------------------------------------------------------- pixels


def _contrast(image: Image, step: Step) -> Image:
    factor = np.float32(step.values[0])
    mean = np.float32(np.dot(cv2.mean(image)[:3], _LUMA))
    return cv2.LUT(image, _truncated(_LEVELS * factor + mean * (1 - factor)))


def _autocontrast(image: Image, _: Step) -> Image:
    tables = np.empty((256, 1, 3), np.uint8)
    for channel in range(3):
        low, high, _, _ = cv2.minMaxLoc(image[:, :, channel])
        if high > low:  # a reciprocal first, as torch divides a number by a tensor
            scale = np.float32(1) / np.float32(high - low) * np.float32(255)
            tables[:, 0, channel] = _truncated((_LEVELS - np.float32(low)) * scale)
        else:
            tables[:, 0, channel] = np.arange(256)
    return cv2.LUT(image, tables)


def _equalize(image: Image, _: Step) -> Image:
    """Pillow's and torchvision's histogram equalisation; OpenCV's own rounds otherwise."""
    tables = np.empty((256, 1, 3), np.uint8)
    for channel in range(3):
        counts = cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel().astype(np.int64)
        filled = counts[counts > 0]
        per_level = int(filled.sum() - filled[-1]) // 255
        if per_level == 0:
            tables[:, 0, channel] = np.arange(256)
            continue
        below = np.concatenate([[0], np.cumsum(counts)[:-1]])
        tables[:, 0, channel] = np.clip((below + per_level // 2) // per_level, 0, 255)
    return cv2.LUT(image, tables)


def _saturation(image: Image, step: Step) -> Image:
    factor = np.float32(step.values[0])
    mix = np.eye(3, dtype=np.float32) * factor + np.tile(_LUMA * (1 - factor), (3, 1))
    return cv2.transform(image, mix)


def _grayscale(image: Image, _: Step) -> Image:
    return cv2.transform(image, np.tile(_LUMA, (3, 1)))


def _hue(image: Image, step: Step) -> Image:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    turned = np.arange(256) + round(step.values[0] * 256)
    tables = np.empty((256, 1, 3), np.uint8)
    tables[:, 0, 0] = turned % 256
    tables[:, 0, 1:] = np.arange(256)[:, None]
    return cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2RGB_FULL)


_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def _sharpness(image: Image, step: Step) -> Image:
    factor = step.values[0]
    if min(image.shape[:2]) <= 2:
        return image  # as torchvision: such an image is border alone
    smooth = cv2.filter2D(image, -1, _SMOOTH)
    smooth[[0, -1]] = image[[0, -1]]
    smooth[:, [0, -1]] = image[:, [0, -1]]
    return cv2.addWeighted(image, factor, smooth, 1 - factor, 0)


def _gaussian_blur(image: Image, step: Step) -> Image:
    sigma = step.values[0]
    if sigma <= 0:
        return image
    # Four σ to each side leave less than 1e-4 of the weight out: far under half a level.
    length = 2 * math.ceil(4 * sigma) + 1
    return cv2.GaussianBlur(image, (length, length), sigma)


def _cutout(image: Image, step: Step) -> Image:
    """A grey square about a centre anywhere in the image, as Fast AutoAugment's ``CutoutAbs``.

    At the left and upper border it is pushed in and keeps its size; at the others it is cut off.
    """
    height, width = image.shape[:2]
    size, x, y = step.values
    side = size * width
    left, top = (int(max(0.0, centre - side / 2)) for centre in (x * width, y * height))
    result = image.copy()
    result[top : int(min(height, top + side)), left : int(min(width, left + side))] = _ERASED
    return result


_PIXELS: dict[str, Callable[[Image, Step], Image]] = {
    "contrast": _contrast,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "saturation": _saturation,
    "grayscale": _grayscale,
    "hue": _hue,
    "sharpness": _sharpness,
    "gaussian_blur": _gaussian_blur,
    "cutout": _cutout,
}
