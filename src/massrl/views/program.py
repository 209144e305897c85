"""From the steps of a view to the few instructions that both executors follow.

A plan says what was drawn: brightness 1.3, then posterize to 4 bits, then rotate by 20 degrees. A
program says what is to be computed: neighbouring ``lookup`` operations are one 256-entry table,
neighbouring ``geometric`` ones, with the flip before them, one warp.
"""

from __future__ import annotations

from typing import NamedTuple

from massrl.views.operations.affine import Affine, mirror
from massrl.views.operations.base import Instruction, LookupTable, Program, operations
from massrl.views.plan import ViewPlan

# Kinds of instructions that are no operations; the brackets keep them apart from operations' names.
MIRROR = "<mirror>"  # left to right, only ever the first; its value is None
WARP = "<warp>"  # its value is a Warp
TABLE = "<table>"  # its value is a LookupTable


class Warp(NamedTuple):
    """A bilinear warp.

    Attributes:
        map: where each pixel of the source goes.
        fill: grey level, 0-255, of pixels that come in from outside.
    """

    map: Affine
    fill: int


def compile_view(view: ViewPlan, *, height: int, width: int, fill: int) -> Program:
    """Return the program of one view.

    Args:
        view: its flip and steps; its box is cut before.
        height: height of the resized crop, pixels.
        width: width of the resized crop, pixels.
        fill: grey level that warps bring in from outside.
    """
    program: Program = []
    mirrored = view.flip
    map_: Affine | None = None
    lookups: Program = []
    for step in view.steps:
        operation = operations[step.operation]
        kind = operation.kind
        if kind == "none":
            continue
        if kind != "geometric" and (mirrored or map_ is not None):
            program += _geometry(mirrored, map_, width=width, fill=fill)
            mirrored, map_ = False, None
        if lookups and kind != "lookup":
            program += _fused(lookups)
            lookups = []
        if kind == "geometric":
            assert operation.matrix is not None
            own = operation.matrix(step.values[0], height, width)
            map_ = own if map_ is None else own.after(map_)
        elif kind == "pixels" and operation.compile is not None:
            program += operation.compile(step, height, width)
        else:
            instruction = Instruction(step.operation, step.values[0] if step.values else 0.0)
            (lookups if kind == "lookup" else program).append(instruction)
    program += _geometry(mirrored, map_, width=width, fill=fill)
    return program + _fused(lookups)


def _geometry(mirrored: bool, map_: Affine | None, *, width: int, fill: int) -> Program:
    """Return a mirror and the warp after it, as one instruction or none."""
    if map_ is not None:
        return [Instruction(WARP, Warp(map_.after(mirror(width)) if mirrored else map_, fill))]
    return [Instruction(MIRROR, None)] if mirrored else []


def _fused(lookups: Program) -> Program:
    """Return neighbours as one table; one alone may be quicker to compute than to look up."""
    if not lookups or (len(lookups) == 1 and operations[lookups[0].kind].cpu is not None):
        return lookups
    table = table_of(lookups[0])
    for lookup in lookups[1:]:
        table = table_of(lookup)[table]
    return [Instruction(TABLE, table)]


def table_of(instruction: Instruction) -> LookupTable:
    """Return uint8 ``(256,)`` of a ``TABLE`` or of a ``lookup`` operation's instruction."""
    if instruction.kind == TABLE:
        table: LookupTable = instruction.value
        return table
    make_table = operations[instruction.kind].table
    assert make_table is not None
    return make_table(instruction.value)
