"""Operations that depend on the levels of the whole image: autocontrast and equalize."""

from __future__ import annotations

from typing import TYPE_CHECKING

from massrl.views import kernels
from massrl.views.operations.base import Image, Operation

if TYPE_CHECKING:
    from torch import Tensor


def _autocontrast(image: Image, out: Image, value: float) -> None:
    kernels.autocontrast(image, out)


def _equalize(image: Image, out: Image, value: float) -> None:
    kernels.equalize(image, out)


def _autocontrast_batch(images: Tensor, values: Tensor) -> Tensor:
    import torch

    from massrl.views.operations.tensors import truncate

    levels = images.float()
    low, high = levels.amin(dim=(1, 2), keepdim=True), levels.amax(dim=(1, 2), keepdim=True)
    scale = 1 / (high - low) * 255
    return torch.where(high > low, truncate((levels - low) * scale), images)


def _equalize_batch(images: Tensor, values: Tensor) -> Tensor:
    import torch

    from massrl.views.operations.tensors import look_up

    count = 3 * len(images)
    first = 256 * torch.arange(count, device=images.device).view(-1, 1, 1, 3)
    counts = torch.bincount((images + first).flatten(), minlength=256 * count).view(count, 256)
    last = counts.gather(1, 255 - (counts.flip(1) > 0).int().argmax(1, keepdim=True))
    per_level = (images[0, :, :, 0].numel() - last) // 255
    below = counts.cumsum(1) - counts
    tables = ((below + per_level // 2) // per_level.clamp(min=1)).clamp(max=255)
    unchanged = torch.arange(256, device=images.device)
    tables = torch.where(per_level > 0, tables, unchanged)
    return look_up(images, tables.view(len(images), -1))


autocontrast = Operation(
    kind="pixels", label="autocontrast", cpu=_autocontrast, device=_autocontrast_batch
)
equalize = Operation(kind="pixels", label="equalize", cpu=_equalize, device=_equalize_batch)
