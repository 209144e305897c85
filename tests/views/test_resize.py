"""Crops brought to size, against Pillow and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.views.test_cpu import photograph

from massrl.views.cpu import resize_crop
from massrl.views.crops import Box


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
