"""Executes many plans at once on a uint8 batch where it lies: on an accelerator, or on the CPU.

The programs are the same as those of ``cpu``. Views that do the same thing next are one group, with
a row of numbers for each, and a group is a few tensor operations: no loop over images. Between two
instructions pixels are uint8, as they are there, so both executors round at the same places.

Where the two differ: floats here are whole numbers there, of a 16th to a 64th of a grey level, and a
warp places its samples on 1/128 of a pixel; see ``tests/views/test_device.py`` for by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from massrl.views.program import ERASED, LUMA, TABLES, Instruction, Program, blur_taps, table_of


class Group(NamedTuple):
    """One instruction for several views; which ones, and their numbers, stand in ``Crops``.

    Attributes:
        kind: what to do, an ``InstructionKind``.
        num_views: how many views.
        width: numbers of each.
    """

    kind: str
    num_views: int
    width: int


class Crops(NamedTuple):
    """What the loader's workers leave to the device: cut and resized crops, and what is to be done.

    All numbers lie in two tensors: a batch has some forty groups, and each tensor that a worker sends
    costs file descriptors.

    Attributes:
        pixels: uint8 ``(C, B, S, S, 3)``, RGB.
        shown: int64 ``(N,)``, the crop that each view shows.
        groups: instructions on the views, in order.
        members: int64, the views of all groups one after the other, numbered ``view · B + image``.
        values: float32, the numbers of all groups' views likewise.
        fill: grey level that warps bring in from outside.
    """

    pixels: Tensor
    shown: Tensor
    groups: list[Group]
    members: Tensor
    values: Tensor
    fill: int


def group_instructions(
    programs: Sequence[Program], *, side: int
) -> tuple[list[Group], Tensor, Tensor]:
    """Sort the instructions of many views: all first ones by kind, all second ones, and so on.

    Args:
        programs: one for each view.
        side: height and width of the views, pixels.

    Returns:
        ``groups``, ``members`` and ``values`` of ``Crops``.
    """
    groups: list[Group] = []
    members: list[int] = []
    rows: list[np.ndarray] = [np.empty(0, np.float32)]
    for position in range(max(map(len, programs), default=0)):
        found: dict[str, list[int]] = {}
        for number, program in enumerate(programs):
            if position < len(program):
                own_kind = program[position].kind
                found.setdefault("table" if own_kind in TABLES else own_kind, []).append(number)
        for kind in sorted(found):
            own = [programs[number][position] for number in found[kind]]
            values = _numbers(kind, own, side=side)
            flat = values.astype(np.float32).reshape(-1)
            groups.append(Group(kind, len(values), flat.size // len(values)))
            members += found[kind]
            rows.append(flat)
    return groups, torch.tensor(members, dtype=torch.int64), torch.from_numpy(np.concatenate(rows))


def _numbers(kind: str, own: list[Instruction], *, side: int) -> np.ndarray:
    """The numbers of a group's instructions, ``(n, ...)``."""
    if kind == "table":
        return np.stack([table_of(instruction) for instruction in own])
    values = [value for _, value in own]
    if kind == "blur":
        return _kernels(values)
    return _sampling(np.array(values), side) if kind == "warp" else np.array(values)


def _sampling(maps: np.ndarray, side: int) -> np.ndarray:
    """From maps of source to result, in pixels, to torch's of result to source, in -1 … 1."""
    matrices = np.zeros((len(maps), 3, 3))
    matrices[:, :2] = maps.reshape(-1, 2, 3)
    matrices[:, 2, 2] = 1
    to_unit = np.array([[2 / side, 0, -1], [0, 2 / side, -1], [0, 0, 1]])
    inverse: np.ndarray = to_unit @ np.linalg.inv(matrices) @ np.linalg.inv(to_unit)
    return inverse[:, :2]


