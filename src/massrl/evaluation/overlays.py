"""Pictures of detections and segmentations beside the ground truth."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from massrl.data.annotated import IGNORED, Scene

_SIDE = 360  # pixels of a picture's longer side
_GAP = 8
_MIN_SCORE = 0.5
_MAX_BOXES = 60
_TEXT = cv2.FONT_HERSHEY_SIMPLEX
# Okabe and Ito's colours, which colour-blind people can tell apart, light enough for dark letters.
_COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167)],
    np.uint8,
)


def detection_sheet(
    shown: Sequence[tuple[Scene, dict[str, np.ndarray]]], names: Sequence[str]
) -> np.ndarray:
    """Draw images with their true boxes on the left and the detected ones on the right; uint8 RGB.

    Args:
        shown: each image's scene, and ``boxes``, ``labels`` from 1 and ``scores`` of its detections.
        names: of the classes.
    """
    rows = []
    for scene, found in shown:
        sure = found["scores"] >= _MIN_SCORE
        texts = [
            f"{names[label - 1]} {score:.2f}"
            for label, score in zip(found["labels"], found["scores"], strict=True)
        ]
        pictures = (
            _boxed(
                scene.image, scene.boxes, scene.labels, [names[label] for label in scene.labels]
            ),
            _boxed(
                scene.image,
                found["boxes"][sure],
                found["labels"][sure] - 1,
                [text for text, is_sure in zip(texts, sure, strict=True) if is_sure],
            ),
        )
        rows.append(_beside(pictures))
    return _below(rows)


def segmentation_sheet(shown: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Draw images with their true classes in the middle and the predicted ones on the right; uint8 RGB."""
    return _below(
        [
            _beside([_fitted(image), _coloured(image, truth), _coloured(image, predicted)])
            for image, truth, predicted in shown
        ]
    )


def _fitted(image: np.ndarray) -> np.ndarray:
    scale = _SIDE / max(image.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=how))


def _boxed(
    image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, texts: Sequence[str]
) -> np.ndarray:
    picture = _fitted(image)
    scale = picture.shape[1] / image.shape[1]
    placed = list(zip(boxes * scale, labels, texts, strict=True))[:_MAX_BOXES]
    for box, label, text in placed:
        colour = tuple(int(part) for part in _COLOURS[int(label) % len(_COLOURS)])
        left, top, right, bottom = (round(float(side)) for side in box)
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, 2)
        (width, height), _ = cv2.getTextSize(text, _TEXT, 0.35, 1)
        cv2.rectangle(picture, (left, top), (left + width + 3, top + height + 5), colour, -1)
        cv2.putText(
            picture, text, (left + 2, top + height + 2), _TEXT, 0.35, (0, 0, 0), 1, cv2.LINE_AA
        )
    return picture


def _coloured(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draw the image in grey with object pixels in the colour of their class; ignored ones are white."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    picture = np.repeat(grey * 0.5 + 90, 3, axis=2)
    objects = (labels > 0) & (labels != IGNORED)
    picture[objects] = (
        0.35 * grey[objects] + 0.65 * _COLOURS[(labels[objects].astype(int) - 1) % len(_COLOURS)]
    )
    picture[labels == IGNORED] = 255
    return _fitted(picture.clip(0, 255).astype(np.uint8))


def _beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    height = max(len(picture) for picture in pictures)
    parts = []
    for picture in pictures:
        space = ((0, height - len(picture)), (0, _GAP), (0, 0))
        parts.append(np.pad(picture, space, constant_values=255))
    return np.concatenate(parts, axis=1)[:, :-_GAP]


def _below(rows: Sequence[np.ndarray]) -> np.ndarray:
    width = max((row.shape[1] for row in rows), default=1)
    parts = [
        np.pad(row, ((0, _GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(parts)[:-_GAP] if parts else np.full((1, 1, 3), 255, np.uint8)
