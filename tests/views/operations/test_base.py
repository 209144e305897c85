"""What holds for every operation, of massrl's own and of other packages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import Plugin
from tests.views.conftest import EXAMPLES, photograph, run

from massrl.errors import ConfigError
from massrl.registry import OPERATIONS
from massrl.views.cpu import execute, resize_crop
from massrl.views.device_view_maker import DeviceViewMaker
from massrl.views.drawing.policy_chart import draw_policy_chart, operation_ranges
from massrl.views.layouts import Layout
from massrl.views.operations.affine import Affine
from massrl.views.operations.base import LEVELS, Operation, Step, operations
from massrl.views.operations.cutout import CUTOUT_COLOUR
from massrl.views.policies.catalogue import parse_policy
from massrl.views.view_maker import ViewMaker

STEPS = [Step(name, values) for name, values in EXAMPLES.items()]
# On grey, colour operations have nothing to do; all others change a photograph.
COLOUR_ONLY = {"saturation", "hue", "grayscale"}


def test_examples_hold_every_operation() -> None:
    """Guards the battery itself: an operation that is added must be added here."""
    assert set(EXAMPLES) == set(OPERATIONS)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_operation_is_deterministic_and_leaves_its_input_alone(step: Step) -> None:
    """Guards the shared crop: a step that wrote to it would change the views after it."""
    image = photograph()
    image.flags.writeable = False
    before = image.copy()
    first, second = run(image, step), run(image, step)
    assert np.array_equal(first, second)
    assert np.array_equal(image, before)
    assert (first.shape, first.dtype) == (image.shape, np.uint8)
    assert np.array_equal(first, image) == (step.operation == "identity")


@pytest.mark.parametrize(
    "name", [name for name in OPERATIONS if operations[name].identity is not None]
)
def test_operation_at_its_identity_value_changes_nothing(name: str) -> None:
    """Guards ``identity``: magnitude 0 of every policy must be the image itself."""
    image = photograph()
    values = (float(operations[name].identity or 0.0), *[0.5] * operations[name].num_extra)
    apart = np.abs(run(image, Step(name, values)).astype(int) - image)
    assert apart.max() == 0


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_operation_on_grey_keeps_it_grey(step: Step) -> None:
    """Guards against a channel that is treated otherwise than the other two."""
    grey = np.repeat(photograph()[:, :, 1:2], 3, axis=2)
    result = run(grey, step)
    if step.operation == "cutout":  # its colour is ImageNet's mean
        result = result[(result != CUTOUT_COLOUR).any(axis=2)].reshape(-1, 1, 3)
    assert (np.ptp(result.astype(int), axis=2) <= 1).all()
    if step.operation in COLOUR_ONLY:
        assert np.abs(result.astype(int) - grey).max() <= 1


@pytest.mark.parametrize("step", STEPS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (2, 1), (3, 3)])
def test_operation_on_a_tiny_image_works(step: Step, shape: tuple[int, int]) -> None:
    """Guards the borders: kernels wider than the image, histograms of one pixel."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert run(image, step, flip=True).shape == image.shape


LADDERS = {
    **dict.fromkeys(("shear_x", "shear_y"), (0.05, 0.15, 0.3)),
    **dict.fromkeys(("translate_x", "translate_y"), (0.05, 0.15, 0.3)),
    "rotate": (3.0, 10.0, 30.0),
    **dict.fromkeys(("brightness", "contrast", "saturation", "sharpness"), (0.9, 0.6, 0.2)),
    "hue": (0.05, 0.15, 0.4),
    "posterize": (6.0, 4.0, 2.0),
    "solarize": (220.0, 128.0, 40.0),
    "gaussian_blur": (0.5, 1.5, 5.0),
    "cutout": (0.1, 0.2, 0.4),
}


@pytest.mark.parametrize("name", LADDERS)
def test_operation_at_greater_strength_is_farther_from_the_original(name: str) -> None:
    """Guards the direction of every scale: magnitude 30 must be more than magnitude 9."""
    image = photograph(96, 96).astype(int)
    rest = EXAMPLES[name][1:]  # the place of a cutout
    distances = [
        np.abs(run(photograph(96, 96), Step(name, (v, *rest))) - image).mean()
        for v in LADDERS[name]
    ]
    assert 0 < distances[0] < distances[1] < distances[2]


