"""From the steps of a view to the few instructions that both executors follow.

A plan says what a person would say: brightness 1.3, then posterize to 4 bits, then rotate by 20
degrees. A program says what is to be computed: neighbouring table operations are one 256-entry
table, neighbouring geometric ones, the flip before them among them, one warp. What an instruction
means is settled here once; the executors differ in nothing but where the pixels lie.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from massrl.views.operations import OPERATIONS, Step
from massrl.views.plan import ViewPlan

InstructionKind = Literal[
    "mirror",  # 0; left to right, only ever the first
    "warp",  # Affine
    "brightness",  # factor on every level, the fraction cut off
    "posterize",  # bits kept
    "solarize",  # levels from this threshold up are inverted, 0 to 256
    "table",  # uint8 (256,): level to level
    "contrast",  # factor on the distance from the image's mean grey
    "saturation",  # factor on the distance from a pixel's own grey
    "autocontrast",  # 0
    "equalize",  # 0
    "hue",  # turn of the colour circle in sixths of it, 0 to 6
    "sharpness",  # factor on the distance from a smoothed image
    "blur",  # standard deviation, pixels
    "erase",  # top, left, bottom, right, pixels
]


class Affine(NamedTuple):
    """A map from source to result: ``(xx · x + xy · y + x0, yx · x + yy · y + y0)``.

    Coordinates are pixel edges, x to the right and y down, (0, 0) the upper left corner.
    """

    xx: float
    xy: float
    x0: float
    yx: float
    yy: float
    y0: float

    def after(self, first: Affine) -> Affine:
        """The map that does ``first``, then this."""
        xx, xy, x0, yx, yy, y0 = self
        a, b, x, c, d, y = first
        return Affine(
            xx * a + xy * c,
            xx * b + xy * d,
            xx * x + xy * y + x0,
            yx * a + yy * c,
            yx * b + yy * d,
            yx * x + yy * y + y0,
        )


class Instruction(NamedTuple):
    """One thing to compute; what ``value`` is stands beside each kind."""

    kind: InstructionKind
    value: Any


Program = list[Instruction]
Table = NDArray[np.uint8]  # (256,)

LUMA = np.array([0.2989, 0.587, 0.114], np.float32)  # as torchvision's rgb_to_grayscale
_LEVELS = np.arange(256, dtype=np.float32)
ERASED = (125, 123, 114)  # Fast AutoAugment's cutout colour, the mean of ImageNet
_WHOLE = np.arange(256, dtype=np.uint8)


def compile_view(view: ViewPlan, *, height: int, width: int) -> Program:
    """The program of one view.

    Args:
        view: its flip and steps; its box is cut before.
        height: height of the resized crop, pixels.
        width: width of the resized crop, pixels.
    """
    program: Program = []
    mirrored = view.flip
    warp: Affine | None = None
    lookups: Program = []
    for step in view.steps:
        kind = OPERATIONS[step.operation].kind
        if kind == "none":
            continue
        if kind != "geometric":
            program += _geometry(mirrored, warp, width=width)
            mirrored, warp = False, None
        if lookups and kind != "lookup":
            program += _fused(lookups)
            lookups = []
        if kind == "geometric":
            own = affine_of(step, height=height, width=width)
            warp = own if warp is None else own.after(warp)
        elif kind == "lookup":
            lookups.append(_lookup(step))
        else:
            program += _PIXELS[step.operation](step, height, width)
    program += _geometry(mirrored, warp, width=width)
    return program + _fused(lookups)


def _geometry(mirrored: bool, warp: Affine | None, *, width: int) -> Program:
    """A mirror and the warp after it, as one instruction or none."""
    if warp is not None:
        return [Instruction("warp", warp.after(mirror(width)) if mirrored else warp)]
    return [Instruction("mirror", 0.0)] if mirrored else []


# ---------------------------------------------------------------- geometry


def affine_of(step: Step, *, height: int, width: int) -> Affine:
    """The map of a geometric operation.

    Signs and centres are torchvision's: a shear keeps the upper left corner, a rotation the centre,
    and a translation moves by whole pixels.
    """
    name, value = step.operation, step.values[0]
    if name == "shear_x":
        return Affine(1.0, -value, 0.0, 0.0, 1.0, 0.0)
    if name == "shear_y":
        return Affine(1.0, 0.0, 0.0, -value, 1.0, 0.0)
    if name == "translate_x":
        return Affine(1.0, 0.0, whole_pixels(value * width), 0.0, 1.0, 0.0)
    if name == "translate_y":
        return Affine(1.0, 0.0, 0.0, 0.0, 1.0, whole_pixels(value * height))
    cosine, sine = math.cos(math.radians(value)), math.sin(math.radians(value))
    x, y = width / 2, height / 2
    left, up = x - cosine * x - sine * y, y + sine * x - cosine * y
    return Affine(cosine, sine, left, -sine, cosine, up)


def whole_pixels(shift: float) -> int:
    """The fraction cut off, but not where only rounding keeps a whole number from being one."""
    return int(round(shift, 6))


def mirror(width: int) -> Affine:
    """The map of a flip from left to right."""
    return Affine(-1.0, 0.0, width, 0.0, 1.0, 0.0)


# ---------------------------------------------------------------- tables


def _lookup(step: Step) -> Instruction:
    return Instruction(_LOOKUPS[step.operation], step.values[0] if step.values else 0.0)


_LOOKUPS: dict[str, InstructionKind] = {
    "brightness": "brightness",
    "posterize": "posterize",
    "solarize": "solarize",
    "invert": "solarize",  # from 0 up
}


def _fused(lookups: Program) -> Program:
    """Neighbours as one table; one alone is quicker to compute than to look up."""
    if len(lookups) < 2:
        return lookups
    table = table_of(lookups[0])
    for lookup in lookups[1:]:
        table = table_of(lookup)[table]
    return [Instruction("table", table)]


def table_of(lookup: Instruction) -> Table:
    """The table of an instruction on levels."""
    table: Table = TABLES[lookup.kind](lookup.value)
    return table


TABLES: dict[str, Callable[[Any], Table]] = {
    "brightness": lambda factor: np.minimum(_LEVELS * np.float32(factor), 255).astype(np.uint8),
    "posterize": lambda bits: _WHOLE & np.uint8(256 - (1 << (8 - int(bits)))),
    "solarize": lambda threshold: np.where(threshold <= _WHOLE, 255 - _WHOLE, _WHOLE),
    "table": lambda table: table,
}


# ---------------------------------------------------------------- pixels


def _grayscale(step: Step, height: int, width: int) -> Program:
    return [Instruction("saturation", 0.0)]


def _hue(step: Step, height: int, width: int) -> Program:
    turn = step.values[0] % 1.0 * 6
    return [Instruction("hue", turn)] if turn else []


def _sharpness(step: Step, height: int, width: int) -> Program:
    # As torchvision: an image of two pixels or less is border alone.
    return [Instruction("sharpness", step.values[0])] if min(height, width) > 2 else []


def _gaussian_blur(step: Step, height: int, width: int) -> Program:
    return [Instruction("blur", step.values[0])] if step.values[0] > 0 else []


def _cutout(step: Step, height: int, width: int) -> Program:
    """A grey square about a centre anywhere in the image, as Fast AutoAugment's ``CutoutAbs``.

    At the left and upper border it is pushed in and keeps its size; at the others it is cut off.
    """
    size, x, y = step.values
    side = size * width
    left, top = (int(max(0.0, centre - side / 2)) for centre in (x * width, y * height))
    bottom, right = int(min(height, top + side)), int(min(width, left + side))
    return [Instruction("erase", (top, left, bottom, right))]


def _by_value(kind: InstructionKind) -> Callable[[Step, int, int], Program]:
    return lambda step, height, width: [Instruction(kind, step.values[0] if step.values else 0.0)]


_PIXELS: dict[str, Callable[[Step, int, int], Program]] = {
    "contrast": _by_value("contrast"),
    "autocontrast": _by_value("autocontrast"),
    "equalize": _by_value("equalize"),
    "saturation": _by_value("saturation"),
    "grayscale": _grayscale,
    "hue": _hue,
    "sharpness": _sharpness,
    "gaussian_blur": _gaussian_blur,
    "cutout": _cutout,
}


def blur_taps(sigma: float) -> array[float]:
    """A Gaussian kernel, float32: 3.5 σ to each side leave less than 1/2000 of the weight out."""
    sigma = max(sigma, 0.01)  # below, float32 leaves nothing beside the centre
    reach = math.ceil(3.5 * sigma)
    scale = -0.5 / sigma**2
    weights = [math.exp(scale * k**2) for k in range(-reach, reach + 1)]
    total = math.fsum(weights)
    return array("f", [weight / total for weight in weights])
