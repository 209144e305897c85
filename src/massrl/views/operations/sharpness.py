"""The distance of a pixel from a smoothed image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massrl.views import kernels
from massrl.views.operations.base import Instruction, Operation, Program, Step

if TYPE_CHECKING:
    from torch import Tensor


def _compile(step: Step, height: int, width: int) -> Program:
    # As torchvision: an image of two pixels or less is border alone, which stays.
    return [Instruction("sharpness", step.values[0])] if min(height, width) > 2 else []


def _sharpness(images: Tensor, values: Tensor) -> Tensor:
    from massrl.views.operations.tensors import column, round_half_up

    levels = images.float()
    rows = levels[:, :-2] + levels[:, 1:-1] + levels[:, 2:]
    square = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    smooth = levels.clone()
    smooth[:, 1:-1, 1:-1] = ((square + 4 * levels[:, 1:-1, 1:-1]) / 13).round_()
    factor = column(values)
    return round_half_up(levels * factor + smooth * (1 - factor))


sharpness = Operation(
    kind="pixels",
    label="sharpness",
    amount="×{:.2f}",
    low=0.0,
    high=7.0,
    identity=1.0,
    signed=True,
    compile=_compile,
    cpu=kernels.sharpness,
    device=_sharpness,
)
