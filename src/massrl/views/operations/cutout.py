"""A grey square over a part of the image, as Fast AutoAugment's ``CutoutAbs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from massrl.views.operations.base import Image, Instruction, Operation, Program, Step

if TYPE_CHECKING:
    from torch import Tensor

CUTOUT_COLOUR = (125, 123, 114)  # Fast AutoAugment's, the mean of ImageNet


def _compile(step: Step, height: int, width: int) -> Program:
    """Return the square about a centre anywhere in the image: top, left, bottom, right, pixels.

    At the left and upper border it is pushed in and keeps its size; at the others it is cut off.
    """
    size, x, y = step.values
    side = size * width
    left, top = (int(max(0.0, centre - side / 2)) for centre in (x * width, y * height))
    bottom, right = int(min(height, top + side)), int(min(width, left + side))
    return [Instruction("cutout", (top, left, bottom, right))]


def _cutout(image: Image, out: Image, box: tuple[int, int, int, int]) -> None:
    top, left, bottom, right = box
    np.copyto(out, image)
    out[top:bottom, left:right] = CUTOUT_COLOUR


def _cutout_batch(images: Tensor, boxes: Tensor) -> Tensor:
    import torch

    from massrl.views.operations.tensors import column

    top, left, bottom, right = (column(boxes, number) for number in range(4))
    y = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
    x = torch.arange(images.shape[2], device=images.device).view(1, 1, -1, 1)
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    colour = torch.tensor(CUTOUT_COLOUR, dtype=torch.uint8, device=x.device)
    return torch.where(inside, colour, images)


cutout = Operation(
    kind="pixels",
    label="cutout",
    amount="{:.0%} at {:.0%}, {:.0%}",
    low=0.0,
    high=1.0,
    identity=0.0,
    num_extra=2,
    compile=_compile,
    cpu=_cutout,
    device=_cutout_batch,
)
