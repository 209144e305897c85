"""The CPU executor against torchvision's functional operations on the same numbers.

Tolerances are in grey levels of 0-255, and each has its reason:

* 0: tables (brightness, posterize, solarize, invert, autocontrast, equalize) are the same arithmetic.
* 1: contrast, saturation, grayscale, sharpness, blur: torchvision cuts fractions off where we round, and
  a mean grey of cut values lies half a level lower; saturation does so twice, hence 2.
* hue: torchvision cuts fractions off on its way back from HSV, we round: 1.
* geometry: bilinear weights are steps of 1/128 pixel: mean 1 inside, and at the border of what came
  in from outside a pixel may go either way, so the mean is taken over all pixels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from massrl.registry import LAYOUTS, OPERATIONS
from massrl.views import cpu
from massrl.views.cpu import apply_steps, execute, resize_crop
from massrl.views.crops import Box
from massrl.views.layouts import layout_named
from massrl.views.operations.affine import Affine
from massrl.views.operations.base import Step, operations
from massrl.views.plan import Planner, ViewPlan


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
    assert apart.max() <= 1


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


# ---------------------------------------------------------------- a battery over all operations

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
    """Guards the table's ``identity``: magnitude 0 of every policy must be the image itself."""
    image = photograph()
    value = float(operations[name].identity or 0.0)
    values = (value, 0.5, 0.5) if name == "cutout" else (value,)
    apart = np.abs(run(image, Step(name, values)).astype(int) - image)
    assert apart.max() == 0


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_operation_on_grey_keeps_it_grey(step: Step) -> None:
    """Guards against a channel that is treated otherwise than the other two."""
    grey = np.repeat(photograph()[:, :, 1:2], 3, axis=2)
    result = run(grey, step)
    if step.operation == "cutout":  # its colour is ImageNet's mean
        result = result[(result != (125, 123, 114)).any(axis=2)].reshape(-1, 1, 3)
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
def test_operation_at_greater_strength_lies_farther_from_the_original(name: str) -> None:
    """Guards the direction of every scale: magnitude 30 must be more than magnitude 9."""
    image = photograph(96, 96).astype(int)
    rest = EXAMPLES[name][1:]  # where a cutout lies
    distances = [
        np.abs(run(photograph(96, 96), Step(name, (v, *rest))) - image).mean()
        for v in LADDERS[name]
    ]
    assert 0 < distances[0] < distances[1] < distances[2]


def test_every_operation_with_a_strength_is_tried_at_several() -> None:
    """Guards the test above against an operation that is added and forgotten."""
    assert {name for name in OPERATIONS if operations[name].has_value} == set(LADDERS)


@pytest.mark.parametrize("name", [*GEOMETRIC_CASES])
def test_geometric_operation_brings_in_the_fill_level(name: str) -> None:
    """Guards ``fill``: a corner from outside has exactly that grey, and no other pixel does."""
    image = np.full((40, 40, 3), 200, np.uint8)
    value = {"rotate": 30.0}.get(name, 0.4)
    for fill in (0, 90):
        result = run(image, Step(name, (value,)), fill=fill)
        corners = {int(result[y, x, 0]) for y in (0, -1) for x in (0, -1)}
        assert fill in corners
        assert 0.02 < (result == fill).mean() < 0.6
        assert result.min() == fill


# ---------------------------------------------------------------- fusing


@pytest.mark.parametrize("seed", range(20))
def test_steps_fused_equal_the_steps_one_by_one(seed: int) -> None:
    """Guards the fused table, and its flush before a step that needs pixels: order must be kept."""
    generator = np.random.default_rng(seed)
    steps = [
        Step("brightness", (1.3,)),
        Step("posterize", (4.0,)),
        Step("solarize", (120.0,)),
        Step("invert"),
        Step("contrast", (0.6,)),
        Step("equalize"),
        Step("saturation", (1.5,)),
        Step("gaussian_blur", (0.8,)),
        Step("identity"),
        Step("rotate", (25.0,)),
        Step("brightness", (0.7,)),
    ]
    order = [steps[i] for i in generator.permutation(len(steps))]
    image = photograph(seed=seed)
    single = image
    for step in order:
        single = run(single, step)
    assert np.array_equal(run(image, *order), single)


def test_flip_comes_before_the_steps() -> None:
    """Guards the meaning of a plan: a shift to the right is to the right of the mirrored crop."""
    image = photograph()
    mirrored = np.ascontiguousarray(image[:, ::-1])
    assert np.array_equal(run(image, flip=True), mirrored)
    for step in STEPS:
        assert np.array_equal(run(image, step, flip=True), run(mirrored, step)) or (
            levels(run(image, step, flip=True), run(mirrored, step)) < 0.5
        ), step


