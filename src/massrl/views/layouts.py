"""Layouts: how crops and policies combine into the N views of an image.

Four arrangements cover the published variants and everything between them:

* ``shared``: a few crops, and **every** policy applied to each of them; N = crops × policies;
* ``independent``: every policy has crops of its own; N = crops × policies;
* ``sampled``: each view has a crop of its own and one policy drawn at random; N = crops;
* ``stacked``: as ``shared``, with every further policy applied to the view that the first one has made
  of the same crop, its flip included (DSSL, CVPR 2022); N = crops × policies.

To these may be added views for the target network alone, and small ones for the online network alone.
The named layouts stand in ``massrl.registry.LAYOUTS``; another package adds its own by an entry point of
the group ``massrl.layouts`` that names a ``Layout``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

from massrl.config.sections import ViewsConfig
from massrl.errors import ConfigError, counted
from massrl.registry import CROPS, LAYOUTS
from massrl.views.policies.catalogue import parse_policy, short_name

Arrangement = Literal["shared", "independent", "sampled", "stacked"]
Role = Literal["both", "online", "target"]


class ViewSpec(NamedTuple):
    """One view of a layout, as far as it is the same for every image.

    Attributes:
        policy: the policy of the view; ``None`` if one is drawn at random for each image.
        crop: number of its crop, from 0; views with the same number show the same crop.
        role: which networks see the view: ``"both"``, ``"online"`` or ``"target"``.
        after: number of the view whose flip and operations are applied first; ``None`` for none.
        local: whether it is a small view of a small crop (multi-crop).
    """

    policy: str | None
    crop: int
    role: Role = "both"
    after: int | None = None
    local: bool = False


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the views of one image are made.

    Attributes:
        arrangement: ``shared``, ``independent``, ``sampled`` or ``stacked``.
        num_crops: shared and stacked: crops of the image; independent: crops of each policy; sampled:
            views.
        policies: the policies, as ``parse_policy`` reads them.
        name: name of the layout, for logs.
        summary: one line for lists of layouts.
        crop: kind of crop, of ``massrl.registry.CROPS``.
        crop_scale: smallest and largest area of a crop, as a fraction of the image.
        flip_prob: probability that a view is mirrored left to right.
        pairs: the pairs of views that a method compares by default, as ``methods.pairs`` names them.
        fill: grey level, 0-255, of pixels that a geometric operation brings in from outside.
        target_policy: policy of a further view of each crop, for the target network alone; the
            others are then the online network's alone (weak views for the teacher: ReSSL, arXiv
            2107.09282).
        local_crops: small views of small parts, for the online network alone, each of a crop of its
            own and of the policies in turn (multi-crop: SwAV, arXiv 2006.09882).
        local_size: side of a local view as a fraction of that of the others.
        local_scale: smallest and largest area of a local crop, as a fraction of the image.
        ramp_epochs: epochs in which the policies' strength rises in equal steps to full strength.

    Raises:
        ConfigError: for a policy or a crop that is unknown, or a number out of range.
    """

    arrangement: Arrangement
    num_crops: int
    policies: tuple[str, ...]
    name: str = "unnamed"
    summary: str = ""
    crop: str = "inception"
    crop_scale: tuple[float, float] = (0.08, 1.0)
    flip_prob: float = 0.5
    pairs: str = "all"
    fill: int = 0
    target_policy: str | None = None
    local_crops: int = 0
    local_size: float = 3 / 7
    local_scale: tuple[float, float] = (0.05, 0.25)
    ramp_epochs: float = 0.0

    def __post_init__(self) -> None:
        if not self.policies:
            raise ConfigError("a layout needs at least one policy (--views.policies)")
        for policy in (*self.policies, *filter(None, [self.target_policy])):
            parse_policy(policy)
        CROPS.load(self.crop)
        for name in ("crop_scale", "local_scale"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high <= 1.0:
                raise ConfigError(
                    f"{name.replace('_', ' ')} is [{low:g}, {high:g}], but 0 < low <= high <= 1 is "
                    f"wanted (--views.{name})"
                )
        if not 0.0 < self.local_size <= 1.0:
            raise ConfigError(
                f"size of local views is {self.local_size:g} of the others', but more than 0 and at "
                f"most 1 is wanted (--views.local_size)"
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
        """Number of views of each image."""
        return len(self.view_specs())

    def view_specs(self) -> list[ViewSpec]:
        """Return every view, in batch order: the policies', the target's own, the local ones."""
        role: Role = "both" if self.target_policy is None else "online"
        policies, crops = self.policies, range(self.num_crops)
        if self.arrangement == "sampled":
            views = [ViewSpec(None, crop, role) for crop in crops]
        elif self.arrangement == "independent":
            owners = [policy for policy in policies for _ in crops]
            views = [ViewSpec(policy, crop, role) for crop, policy in enumerate(owners)]
        else:
            stacked = self.arrangement == "stacked"
            views = [
                ViewSpec(policy, crop, role, crop * len(policies) if stacked and place else None)
                for crop in crops
                for place, policy in enumerate(policies)
            ]
        num_crops = 1 + max(view.crop for view in views)
        if self.target_policy is not None:
            views += [ViewSpec(self.target_policy, crop, "target") for crop in range(num_crops)]
        return views + [
            ViewSpec(policies[number % len(policies)], num_crops + number, "online", local=True)
            for number in range(self.local_crops)
        ]

    def sides(self, size: int) -> list[int]:
        """Return height and width of every view, pixels, where a whole one has ``size``."""
        local = max(1, round(self.local_size * size))
        return [local if view.local else size for view in self.view_specs()]

    def view_names(self) -> list[str]:
        """Return a short name of each view, for logs, matrices and sheets."""
        marks = {"both": "", "online": "", "target": " · target"}
        return [
            f"{short_name(view.policy) if view.policy else 'random'} · "
            f"{'local ' if view.local else ''}crop {view.crop + 1}" + marks[view.role]
            for view in self.view_specs()
        ]


def layout_named(name: str) -> Layout:
    """Return a layout of ``massrl.registry.LAYOUTS``.

    Raises:
        ConfigError: if there is none of this name.
    """
    layout: Layout = LAYOUTS.load(name)
    return replace(layout, name=name, summary=LAYOUTS.summary(name))


LAYOUT_FIELDS = tuple(
    item.name for item in fields(ViewsConfig) if item.name in {own.name for own in fields(Layout)}
)
"""The fields of a layout that a configuration may set."""


def resolve_layout(config: ViewsConfig) -> Layout:
    """Return the layout of a configuration: a named one, with the fields that it sets.

    Raises:
        ConfigError: if a name is unknown or the parts do not fit.
    """
    changes = {name: getattr(config, name) for name in LAYOUT_FIELDS}
    given = {key: value for key, value in changes.items() if value is not None}
    named = layout_named(config.layout)
    layout = replace(named, **given)
    if layout == named:
        return named
    names = ", ".join(short_name(policy) for policy in layout.policies)
    summary = f"{counted(layout.num_views, 'view')} from {names}"
    return replace(layout, name=f"{layout.name}, changed", summary=summary)


# ---------------------------------------------------------------- the layouts of the registry

MASSRL_POLICIES = (
    "simclr",
    "randaugment(2,9)",
    "autoaugment(imagenet)",
    "fast-autoaugment(imagenet)",
)
MASSRL = Layout(arrangement="shared", num_crops=2, policies=MASSRL_POLICIES)
MASSRL_4 = Layout(arrangement="independent", num_crops=1, policies=MASSRL_POLICIES)
MASSRL_DIRECTIONAL = Layout(
    arrangement="stacked",
    num_crops=2,
    policies=("simclr", "randaugment(2,9)"),
    pairs="directional",
)
MASSRL_SAMPLED = Layout(
    arrangement="sampled",
    num_crops=2,
    policies=MASSRL_POLICIES,
    crop="uniform-side",
    crop_scale=(0.25, 1.0),
)
MASSRL_PAIRED = Layout(
    arrangement="independent",
    num_crops=1,
    policies=("simclr", "simclr", "autoaugment(imagenet)", "autoaugment(imagenet)"),
    pairs="paired",
)
BYOL = Layout(arrangement="independent", num_crops=1, policies=("byol-1", "byol-2"))
SIMCLR = Layout(arrangement="independent", num_crops=2, policies=("simclr",))
