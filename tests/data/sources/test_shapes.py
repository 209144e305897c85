"""The embedded data set: scenes, their classes, boxes, masks and difficulty."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest

from massrl.data.catalogue import open_objects, open_source
from massrl.data.sources.base import parse_spec
from massrl.data.sources.shapes import SHAPES_NORMALIZATION, ShapesKind, ShapesSource, _coverage
from massrl.errors import ConfigError, DataError


def test_scene_does_not_depend_on_count_process_or_order() -> None:
    """Guards an image that depends on anything but split, seed and index."""
    first, second = ShapesSource(30), ShapesSource(50)
    second.scene(3)
    assert np.array_equal(first.scene(17).image, second.scene(17).image)
    assert first.labels.tolist() == second.labels[:30].tolist()
    copy = pickle.loads(pickle.dumps(first))
    assert np.array_equal(copy.read(17), first.scene(17).image)


def test_scene_differs_with_seed_index_and_split() -> None:
    """Guards validation images that are the training images under another name."""
    images = [
        ShapesSource(20).read(5),
        ShapesSource(20).read(6),
        ShapesSource(20, seed=1).read(5),
        ShapesSource(20, split="val").read(5),
    ]
    assert len({image.tobytes() for image in images}) == 4
    train = {ShapesSource(200).read(index).tobytes() for index in range(200)}
    val = ShapesSource(200, split="val")
    assert not train.intersection(val.read(index).tobytes() for index in range(200))


def test_labels_are_balanced_for_any_count() -> None:
    """Guards classes that some seeds hardly have."""
    assert np.bincount(ShapesSource(4000).labels).tolist() == [400] * 10
    counts = np.bincount(ShapesSource(37, seed=8).labels, minlength=10)
    assert set(counts.tolist()) == {3, 4}
    order = ShapesSource(40).labels.reshape(4, 10)
    assert len({tuple(row) for row in order}) == 4


@pytest.mark.parametrize("objects", [1, 4])
@pytest.mark.parametrize("size", [16, 32, 96])
def test_scene_has_boxes_and_masks_that_fit_the_image(size: int, objects: int) -> None:
    """Guards boxes off by a pixel, overlapping masks, and a label that is not the largest's."""
    source = ShapesSource(30, size, objects=objects)
    numbers = set()
    for index in range(30):
        scene = source.scene(index)
        numbers.add(len(scene.labels))
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == np.uint8
        assert scene.masks.dtype == bool
        assert scene.masks.sum(axis=0).max() == 1
        assert scene.labels[0] == source.labels[index]
        areas = scene.masks.sum(axis=(1, 2))
        assert areas.tolist() == sorted(areas.tolist(), reverse=True)
        assert areas.min() > 0
        for box, mask in zip(scene.boxes.astype(int), scene.masks, strict=True):
            inside = np.zeros_like(mask)
            inside[box[1] : box[3], box[0] : box[2]] = True
            assert not (mask & ~inside).any()
            assert mask[box[1]].any()
            assert mask[box[3] - 1].any()
            assert mask[:, box[0]].any()
            assert mask[:, box[2] - 1].any()
    assert numbers == ({1} if objects == 1 else {1, 2, 3, 4})


def test_masks_cover_what_is_painted() -> None:
    """Guards masks mirrored or shifted against the image, by the brightness inside and outside."""
    source = ShapesSource(200, 64)
    signs = []
    for index in range(200):
        scene = source.scene(index)
        grey = scene.image.astype(float) @ [0.299, 0.587, 0.114]
        inside, outside = grey[scene.masks[0]].mean(), grey[~scene.masks[0]].mean()
        assert abs(inside - outside) > 25
        signs.append(inside > outside)
    assert (
        60 < sum(signs) < 140
    )  # brighter and darker objects alike, or brightness would tell the class


@pytest.mark.parametrize("size", [32, 96])
def test_coverage_is_the_share_of_each_pixel(size: int) -> None:
    """Guards images and boxes shifted together, and edges without antialiasing."""
    corners = np.array([(8.0, 12.0), (20.0, 12.0), (20.0, 24.5), (8.0, 24.5)]) / size
    cover = _coverage([corners], size=size)
    rows, columns = np.indices((size, size)) + 0.5
    area, outline = 12 * 12.5, 2 * (12 + 12.5)
    assert area < cover.sum() < area + 0.3 * outline  # OpenCV also fills the pixels on the edge
    assert (cover * columns).sum() / cover.sum() == pytest.approx(14.0, abs=0.3)
    assert (cover * rows).sum() / cover.sum() == pytest.approx(18.25, abs=0.3)
    assert (cover[13:24, 9:19] == 1).all()
    assert (cover[:11] == 0).all()


def test_single_objects_have_the_documented_size() -> None:
    """Guards objects too small to see at 32 pixels, or cut by the edge."""
    source = ShapesSource(200)
    extents = []
    for index in range(200):
        x1, y1, x2, y2 = source.scene(index).boxes[0]
        extents.append(max(x2 - x1, y2 - y1) / 32)
        assert min(x1, y1) >= 0
        assert max(x2, y2) <= 32
    assert min(extents) > 0.33
    assert max(extents) < 0.68
    assert np.ptp(extents) > 0.15


