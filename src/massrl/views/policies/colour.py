"""The colour pipeline of SimCLR and BYOL, and the weak policy, which has none."""

from __future__ import annotations

from massrl.errors import ConfigError
from massrl.views.policies.base import Draw, Group


def jitter(brightness: float, contrast: float, saturation: float, hue: float) -> tuple[Draw, ...]:
    """Return the four ranges of torchvision's ``ColorJitter``: factors in [1 - s, 1 + s], hue in turns."""
    factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    members = [
        Draw(operation=name, low=max(0.0, 1.0 - size), high=1.0 + size)
        for name, size in factors.items()
        if size > 0
    ]
    if hue > 0:
        members.append(Draw(operation="hue", low=-hue, high=hue))
    return tuple(members)


def simclr(
    strength: float = 1.0,
    grayscale_prob: float = 0.2,
    blur_prob: float = 1.0,
    solarize_prob: float = 0.0,
) -> Group:
    """Return SimCLR's colour pipeline: jitter, grey, blur and BYOL's solarisation.

    Args:
        strength: of the jitter, which is 0.4 / 0.4 / 0.2 / 0.1 times this, with probability 0.8.
        grayscale_prob: probability of grey.
        blur_prob: probability of blur with a standard deviation of 0.1 to 2 pixels.
        solarize_prob: probability of solarisation from level 128 up.

    Raises:
        ConfigError: if the strength is negative or a probability is none.

    Source: arXiv 2002.05709; arXiv 2006.07733.
    """
    if not strength >= 0:
        raise ConfigError(f"strength is {strength:g}, but 0 or more is wanted (--views.policies)")
    parts = jitter(0.4 * strength, 0.4 * strength, 0.2 * strength, min(0.5, 0.1 * strength))
    return Group(
        members=(
            Group(members=parts, prob=0.8, shuffle=True),
            Draw(operation="grayscale", prob=grayscale_prob),
            Draw(operation="gaussian_blur", prob=blur_prob, low=0.1, high=2.0),
            Draw(operation="solarize", prob=solarize_prob, low=128.0, high=128.0),
        )
    )


def byol_1() -> Group:
    """Return the policy of BYOL's first view."""
    return simclr()


def byol_2() -> Group:
    """Return the policy of BYOL's second view."""
    return simclr(blur_prob=0.1, solarize_prob=0.2)


def weak() -> Group:
    """Return the policy without any operation: crop and flip alone."""
    return Group(members=())
