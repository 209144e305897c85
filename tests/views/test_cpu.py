"""The CPU executor against torchvision's functional operations on the same numbers.

Tolerances are in grey levels of 0-255, and each has its reason:

* 0: tables (brightness, posterize, solarize, invert, autocontrast, equalize) are the same arithmetic.
* 1: contrast, saturation, grayscale, sharpness, blur: torchvision cuts fractions off, OpenCV rounds,
  and a mean grey of cut values lies half a level lower; saturation does so twice, hence 2.
* hue: 8-bit HSV, as Pillow has it, against floating-point HSV: mean 2, at dark saturated pixels more.
* geometry: OpenCV's bilinear weights are steps of 1/32 pixel: mean 1 inside, and at the border of
  what came in from outside a pixel may go either way, so the mean is taken over all pixels.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from massrl.views.cpu import apply_steps
from massrl.views.crops import Box
from massrl.views.plan import ViewPlan
from massrl.views.policies import Step


def photograph(height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth colourful image with edges: like a photograph, unlike noise."""
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.random((1, 3, 6, 6), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    image = (smooth.clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    image[height // 4 : height // 2, width // 4 : width // 2] //= 3
    return image


def run(image: np.ndarray, *steps: Step, flip: bool = False, fill: int = 0) -> np.ndarray:
    box = Box(0, 0, *image.shape[:2])
    return apply_steps(image, ViewPlan("test", 0, box, flip, tuple(steps)), fill=fill)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


def levels_apart(ours: np.ndarray, theirs: torch.Tensor) -> np.ndarray:
    return np.abs(ours.astype(int) - theirs.permute(1, 2, 0).numpy().astype(int))


PIXEL_CASES = [
    ("brightness", 0.3, lambda t: F.adjust_brightness(t, 0.3), 0),
    ("brightness", 1.7, lambda t: F.adjust_brightness(t, 1.7), 0),
    ("contrast", 0.2, lambda t: F.adjust_contrast(t, 0.2), 1),
    ("contrast", 1.9, lambda t: F.adjust_contrast(t, 1.9), 1),
    ("saturation", 0.0, lambda t: F.adjust_saturation(t, 0.0), 2),
    ("saturation", 1.9, lambda t: F.adjust_saturation(t, 1.9), 2),
    ("sharpness", 0.1, lambda t: F.adjust_sharpness(t, 0.1), 1),
    ("sharpness", 1.9, lambda t: F.adjust_sharpness(t, 1.9), 1),
    ("posterize", 3, lambda t: F.posterize(t, 3), 0),
    ("posterize", 8, lambda t: F.posterize(t, 8), 0),
    ("posterize", 0, lambda t: F.posterize(t, 0), 0),
    ("solarize", 128, lambda t: F.solarize(t, 128), 0),
    ("solarize", 77.5, lambda t: F.solarize(t, 77.5), 0),
    ("invert", None, F.invert, 0),
    ("autocontrast", None, F.autocontrast, 0),
    ("equalize", None, F.equalize, 0),
    ("grayscale", None, lambda t: F.rgb_to_grayscale(t, 3), 1),
    ("gaussian_blur", 0.1, lambda t: F.gaussian_blur(t, [23, 23], [0.1, 0.1]), 1),
    ("gaussian_blur", 2.0, lambda t: F.gaussian_blur(t, [23, 23], [2.0, 2.0]), 1),
]


@pytest.mark.parametrize(("name", "value", "reference", "tolerance"), PIXEL_CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_pixel_operation_on_the_same_number_equals_torchvision(
    name: str, value: float | None, reference: object, tolerance: int, seed: int
) -> None:
    """Guards the meaning of every number: a wrong sign, scale or channel order shows here."""
    image = photograph(seed=seed)
    ours = run(image, Step(name, () if value is None else (float(value),)))
    assert levels_apart(ours, reference(tensor(image))).max() <= tolerance  # type: ignore[operator]


@pytest.mark.parametrize("turn", [-0.5, -0.1, -0.01, 0.0, 0.03, 0.1, 0.4])
def test_hue_on_the_same_turn_equals_torchvision(turn: float) -> None:
    """Guards against a hue in degrees, in half turns, or with the sign reversed."""
    image = photograph()
    apart = levels_apart(run(image, Step("hue", (turn,))), F.adjust_hue(tensor(image), turn))
    assert apart.mean() <= 2.0
    assert np.quantile(apart, 0.99) <= 6


def affine(t: torch.Tensor, **changes: object) -> torch.Tensor:
    settings: dict[str, object] = {
        "angle": 0.0,
        "translate": [0, 0],
        "scale": 1.0,
        "shear": [0.0, 0.0],
    }
    return F.affine(t, **{**settings, **changes}, interpolation=InterpolationMode.BILINEAR)  # type: ignore[arg-type]


GEOMETRIC_CASES = {
    "shear_x": lambda t, v: affine(t, shear=[math.degrees(math.atan(v)), 0.0], center=[0, 0]),
    "shear_y": lambda t, v: affine(t, shear=[0.0, math.degrees(math.atan(v))], center=[0, 0]),
    "translate_x": lambda t, v: affine(t, translate=[int(v * t.shape[2]), 0]),
    "translate_y": lambda t, v: affine(t, translate=[0, int(v * t.shape[1])]),
    "rotate": lambda t, v: F.rotate(t, v, interpolation=InterpolationMode.BILINEAR),
}


@pytest.mark.parametrize("name", GEOMETRIC_CASES)
@pytest.mark.parametrize("strength", [-1.0, -0.37, 0.37, 1.0])
def test_geometric_operation_on_the_same_number_equals_torchvision(
    name: str, strength: float
) -> None:
    """Guards sign, centre and half-pixel conventions: half a pixel off fails on these edges."""
    value = strength * {"rotate": 30.0}.get(name, 0.3)
    image = photograph(60, 60)
    apart = levels_apart(
        run(image, Step(name, (value,))), GEOMETRIC_CASES[name](tensor(image), value)
    )
    exact = name.startswith("translate")
    assert apart.mean() <= (0 if exact else 1.0)
    assert (apart > 4).mean() <= (0 if exact else 0.02)
