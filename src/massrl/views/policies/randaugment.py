"""RandAugment, its expanded operation space, and TrivialAugment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.views.operations.base import Step, operations
from massrl.views.policies.base import Draw
from massrl.views.policies.colour import jitter


class Span(NamedTuple):
    """The values of an operation from magnitude 0 to the largest.

    Attributes:
        start: the value at magnitude 0.
        full: distance of the value at RandAugment's and AutoAugment's largest magnitude from it.
        wide: the same distance for TrivialAugmentWide.
        wide_in_pixels: whether ``wide`` is in pixels, not in a fraction of the view's side.
    """

    start: float = 0.0
    full: float = 0.0
    wide: float = 0.0
    wide_in_pixels: bool = False


SPACE: dict[str, Span] = {
    "identity": Span(),
    "shear_x": Span(0.0, 0.3, 0.99),
    "shear_y": Span(0.0, 0.3, 0.99),
    "translate_x": Span(0.0, 150.0 / 331.0, 32.0, wide_in_pixels=True),
    "translate_y": Span(0.0, 150.0 / 331.0, 32.0, wide_in_pixels=True),
    "rotate": Span(0.0, 30.0, 135.0),
    "brightness": Span(1.0, 0.9, 0.99),
    "saturation": Span(1.0, 0.9, 0.99),
    "contrast": Span(1.0, 0.9, 0.99),
    "sharpness": Span(1.0, 0.9, 0.99),
    "posterize": Span(8.0, -4.0, -6.0),
    "solarize": Span(255.0, -255.0, -255.0),
    "autocontrast": Span(),
    "equalize": Span(),
}
"""The operations of torchvision's RandAugment, AutoAugment (without invert) and TrivialAugmentWide."""

_NAMES = tuple(SPACE)


def step_at_strength(
    name: str, strength: float, stream: Stream, *, full: float | None = None
) -> Step:
    """Return a step at a part of an operation's full strength; signed ones go either way.

    Args:
        name: an operation of ``SPACE``, or one without a value.
        strength: 0 to 1.
        stream: random numbers.
        full: distance of the value at full strength from that at none; that of ``SPACE`` by default.
    """
    operation = operations[name]
    if not operation.has_value:
        return Step(name)
    span = SPACE[name]
    distance = (span.full if full is None else full) * strength
    if operation.signed and stream.chance(0.5):
        distance = -distance
    return Step(name, (span.start + (round(distance) if operation.integer else distance),))


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """``num_operations`` operations, each drawn with replacement, at one magnitude of 0-30.

    Attributes:
        num_operations: operations of each view.
        magnitude: 0 to 30.
        expanded: whether to add random brightness, contrast, saturation, hue, Gaussian blur and
            greyscale to the operations, each with a range of its own that does not depend on the
            magnitude (the released MASSRL code).

    Raises:
        ConfigError: for a number or a magnitude out of range.

    Source: arXiv 1909.13719; ranges as in torchvision's ``RandAugment`` with 31 bins.
    """

    num_operations: int = 2
    magnitude: int = 9
    expanded: bool = False

    def __post_init__(self) -> None:
        if self.num_operations < 1:
            raise ConfigError(
                f"randaugment: n is {self.num_operations}, but 1 or more is wanted "
                "(--views.policies)"
            )
        if not 0 <= self.magnitude <= 30:
            raise ConfigError(
                f"randaugment: m is {self.magnitude}, but 0 to 30 is wanted (--views.policies)"
            )

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw ``num_operations`` steps."""
        extra = _EXPANSION if self.expanded else ()
        steps: tuple[Step, ...] = ()
        for _ in range(self.num_operations):
            choice = stream.integer(len(_NAMES) + len(extra))
            if choice < len(_NAMES):
                steps += (step_at_strength(_NAMES[choice], self.magnitude / 30, stream),)
            else:
                steps += extra[choice - len(_NAMES)].draw(stream, side)
        return steps

    def at_every_magnitude(self) -> Sequence[RandAugment]:
        """Return this policy at magnitudes 0 to 30."""
        return [replace(self, magnitude=magnitude) for magnitude in range(31)]


_EXPANSION = (
    *jitter(0.4, 0.4, 0.2, 0.1),
    Draw(operation="gaussian_blur", low=0.1, high=2.0),
    Draw(operation="grayscale"),
)


def randaugment(n: int = 2, m: int = 9) -> RandAugment:
    """Return RandAugment with ``n`` operations at magnitude ``m`` of 30."""
    return RandAugment(num_operations=n, magnitude=m)


def randaugment_expanded(n: int = 2, m: int = 9) -> RandAugment:
    """Return RandAugment on the expanded operation space."""
    return RandAugment(num_operations=n, magnitude=m, expanded=True)


@dataclass(frozen=True)
class TrivialAugment:
    """One operation drawn uniformly, at one of 31 strengths drawn uniformly.

    Source: arXiv 2103.10158, the wide space, as in torchvision's ``TrivialAugmentWide``.
    """

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw one step."""
        name = _NAMES[stream.integer(len(_NAMES))]
        span = SPACE[name]
        full = span.wide / side if span.wide_in_pixels else span.wide
        step = step_at_strength(name, stream.integer(31) / 30, stream, full=full)
        if span.wide_in_pixels:  # 32 pixels may be more than a small view's side
            step = Step(name, (max(-1.0, min(1.0, step.values[0])),))
        return (step,)
