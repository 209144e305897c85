"""Layouts: how crops and strategies combine into the N views of an image.

Three arrangements say all published variants and everything between them:

* ``shared``: a few crops, and **every** strategy applied to each of them; N = crops × strategies;
* ``independent``: every strategy has crops of its own; N = crops × strategies;
* ``sampled``: each view has a crop of its own and one strategy drawn at random; N = crops.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from massrl.config import ViewsConfig
from massrl.errors import ConfigError, suggest
from massrl.views.crops import crop_named
from massrl.views.strategies import is_strategy_file, parse_strategy

Arrangement = Literal["shared", "independent", "sampled"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the views of one image are made.

    Attributes:
        name: name of the layout.
        summary: one line for a person.
        arrangement: ``shared``, ``independent`` or ``sampled``.
        num_crops: shared: crops of the image; independent: crops of each strategy; sampled: views.
        policies: the strategies, as ``parse_strategy`` reads them.
        crop: kind of crop.
        crop_scale: smallest and largest area of a crop, as a fraction of the image.
        flip_prob: probability that a view is mirrored left to right.
        pairs: the pairs of views that the method compares unless it is told otherwise.
        fill: grey level, 0-255, of pixels that a geometric operation brings in from outside.
    """

    name: str
    summary: str
    arrangement: Arrangement
    num_crops: int
    policies: tuple[str, ...]
    crop: str = "inception"
    crop_scale: tuple[float, float] = (0.08, 1.0)
    flip_prob: float = 0.5
    pairs: str = "all"
    fill: int = 0

    def __post_init__(self) -> None:
        if not self.policies:
            raise ConfigError("a layout needs at least one policy (--views.policies)")
        for policy in self.policies:
            parse_strategy(policy)
        crop_named(self.crop)
        low, high = self.crop_scale
        if not 0.0 < low <= high <= 1.0:
            raise ConfigError(
                f"crop scale is [{low:g}, {high:g}], but 0 < low <= high <= 1 is wanted "
                "(--views.crop_scale)"
            )
        if self.num_crops < 1:
            raise ConfigError(
                f"number of crops is {self.num_crops}, but 1 or more is wanted (--views.num_crops)"
            )
        if not 0.0 <= self.flip_prob <= 1.0:
            raise ConfigError(
                f"flip probability is {self.flip_prob:g}, but 0 to 1 is wanted (--views.flip_prob)"
            )

    @property
    def num_views(self) -> int:
        """Views of each image."""
        return self.num_crops * (1 if self.arrangement == "sampled" else len(self.policies))

    def cells(self) -> list[tuple[int, str | None]]:
        """For each view, the number of its crop and its policy (``None`` where it is drawn)."""
        if self.arrangement == "sampled":
            return [(crop, None) for crop in range(self.num_crops)]
        if self.arrangement == "shared":
            return [(crop, policy) for crop in range(self.num_crops) for policy in self.policies]
        owners = [policy for policy in self.policies for _ in range(self.num_crops)]
        return list(enumerate(owners))

    def view_names(self) -> list[str]:
        """A short name of each view, for logs, matrices and sheets."""
        return [f"{_short(policy)} · crop {crop + 1}" for crop, policy in self.cells()]


def _short(policy: str | None) -> str:
    if policy is None:
        return "drawn"
    return Path(policy).stem if is_strategy_file(policy) else policy


MASSRL_POLICIES = (
    "simclr",
    "randaugment(2,9)",
    "autoaugment(imagenet)",
    "fast-autoaugment(imagenet)",
)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            name="massrl",
            summary="variant D, the released code: 2 crops, each of 4 policies on both, 8 views",
            arrangement="shared",
            num_crops=2,
            policies=MASSRL_POLICIES,
        ),
        Layout(
            name="massrl-4",
            summary="variant D4: 4 policies, each with a crop of its own, 4 views",
            arrangement="independent",
            num_crops=1,
            policies=MASSRL_POLICIES,
        ),
        Layout(
            name="massrl-sampled",
            summary="variant A, the paper's figure: 2 square crops, each with a drawn policy",
            arrangement="sampled",
            num_crops=2,
            policies=MASSRL_POLICIES,
            crop="uniform-side",
            crop_scale=(0.25, 1.0),
        ),
        Layout(
            name="massrl-paired",
            summary="variants B and C: views 1↔2 and 3↔4 only; C with four --views.policies",
            arrangement="independent",
            num_crops=1,
            policies=("simclr", "simclr", "autoaugment(imagenet)", "autoaugment(imagenet)"),
            pairs="paired",
        ),
        Layout(
            name="byol",
            summary="2 crops, BYOL's two asymmetric pipelines",
            arrangement="independent",
            num_crops=1,
            policies=("byol-1", "byol-2"),
        ),
        Layout(
            name="simclr",
            summary="2 crops, SimCLR's pipeline on both",
            arrangement="independent",
            num_crops=2,
            policies=("simclr",),
        ),
    )
}


def layout_named(name: str) -> Layout:
    """Look a layout up by name.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"unknown layout {name!r}: {suggest(name, LAYOUTS)} (--views.layout)")
    return LAYOUTS[name]


def resolve_layout(config: ViewsConfig) -> Layout:
    """The layout a configuration asks for: a named one, with the fields that were set instead.

    Raises:
        ConfigError: if a name is unknown or the parts do not fit.
    """
    changes = {
        "policies": config.policies,
        "num_crops": config.num_crops,
        "crop": config.crop,
        "crop_scale": config.crop_scale,
        "flip_prob": config.flip_prob,
        "fill": config.fill,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    named = layout_named(config.layout)
    layout = replace(named, **given)  # type: ignore[arg-type]
    if layout == named:
        return named
    names = ", ".join(_short(policy) for policy in layout.policies)
    views = f"{layout.num_views} view{'s' * (layout.num_views > 1)}"
    return replace(layout, summary=f"changed: {views} from {names}")
