"""Crops against torchvision's ``RandomResizedCrop.get_params``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.registry import CROPS
from massrl.views.crops import Box, inception_crop, on_multiples, reduction_for, uniform_side_crop

RATIO = (3 / 4, 4 / 3)


def boxes(kind: str, height: int, width: int, scale: tuple[float, float], count: int) -> np.ndarray:
    """Int (count, 4): top, left, height, width."""
    streams = [Stream(1, epoch=0, index=i, number=0) for i in range(count)]
    crop = CROPS.parts[kind]
    return np.array([crop(s, height=height, width=width, scale=scale) for s in streams])


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [(240, 320, (0.08, 1.0)), (500, 333, (0.3, 1.0)), (64, 64, (0.2, 0.6))],
)
def test_inception_crop_is_distributed_as_torchvisions(
    height: int, width: int, scale: tuple[float, float]
) -> None:
    """Guards area, ratio and place: a ratio drawn linearly, or a side for an area, fails here."""
    ours = boxes("inception", height, width, scale, 3000).astype(float)
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, list(scale), list(RATIO)) for _ in range(3000)], float
    )
    for measure in (
        lambda b: b[:, 2] * b[:, 3],
        lambda b: b[:, 3] / b[:, 2],
        lambda b: b[:, 0],
        lambda b: b[:, 1],
    ):
        assert stats.ks_2samp(measure(ours), measure(theirs)).pvalue > 0.01


@pytest.mark.parametrize(
    ("height", "width"), [(10, 500), (500, 10), (1, 500), (500, 1), (3, 7), (1, 1), (37, 301)]
)
def test_inception_crop_of_an_extreme_shape_falls_back_as_torchvision_does(
    height: int, width: int
) -> None:
    """Guards the fallback: the largest central box of an allowed ratio, not the whole strip."""
    scale = (1.0, 1.0)  # the whole area never fits an extreme shape, so that every draw falls back
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = RandomResizedCrop.get_params(image, list(scale), list(RATIO))
    assert set(map(tuple, boxes("inception", height, width, scale, 20).tolist())) == {tuple(theirs)}


@pytest.mark.parametrize("kind", list(CROPS))
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (7, 3), (33, 200), (224, 224)]
)
@pytest.mark.parametrize("scale", [(1e-4, 1e-3), (0.08, 1.0), (1.0, 1.0)])
def test_box_of_any_image_lies_within_it(
    kind: str, height: int, width: int, scale: tuple[float, float]
) -> None:
    """Guards against an empty box or one that reaches outside: NumPy would cut it."""
    found = boxes(kind, height, width, scale, 60)
    assert (found[:, 2:] >= 1).all()
    assert (found[:, :2] >= 0).all()
    assert (found[:, 0] + found[:, 2] <= height).all()
    assert (found[:, 1] + found[:, 3] <= width).all()


def test_uniform_side_crop_is_a_square_of_uniform_side() -> None:
    """Guards the paper's crop: side ratio uniform in [0.5, 1], not the area, and aspect ratio 1."""
    found = boxes("uniform-side", 1000, 1400, (0.25, 1.0), 3000)
    assert (found[:, 2] == found[:, 3]).all()
    assert stats.kstest(found[:, 2] / 1000, stats.uniform(0.5, 0.5).cdf).pvalue > 0.01


def test_uniform_side_crop_lies_anywhere_in_the_image() -> None:
    """Guards against a crop that is always central or always in a corner."""
    found = boxes("uniform-side", 400, 700, (0.25, 0.25), 2000)
    for start, room in ((found[:, 0], 200), (found[:, 1], 500)):
        assert stats.kstest(start / room, "uniform").pvalue > 0.001
        assert start.min() == 0
        assert start.max() == room


def test_crop_draws_as_many_numbers_as_it_needs_and_the_same_box_from_them() -> None:
    """Guards against hidden state: equal streams give equal boxes, from NumPy's numbers or ours."""
    for crop in (inception_crop, uniform_side_crop):
        pair = [
            crop(
                Stream(5, epoch=1, index=2, number=0),
                height=90,
                width=70,
                scale=(0.1, 1),
            )
            for _ in range(2)
        ]
        assert pair[0] == pair[1]
        assert isinstance(pair[0], Box)
        assert all(type(number) is int for number in pair[0])


def test_unknown_crop_is_refused_with_a_suggestion() -> None:
    """Guards the message: the flag and the nearest name."""
    with pytest.raises(ConfigError, match=r"unknown crop 'incepton'.*'inception'.*--views\.crop"):
        CROPS.load("incepton")


def test_large_boxes_lie_on_whole_pixels_of_the_smaller_image() -> None:
    """Guards decoding at a reduced scale: exact edges, shapes kept, small boxes left alone."""
    large = [Box(13, 27, 900, 901), Box(5, 6, 1203, 1203)]
    assert reduction_for([(box, 100) for box in large]) == 4
    assert on_multiples(large[0], 4) == Box(12, 24, 900, 900)
    assert on_multiples(large[1], 4) == Box(4, 4, 1200, 1200)
    reductions = [reduction_for([(box, side) for box in large]) for side in (56, 57, 225, 226)]
    assert reductions == [8, 4, 2, 1]
    assert reduction_for([(large[0], 100), (Box(0, 0, 3, 3), 100)]) == 1
    assert (
        reduction_for([(large[0], 56), (Box(0, 0, 200, 200), 25)]) == 4
    )  # a local view is smaller
