"""The CPU executor: resized crops against Pillow and torchvision, and whole plans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.views.conftest import levels_apart, photograph, tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from massrl.registry import LAYOUTS
from massrl.views import cpu
from massrl.views.cpu import apply_steps, crops_of, execute, resize_crop
from massrl.views.crops import Box
from massrl.views.layouts import layout_named
from massrl.views.plan import Planner

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


@pytest.mark.parametrize(
    ("box", "levels"),
    [
        (Box(10, 20, 200, 260), 1),
        (Box(0, 0, 240, 320), 1),
        (Box(3, 5, 97, 60), 1),
        (Box(3, 5, 97, 30), 1),
        (Box(3, 5, 30, 97), 1),
    ],
)
def test_shrunk_crop_equals_pillows_bicubic(box: Box, levels: int) -> None:
    """Guards the published quality: area averaging, or a filter that is not widened, is farther off."""
    image = photograph(240, 320)
    image[::2, ::3] = 255 - image[::2, ::3]  # much detail, so that a filter's shape shows
    top, left, height, width = box
    cut = Image.fromarray(image[top : top + height, left : left + width])
    wanted = np.asarray(cut.resize((48, 48), Image.Resampling.BICUBIC))
    apart = np.abs(resize_crop(image, box, 48).astype(int) - wanted)
    assert apart.max() <= levels
    assert apart.mean() <= 0.5


def test_enlarged_crop_is_near_pillows_bicubic() -> None:
    """Guards place and scale: the kernel of a crop that grows is Pillow's too."""
    image = photograph(240, 320)
    box = Box(100, 40, 60, 90)
    cut = Image.fromarray(image[100:160, 40:130])
    wanted = np.asarray(cut.resize((96, 96), Image.Resampling.BICUBIC)).astype(int)
    apart = np.abs(resize_crop(image, box, 96) - wanted)
    assert apart.max() <= 1
    assert apart.mean() <= 0.3


def test_crop_that_shrinks_one_way_and_grows_the_other_is_antialiased() -> None:
    """Guards long thin crops: plain bicubic skips most of the columns of this pattern."""
    stripes = np.zeros((40, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    made = resize_crop(stripes, Box(0, 0, 40, 400), 50)[:, 2:-2]
    assert np.abs(made.astype(int) - 127.5).max() <= 16


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


def test_crops_of_a_plan_are_written_by_their_number() -> None:
    """Guards the device's way: views find their crop by its place in the batch."""
    image = photograph(90, 110)
    plan = Planner(layout_named("massrl"), side=16, seed=0).plan(
        epoch=0, index=0, height=90, width=110
    )
    out = np.zeros((2, 16, 16, 3), np.uint8)
    crops = crops_of(image, plan, out=out)
    assert sorted(crops) == [0, 1]
    for view in plan.views:
        assert np.array_equal(out[view.crop], resize_crop(image, view.box, 16))
        assert np.array_equal(crops[view.crop], out[view.crop])
