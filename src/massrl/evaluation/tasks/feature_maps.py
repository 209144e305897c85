"""Looking at what a backbone has learnt: maps of its features, nearest images, what moves the features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from massrl.config.evaluation import FeaturesConfig
from massrl.data.source import Source
from massrl.data.splits import balanced_subset
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.embedding import flat_maps, nearest, relative_distance
from massrl.evaluation.features import evaluation_view, frozen, normalised
from massrl.files import write_atomically, write_json
from massrl.images.decode import decode
from massrl.views.layouts import Layout
from massrl.views.view_maker import ViewMaker

# What features are moved by, where no run says which strategies it learnt from.
POLICIES = ("simclr", "randaugment(2,9)", "autoaugment(imagenet)", "fast-autoaugment(imagenet)")


_NEIGHBOURS = 5


_THUMB, _PER_ROW = 48, 25  # pixels, and thumbnails in a row of a sheet


_GALLERY = 96  # pixels


_BATCH = 128


_QUALITY = 85


def look(
    subject: EvaluationContext,
    config: FeaturesConfig,
    folder: Path | None,
    *,
    side: int,
    policies: Sequence[str],
    fill: int,
    seed: int,
) -> dict[str, Any]:
    """Draw maps and galleries into a folder, and measure how far each strategy moves the features.

    Args:
        subject: the backbone and its images; those to predict are shown, by their own labels.
        config: how many images.
        folder: where ``features.json`` and its pictures go; ``None`` writes none.
        side: of the images that the backbone is given, pixels.
        policies: the strategies.
        fill: grey level of what a strategy brings in from outside.
        seed: of the images' choice, of the views and of the maps.

    Returns:
        For ``results.json``: ``invariance``, by what moves the features; ``num_images``.
    """
    moved = invariance(subject, config, side=side, policies=policies, fill=fill, seed=seed)
    if folder is not None:
        _draw(subject, config, folder, seed=seed)
    return {"invariance": moved, "num_images": len(subject.test)}


def invariance(
    subject: EvaluationContext,
    config: FeaturesConfig,
    *,
    side: int,
    policies: Sequence[str],
    fill: int,
    seed: int,
) -> dict[str, float | None]:
    """How far each strategy, a crop and a flip move the features: 0 not at all, 1 as far as another image.

    A strategy is compared with the plain view of the very same crop, so that it alone makes the difference.
    """
    indices = _some(subject.test, config.invariance_images, seed=seed)
    pairs = {
        "crop": Layout(
            name="crop",
            summary="",
            arrangement="independent",
            num_crops=2,
            policies=("weak",),
            flip_prob=0,
        ),
        **{
            policy: Layout(
                name=policy,
                summary="",
                arrangement="shared",
                num_crops=1,
                policies=("weak", policy),
                crop_scale=(0.5, 1.0),
                flip_prob=0,
                fill=fill,
            )
            for policy in policies
        },
    }
    moved = {}
    for done, (name, layout) in enumerate(pairs.items()):
        maker = ViewMaker(layout, size=side, seed=seed)
        views = [
            np.stack([maker(subject.test.read(int(i)), index=int(i)) for i in part])
            for part in _parts(indices)
        ]
        moved[name] = _distance(subject, [(pair[:, 0], pair[:, 1]) for pair in views])
        subject.progress("features", done + 1, len(pairs) + 1)
    whole = [_whole(subject.test, part, side) for part in _parts(indices)]
    moved["flip"] = _distance(subject, [(images, images[:, :, ::-1]) for images in whole])
    return moved


def _distance(
    subject: EvaluationContext, pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> float | None:
    first, second = (
        torch.cat([_features(subject, pair[place]) for pair in pairs]) for place in (0, 1)
    )
    return relative_distance(first, second)


def _parts(indices: np.ndarray) -> list[np.ndarray]:
    return [indices[begin : begin + _BATCH] for begin in range(0, len(indices), _BATCH)]


def _whole(source: Source, indices: np.ndarray, side: int) -> np.ndarray:
    return np.stack([evaluation_view(_pixels(source, int(index)), side) for index in indices])


def _features(subject: EvaluationContext, views: np.ndarray) -> torch.Tensor:
    batch = normalised(
        np.ascontiguousarray(views), subject.test.normalization, device=subject.device
    )
    with frozen(subject.network), torch.inference_mode():
        features: torch.Tensor = subject.network(batch)
    return features.float().cpu()


def _some(source: Source, count: int, *, seed: int) -> np.ndarray:
    if len(source) <= count:
        return np.arange(len(source))
    return balanced_subset(source.labels, count, seed=seed)


def _pixels(source: Source, index: int) -> np.ndarray:
    return decode(source.read(index), name=source.describe(index))


def _draw(subject: EvaluationContext, config: FeaturesConfig, folder: Path, *, seed: int) -> None:
    chosen = _some(subject.test, config.points, seed=seed)
    asked = subject.test_features
    shown = _some(subject.test, config.rows, seed=seed)
    near = nearest(asked.values[shown], subject.train_features.values, count=_NEIGHBOURS).tolist()
    content = {
        "classes": list(subject.test.class_names),
        "maps": {
            name: points.round(4).tolist()
            for name, points in flat_maps(asked.values[chosen], seed=seed).items()
        },
        "labels": asked.labels[chosen].tolist(),
        "names": [Path(subject.test.describe(int(index))).name for index in chosen],
        "rows": [
            {
                "label": int(asked.labels[query]),
                "near": [int(subject.train_features.labels[place]) for place in places],
            }
            for query, places in zip(shown.tolist(), near, strict=True)
        ],
    }
    thumbs = [_thumb(_pixels(subject.test, int(index)), _THUMB) for index in chosen]
    _save_jpeg(_sheet(thumbs, _PER_ROW), folder / "map.jpg")
    rows = [
        [_pixels(subject.test, query), *(_pixels(subject.train, place) for place in places)]
        for query, places in zip(shown.tolist(), near, strict=True)
    ]
    gallery = [_thumb(image, _GALLERY) for row in rows for image in row]
    _save_jpeg(_sheet(gallery, len(rows[0])), folder / "neighbours.jpg")
    write_json(folder / "features.json", content)


def _thumb(image: np.ndarray, side: int) -> np.ndarray:
    """The middle square of an image."""
    short = min(image.shape[:2])
    top, left = ((length - short) // 2 for length in image.shape[:2])
    square = image[top : top + short, left : left + short]
    how = cv2.INTER_AREA if short > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (side, side), interpolation=how))


def _sheet(thumbs: Sequence[np.ndarray], per_row: int) -> np.ndarray:
    side = len(thumbs[0])
    rows = -(-len(thumbs) // per_row)
    sheet = np.full((rows * side, per_row * side, 3), 255, np.uint8)
    for place, thumb in enumerate(thumbs):
        top, left = place // per_row * side, place % per_row * side
        sheet[top : top + side, left : left + side] = thumb
    return sheet


def _save_jpeg(image: np.ndarray, path: Path) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    write_atomically(path, lambda file: file.write(encoded.tobytes()))