def test_class_is_not_told_by_raw_pixels_or_colours() -> None:
    """Guards colour, place or size that tell the class, so that an untrained network succeeds."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    train, val = ShapesSource(2000), ShapesSource(500, split="val")
    pixels = [
        np.stack([part.read(index) for index in range(len(part))]) / 255.0 for part in (train, val)
    ]
    near = KNeighborsClassifier(20, metric="cosine")
    near.fit(pixels[0].reshape(2000, -1), train.labels)
    assert near.score(pixels[1].reshape(500, -1), val.labels) < 0.36  # 0.33 now; chance is 0.10
    means = [
        np.concatenate([part.mean(axis=(1, 2)), part.std(axis=(1, 2))], axis=1) for part in pixels
    ]
    colours = LogisticRegression(max_iter=1000).fit(means[0], train.labels)
    assert colours.score(means[1], val.labels) < 0.18


def test_normalization_is_that_of_the_scenes() -> None:
    """Guards constants that were measured before the scenes changed."""
    source = ShapesSource(1000)
    pixels = np.stack([source.read(index) for index in range(1000)]) / 255.0
    assert np.allclose(pixels.mean(axis=(0, 1, 2)), SHAPES_NORMALIZATION.mean, atol=0.015)
    assert np.allclose(pixels.std(axis=(0, 1, 2)), SHAPES_NORMALIZATION.std, atol=0.01)


def test_image_that_was_read_belongs_to_the_caller() -> None:
    """Guards a caller that writes into the cache."""
    source = ShapesSource(3)
    image = source.read(1)
    assert np.array_equal(image, source.scene(1).image)
    image[:] = 0
    assert source.read(1).any()


def test_set_too_large_to_cache_is_rendered_at_each_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards a cache that fills the memory."""
    monkeypatch.setattr("massrl.data.sources.shapes._CACHE_BYTES", 1000)
    source = ShapesSource(3)
    assert np.array_equal(source.read(1), ShapesSource(3).scene(1).image)
    assert source._cache is None


def test_reading_takes_a_few_milliseconds_at_most() -> None:
    """Guards a renderer that training waits for: 0.3 ms is usual at 32 pixels."""
    source = ShapesSource(300)
    times = []
    for index in range(300):
        start = time.perf_counter()
        source.read(index)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 3e-3


def test_fingerprint_changes_with_every_option() -> None:
    """Guards results on different scenes that look comparable."""
    sources = [
        ShapesSource(10), ShapesSource(11), ShapesSource(10, 33), ShapesSource(10, seed=1),
        ShapesSource(10, objects=2), ShapesSource(10, split="val"),
    ]  # fmt: skip
    assert len({source.fingerprint() for source in sources}) == 6
    assert ShapesSource(10).fingerprint() == sources[0].fingerprint()


def test_index_out_of_range_is_refused() -> None:
    """Guards an image without a label."""
    for index in (-1, 10):
        with pytest.raises(IndexError):
            ShapesSource(10).scene(index)


def test_spec_with_arguments_sets_them() -> None:
    """Guards options that are accepted and ignored."""
    source = open_source("shapes(count=12, size=24, seed=5, objects=3)", split="val")
    assert isinstance(source, ShapesSource)
    assert (len(source), source.size, source.seed, source.objects) == (12, 24, 5, 3)
    assert source.name == "shapes/val"
    assert len(open_source("shapes", split="val")) == 1000


@pytest.mark.parametrize(
    ("spec", "error", "reason"),
    [
        ("shapes(cuont=3)", ConfigError, "did you mean 'count'"),
        ("shapes(size=8)", ConfigError, "size >= 16"),
        ("shapes(count=0)", ConfigError, "count >= 1"),
        ("shapes(objects=9)", ConfigError, "objects from 1 to 8"),
        ("shapes(", ConfigError, "not of the form"),
    ],
)
def test_spec_with_wrong_arguments_is_refused(
    spec: str, error: type[Exception], reason: str
) -> None:
    """Guards a traceback in place of one line."""
    with pytest.raises(error, match=reason):
        open_source(spec)


def test_unknown_split_is_refused() -> None:
    """Guards an empty set of unlabelled images."""
    with pytest.raises(DataError, match="shapes has no part 'unlabelled'"):
        open_source("shapes", split="unlabelled")


def test_spec_is_recognised_with_and_without_arguments() -> None:
    """Guards names that only begin like it, and folders of that name."""
    kind = ShapesKind()
    for text in ("shapes", "shapes(count=3)", " shapes ( size=32 )"):
        assert kind.matches(parse_spec(text))
        assert kind.matches_objects(parse_spec(text))
    for text in ("shapes2", "shapes/train", "labelled:shapes", "my shapes"):
        assert not kind.matches(parse_spec(text))
    assert kind.validation_spec(parse_spec("shapes(count=3)")) == "shapes(count=3)"


def test_objects_are_those_of_the_same_scenes() -> None:
    """Guards detection against other images than pre-training sees."""
    spec = "shapes(count=6,size=32,objects=3)"
    source, objects = open_source(spec), open_objects(spec, flag="--data.train")
    assert source.fingerprint() == objects.fingerprint()
    assert objects.has_masks
    assert objects.has_maps
    with pytest.raises(ConfigError, match=r"size >= 16.*\(--x\)"):
        open_objects("shapes(size=3)", flag="--x")