def test_every_operation_with_a_strength_is_tried_at_several() -> None:
    """Guards the test above against an operation that is added and forgotten."""
    assert {name for name in OPERATIONS if operations[name].has_value} == set(LADDERS)


# ---------------------------------------------------------------- words


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_step_is_described_by_its_label_and_its_value(name: str) -> None:
    """Guards a new operation without words, or one whose value is not shown."""
    known = operations[name]
    value = (known.low + known.high) / 2 + (known.high - known.low) / 8
    step = Step(name, (value, *[0.25] * known.num_extra) if known.has_value else ())
    label, *amount = step.words()
    assert label == known.label
    assert len(amount) == int(known.has_value)
    assert bool(re.search(r"\d", str(step))) == known.has_value
    assert str(step) == " ".join([label, *amount])
    assert str(step).isprintable()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step("rotate", (-26.666,)), "rotate −26.7°"),
        (Step("rotate", (-0.04,)), "rotate 0.0°"),
        (Step("brightness", (1.284,)), "brightness ×1.28"),
        (Step("hue", (0.0213,)), "hue +0.021 turns"),
        (Step("hue", (-0.0001,)), "hue 0.000 turns"),
        (Step("translate_x", (-0.1361,)), "shift x −13.6 %"),
        (Step("translate_y", (0.0,)), "shift y 0.0 %"),
        (Step("shear_y", (0.09,)), "shear y +0.09 px/px"),
        (Step("posterize", (4.0,)), "posterize 4 bits"),
        (Step("solarize", (128.0,)), "solarize from 128 up"),
        (Step("gaussian_blur", (1.234,)), "blur σ 1.23 px"),
        (Step("cutout", (0.2, 0.42, 0.875)), "cutout 20 % at 42 %, 88 %"),
        (Step("grayscale"), "grey"),
        (Step("invert"), "invert"),
    ],
)
def test_description_of_a_step_has_unit_sign_and_digits(step: Step, words: str) -> None:
    """Guards what sheets, charts and plans print: a unit, a sign or a digit that changes."""
    assert str(step) == words


# ---------------------------------------------------------------- operations that cannot be


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "geometric"}, "odd of kind geometric has no matrix"),
        ({"kind": "lookup", "cpu": print}, "odd of kind lookup has no table"),
        ({"kind": "pixels", "cpu": print}, "odd of kind pixels has no cpu and device"),
        ({"kind": "none", "low": 2.0, "high": 1.0}, "odd: values from 2 to 1"),
        ({"kind": "none", "low": float("nan")}, "odd: values from nan to 0"),
    ],
)
def test_operation_that_no_executor_could_follow_is_refused(
    fields: dict[str, Any], message: str
) -> None:
    """Guards another package's author against an error in the middle of a run."""
    with pytest.raises(ConfigError, match=message):
        Operation(label="odd", **fields)


def test_operation_of_each_kind_needs_its_own_function_only() -> None:
    """Guards the refusals above: these are whole."""
    Operation(kind="geometric", label="a", matrix=lambda v, h, w: Affine(1, 0, 0, 0, 1, 0))
    Operation(kind="lookup", label="a", table=lambda value: LEVELS)
    Operation(kind="pixels", label="a", compile=lambda step, height, width: [])


# ---------------------------------------------------------------- another package's operations

PACKAGE = '''
import numpy as np

from massrl.views.operations.affine import Affine
from massrl.views.operations.base import LEVELS, Operation
from massrl.views.policies.base import Draw, Group


def _darken(image, out, factor):
    out[...] = np.floor(image * np.float32(factor))


def _darken_batch(images, values):
    import torch

    return (images * values.view(-1, 1, 1, 1)).to(torch.uint8)


darken = Operation(
    kind="pixels", label="darken", amount="×{:.2f}", summary="factor below one", low=0.0, high=1.0,
    identity=1.0, cpu=_darken, device=_darken_batch,
)
halve = Operation(kind="lookup", label="halve", table=lambda value: LEVELS // 2)
stretch = Operation(
    kind="geometric", label="stretch", low=1.0, high=4.0, identity=1.0, integer=True,
    matrix=lambda value, height, width: Affine(value, 0.0, 0.0, 0.0, 1.0, 0.0),
)
no_operation = object()


def dark(low: float = 0.25):
    """Darken by a factor, halve and stretch."""
    return Group(members=(
        Draw(operation="darken", low=low, high=low),
        Draw(operation="halve"),
        Draw(operation="stretch", low=2.0, high=2.9),
    ))
'''
ENTRY_POINTS = {
    "massrl.operations": {
        name: f"my_plugin:{name}" for name in ("darken", "halve", "stretch", "no_operation")
    },
    "massrl.policies": {"dark": "my_plugin:dark"},
}


