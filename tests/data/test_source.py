"""Sources, subsets of them, and what results record of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from massrl.data.catalogue import open_source
from massrl.data.source import Subset, describe_source, digest, remap_classes, whole
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import DataError


def test_subset_maps_indices_labels_and_names() -> None:
    """Guards labels that stay in the order of the whole."""
    source = ShapesSource(20)
    subset = Subset(source, [7, 3, 11])
    assert len(subset) == 3
    assert subset.name == "shapes/train[3 of 20]"
    assert subset.labels.tolist() == source.labels[[7, 3, 11]].tolist()
    assert np.array_equal(subset.read(2), source.read(11))
    assert subset.describe(1) == "shapes/train[3]"
    assert subset.normalization == source.normalization
    assert subset.class_names == source.class_names


def test_subset_fingerprint_depends_on_the_indices_and_their_order() -> None:
    """Guards results on different subsets that look the same."""
    source = ShapesSource(20)
    prints = {Subset(source, indices).fingerprint() for indices in ([1, 2], [2, 1], [1, 3])}
    assert len(prints) == 3
    assert Subset(source, [1, 2]).fingerprint() in prints


def test_subset_with_an_index_out_of_range_is_refused() -> None:
    """Guards a wrong image from a negative or too large index."""
    for index in (-1, 20):
        with pytest.raises(IndexError, match="20 images"):
            Subset(ShapesSource(20), [index])


def test_typical_side_is_the_median_short_side_of_the_readable_images(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    """Guards one broken first image against stopping the choice of a view size."""
    for index, height in enumerate([10, 20, 30]):
        write(tmp_path / f"{index}.png", height=height, width=40)
    (tmp_path / "0broken.jpg").write_bytes(b"")
    (tmp_path / "9text.jpg").write_text("x")
    assert open_source(str(tmp_path)).typical_side == 20
    assert ShapesSource(5, 24).typical_side == 24


def test_typical_side_of_broken_images_is_refused(tmp_path: Path) -> None:
    """Guards a median of nothing."""
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of 1 images"):
        _ = open_source(str(tmp_path)).typical_side


def test_digest_depends_on_where_parts_end() -> None:
    """Guards names that run into each other: ab + c is not a + bc."""
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"])
    assert len(digest([])) == 16


def test_typical_side_reads_the_images_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the start of a run, which needs the side at several places: 32 files each time."""
    reads: list[int] = []
    original = ShapesSource.read
    monkeypatch.setattr(
        ShapesSource, "read", lambda self, index: reads.append(index) or original(self, index)
    )
    source = ShapesSource(100, 16)
    assert [source.typical_side for _ in range(3)] == [16, 16, 16]
    assert len(reads) == len(set(reads)) == 32
    assert (min(reads), max(reads)) == (0, 99)
    assert pickle.loads(pickle.dumps(source)).typical_side == 16
    assert len(reads) == 32


def test_whole_is_the_source_below_all_subsets() -> None:
    """Guards checks for images in common, which compare the sources that images come from."""
    source = ShapesSource(20)
    assert whole(Subset(Subset(source, [1, 2, 3]), [0])) is source
    assert whole(source) is source


def test_remapped_labels_are_indices_of_the_new_classes() -> None:
    """Guards accuracy on validation images that lack a class or list them in another order."""
    source = ShapesSource(20)
    names = ("extra", *reversed(source.class_names))
    remapped = remap_classes(source, names)
    assert remapped.class_names == names
    for before, after in zip(source.labels, remapped.labels, strict=True):
        assert source.class_names[before] == names[after]
    assert np.array_equal(remapped.read(3), source.read(3))


def test_description_identifies_the_images() -> None:
    """Guards results against two data sets of one name."""
    source = ShapesSource(20)
    assert describe_source(source) == {
        "name": "shapes/train",
        "num_images": 20,
        "num_classes": 10,
        "fingerprint": source.fingerprint(),
    }
