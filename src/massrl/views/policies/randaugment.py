"""RandAugment, its expanded operation space, and TrivialAugment."""

from __future__ import annotations

from dataclasses import dataclass

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.views.operations import OPERATIONS, Step
from massrl.views.policies.base import Draw, make_step
from massrl.views.policies.colour import jitter

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
