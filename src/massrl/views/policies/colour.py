"""The colour pipeline of SimCLR and BYOL, as a policy."""

from __future__ import annotations

from massrl.errors import ConfigError
from massrl.views.policies.base import Draw, Group


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
