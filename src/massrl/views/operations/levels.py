"""Operations that map each level of a pixel by itself: brightness, posterize, solarize, invert."""

from __future__ import annotations

import numpy as np

from massrl.views import kernels
from massrl.views.operations.base import LEVELS, Image, LookupTable, Operation

_FLOAT_LEVELS = LEVELS.astype(np.float32)


def _brightness(factor: float) -> LookupTable:
    table: LookupTable = np.minimum(_FLOAT_LEVELS * np.float32(factor), 255).astype(np.uint8)
    return table


def _posterize(bits: float) -> LookupTable:
    return LEVELS & np.uint8(256 - (1 << (8 - int(bits))))


def _solarize(threshold: float) -> LookupTable:
    return np.where(threshold <= LEVELS, 255 - LEVELS, LEVELS)


def _invert(value: float) -> LookupTable:
    return 255 - LEVELS


def _invert_image(image: Image, out: Image, value: float) -> None:
    kernels.solarize(image, out, 0.0)


brightness = Operation(
    kind="lookup",
    label="brightness",
    amount="×{:.2f}",
    low=0.0,
    high=7.0,
    identity=1.0,
    signed=True,
    table=_brightness,
    cpu=kernels.brightness,
)
posterize = Operation(
    kind="lookup",
    label="posterize",
    amount="{:.0f} bits",
    low=0,
    high=8,
    identity=8,
    integer=True,
    table=_posterize,
    cpu=kernels.posterize,
)
solarize = Operation(
    kind="lookup",
    label="solarize",
    amount="from {:.0f} up",
    low=0.0,
    high=256.0,
    identity=256.0,
    table=_solarize,
    cpu=kernels.solarize,
)
invert = Operation(kind="lookup", label="invert", table=_invert, cpu=_invert_image)
