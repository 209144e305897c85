"""The words for what was drawn: every operation's short name and its number with a unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from massrl.views.policies import Step


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


def _factor(values: Sequence[float]) -> str:
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
    "brightness": ("brightness", _factor),
    "contrast": ("contrast", _factor),
    "saturation": ("saturation", _factor),
    "hue": ("hue", lambda values: f"{_signed(values[0], 3)} turns"),
    "sharpness": ("sharpness", _factor),
    "posterize": ("posterize", lambda values: f"{values[0]:.0f} bits"),
    "solarize": ("solarize", lambda values: f"from {values[0]:.0f} up"),
    "invert": ("invert", None),
    "autocontrast": ("autocontrast", None),
    "equalize": ("equalize", None),
    "grayscale": ("grey", None),
    "gaussian_blur": ("blur", lambda values: f"σ {values[0]:.2f} px"),
    "cutout": ("cutout", _cutout),
}
