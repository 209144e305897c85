"""What an image operation is: its value, how it is shown, and how both executors compute it.

The values are those of torchvision's functional operations (``torchvision.transforms.functional``), so
that a plan can be checked against it.

A new operation is a module with an ``Operation`` and a row in ``massrl.registry.OPERATIONS``, or in
another package an entry point of the group ``massrl.operations``::

    def darken(image, out, factor):  # NumPy, one image
        np.multiply(image, factor, out=out, casting="unsafe")

    def darken_batch(images, values):  # torch, (n, S, S, 3) and (n, 1)
        return (images * values.view(-1, 1, 1, 1)).to(torch.uint8)

    darken = Operation(
        kind="pixels", label="darken", amount="×{:.2f}", low=0.0, high=1.0, identity=1.0,
        cpu=darken, device=darken_batch,
    )
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from massrl.errors import ConfigError
from massrl.registry import OPERATIONS
from massrl.views.operations.affine import Affine

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["none", "geometric", "lookup", "pixels"]
Image = NDArray[np.uint8]  # (height, width, 3), RGB
LookupTable = NDArray[np.uint8]  # (256,)
LEVELS: LookupTable = np.arange(256, dtype=np.uint8)


class Step(NamedTuple):
    """One operation of a plan with its value, and further numbers that the operation needs."""

    operation: str
    values: tuple[float, ...] = ()

    def words(self) -> tuple[str, ...]:
        """Return the operation's label and, if it takes a value, the value with its unit.

        Example:
            >>> Step("rotate", (-26.7,)).words()
            ('rotate', '−26.7°')
        """
        operation = operations[self.operation]
        if not operation.has_value:
            return (operation.label,)
        amount = operation.amount.format(*self.values).replace("-", "−").replace("%", " %")
        return operation.label, re.sub(r"[+−](0(?:\.0+)?)(?![\d.])", r"\1", amount)

    def __str__(self) -> str:
        return " ".join(self.words())


class Instruction(NamedTuple):
    """One computation on the pixels of a view.

    Attributes:
        kind: name of the operation that computes it, or one of the kinds of ``views.program``.
        value: what it needs: the operation's value, unless its ``compile`` says otherwise.
    """

    kind: str
    value: Any


Program = list[Instruction]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One image operation.

    Attributes:
        kind: how executors treat it: ``geometric`` operations are composed into one warp, ``lookup``
            ones into one table of 256 levels, ``pixels`` is any other; ``none`` changes nothing.
        label: its name on contact sheets and charts.
        amount: format of its value and further numbers, with the unit, such as ``"{:+.1f}°"``.
        summary: one line for lists of operations, with the unit of the value; massrl's own have it in
            the table of operations.
        low: smallest value that is accepted; equal to ``high`` for operations without a value.
        high: largest value that is accepted.
        identity: the value at which the operation changes nothing, if there is one.
        signed: whether a policy mirrors the value about the identity with probability ½.
        integer: whether the value is a whole number.
        num_extra: how many further numbers follow the value, each drawn uniformly from [0, 1).
        matrix: of a ``geometric`` operation: its map, from value, height and width in pixels.
        table: of a ``lookup`` operation: uint8 ``(256,)``, level to level, from its value.
        compile: of a ``pixels`` operation: its instructions, from step, height and width in pixels;
            left out, one instruction with the value.
        cpu: write an image's result: ``(image, out, value)`` with uint8 ``(H, W, 3)`` arrays that do
            not overlap; ``image`` is not written to. For a ``lookup``, optional: quicker than its table.
        numbers: the values of several instructions as rows of numbers, ``(n, …)``, for ``device``.
        device: results of a batch: uint8 ``(n, S, S, 3)`` from such a batch and float32 ``(n, P)`` rows
            of ``numbers``, on any device; the input is not written to. Import torch inside.
        has_value: whether the operation takes a value at all.

    Raises:
        ConfigError: if the range is empty or a function that the kind needs is missing.
    """

    kind: Kind
    label: str
    amount: str = "{:.3g}"
    summary: str = ""
    low: float = 0.0
    high: float = 0.0
    identity: float | None = None
    signed: bool = False
    integer: bool = False
    num_extra: int = 0
    matrix: Callable[[float, int, int], Affine] | None = None
    table: Callable[[float], LookupTable] | None = None
    compile: Callable[[Step, int, int], Program] | None = None
    cpu: Callable[[Image, Image, Any], None] | None = None
    numbers: Callable[[Sequence[Any]], NDArray[Any]] = np.array
    device: Callable[[Tensor, Tensor], Tensor] | None = None
    has_value: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "has_value", self.high > self.low)
        if not self.low <= self.high:
            raise ConfigError(f"operation {self.label}: values from {self.low:g} to {self.high:g}")
        missing = {
            "none": False,
            "geometric": self.matrix is None,
            "lookup": self.table is None,
            "pixels": self.compile is None and (self.cpu is None or self.device is None),
        }[self.kind]
        if missing:
            wanted = {"geometric": "matrix", "lookup": "table"}.get(self.kind, "cpu and device")
            raise ConfigError(f"operation {self.label} of kind {self.kind} has no {wanted}")


operations: dict[str, Operation] = OPERATIONS.parts
"""Operations by name, each imported when it is first looked up; ``ConfigError`` for an unknown name."""