def levels(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance in grey levels."""
    return float(np.abs(one.astype(int) - other).mean())


def test_flip_and_shift_composed_equal_one_after_the_other() -> None:
    """Guards the order of the matrices: shift then flip would move to the other side."""
    image = photograph()
    shifted = np.zeros_like(image)
    shifted[:, 16:] = image[:, ::-1][:, :-16]
    assert np.array_equal(run(image, Step("translate_x", (0.25,)), flip=True), shifted)


def test_two_shifts_compose_exactly() -> None:
    """Guards against half a pixel lost, or interpolation, in a composition of whole pixels."""
    image = photograph()
    wanted = np.full_like(image, 7)
    wanted[8:, 24:] = image[:-8, :-24]
    steps = (
        Step("translate_x", (0.125,)),
        Step("translate_y", (0.125,)),
        Step("translate_x", (0.25,)),
    )
    assert np.array_equal(run(image, *steps, fill=7), wanted)


def test_quarter_turns_equal_numpys() -> None:
    """Guards centre and direction: four quarter turns are the image itself."""
    image = photograph()
    for count in (1, 2, 3):
        turned = run(image, *[Step("rotate", (90.0,))] * count)
        assert levels(turned, np.rot90(image, count)) < 0.05
    assert levels(run(image, *[Step("rotate", (90.0,))] * 4), image) < 0.05


def test_opposite_geometric_steps_composed_are_the_image_itself() -> None:
    """Guards the composition into one warp: nothing is blurred or cut off on the way."""
    image = photograph()
    for name, value in (("shear_x", 0.3), ("translate_y", 0.4), ("rotate", 27.0)):
        there_and_back = run(image, Step(name, (value,)), Step(name, (-value,)))
        assert levels(there_and_back, image) < 0.05, name


@pytest.mark.parametrize(
    "steps", [("shear_x", "rotate"), ("rotate", "shear_y"), ("translate_x", "rotate")]
)
def test_composed_warp_equals_the_warps_one_by_one(steps: tuple[str, str]) -> None:
    """Guards the product of two maps: swapped, a turn about the corner would come out."""
    image = photograph(96, 96)
    first, second = (Step(name, (15.0 if name == "rotate" else 0.1,)) for name in steps)
    apart = np.abs(run(image, first, second).astype(int) - run(run(image, first), second))
    assert apart[20:-20, 20:-20].mean() < 3
    one, other = (
        operations[step.operation].matrix(step.values[0], 96, 96) for step in (first, second)
    )
    assert not np.allclose(other.after(one), one.after(other))


@pytest.mark.parametrize("place", [(0.0, 0.0), (3.0, -7.0), (95.5, 20.25)])
def test_a_map_after_another_is_the_product_of_their_matrices(place: tuple[float, float]) -> None:
    """Guards the six sums of products, beside NumPy's: a swapped pair shows in a turn of a shear."""
    first, second = Affine(0.9, 0.3, -4.0, -0.2, 1.1, 2.5), Affine(-1.0, 0.5, 96.0, 0.25, 0.8, -3.0)

    def matrix(map_: Affine) -> np.ndarray:
        return np.vstack([np.reshape(map_, (2, 3)), [0.0, 0.0, 1.0]])

    wanted = matrix(second) @ matrix(first)
    assert np.allclose(matrix(second.after(first)), wanted)
    x, y = place
    through = matrix(second) @ (matrix(first) @ [x, y, 1.0])
    assert np.allclose(matrix(second.after(first)) @ [x, y, 1.0], through)


def test_cutout_erases_a_square_of_its_side_about_its_centre() -> None:
    """Guards Fast AutoAugment's cutout: the side is a fraction; pushed in or cut off at a border."""
    image = np.zeros((40, 40, 3), np.uint8)
    for x, y, rows, columns in ((0.5, 0.5, (15, 25), (15, 25)), (0.0, 1.0, (35, 40), (0, 10))):
        erased = (run(image, Step("cutout", (0.25, x, y))) == (125, 123, 114)).all(axis=2)
        wanted = np.zeros((40, 40), bool)
        wanted[slice(*rows), slice(*columns)] = True
        assert np.array_equal(erased, wanted)


# ---------------------------------------------------------------- crops


def test_crop_shrunk_from_a_fine_checkerboard_is_grey() -> None:
    """Guards antialiasing: without it, a fine pattern comes out as a coarse one."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image = np.repeat(board[:, :, None], 3, axis=2)
    for side in (32, 50, 127):
        small = resize_crop(image, Box(0, 0, 256, 256), side).astype(int)
        assert np.abs(small - 127.5).max() <= 40
        assert np.abs(small - 127.5).mean() <= 8


@pytest.mark.parametrize(
    "box", [Box(10, 20, 200, 260), Box(0, 0, 240, 320), Box(100, 40, 97, 130), Box(3, 5, 30, 24)]
)
@pytest.mark.parametrize("side", [32, 96])
def test_resized_crop_is_near_torchvisions_antialiased_one(box: Box, side: int) -> None:
    """Guards place and scale of the crop: mean 3 levels; area averaging is not a bicubic filter.

    Half a pixel of shift, a box of swapped sides or a nearest-neighbour resize is more.
    """
    image = photograph(240, 320)
    wanted = F.resized_crop(
        tensor(image), *box, [side, side], interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    assert levels_apart(resize_crop(image, box, side), wanted).mean() <= 3


def test_crop_of_the_views_own_size_is_copied_pixel_by_pixel() -> None:
    """Guards small images: a whole 32 px image as a 32 px view must not be resampled."""
    image = photograph(40, 50)
    assert np.array_equal(resize_crop(image, Box(4, 6, 32, 32), 32), image[4:36, 6:38])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (1, 300), (300, 1)])
def test_views_of_a_tiny_image_have_their_size(height: int, width: int) -> None:
    """Guards the smallest images: all views of every layout, without an error."""
    image = np.full((height, width, 3), 130, np.uint8)
    for layout in map(layout_named, LAYOUTS):
        plan = Planner(layout, side=16, seed=0).plan(epoch=0, index=0, height=height, width=width)
        assert execute(image, plan).shape == (layout.num_views, 16, 16, 3)


# ---------------------------------------------------------------- whole plans


def test_execute_writes_neither_to_the_image_nor_into_another_view() -> None:
    """Guards shared crops: eight views of two crops, each as if it were made alone."""
    image = photograph(120, 160)
    image.flags.writeable = False
    planner = Planner(layout_named("massrl"), side=48, seed=0)
    for index in range(10):
        plan = planner.plan(epoch=0, index=index, height=120, width=160)
        views = execute(image, plan)
        for number, view in enumerate(plan.views):
            crop = resize_crop(image, view.box, 48)
            assert np.array_equal(views[number], apply_steps(crop, view, fill=0))


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_views_of_the_standard_policies_show_something(name: str) -> None:
    """Guards against black, white or constant views, of which a network learns nothing."""
    image = photograph(120, 160, seed=3)
    planner = Planner(layout_named(name), side=32, seed=5)
    made = np.concatenate(
        [execute(image, planner.plan(epoch=0, index=i, height=120, width=160)) for i in range(150)]
    )
    spread = made.reshape(len(made), -1).std(axis=1)
    means = made.reshape(len(made), -1).mean(axis=1)
    assert (spread < 2).mean() <= 0.01
    assert np.median(spread) > 20
    assert ((means < 3) | (means > 252)).mean() <= 0.01
    assert 60 < means.mean() < 190


@pytest.mark.parametrize(("name", "crops"), [("massrl", 2), ("massrl-4", 4), ("simclr", 2)])
def test_crop_is_resized_once_however_many_views_show_it(
    name: str, crops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards speed where eight views share two crops."""
    resized = []

    def watched(*args: Any, **named: Any) -> np.ndarray:
        resized.append(args)
        return resize_crop(*args, **named)

    monkeypatch.setattr(cpu, "resize_crop", watched)
    plan = Planner(layout_named(name), side=32, seed=0).plan(epoch=0, index=0, height=90, width=110)
    execute(photograph(90, 110), plan)
    assert len(resized) == crops


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_views_of_a_plan_are_its_steps_on_its_crops(name: str) -> None:
    """Guards the mirror that goes into the resize: once, and only where no other view shows the crop."""
    image = photograph(90, 110)
    planner = Planner(layout_named(name), side=32, seed=0)
    for index in range(20):
        plan = planner.plan(epoch=0, index=index, height=90, width=110)
        made = plan.cut(execute(image, plan))
        for view, pixels in zip(plan.views, made, strict=True):
            crop = resize_crop(image, view.box, view.side or plan.side)
            assert np.array_equal(pixels, apply_steps(crop, view, fill=plan.fill)), view
