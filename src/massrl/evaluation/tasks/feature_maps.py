"""Feature report: maps of the features, nearest neighbours, and their invariance to each policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from massrl.config.evaluation import EvaluateConfig, FeaturesConfig
from massrl.data.source import Source
from massrl.data.splits import balanced_subset
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.embedding import flat_maps, nearest, relative_distance
from massrl.evaluation.features import evaluation_view, frozen, normalize_images
from massrl.evaluation.task import Task, TaskResult
from massrl.files import drawn_again, marked, write_atomically, write_json
from massrl.images.reading import read_pixels
from massrl.views.layouts import MASSRL_POLICIES, Layout
from massrl.views.view_maker import ViewMaker

THUMBNAIL = 48  # pixels, on the sheet of the maps
THUMBNAILS_PER_ROW = 25
TILE = 96  # pixels, on the sheet of the nearest neighbours
_NUM_NEIGHBOURS = 5
_BATCH_SIZE = 128
_JPEG_QUALITY = 85


def invariance(
    context: EvaluationContext,
    config: FeaturesConfig,
    *,
    policies: Sequence[str],
    fill: int,
    seed: int,
) -> dict[str, float | None]:
    """Return how far a crop, a flip and each policy move the features of an image.

    A policy is compared with the plain view of the very same crop, so that it alone makes the difference.

    Args:
        context: the backbone and its images; the test images are used.
        config: how many images.
        policies: names of the policies.
        fill: grey level of the pixels that a policy brings in from outside the image.
        seed: of the choice of images and of the views.

    Returns:
        ``relative_distance`` by ``crop``, by policy and by ``flip``: 0 for invariant features, 1 where the
        views of an image are as far apart as different images.
    """
    indices = _subset(context.test, config.invariance_images, seed=seed)
    layouts = {"crop": _crop_layout(), **{name: _policy_layout(name, fill) for name in policies}}
    distances = {}
    for done, (name, layout) in enumerate(layouts.items()):
        maker = ViewMaker(layout, size=context.size, seed=seed)
        views = [
            np.stack([maker(context.test.read(int(i)), index=int(i)) for i in batch])
            for batch in _batches(indices)
        ]
        distances[name] = _distance(context, [(pair[:, 0], pair[:, 1]) for pair in views])
        context.progress("invariance", done + 1, len(layouts) + 1)
    whole = [_centre_views(context.test, batch, context.size) for batch in _batches(indices)]
    distances["flip"] = _distance(context, [(images, images[:, :, ::-1]) for images in whole])
    return distances


def _crop_layout() -> Layout:
    """Return a layout of two plain crops."""
    return Layout(
        name="crop",
        summary="",
        arrangement="independent",
        num_crops=2,
        policies=("weak",),
        flip_prob=0,
    )


def _policy_layout(policy: str, fill: int) -> Layout:
    """Return a layout of one crop as it is and with a policy."""
    return Layout(
        name=policy,
        summary="",
        arrangement="shared",
        num_crops=1,
        policies=("weak", policy),
        crop_scale=(0.5, 1.0),
        flip_prob=0,
        fill=fill,
    )


def _distance(
    context: EvaluationContext, pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> float | None:
    first, second = (
        torch.cat([_features(context, pair[number]) for pair in pairs]) for number in (0, 1)
    )
    return relative_distance(first, second)


def _batches(indices: np.ndarray) -> list[np.ndarray]:
    return [indices[begin : begin + _BATCH_SIZE] for begin in range(0, len(indices), _BATCH_SIZE)]


def _centre_views(source: Source, indices: np.ndarray, side: int) -> np.ndarray:
    return np.stack([evaluation_view(_pixels(source, int(index)), side) for index in indices])


def _features(context: EvaluationContext, views: np.ndarray) -> torch.Tensor:
    batch = normalize_images(
        np.ascontiguousarray(views), context.test.normalization, device=context.device
    )
    with frozen(context.network), torch.inference_mode():
        features: torch.Tensor = context.network(batch)
    return features.float().cpu()


def _subset(source: Source, count: int, *, seed: int) -> np.ndarray:
    if len(source) <= count:
        return np.arange(len(source))
    return balanced_subset(source.labels, count, seed=seed)


def _pixels(source: Source, index: int) -> np.ndarray:
    return read_pixels(source, index)


def write_feature_report(
    context: EvaluationContext, config: FeaturesConfig, folder: Path, *, seed: int
) -> None:
    """Write ``features.json``, ``map.jpg`` and ``neighbours.jpg`` into a folder.

    Test images are shown, with their nearest training images.

    Args:
        context: the backbone and its images.
        config: how many images.
        folder: where to write.
        seed: of the choice of images and of the maps.
    """
    mapped = _subset(context.test, config.points, seed=seed)
    features = context.test_features
    queries = _subset(context.test, config.rows, seed=seed)
    near = nearest(
        features.values[queries], context.train_features.values, count=_NUM_NEIGHBOURS
    ).tolist()
    content = {
        "classes": list(context.test.class_names),
        "maps": {
            name: points.round(4).tolist()
            for name, points in flat_maps(features.values[mapped], seed=seed).items()
        },
        "labels": features.labels[mapped].tolist(),
        "names": [Path(context.test.describe(int(index))).name for index in mapped],
        "rows": [
            {
                "label": int(features.labels[query]),
                "near": [int(context.train_features.labels[index]) for index in indices],
            }
            for query, indices in zip(queries.tolist(), near, strict=True)
        ],
    }
    thumbnails = [_square(_pixels(context.test, int(index)), THUMBNAIL) for index in mapped]
    _save_jpeg(_sheet(thumbnails, THUMBNAILS_PER_ROW), folder / "map.jpg")
    rows = [
        [_pixels(context.test, query), *(_pixels(context.train, index) for index in indices)]
        for query, indices in zip(queries.tolist(), near, strict=True)
    ]
    tiles = [_square(image, TILE) for row in rows for image in row]
    _save_jpeg(_sheet(tiles, len(rows[0])), folder / "neighbours.jpg")
    write_json(folder / "features.json", content)


def _square(image: np.ndarray, side: int) -> np.ndarray:
    """Resize the central square of an image."""
    short = min(image.shape[:2])
    top, left = ((length - short) // 2 for length in image.shape[:2])
    square = image[top : top + short, left : left + short]
    how = cv2.INTER_AREA if short > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (side, side), interpolation=how))


def _sheet(squares: Sequence[np.ndarray], per_row: int) -> np.ndarray:
    side = len(squares[0])
    rows = -(-len(squares) // per_row)
    sheet = np.full((rows * side, per_row * side, 3), 255, np.uint8)
    for number, square in enumerate(squares):
        top, left = number // per_row * side, number % per_row * side
        sheet[top : top + side, left : left + side] = square
    return sheet


def _save_jpeg(image: np.ndarray, path: Path) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    content = marked(encoded.tobytes(), "evaluate")
    write_atomically(path, lambda file: file.write(content))


class FeatureMaps(Task):
    """Maps of the features, nearest neighbours, and the invariance to each policy."""

    title = "invariance of the features"
    settings = ("features", "seed")
    headline = ()
    files = ("/features.json", "/map.jpg", "/neighbours.jpg")

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Measure invariance to the run's policies, and draw maps and neighbours."""
        views = context.run.views if context.run is not None else None
        distances = invariance(
            context,
            config.features,
            policies=(views.policies if views is not None else None) or MASSRL_POLICIES,
            fill=(views.fill if views is not None else None) or 0,
            seed=config.seed,
        )
        folder = context.output(self.name)
        if folder is not None:
            with drawn_again(folder.name):
                write_feature_report(context, config.features, folder, seed=config.seed)
        metrics = {"invariance": distances, "num_images": len(context.test)}
        settings = {} if folder is None else {"folder": folder.name}
        yield TaskResult(name=self.name, metrics=metrics, settings=settings)
