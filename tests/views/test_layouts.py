"""Layouts: the published variants as configuration."""

from __future__ import annotations

import collections
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tests.conftest import Plugin

from massrl.config.sections import ViewsConfig
from massrl.errors import ConfigError
from massrl.registry import LAYOUTS
from massrl.views.cpu import execute
from massrl.views.crops import Box
from massrl.views.layouts import MASSRL_POLICIES, Layout, layout_named, resolve_layout
from massrl.views.operations.base import operations
from massrl.views.plan import Plan, Planner
from massrl.views.view_maker import ViewMaker

AUTO = "autoaugment(imagenet)"


def plans(layout: Layout | str, count: int, side: int = 64) -> list[Plan]:
    layout = layout_named(layout) if isinstance(layout, str) else layout
    planner = Planner(layout, side=side, seed=4)
    return [planner.plan(epoch=0, index=i, height=480, width=640) for i in range(count)]


def boxes(plan: Plan) -> list[Box]:
    return [view.box for view in plan.views]


def test_layouts_that_the_public_surface_names_are_all_there() -> None:
    """Guards the names that recipes and scripts rely on."""
    assert set(LAYOUTS) == {
        "massrl",
        "massrl-4",
        "massrl-directional",
        "massrl-sampled",
        "massrl-paired",
        "byol",
        "simclr",
    }
    assert all(layout_named(name).name == name for name in LAYOUTS)


def test_massrl_is_variant_d_each_of_four_policies_on_both_shared_crops() -> None:
    """Guards variant D: 8 views of 2 crops, and the identity of the policy that made each."""
    for plan in plans("massrl", 20):
        assert [view.policy for view in plan.views] == [*MASSRL_POLICIES, *MASSRL_POLICIES]
        assert [view.crop for view in plan.views] == [0] * 4 + [1] * 4
        assert len(set(boxes(plan)[:4])) == len(set(boxes(plan)[4:])) == 1
        assert boxes(plan)[0] != boxes(plan)[4]
    assert layout_named("massrl").crop_scale == (0.08, 1.0)
    assert layout_named("massrl").pairs == "all"


def test_massrl_4_is_variant_d4_one_crop_for_each_policy() -> None:
    """Guards variant D4: 4 views, one per policy, each with its own crop."""
    for plan in plans("massrl-4", 20):
        assert tuple(view.policy for view in plan.views) == MASSRL_POLICIES
        assert len(set(boxes(plan))) == 4


def test_massrl_sampled_is_variant_a_one_policy_drawn_for_each_square_crop() -> None:
    """Guards variant A: two square crops of side ratio 0.5 to 1, policies drawn uniformly."""
    drawn = plans("massrl-sampled", 2000)
    counts: collections.Counter[tuple[str, ...]] = collections.Counter()
    for plan in drawn:
        assert len(plan.views) == 2
        assert all(box.height == box.width and 240 <= box.height <= 480 for box in boxes(plan))
        counts[tuple(view.policy for view in plan.views)] += 1
    assert sum(a == b for a, b in map(boxes, drawn)) < 20
    assert len(counts) == 16  # independently for the two views
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_massrl_paired_is_variant_b_and_with_four_policies_variant_c() -> None:
    """Guards variants B and C: 4 views whose pairs are 1↔2 and 3↔4 alone."""
    layout = layout_named("massrl-paired")
    assert layout.pairs == "paired"
    (plan,) = plans(layout, 1)
    assert [view.policy for view in plan.views] == ["simclr", "simclr", AUTO, AUTO]
    assert len(set(boxes(plan))) == 4
    names = ("simclr", AUTO, "fast-autoaugment", "randaugment")
    variant_c = resolve_layout(ViewsConfig(layout="massrl-paired", policies=names))
    assert variant_c.pairs == "paired"
    assert tuple(view.policy for view in plans(variant_c, 1)[0].views) == names