def test_operation_of_another_package_is_drawn_and_executed_on_cpu_and_device(
    plugin: Plugin,
) -> None:
    """Guards the public way to add an operation: drawn by a policy, planned, and made by both executors."""
    plugin(PACKAGE, ENTRY_POINTS)
    layout = Layout(
        arrangement="independent", num_crops=1, policies=("dark(0.5)",), flip_prob=0.0, fill=9
    )
    image = photograph(40, 50)
    plan = ViewMaker(layout, size=32).plan(height=40, width=50)
    (view,) = plan.views
    assert view.steps == (Step("darken", (0.5,)), Step("halve"), Step("stretch", (2.0,)))
    assert [str(step) for step in view.steps] == ["darken ×0.50", "halve", "stretch 2"]
    crop = resize_crop(image, view.box, 32)
    made = execute(image, plan)[0]
    assert np.array_equal(run(crop, *view.steps[:2]), crop // 2 // 2)
    assert np.array_equal(made, run(crop // 2 // 2, view.steps[2], fill=9))
    on_device = DeviceViewMaker(layout, size=32)(image)[0]
    assert np.abs(made.astype(int) - on_device).mean() <= 0.25  # a warp's samples: see test_device
    assert OPERATIONS.summary("darken") == "factor below one"


def test_operation_of_another_package_is_charted_and_weakened(plugin: Plugin) -> None:
    """Guards charts and ``ramp_epochs``: they know an operation by its attributes alone."""
    plugin(PACKAGE, ENTRY_POINTS)
    found = {item.operation: item for item in operation_ranges(parse_policy("dark"), side=32)}
    assert {name: item.values for name, item in found.items()} == {
        "darken": (0.25,),
        "halve": (),
        "stretch": (2.0,),
    }
    chart = draw_policy_chart(photograph(32, 32), list(found.values()), title="dark")
    assert chart.shape[0] > 128
    layout = Layout(arrangement="independent", num_crops=1, policies=("dark",), ramp_epochs=3.0)
    (view,) = ViewMaker(layout, size=8).plan(epoch=1, height=9, width=9).views
    assert view.steps[0] == Step("darken", (0.625,))
    assert view.steps[-1] == Step("stretch", (2.0,))  # a whole number


def test_entry_point_that_is_no_operation_is_refused_where_it_is_drawn(plugin: Plugin) -> None:
    """Guards the message: the name, not an AttributeError of a worker."""
    plugin(PACKAGE, ENTRY_POINTS)
    from massrl.views.policies.base import Draw

    with pytest.raises(
        ConfigError, match=r"'no_operation' of package my_plugin is no massrl.*Operation"
    ):
        Draw(operation="no_operation")


def test_operation_of_another_package_is_used_from_the_shell(plugin: Plugin, tmp_path: Any) -> None:
    """Guards a fresh process: a user's own YAML policy names the new operation."""
    plugin(PACKAGE, ENTRY_POINTS)
    (tmp_path / "mine.yaml").write_text("- {operation: darken, range: [0.2, 0.4]}\n")
    command = [sys.executable, "-m", "massrl", "views", "shapes(count=2)", "--count", "1"]
    command += [
        "--views.policies",
        f"[{tmp_path / 'mine.yaml'}]",
        "--out",
        str(tmp_path / "a.html"),
    ]
    subprocess.run(command, env=os.environ, check=True, capture_output=True, text=True)
    assert "<dt>darken</dt><dd>×0." in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_device_form_of_another_package_gets_rows_of_numbers(plugin: Plugin) -> None:
    """Guards a batch in which each view has a value of its own."""
    plugin(PACKAGE, ENTRY_POINTS)
    device = operations["darken"].device
    assert device is not None
    images = torch.full((3, 2, 2, 3), 100, dtype=torch.uint8)
    made = device(images, torch.tensor([[0.1], [0.5], [1.0]]))
    assert made[:, 0, 0, 0].tolist() == [10, 50, 100]
