"""Policies: how the operations of a view and their values are drawn.

A policy draws a sequence of steps from a stream of random numbers; it touches no pixel and holds no
state. The hand-made ones (SimCLR, BYOL, weak, the user's own) are built from two blocks, ``Draw``
and ``Group``; the others follow their papers. Crop and flip belong to the layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.views.operations.base import Step, operations


@runtime_checkable
class Policy(Protocol):
    """Anything that draws steps.

    One that contains data of others may have an attribute ``notice``, one line with its licence and origin,
    which is printed in model cards.
    """

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw the steps of one view of ``side`` × ``side`` pixels."""
        ...


@runtime_checkable
class MagnitudePolicy(Policy, Protocol):
    """A policy with one magnitude for all its operations; charts show it at every magnitude.

    Attributes:
        magnitude: the magnitude, from 0.
    """

    magnitude: int

    def at_every_magnitude(self) -> Sequence[Policy]:
        """Return this policy at magnitude 0, 1, and so on to the largest."""
        ...


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One operation, applied with a probability, at a value drawn uniformly from a range.

    Attributes:
        operation: name of an operation.
        prob: probability that it is applied.
        low: lower end of the range, inclusive.
        high: upper end of the range.

    Raises:
        ConfigError: for an unknown operation, or a probability or a range that it does not accept.
    """

    operation: str
    prob: float = 1.0
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        known = operations[self.operation]
        _check_prob(self.prob, self.operation)
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

    Raises:
        ConfigError: for a probability outside of 0 to 1, or more to choose than there are members.
    """

    members: tuple[Policy, ...]
    prob: float = 1.0
    shuffle: bool = False
    choose: int | None = None

    def __post_init__(self) -> None:
        _check_prob(self.prob, "group")
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


def make_step(name: str, value: float, stream: Stream) -> Step:
    """Return a step of an operation at ``value``, with the further numbers that it needs drawn."""
    operation = operations[name]
    if not operation.has_value:
        return Step(name)
    if operation.integer:
        value = float(int(value))
    if operation.num_extra:
        return Step(name, (value, *(stream.random() for _ in range(operation.num_extra))))
    return Step(name, (value,))


def scale_strength(steps: tuple[Step, ...], strength: float, stream: Stream) -> tuple[Step, ...]:
    """Scale steps to a fraction of their strength.

    A value moves towards the one at which its operation changes nothing, in that proportion; an operation
    without such a value is applied with probability ``strength``.

    Args:
        steps: what a policy drew.
        strength: from 0, which changes nothing, to 1, which leaves the steps as they are.
        stream: random numbers.
    """
    scaled = []
    for step in steps:
        operation = operations[step.operation]
        if operation.identity is None:
            scaled += [step] if stream.chance(strength) else []
            continue
        value, *rest = step.values
        value = operation.identity + strength * (value - operation.identity)
        value = float(round(value)) if operation.integer else value
        scaled.append(Step(step.operation, (value, *rest)))
    return tuple(scaled)


def _check_prob(prob: float, what: str) -> None:
    if not 0.0 <= prob <= 1.0:
        raise ConfigError(
            f"probability of {what} is {prob:g}, but 0 to 1 is wanted (--views.policies)"
        )
