"""Policies: how an augmentation strategy draws its operations and their numbers.

A policy draws a sequence of steps from a stream of random numbers; it touches no pixel and holds no
state. The hand-made ones (SimCLR, BYOL, weak, the user's own) are built from two blocks, ``Draw``
and ``Group``; the others follow their papers. Crop and flip are the layout's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.views.operations import OPERATIONS, Step, operation


class Policy(Protocol):
    """Anything that draws steps."""

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw the steps of one view of ``side`` × ``side`` pixels."""
        ...


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One operation, with a probability, at a number drawn uniformly from a range.

    Attributes:
        operation: name of an operation.
        prob: probability that it is applied.
        low: lower end of the range, inclusive.
        high: upper end of the range.
    """

    operation: str
    prob: float = 1.0
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        known = operation(self.operation)
        check_prob(self.prob, self.operation)
        if known.has_value and not known.low <= self.low <= self.high <= known.high:
            raise ConfigError(
                f"range [{self.low:g}, {self.high:g}] of {self.operation} does not lie within "
                f"[{known.low:g}, {known.high:g}] (--views.policies)"
            )
        if not known.has_value and (self.low or self.high):
            raise ConfigError(f"{self.operation} takes no number (--views.policies)")

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw zero or one step."""
        if self.prob < 1.0 and not stream.chance(self.prob):
            return ()
        return (make_step(self.operation, stream.uniform(self.low, self.high), stream),)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Several policies one after another, all or some, in their own or in a random order.

    Attributes:
        members: the policies.
        prob: probability that the group is applied at all.
        shuffle: whether the order is drawn anew each time.
        choose: how many of the members to apply, drawn without replacement; ``None`` for all.
    """

    members: tuple[Policy, ...]
    prob: float = 1.0
    shuffle: bool = False
    choose: int | None = None

    def __post_init__(self) -> None:
        check_prob(self.prob, "group")
        if self.choose is not None and not 1 <= self.choose <= len(self.members):
            raise ConfigError(
                f"choose is {self.choose}, but the group has {len(self.members)} members "
                "(--views.policies)"
            )

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw the members' steps."""
        if self.prob < 1.0 and not stream.chance(self.prob):
            return ()
        order = list(range(len(self.members)))
        if self.shuffle or self.choose is not None:
            order = stream.permutation(len(order))[: self.choose]
        if not self.shuffle:
            order.sort()
        return tuple(step for member in order for step in self.members[member].draw(stream, side))


def scale_strength(steps: tuple[Step, ...], strength: float, stream: Stream) -> tuple[Step, ...]:
    """Steps at a part of their strength, from 0, which changes nothing, to 1, which is all of it.

    A number moves towards the one at which its operation does nothing, in that proportion; an operation
    without a number is kept with that probability.
    """
    weaker = []
    for step in steps:
        known = OPERATIONS[step.operation]
        if known.identity is None:
            weaker += [step] if stream.chance(strength) else []
            continue
        value, *rest = step.values
        value = known.identity + strength * (value - known.identity)
        whole = step.operation == "posterize"  # of bits, there are no parts
        weaker.append(Step(step.operation, (float(round(value)) if whole else value, *rest)))
    return tuple(weaker)


def check_prob(prob: float, what: str) -> None:
    """Refuse what is not a probability."""
    if not 0.0 <= prob <= 1.0:
        raise ConfigError(
            f"probability of {what} is {prob:g}, but 0 to 1 is wanted (--views.policies)"
        )


def make_step(name: str, value: float, stream: Stream) -> Step:
    """A step of this operation, with the further numbers that it needs beyond its value."""
    known = OPERATIONS[name]
    if not known.has_value:
        return Step(name)
    if name == "posterize":
        return Step(name, (float(int(value)),))
    if name == "cutout":
        return Step(name, (value, stream.random(), stream.random()))
    return Step(name, (value,))