def _kernels(sigmas: list[float]) -> np.ndarray:
    """A blur's kernel for each view, with zeros to the length of the longest.

    They are made here and not where the batch lies: a view must not depend on its neighbours', whose
    zeros would change the order in which weights are added up.
    """
    kernels = [blur_taps(sigma) for sigma in sigmas]
    longest = max(map(len, kernels))
    return np.stack([np.pad(taps, (longest - len(taps)) // 2) for taps in kernels])


@torch.no_grad()
def execute(crops: Crops) -> Tensor:
    """Make the views of a batch.

    Args:
        crops: all of whose tensors lie on one device.

    Returns:
        uint8 ``(N, B, S, S, 3)``, RGB, on that device.
    """
    pixels = crops.pixels[crops.shown]
    views = pixels.flatten(0, 1)
    by_group = torch.split(crops.members, [group.num_views for group in crops.groups])
    numbers = torch.split(crops.values, [group.num_views * group.width for group in crops.groups])
    for group, members, flat in zip(crops.groups, by_group, numbers, strict=True):
        part, values = views[members], flat.view(group.num_views, group.width)
        if group.kind == "warp":
            views[members] = _warp(part, values, fill=crops.fill)
        else:
            views[members] = _RUN[group.kind](part, values)
    return views.view(pixels.shape)


Run = Callable[[Tensor, Tensor], Tensor]  # uint8 (n, S, S, 3), float32 (n, P) -> uint8 (n, S, S, 3)


def _column(values: Tensor, number: int = 0) -> Tensor:
    return values[:, number].view(-1, 1, 1, 1)


def _rounded(levels: Tensor) -> Tensor:
    """To uint8, half a level up."""
    return levels.add_(0.5).clamp_(0, 255).to(torch.uint8)


def _truncated(levels: Tensor) -> Tensor:
    """To uint8 as torchvision does it."""
    return levels.clamp_(0, 255).to(torch.uint8)


def _warp(images: Tensor, values: Tensor, *, fill: int) -> Tensor:
    channels = images.permute(0, 3, 1, 2).float() - fill  # so that what lies outside is 0
    grid = F.affine_grid(values.view(-1, 2, 3), list(channels.shape), align_corners=False)
    warped = F.grid_sample(channels, grid, padding_mode="zeros", align_corners=False)
    return _rounded(warped.add_(fill)).permute(0, 2, 3, 1)


def _table(images: Tensor, tables: Tensor) -> Tensor:
    """``tables`` is ``(n, 256)`` for all channels, or ``(n, 3 · 256)``, one table for each."""
    count = tables.numel() // 256
    first = torch.arange(count, device=images.device, dtype=torch.int32).view(len(images), 1, 1, -1)
    places = images + 256 * first
    return tables.to(torch.uint8).flatten().index_select(0, places.flatten()).view(images.shape)


_LUMA = [float(weight) for weight in LUMA / LUMA.sum()]  # so that grey stays grey


def _saturation(images: Tensor, values: Tensor) -> Tensor:
    levels, factor = images.float(), _column(values)
    red, green, blue = levels.unbind(3)
    grey = (red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]).unsqueeze(3)
    return _rounded(grey + (levels - grey) * factor)


def _contrast(images: Tensor, values: Tensor) -> Tensor:
    factor = _column(values)
    sums = images.sum(dim=(1, 2), dtype=torch.int64).double()  # exact, in whatever order
    luma = torch.from_numpy(LUMA).to(images.device).double()
    mean = ((sums * luma).sum(dim=1) / images[0, :, :, 0].numel()).float().view(-1, 1, 1, 1)
    return _truncated(images.float() * factor + mean * (1 - factor))


def _autocontrast(images: Tensor, _: Tensor) -> Tensor:
    levels = images.float()
    low, high = levels.amin(dim=(1, 2), keepdim=True), levels.amax(dim=(1, 2), keepdim=True)
    scale = 1 / (high - low) * 255
    return torch.where(high > low, _truncated((levels - low) * scale), images)


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    count = 3 * len(images)
    first = 256 * torch.arange(count, device=images.device).view(-1, 1, 1, 3)
    counts = torch.bincount((images + first).flatten(), minlength=256 * count).view(count, 256)
    last = counts.gather(1, 255 - (counts.flip(1) > 0).int().argmax(1, keepdim=True))
    per_level = (images[0, :, :, 0].numel() - last) // 255
    below = counts.cumsum(1) - counts
    tables = ((below + per_level // 2) // per_level.clamp(min=1)).clamp(max=255)
    unchanged = torch.arange(256, device=images.device)
    tables = torch.where(per_level > 0, tables, unchanged)
    return _table(images, tables.view(len(images), -1))


def _hue(images: Tensor, values: Tensor) -> Tensor:
    """A turn in sixths of the colour circle; lightest and darkest channel stay."""
    red, green, blue = images.float().unbind(3)
    most = torch.maximum(torch.maximum(red, green), blue)
    spread = most - torch.minimum(torch.minimum(red, green), blue)
    sector = torch.where(
        most == red,
        green - blue,
        torch.where(most == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    place = sector / spread.clamp(min=1) + values.view(-1, 1, 1)
    turned = []
    for start in (5, 3, 1):  # red, green, blue
        own = (place + start).remainder(6)
        turned.append(most - spread * torch.minimum(own, 4 - own).clamp(0, 1))
    return _rounded(torch.stack(turned, dim=3))


def _sharpness(images: Tensor, values: Tensor) -> Tensor:
    levels = images.float()
    rows = levels[:, :-2] + levels[:, 1:-1] + levels[:, 2:]
    square = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    smooth = levels.clone()
    smooth[:, 1:-1, 1:-1] = ((square + 4 * levels[:, 1:-1, 1:-1]) / 13).round_()
    factor = _column(values)
    return _rounded(levels * factor + smooth * (1 - factor))


def _blur(images: Tensor, kernels: Tensor) -> Tensor:
    taps = kernels.unbind(1)
    reach = len(taps) // 2
    levels = images.float()
    for axis in (1, 2):
        padded = levels.index_select(axis, _reflected(levels.shape[axis], reach, images.device))
        levels = torch.zeros_like(levels)
        for number, weight in enumerate(taps):
            shifted = padded.narrow(axis, number, levels.shape[axis])
            levels.addcmul_(shifted, weight.view(-1, 1, 1, 1))
    return _rounded(levels)


def _reflected(length: int, reach: int, device: torch.device) -> Tensor:
    """Rows ``-reach`` … ``length + reach``, mirrored at the first and last without repeating them."""
    period = max(1, 2 * (length - 1))
    rows = torch.arange(-reach, length + reach, device=device).remainder(period)
    return torch.minimum(rows, period - rows) if length > 1 else torch.zeros_like(rows)


def _erase(images: Tensor, values: Tensor) -> Tensor:
    top, left, bottom, right = (_column(values, number) for number in range(4))
    y = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
    x = torch.arange(images.shape[2], device=images.device).view(1, 1, -1, 1)
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    return torch.where(inside, torch.tensor(ERASED, dtype=torch.uint8, device=x.device), images)


_RUN: dict[str, Run] = {
    "mirror": lambda images, _: images.flip(2),
    "table": _table,
    "contrast": _contrast,
    "saturation": _saturation,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "hue": _hue,
    "sharpness": _sharpness,
    "blur": _blur,
    "erase": _erase,
}
