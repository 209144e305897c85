"""The table of image operations: what each is called, what its numbers mean, where they may lie.

No pixels here: ``cpu`` executes these names. The numbers are those of torchvision's functional
operations (``torchvision.transforms.functional``), so that a plan can be checked against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from massrl.errors import ConfigError, suggest

Kind = Literal["geometric", "lookup", "statistic", "colour", "filter", "erase", "none"]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One image operation.

    Attributes:
        name: what plans and policies call it.
        kind: how an executor can treat it: ``geometric`` ones compose into one warp, ``lookup``
            ones fuse into one 256-entry table, ``statistic`` ones become a table once the image has
            been measured, ``colour`` ones mix a pixel's channels, ``filter`` ones its neighbours.
        meaning: one line for a person, with the unit of the value.
        low: smallest value that is accepted; equal to ``high`` for operations without a value.
        high: largest value that is accepted.
        identity: the value at which the operation changes nothing, if there is one.
        signed: whether a policy mirrors the value about the identity with probability ½.
    """

    name: str
    kind: Kind
    meaning: str
    low: float = 0.0
    high: float = 0.0
    identity: float | None = None
    signed: bool = False

    @property
    def has_value(self) -> bool:
        """Whether the operation takes a number at all."""
        return self.high > self.low


def _factor(name: str, kind: Kind, meaning: str) -> Operation:
    return Operation(
        name=name, kind=kind, meaning=meaning, low=0.0, high=7.0, identity=1.0, signed=True
    )


def _geometric(name: str, meaning: str, limit: float) -> Operation:
    return Operation(
        name=name,
        kind="geometric",
        meaning=meaning,
        low=-limit,
        high=limit,
        identity=0.0,
        signed=True,
    )


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation(name="identity", kind="none", meaning="nothing"),
        _geometric(
            "shear_x", "rows slide sideways, pixels per row; about the upper left corner", 2.0
        ),
        _geometric(
            "shear_y", "columns slide down, pixels per column; about the upper left corner", 2.0
        ),
        _geometric("translate_x", "shift to the right, fraction of the width", 1.0),
        _geometric("translate_y", "shift down, fraction of the height", 1.0),
        _geometric("rotate", "turn counter-clockwise about the centre, degrees", 360.0),
        _factor("brightness", "lookup", "factor on every pixel; 0 is black, 1 the image itself"),
        _factor(
            "contrast", "statistic", "factor on the distance from the mean grey; 0 is flat grey"
        ),
        _factor(
            "saturation", "colour", "factor on the distance from the pixel's own grey; 0 is grey"
        ),
        Operation(
            name="hue",
            kind="colour",
            meaning="turn of the colour circle, in whole turns",
            low=-0.5,
            high=0.5,
            identity=0.0,
            signed=True,
        ),
        _factor(
            "sharpness",
            "filter",
            "factor on the distance from a smoothed image; 0 is smooth, 2 crisp",
        ),
        Operation(
            name="posterize",
            kind="lookup",
            meaning="bits kept per channel",
            low=0,
            high=8,
            identity=8,
        ),
        Operation(
            name="solarize",
            kind="lookup",
            meaning="pixel values from this threshold up are inverted",
            low=0.0,
            high=256.0,
            identity=256.0,
        ),
        Operation(name="invert", kind="lookup", meaning="255 minus the pixel"),
        Operation(
            name="autocontrast",
            kind="statistic",
            meaning="each channel stretched to the full range",
        ),
        Operation(name="equalize", kind="statistic", meaning="each channel's histogram made flat"),
        Operation(name="grayscale", kind="colour", meaning="luma in all three channels"),
        Operation(
            name="gaussian_blur",
            kind="filter",
            meaning="standard deviation of the Gaussian, pixels of the view",
            low=0.0,
            high=50.0,
            identity=0.0,
        ),
        Operation(
            name="cutout",
            kind="erase",
            meaning="side of a grey square, fraction of the view's side; then its centre (x, y)",
            low=0.0,
            high=1.0,
            identity=0.0,
        ),
    )
}


def operation(name: str, *, flag: str = "--views.policies") -> Operation:
    """Look an operation up by name.

    Raises:
        ConfigError: if there is none of this name.
    """
    try:
        return OPERATIONS[name]
    except KeyError:
        raise ConfigError(
            f"unknown operation {name!r}: {suggest(name, OPERATIONS)} ({flag})"
        ) from None


class Step(NamedTuple):
    """One operation of a plan with its numbers; see ``operations`` for what they mean."""

    operation: str
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        if self.operation == "cutout":
            side, x, y = self.values
            return f"cutout {side:.2f} at ({x:.2f}, {y:.2f})"
        return " ".join([self.operation, *(f"{value:.3g}" for value in self.values)])


def describe_step(step: Step) -> str:
    """One operation as a person would say it, with its number and unit.

    Example:
        >>> describe_step(Step("rotate", (-26.7,)))
        'rotate −26.7°'
        >>> describe_step(Step("brightness", (1.28,)))
        'brightness ×1.28'
    """
    return " ".join(step_words(step))


def step_words(step: Step) -> tuple[str, ...]:
    """The two parts of ``describe_step``: what is done and, where it takes a number, how much."""
    name, amount = _AMOUNTS[step.operation]
    return (name, amount(step.values)) if amount else (name,)


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def _times(values: Sequence[float]) -> str:
    return f"×{values[0]:.2f}"


def _slope(values: Sequence[float]) -> str:
    return f"{_signed(values[0], 2)} px/px"


def _percent(values: Sequence[float]) -> str:
    return f"{_signed(100 * values[0], 1)} %"


def _cutout(values: Sequence[float]) -> str:
    side, x, y = (100 * value for value in values)
    return f"{side:.0f} % at {x:.0f} %, {y:.0f} %"


_AMOUNTS: dict[str, tuple[str, Callable[[Sequence[float]], str] | None]] = {
    "identity": ("identity", None),
    "shear_x": ("shear x", _slope),
    "shear_y": ("shear y", _slope),
    "translate_x": ("shift x", _percent),
    "translate_y": ("shift y", _percent),
    "rotate": ("rotate", lambda values: f"{_signed(values[0], 1)}°"),
    "brightness": ("brightness", _times),
    "contrast": ("contrast", _times),
    "saturation": ("saturation", _times),
    "hue": ("hue", lambda values: f"{_signed(values[0], 3)} turns"),
    "sharpness": ("sharpness", _times),
    "posterize": ("posterize", lambda values: f"{values[0]:.0f} bits"),
    "solarize": ("solarize", lambda values: f"from {values[0]:.0f} up"),
    "invert": ("invert", None),
    "autocontrast": ("autocontrast", None),
    "equalize": ("equalize", None),
    "grayscale": ("grey", None),
    "gaussian_blur": ("blur", lambda values: f"σ {values[0]:.2f} px"),
    "cutout": ("cutout", _cutout),
}
