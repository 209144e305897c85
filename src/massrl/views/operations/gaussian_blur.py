"""Gaussian blur."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from massrl.views import kernels
from massrl.views.operations.base import Image, Instruction, Operation, Program, Step

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def blur_taps(sigma: float) -> array[float]:
    """Return a Gaussian kernel, float32: 3.5 σ to each side leave less than 1/2000 of the weight out.

    Args:
        sigma: standard deviation, pixels.
    """
    sigma = max(sigma, 0.01)  # below, float32 leaves nothing beside the centre
    reach = math.ceil(3.5 * sigma)
    scale = -0.5 / sigma**2
    weights = [math.exp(scale * k**2) for k in range(-reach, reach + 1)]
    total = math.fsum(weights)
    return array("f", [weight / total for weight in weights])


def _compile(step: Step, height: int, width: int) -> Program:
    return [Instruction("gaussian_blur", step.values[0])] if step.values[0] > 0 else []


def _blur(image: Image, out: Image, sigma: float) -> None:
    kernels.blur(image, out, blur_taps(sigma))


def _taps(sigmas: Sequence[float]) -> NDArray[Any]:
    """Return a kernel for each view, padded with zeros to the length of the longest.

    They are made on the CPU: a view must not depend on its neighbours', whose padding would change the
    order in which an accelerator adds weights up.
    """
    taps = [blur_taps(sigma) for sigma in sigmas]
    longest = max(map(len, taps))
    return np.stack([np.pad(own, (longest - len(own)) // 2) for own in taps])


def _blur_batch(images: Tensor, taps: Tensor) -> Tensor:
    import torch

    from massrl.views.operations.tensors import round_half_up

    weights = taps.unbind(1)
    reach = len(weights) // 2
    levels = images.float()
    for axis in (1, 2):
        padded = levels.index_select(axis, _reflected(levels.shape[axis], reach, images.device))
        levels = torch.zeros_like(levels)
        for number, weight in enumerate(weights):
            shifted = padded.narrow(axis, number, levels.shape[axis])
            levels.addcmul_(shifted, weight.view(-1, 1, 1, 1))
    return round_half_up(levels)


def _reflected(length: int, reach: int, device: torch.device) -> Tensor:
    """Return rows ``-reach`` … ``length + reach``, mirrored at the first and last, which are not repeated."""
    import torch

    period = max(1, 2 * (length - 1))
    rows = torch.arange(-reach, length + reach, device=device).remainder(period)
    return torch.minimum(rows, period - rows) if length > 1 else torch.zeros_like(rows)


gaussian_blur = Operation(
    kind="pixels",
    label="blur",
    amount="σ {:.2f} px",
    low=0.0,
    high=50.0,
    identity=0.0,
    compile=_compile,
    cpu=_blur,
    numbers=_taps,
    device=_blur_batch,
)
