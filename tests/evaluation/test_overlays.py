"""Pictures of detections and segmentations beside the ground truth."""

from __future__ import annotations

import numpy as np

from massrl.data.annotated import IGNORED, Scene
from massrl.evaluation.overlays import detection_sheet, segmentation_sheet


def grey(side: int = 90) -> np.ndarray:
    return np.full((side, side, 3), 100, np.uint8)


def changed(picture: np.ndarray) -> float:
    """Return the fraction of pixels that are not the image's grey."""
    return float((picture != 100).any(axis=2).mean())


def test_detections_of_low_scores_are_not_drawn() -> None:
    """Guards a picture against hundreds of boxes that the detector does not believe in."""
    scene = Scene(
        image=grey(),
        boxes=np.array([[10, 10, 50, 50]], np.float32),
        labels=np.array([0]),
        masks=None,
        crowd=np.array([False]),
    )
    sheets = []
    for score in (0.49, 0.51):
        found = {
            "boxes": np.array([[10, 10, 50, 50]], np.float32),
            "labels": np.array([1]),
            "scores": np.array([score]),
        }
        sheets.append(detection_sheet([(scene, found)], ["cell"]))
    unsure, sure = sheets
    assert unsure.shape == sure.shape == (360, 728, 3)
    truth, right = slice(0, 360), slice(368, 728)
    assert np.array_equal(unsure[:, truth], sure[:, truth])
    assert changed(unsure[:, truth]) > 0
    assert changed(unsure[:, right]) == 0
    assert changed(sure[:, right]) > 0


def test_classes_of_pixels_have_colours_and_ignored_ones_are_white() -> None:
    """Guards the truth in the middle against the prediction on the right."""
    truth, predicted = (np.zeros((90, 90), np.uint8) for _ in range(2))
    truth[:45], truth[45:60] = 1, IGNORED
    predicted[:, :45] = 2
    sheet = segmentation_sheet([(grey(), truth, predicted)])
    assert sheet.shape == (360, 3 * 360 + 2 * 8, 3)
    image, middle, right = sheet[:, :360], sheet[:, 368:728], sheet[:, 736:]
    assert changed(image) == 0
    first, background, ignored = middle[20, 20], middle[300, 20], middle[220, 20]
    assert ignored.tolist() == [255, 255, 255]
    assert len(set(background.tolist())) == 1
    assert len(set(first.tolist())) == 3
    assert np.array_equal(right[20, 300], background)
    assert not np.array_equal(right[20, 20], first)


def test_sheet_has_a_row_per_image_and_one_white_pixel_for_none() -> None:
    """Guards images of different sizes, and an empty list."""
    rows = [(grey(), np.zeros((90, 90), np.uint8), np.zeros((90, 90), np.uint8))]
    wide = np.full((45, 90, 3), 100, np.uint8)
    rows.append((wide, np.zeros((45, 90), np.uint8), np.zeros((45, 90), np.uint8)))
    assert segmentation_sheet(rows).shape == (360 + 8 + 180, 1096, 3)
    assert segmentation_sheet([]).shape == (1, 1, 3)
