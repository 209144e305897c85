"""Masks in COCO's forms, scaled with their image, against pycocotools and Pillow."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from massrl.data.frames import Frame
from massrl.data.sources.coco_masks import object_mask, run_length_box, run_length_mask
from massrl.errors import ConfigError

OUTLINE = [10.0, 4.0, 50.0, 4.0, 50.0, 20.0, 30.0, 36.0]


def test_mask_without_pycocotools_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a bare ``ImportError``."""
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ConfigError, match=r"pip install 'massrl\[detect\]'"):
        object_mask([[0, 0, 1, 0, 1, 1]], Frame((4, 4)))


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_polygons_are_scaled_and_run_lengths_resized() -> None:
    """Guards masks of files that were shrunk: polygons by their points, run lengths by their pixels."""
    coco = pytest.importorskip("pycocotools.mask")
    runs = coco.frPyObjects([OUTLINE], 40, 60)[0]
    whole = coco.decode(runs).astype(bool)
    plain = Frame((40, 60))
    assert np.array_equal(object_mask([OUTLINE], plain), whole)
    text = {"size": runs["size"], "counts": runs["counts"].decode()}
    assert np.array_equal(object_mask(text, plain), whole)
    assert run_length_box(text) == coco.toBbox(runs).tolist()
    half = Frame((20, 30), (0.5, 0.5))
    points = [side / 2 for side in OUTLINE]
    wanted = coco.decode(coco.frPyObjects([points], 20, 30)[0]).astype(bool)
    assert np.array_equal(object_mask([OUTLINE], half), wanted)
    nearest = Image.fromarray(whole).resize((30, 20), Image.Resampling.NEAREST)
    assert np.array_equal(object_mask(text, half), np.array(nearest))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e12, -1e12])
def test_polygon_without_end_is_refused(number: float) -> None:
    """Guards the memory that pycocotools takes for every pixel of an outline."""
    pytest.importorskip("pycocotools")
    with pytest.raises(ValueError, match="not finite, or far outside"):
        object_mask([[number, *OUTLINE[1:]]], Frame((40, 60)))


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_run_lengths_are_decoded_as_pycocotools_does() -> None:
    """Guards compressed and plain run lengths: long runs, differences below 0, all, nothing, one pixel."""
    coco = pytest.importorskip("pycocotools.mask")
    generator = np.random.default_rng(0)
    masks = [np.zeros((40, 60), bool), np.ones((1, 1), bool), np.ones((700, 900), bool)]
    for _ in range(200):
        mask = np.zeros(generator.integers(1, 400, 2), bool)
        for _ in range(generator.integers(0, 5)):
            (top, bottom), (left, right) = (
                np.sort(generator.integers(0, side + 1, 2)) for side in mask.shape
            )
            mask[top:bottom, left:right] ^= True
        masks.append(mask ^ (generator.random(mask.shape) < generator.choice([0, 0.001, 0.3])))
    for mask in masks:
        runs = coco.encode(np.asfortranarray(mask, np.uint8))
        text = {"size": runs["size"], "counts": runs["counts"].decode()}
        decoded = run_length_mask(text)
        assert decoded.dtype == bool
        assert np.array_equal(decoded, coco.decode(runs))
        assert run_length_box(text) == coco.toBbox(runs).tolist()
        flat = mask.T.reshape(-1)
        changes = np.flatnonzero(np.diff(flat)) + 1
        plain = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
        counts = [0, *plain] if flat[0] else plain
        assert np.array_equal(run_length_mask({"size": list(mask.shape), "counts": counts}), mask)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [10, 12], "counts": []},
        {"size": [10, 12], "counts": ""},
        {"size": [10, 12], "counts": [5]},
        {"size": [10, 12], "counts": [100, 10]},
        {"size": [10, 12], "counts": [-5, 125]},
        {"size": [10, 12], "counts": [0.0, 120.0]},
        {"size": [10, 12], "counts": [[120]]},
        {"size": [10, 12], "counts": [2**64, 120]},
        {"size": [10, 12], "counts": "abc"},
        {"size": [10, 12], "counts": "o" * 5000},
        {"size": [10, 12], "counts": "oooooooooo0"},
        {"size": [10, 12], "counts": "é"},
        {"size": [1_000_000, 1_200_000], "counts": [0, 1_200_000_000_000]},
    ],
)
def test_run_lengths_that_are_broken_are_refused(segmentation: dict[str, object]) -> None:
    """Guards masks of whatever is in memory, and crashes: pycocotools shows the one and has the other.

    To the kind belong run lengths that are empty, too short, too long, negative, no whole numbers, in letters
    that have no meaning, and of a size that no memory holds.
    """
    with pytest.raises((ValueError, OverflowError), match="run lengths|too large"):
        run_length_mask(segmentation)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_points_and_lines_have_no_pixel() -> None:
    """Guards polygons of one or two points, of which pycocotools takes the latter for a box."""
    pytest.importorskip("pycocotools")
    frame = Frame((10, 12))
    assert not object_mask([[1, 1], [2, 2, 9, 9]], frame).any()
    triangle = [1.0, 1, 9, 1, 9, 9]
    assert np.array_equal(
        object_mask([[2, 2, 9, 9], triangle], frame), object_mask([triangle], frame)
    )
