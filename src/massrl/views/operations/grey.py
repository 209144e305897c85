"""Operations on the distance of a pixel from grey: contrast, saturation, grayscale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from massrl.views import kernels
from massrl.views.operations.base import Instruction, Operation, Program, Step

if TYPE_CHECKING:
    from torch import Tensor

LUMA = np.array([0.2989, 0.587, 0.114], np.float32)  # as torchvision's rgb_to_grayscale
_UNIT_LUMA = [float(weight) for weight in LUMA / LUMA.sum()]  # so that grey stays grey


def _contrast(images: Tensor, values: Tensor) -> Tensor:
    import torch

    from massrl.views.operations.tensors import column, truncate

    factor = column(values)
    sums = images.sum(dim=(1, 2), dtype=torch.int64).double()  # exact, in whatever order
    luma = torch.from_numpy(LUMA).to(images.device).double()
    mean = ((sums * luma).sum(dim=1) / images[0, :, :, 0].numel()).float().view(-1, 1, 1, 1)
    return truncate(images.float() * factor + mean * (1 - factor))


def _saturation(images: Tensor, values: Tensor) -> Tensor:
    from massrl.views.operations.tensors import column, round_half_up

    levels, factor = images.float(), column(values)
    red, green, blue = levels.unbind(3)
    grey = (red * _UNIT_LUMA[0] + green * _UNIT_LUMA[1] + blue * _UNIT_LUMA[2]).unsqueeze(3)
    return round_half_up(grey + (levels - grey) * factor)


def _compile_grayscale(step: Step, height: int, width: int) -> Program:
    return [Instruction("saturation", 0.0)]


contrast = Operation(
    kind="pixels",
    label="contrast",
    amount="×{:.2f}",
    low=0.0,
    high=7.0,
    identity=1.0,
    signed=True,
    cpu=kernels.contrast,
    device=_contrast,
)
saturation = Operation(
    kind="pixels",
    label="saturation",
    amount="×{:.2f}",
    low=0.0,
    high=7.0,
    identity=1.0,
    signed=True,
    cpu=kernels.saturation,
    device=_saturation,
)
grayscale = Operation(kind="pixels", label="grey", compile=_compile_grayscale)