def test_byol_and_simclr_are_two_views_of_their_own_crops() -> None:
    """Guards the baselines: BYOL's asymmetric pair, SimCLR's equal one."""
    for name, policies in (("byol", ["byol-1", "byol-2"]), ("simclr", ["simclr", "simclr"])):
        (plan,) = plans(name, 1)
        assert [view.policy for view in plan.views] == policies
        assert plan.views[0].box != plan.views[1].box


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_every_view_of_every_policy_is_flipped_with_probability_one_half(name: str) -> None:
    """Guards the released code's fault: three of its four policies were never flipped."""
    count = 1000
    flips = [[view.flip for view in plan.views] for plan in plans(name, count)]
    for number, column in enumerate(zip(*flips, strict=True)):
        assert stats.binomtest(sum(column), count).pvalue > 0.001, number
    if layout_named(name).arrangement == "stacked":  # a strong view is made of the standard one
        return
    first, second = list(zip(*flips, strict=True))[:2]
    same = sum(a == b for a, b in zip(first, second, strict=True))
    assert stats.binomtest(same, count).pvalue > 0.001  # each view has a coin of its own


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_layout_counts_and_names_its_views_as_its_plans_have_them(name: str) -> None:
    """Guards loss matrices and sheets: as many distinct places as views, in their order."""
    layout = layout_named(name)
    (plan,) = plans(name, 1)
    assert (
        layout.num_views == len(layout.view_specs()) == len(plan.views) == len(layout.view_names())
    )
    for label, view in zip(layout.view_names(), plan.views, strict=True):
        assert f"crop {view.crop + 1}" in label
        assert layout.arrangement == "sampled" or view.policy in label
    assert len(set(layout.view_names())) == layout.num_views


def test_resolve_layout_lays_every_given_field_over_the_named_layout() -> None:
    """Guards against a flag of --views that is read and then forgotten."""
    config = ViewsConfig(
        layout="massrl",
        policies=("weak", "trivialaugment"),
        num_crops=3,
        crop="uniform-side",
        crop_scale=(0.3, 0.9),
        flip_prob=0.0,
        fill=128,
    )
    layout = resolve_layout(config)
    assert resolve_layout(ViewsConfig(layout="massrl", num_crops=2)) == layout_named("massrl")
    assert layout == replace(
        layout_named("massrl"),
        name="massrl, changed",
        summary="6 views from weak, trivialaugment",
        policies=("weak", "trivialaugment"),
        num_crops=3,
        crop="uniform-side",
        crop_scale=(0.3, 0.9),
        flip_prob=0.0,
        fill=128,
    )
    plan = plans(layout, 1)[0]
    assert len(plan.views) == 6
    assert plan.fill == 128
    assert not any(view.flip for drawn in plans(layout, 50) for view in drawn.views)


def test_resolve_layout_without_changes_is_the_named_layout() -> None:
    """Guards against defaults of the configuration that hide a layout's own."""
    for name in LAYOUTS:
        assert resolve_layout(ViewsConfig(layout=name)) == layout_named(name)


def test_layout_takes_any_number_of_policies_and_crops() -> None:
    """Guards the issue's promise: any number of policies and of views."""
    one = resolve_layout(ViewsConfig(layout="massrl-sampled", num_crops=7, policies=("weak",)))
    assert one.num_views == 7
    many = resolve_layout(ViewsConfig(layout="massrl", num_crops=5, policies=("weak",) * 6))
    assert len(plans(many, 1)[0].views) == 30


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layout": "massrll"}, r"--views.layout is 'massrll': did you mean 'massrl'"),
        ({"policies": ()}, r"at least one policy.*--views\.policies"),
        ({"policies": ("simcl",)}, r"unknown policy 'simcl'.*'simclr'.*--views\.policies"),
        ({"crop": "inceptoin"}, r"--views\.crop is 'inceptoin'.*'inception'"),
        ({"crop_scale": (0.0, 1.0)}, r"\[0, 1\].*--views\.crop_scale"),
        ({"crop_scale": (0.5, 0.2)}, r"\[0.5, 0.2\].*--views\.crop_scale"),
        ({"crop_scale": (0.5, 1.5)}, r"\[0.5, 1.5\].*--views\.crop_scale"),
        ({"num_crops": 0}, r"number of crops is 0.*--views\.num_crops"),
        ({"flip_prob": 1.5}, r"1.5, but 0 to 1.*--views\.flip_prob"),
    ],
)
def test_layout_that_cannot_be_is_refused_in_one_line(
    fields: dict[str, object], message: str
) -> None:
    """Guards the messages: the value, what is accepted, the flag."""
    with pytest.raises(ConfigError, match=message) as caught:
        resolve_layout(ViewsConfig(**fields))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- what later work adds


