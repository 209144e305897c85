"""The device executor: many programs at once on a uint8 batch, on an accelerator or on the CPU.

The programs are the same as those of ``cpu``. Views whose next instruction is of the same kind are one
group, with a row of numbers for each, and a group is a few tensor operations: no loop over images.
Between two instructions pixels are uint8, as in ``cpu``, so both executors round at the same places.

They differ because ``cpu`` computes in whole numbers of a 16th to a 64th of a grey level where this one
computes in floats, and places the samples of a warp on 1/128 of a pixel;
``tests/views/test_device.py`` states by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from massrl.views.operations.base import Instruction, Program, operations
from massrl.views.operations.tensors import column, look_up, round_half_up
from massrl.views.program import MIRROR, TABLE, WARP, Warp, table_of


class Group(NamedTuple):
    """An instruction for several views; ``Crops`` has which ones, and their numbers.

    Attributes:
        kind: as ``Instruction.kind``.
        num_views: how many views.
        width: numbers of each view.
    """

    kind: str
    num_views: int
    width: int


class Crops(NamedTuple):
    """What the loader's workers send to the device: resized crops, and the instructions on them.

    All numbers are in two tensors: a batch has some forty groups, and each tensor that a worker sends
    costs file descriptors.

    Attributes:
        pixels: uint8 ``(C, B, S, S, 3)``, RGB.
        shown: int64 ``(N,)``, the crop that each view shows.
        groups: instructions on the views, in order.
        members: int64, the views of all groups one after the other, numbered ``view · B + image``.
        values: float32, the numbers of all groups' views likewise.
    """

    pixels: Tensor
    shown: Tensor
    groups: list[Group]
    members: Tensor
    values: Tensor


def group_instructions(
    programs: Sequence[Program], *, side: int
) -> tuple[list[Group], Tensor, Tensor]:
    """Group the instructions of many views: all first ones by kind, then all second ones, and so on.

    Args:
        programs: one for each view.
        side: height and width of the views, pixels.

    Returns:
        ``groups``, ``members`` and ``values`` of ``Crops``.
    """
    groups: list[Group] = []
    members: list[int] = []
    rows: list[np.ndarray] = [np.empty(0, np.float32)]
    kinds: dict[str, str] = {}  # of instructions -> of their group
    for position in range(max(map(len, programs), default=0)):
        found: dict[str, list[int]] = {}
        for number, program in enumerate(programs):
            if position < len(program):
                own = program[position].kind
                kind = kinds.get(own) or kinds.setdefault(own, _group_kind(own))
                found.setdefault(kind, []).append(number)
        for kind in sorted(found):
            numbers = found[kind]
            instructions = [programs[number][position] for number in numbers]
            flat = _rows(kind, instructions, side=side).astype(np.float32).reshape(-1)
            groups.append(Group(kind, len(numbers), flat.size // len(numbers)))
            members += numbers
            rows.append(flat)
    return groups, torch.tensor(members, dtype=torch.int64), torch.from_numpy(np.concatenate(rows))


def _group_kind(kind: str) -> str:
    """Return the kind of group of an instruction: all lookups are tables here, so that they are one."""
    return TABLE if kind not in _RUN and operations[kind].kind == "lookup" else kind


def _rows(kind: str, instructions: Sequence[Instruction], *, side: int) -> np.ndarray:
    """Return the numbers of a group's instructions, ``(n, …)``."""
    if kind == TABLE:
        return np.stack([table_of(instruction) for instruction in instructions])
    values = [value for _, value in instructions]
    if kind == WARP:
        return _samplings(values, side)
    return np.zeros(len(values)) if kind == MIRROR else operations[kind].numbers(values)


def _samplings(warps: Sequence[Warp], side: int) -> np.ndarray:
    """Return torch's maps, of result to source in -1 … 1, and fill levels, ``(n, 7)``."""
    matrices = np.zeros((len(warps), 3, 3))
    matrices[:, :2] = np.array([warp.map for warp in warps]).reshape(-1, 2, 3)
    matrices[:, 2, 2] = 1
    to_unit = np.array([[2 / side, 0, -1], [0, 2 / side, -1], [0, 0, 1]])
    inverse: np.ndarray = to_unit @ np.linalg.inv(matrices) @ np.linalg.inv(to_unit)
    fills = [[warp.fill] for warp in warps]
    return np.concatenate([inverse[:, :2].reshape(-1, 6), fills], axis=1)


@torch.no_grad()
def execute(crops: Crops) -> Tensor:
    """Make the views of a batch.

    Args:
        crops: with all tensors on one device.

    Returns:
        uint8 ``(N, B, S, S, 3)``, RGB, on that device.
    """
    pixels = crops.pixels[crops.shown]
    views = pixels.flatten(0, 1)
    by_group = torch.split(crops.members, [group.num_views for group in crops.groups])
    numbers = torch.split(crops.values, [group.num_views * group.width for group in crops.groups])
    for group, members, flat in zip(crops.groups, by_group, numbers, strict=True):
        compute = _RUN.get(group.kind) or operations[group.kind].device
        assert compute is not None
        views[members] = compute(views[members], flat.view(group.num_views, group.width))
    return views.view(pixels.shape)


def _mirror(images: Tensor, values: Tensor) -> Tensor:
    return images.flip(2)


def _warp(images: Tensor, values: Tensor) -> Tensor:
    fill = column(values, 6)
    channels = images.permute(0, 3, 1, 2).float() - fill  # so that pixels from outside are 0
    maps = values[:, :6].reshape(-1, 2, 3)
    grid = F.affine_grid(maps, list(channels.shape), align_corners=False)
    warped = F.grid_sample(channels, grid, padding_mode="zeros", align_corners=False)
    return round_half_up(warped.add_(fill)).permute(0, 2, 3, 1)


# uint8 (n, S, S, 3), float32 (n, P) -> uint8 (n, S, S, 3)
_RUN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    MIRROR: _mirror,
    WARP: _warp,
    TABLE: look_up,
}
