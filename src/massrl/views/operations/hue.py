"""A turn of the colour circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massrl.views import kernels
from massrl.views.operations.base import Instruction, Operation, Program, Step

if TYPE_CHECKING:
    from torch import Tensor


def _compile(step: Step, height: int, width: int) -> Program:
    sixths = step.values[0] % 1.0 * 6
    return [Instruction("hue", sixths)] if sixths else []


def _hue(images: Tensor, sixths: Tensor) -> Tensor:
    """Turn by sixths of the colour circle; a pixel's lightest and darkest level stay."""
    import torch

    from massrl.views.operations.tensors import round_half_up

    red, green, blue = images.float().unbind(3)
    most = torch.maximum(torch.maximum(red, green), blue)
    spread = most - torch.minimum(torch.minimum(red, green), blue)
    sector = torch.where(
        most == red,
        green - blue,
        torch.where(most == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    place = sector / spread.clamp(min=1) + sixths.view(-1, 1, 1)
    turned = []
    for start in (5, 3, 1):  # red, green, blue
        own = (place + start).remainder(6)
        turned.append(most - spread * torch.minimum(own, 4 - own).clamp(0, 1))
    return round_half_up(torch.stack(turned, dim=3))


hue = Operation(
    kind="pixels",
    label="hue",
    amount="{:+.3f} turns",
    low=-0.5,
    high=0.5,
    identity=0.0,
    signed=True,
    compile=_compile,
    cpu=kernels.hue,
    device=_hue,
)
