"""Policies: how an augmentation strategy draws its operations and their numbers.

A policy draws a sequence of steps from a stream of random numbers; it touches no pixel and holds no
state. The hand-made ones (SimCLR, BYOL, weak, the user's own) are built from two blocks, ``Draw``
and ``Group``; the others follow their papers. Crop and flip are the layout's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.views.learnt import NAMES, learnt_table
from massrl.views.operations import OPERATIONS, operation


class Step(NamedTuple):
    """One operation of a plan with its numbers; see ``operations`` for what they mean."""

    operation: str
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        if self.operation == "cutout":
            side, x, y = self.values
            return f"cutout {side:.2f} at ({x:.2f}, {y:.2f})"
        return " ".join([self.operation, *(f"{value:.3g}" for value in self.values)])


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


def weakened(steps: tuple[Step, ...], strength: float, stream: Stream) -> tuple[Step, ...]:
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


def jitter(brightness: float, contrast: float, saturation: float, hue: float) -> tuple[Draw, ...]:
    """The four ranges of torchvision's ``ColorJitter``, factors in [1 - s, 1 + s]."""
    factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    members = [
        Draw(operation=name, low=max(0.0, 1.0 - size), high=1.0 + size)
        for name, size in factors.items()
        if size > 0
    ]
    if hue > 0:
        members.append(Draw(operation="hue", low=-hue, high=hue))
    return tuple(members)


def colour_pipeline(
    *,
    strength: float = 1.0,
    jitter_prob: float = 0.8,
    grayscale_prob: float = 0.2,
    blur_prob: float = 1.0,
    solarize_prob: float = 0.0,
) -> Group:
    """The SimCLR / BYOL colour pipeline with jitter 0.4 / 0.4 / 0.2 / 0.1 times ``strength``.

    Raises:
        ConfigError: if the strength is negative or a probability is none.
    """
    if not strength >= 0:
        raise ConfigError(f"strength is {strength:g}, but 0 or more is wanted (--views.policies)")
    parts = jitter(0.4 * strength, 0.4 * strength, 0.2 * strength, min(0.5, 0.1 * strength))
    return Group(
        members=(
            Group(members=parts, prob=jitter_prob, shuffle=True),
            Draw(operation="grayscale", prob=grayscale_prob),
            Draw(operation="gaussian_blur", prob=blur_prob, low=0.1, high=2.0),
            Draw(operation="solarize", prob=solarize_prob, low=128.0, high=128.0),
        )
    )


# Operations of torchvision's RandAugment and TrivialAugmentWide, with the value at full strength as
# the distance from the identity; a translation of TrivialAugment is in pixels, all others are not.
_SPACE: dict[str, tuple[float, float]] = {  # operation: (RandAugment, TrivialAugmentWide)
    "identity": (0.0, 0.0),
    "shear_x": (0.3, 0.99),
    "shear_y": (0.3, 0.99),
    "translate_x": (150.0 / 331.0, 32.0),
    "translate_y": (150.0 / 331.0, 32.0),
    "rotate": (30.0, 135.0),
    "brightness": (0.9, 0.99),
    "saturation": (0.9, 0.99),
    "contrast": (0.9, 0.99),
    "sharpness": (0.9, 0.99),
    "posterize": (4.0, 6.0),
    "solarize": (255.0, 255.0),
    "autocontrast": (0.0, 0.0),
    "equalize": (0.0, 0.0),
}


def strength_step(name: str, full: float, strength: float, stream: Stream) -> Step:
    """A step at ``strength`` in [0, 1] of the way from nothing to the operation's ``full``."""
    known = OPERATIONS[name]
    distance = full * strength
    if name == "posterize":
        return Step(name, (8.0 - round(distance),))
    if name == "solarize":
        return Step(name, (255.0 - distance,))
    if known.signed:
        sign = -1.0 if stream.chance(0.5) else 1.0
        return Step(name, ((known.identity or 0.0) + sign * distance,))
    return make_step(name, distance, stream)


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """``num_operations`` operations, each drawn with replacement, at one magnitude of 0-30.

    Source: arXiv 1909.13719; ranges as in torchvision's ``RandAugment`` with 31 bins.
    ``expanded`` adds random brightness, contrast, saturation, hue, Gaussian blur and greyscale,
    each at numbers of its own that do not depend on the magnitude (the released MASSRL code).
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
        names = tuple(_SPACE)
        extra = _EXPANSION if self.expanded else ()
        steps: tuple[Step, ...] = ()
        for _ in range(self.num_operations):
            choice = stream.integer(len(names) + len(extra))
            if choice < len(names):
                name = names[choice]
                steps += (strength_step(name, _SPACE[name][0], self.magnitude / 30, stream),)
            else:
                steps += extra[choice - len(names)].draw(stream, side)
        return steps


_EXPANSION = (
    *jitter(0.4, 0.4, 0.2, 0.1),
    Draw(operation="gaussian_blur", low=0.1, high=2.0),
    Draw(operation="grayscale"),
)


@dataclass(frozen=True, kw_only=True)
class TrivialAugment:
    """One operation drawn uniformly, at one of 31 strengths drawn uniformly.

    Source: arXiv 2103.10158, the wide space, as in torchvision's ``TrivialAugmentWide``.
    """

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw one step."""
        name = tuple(_SPACE)[stream.integer(len(_SPACE))]
        full = _SPACE[name][1] / (side if name.startswith("translate") else 1)
        step = strength_step(name, full, stream.integer(31) / 30, stream)
        if name.startswith("translate"):  # 32 pixels may be more than a small view's side
            step = Step(name, (max(-1.0, min(1.0, step.values[0])),))
        return (step,)


@dataclass(frozen=True, kw_only=True)
class AutoAugment:
    """One sub-policy of two operations drawn uniformly; each applied with its own probability.

    Source: arXiv 1805.09501; table and ranges as in torchvision's ``AutoAugment`` (10 bins).
    """

    dataset: str = "imagenet"

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw up to two steps."""
        sub_policies = learnt_table("autoaugment.json")["policies"][self.dataset]
        steps = []
        for name, prob, bin_index in sub_policies[stream.integer(len(sub_policies))]:
            if stream.chance(prob):
                ours = NAMES[name]
                full = _SPACE[ours][0] if ours in _SPACE else 0.0
                steps.append(strength_step(ours, full, (bin_index or 0) / 9, stream))
        return tuple(steps)


@dataclass(frozen=True, kw_only=True)
class FastAutoAugment:
    """One sub-policy of two operations drawn uniformly; each applied with its own probability.

    The value is ``low + level · (high - low)`` of the operation's range; a geometric one is
    mirrored in sign with probability ½. Source: arXiv 1905.00397, kakaobrain/fast-autoaugment.
    """

    dataset: str = "imagenet"

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw up to two steps."""
        table = learnt_table("fast_autoaugment.json")
        sub_policies = table["policies"][self.dataset]
        steps = []
        for name, prob, level in sub_policies[stream.integer(len(sub_policies))]:
            if stream.chance(prob):
                low, high = table["ranges"][name]
                value = low + level * (high - low)
                if OPERATIONS[NAMES[name]].kind == "geometric" and stream.chance(0.5):
                    value = -value
                steps.append(make_step(NAMES[name], value, stream))
        return tuple(steps)
