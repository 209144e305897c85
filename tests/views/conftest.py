"""Images and operations that several tests of views start from."""

from __future__ import annotations

import numpy as np
import torch

from massrl.views.cpu import apply_steps
from massrl.views.crops import Box
from massrl.views.operations.base import Step
from massrl.views.plan import ViewPlan

# A step of every operation that changes a photograph, but for identity.
EXAMPLES = {
    "identity": (),
    "shear_x": (0.2,),
    "shear_y": (-0.2,),
    "translate_x": (0.2,),
    "translate_y": (-0.2,),
    "rotate": (20.0,),
    "brightness": (1.4,),
    "contrast": (0.5,),
    "saturation": (1.6,),
    "hue": (0.2,),
    "sharpness": (1.8,),
    "posterize": (3.0,),
    "solarize": (100.0,),
    "invert": (),
    "autocontrast": (),
    "equalize": (),
    "grayscale": (),
    "gaussian_blur": (1.5,),
    "cutout": (0.4, 0.5, 0.5),
}


def photograph(height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth colourful image with edges: like a photograph, unlike noise."""
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.random((1, 3, 6, 6), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    image = (smooth.clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    image[height // 4 : height // 2, width // 4 : width // 2] //= 3
    return image


def run(image: np.ndarray, *steps: Step, flip: bool = False, fill: int = 0) -> np.ndarray:
    """Flip and steps on the CPU executor."""
    box = Box(0, 0, *image.shape[:2])
    return apply_steps(image, ViewPlan("test", 0, box, flip, tuple(steps)), fill=fill)


def tensor(image: np.ndarray) -> torch.Tensor:
    """uint8 ``(3, H, W)``, as torchvision takes it."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


def levels_apart(ours: np.ndarray, theirs: torch.Tensor) -> np.ndarray:
    """Absolute differences of an image and one of torchvision's."""
    return np.abs(ours.astype(int) - theirs.permute(1, 2, 0).numpy().astype(int))


def mean_apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance in grey levels."""
    return float(np.abs(one.astype(int) - other).mean())