def drawn(layout: Layout, *, index: int = 0, epoch: int = 0, side: int = 32) -> Plan:
    planner = Planner(layout, side=side, seed=0)
    return planner.plan(epoch=epoch, index=index, height=200, width=240)


def test_strong_view_of_a_stacked_layout_begins_as_its_standard_view() -> None:
    """Guards DSSL's "after": crop, flip and steps of the standard view first, then the strong ones."""
    layout = layout_named("massrl-directional")
    assert [(view.crop, view.after) for view in layout.view_specs()] == [
        (0, None),
        (0, 0),
        (1, None),
        (1, 2),
    ]
    shared = replace(layout, arrangement="shared")
    longer = 0
    for index in range(50):
        standard, strong, second, other = drawn(layout, index=index).views
        for base, view in ((standard, strong), (second, other)):
            assert (view.box, view.flip) == (base.box, base.flip)
            assert view.steps[: len(base.steps)] == base.steps
            longer += len(view.steps) - len(base.steps)
        # Its own part is what the same policy would have drawn alone.
        alone = drawn(shared, index=index).views[1]
        assert strong.steps[len(standard.steps) :] == alone.steps
        assert standard.steps != second.steps
    assert longer > 50


def test_target_has_a_view_of_its_own_of_every_crop() -> None:
    """Guards "weak views for the target": after the others, of the same crops, seen by it alone."""
    layout = replace(layout_named("massrl"), target_policy="weak")
    specs = layout.view_specs()
    assert layout.num_views == 10
    assert [view.role for view in specs] == ["online"] * 8 + ["target"] * 2
    plan = drawn(layout)
    assert [view.box for view in plan.views[8:]] == [plan.views[0].box, plan.views[4].box]
    assert [view.steps for view in plan.views[8:]] == [(), ()]
    assert (
        plan.views[:8] == drawn(layout_named("massrl")).views
    )  # what was there before is as it was
    assert len(set(layout.view_names())) == 10


def test_local_views_are_small_and_of_small_parts() -> None:
    """Guards multi-crop: size, area, role, and pixels that fill their own corner exactly."""
    layout = replace(
        layout_named("byol"), local_crops=4, local_size=0.5, local_scale=(0.05, 0.2), num_crops=1
    )
    assert layout.sides(32) == [32, 32, 16, 16, 16, 16]
    assert [view.role for view in layout.view_specs()] == ["both"] * 2 + ["online"] * 4
    image = np.random.default_rng(0).integers(1, 256, (200, 240, 3), dtype=np.uint8)
    for index in range(20):
        plan = drawn(layout, index=index)
        assert len({view.crop for view in plan.views}) == 6
        for view in plan.views[2:]:
            area = view.box.height * view.box.width / (200 * 240)
            assert 0.04 < area < 0.21
            assert view.side == 16
        views = execute(image, plan, out=np.full((6, 32, 32, 3), 7, np.uint8))
        assert (views[2:, 16:] == 0).all()
        assert (views[2:, :, 16:] == 0).all()
        assert views[2:, :16, :16].std() > 3
        alone = replace(plan, side=16, views=(plan.views[3]._replace(side=None),))
        assert np.array_equal(execute(image, alone)[0], views[3, :16, :16])
        assert [cut.shape[0] for cut in plan.cut(views)] == layout.sides(32)


