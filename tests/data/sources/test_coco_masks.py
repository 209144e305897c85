"""Masks in COCO's forms, scaled with their image, against pycocotools and Pillow."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from massrl.data.frames import Frame
from massrl.data.sources.coco_masks import object_mask, run_lengths_box
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
    assert np.array_equal(object_mask(runs, plain), whole)
    assert run_lengths_box(runs) == coco.toBbox(runs).tolist()
    half = Frame((20, 30), (0.5, 0.5))
    points = [side / 2 for side in OUTLINE]
    wanted = coco.decode(coco.frPyObjects([points], 20, 30)[0]).astype(bool)
    assert np.array_equal(object_mask([OUTLINE], half), wanted)
    nearest = Image.fromarray(whole).resize((30, 20), Image.Resampling.NEAREST)
    assert np.array_equal(object_mask(runs, half), np.array(nearest))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e12, -1e12])
def test_polygon_without_end_is_refused(number: float) -> None:
    """Guards the memory that pycocotools takes for every pixel of an outline."""
    pytest.importorskip("pycocotools")
    with pytest.raises(ValueError, match="not finite, or far outside"):
        object_mask([[number, *OUTLINE[1:]]], Frame((40, 60)))