def test_strength_rises_over_the_ramp_and_stays() -> None:
    """Guards ``ramp_epochs``: weak at first, all of it afterwards, the same draws throughout."""
    policies = ("simclr", "randaugment(2,30)", "trivialaugment")
    layout = replace(layout_named("massrl-4"), policies=policies)
    ramp = replace(layout, ramp_epochs=9.0)

    def strength(epoch: int) -> float:
        distances = []
        for index in range(100):
            for view in drawn(ramp, index=index, epoch=epoch).views:
                for step in view.steps:
                    known = operations[step.operation]
                    if known.identity is not None and known.kind == "geometric":
                        distances.append(abs(step.values[0] - known.identity) / known.high)
        return float(np.mean(distances))

    rising = [strength(epoch) for epoch in (0, 3, 6, 9)]
    assert rising == sorted(rising)
    assert rising[0] == pytest.approx(0.1 * rising[-1], rel=0.3)
    for epoch in (9, 10, 30):
        assert drawn(ramp, epoch=epoch) == drawn(layout, epoch=epoch)
    assert drawn(ramp, epoch=0) != drawn(layout, epoch=0)


PACKAGE = """
from massrl.views.layouts import Layout

TRIPLE = Layout(
    arrangement="shared", num_crops=3, policies=("weak",), summary="three crops, nothing else"
)
NO_LAYOUT = {"num_crops": 3}
"""
ENTRY_POINTS = {
    "massrl.layouts": {"triple": "my_plugin:TRIPLE", "no-layout": "my_plugin:NO_LAYOUT"}
}


def test_layout_of_another_package_is_named_resolved_and_made(plugin: Plugin) -> None:
    """Guards the public way to add a layout: an entry point is all it takes."""
    plugin(PACKAGE, ENTRY_POINTS)
    layout = layout_named("triple")
    assert (layout.name, layout.summary) == ("triple", "three crops, nothing else")
    resolved = resolve_layout(ViewsConfig(layout="triple", policies=("byol-2",)))
    assert (resolved.num_views, resolved.name) == (3, "triple, changed")
    views = ViewMaker("triple", size=8)(np.zeros((9, 9, 3), np.uint8))
    assert views.shape == (3, 8, 8, 3)
    with pytest.raises(ConfigError, match=r"'no-layout' of package my_plugin is no massrl.*Layout"):
        layout_named("no-layout")


def test_layout_of_another_package_is_used_from_the_shell(plugin: Plugin, tmp_path: Path) -> None:
    """Guards a fresh process, from the list of layouts to a sheet of views."""
    plugin(PACKAGE, {"massrl.layouts": {"triple": "my_plugin:TRIPLE"}})
    command = [sys.executable, "-m", "massrl"]
    done = subprocess.run([*command, "policies"], capture_output=True, text=True, check=True)
    assert re.search(r"\n  triple +three crops, nothing else", done.stdout)
    page = tmp_path / "page.html"
    command += ["views", "shapes(count=1)", "--views.layout", "triple", "--out", str(page)]
    subprocess.run(command, capture_output=True, check=True)
    text = page.read_text(encoding="utf-8")
    assert "triple: three crops, nothing else" in text
    assert text.count("<img ") == 3


def test_kind_of_crop_of_another_package_is_drawn(plugin: Plugin) -> None:
    """Guards the public way to add a kind of crop."""
    plugin(
        "from massrl.views.crops import Box\n"
        "def corner(stream, *, height, width, scale):\n"
        "    return Box(0, 0, height // 2, width // 2)\n",
        {"massrl.crops": {"corner": "my_plugin:corner"}},
    )
    layout = resolve_layout(ViewsConfig(layout="simclr", crop="corner"))
    assert set(boxes(drawn(layout))) == {Box(0, 0, 100, 120)}
