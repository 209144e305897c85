from __future__ import annotations

import numpy as np
import pytest

from massrl.data.catalogue import open_source
from massrl.data.source import Subset, digest
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import ConfigError, DataError


def test_open_source_suggests_when_a_name_is_unknown():
    """Guards a bare "no such file" for a mistyped dataset."""
    with pytest.raises(DataError, match=r"'cifar1O'.*did you mean 'cifar10'.*--data\.train"):
        open_source("cifar1O")
    with pytest.raises(DataError, match=r"--data\.val"):
        open_source("photos/that/are/not/there", split="val")


def test_open_source_takes_a_path_object_for_a_path(tmp_path, monkeypatch, write):
    """Guards a folder that has a dataset's name."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "shapes" / "a.jpg")
    assert len(open_source(tmp_path / "shapes")) == 1
    assert len(open_source("./shapes")) == 1
    assert len(open_source("shapes")) == 4000


def test_open_source_reads_the_arguments_of_shapes():
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
def test_open_source_raises_when_the_arguments_of_shapes_are_wrong(spec, error, reason):
    """Guards a traceback in place of one line."""
    with pytest.raises(error, match=reason):
        open_source(spec)


def test_open_source_raises_when_shapes_has_no_such_part():
    """Guards an empty unlabelled part."""
    with pytest.raises(DataError, match="shapes has no part 'unlabelled'"):
        open_source("shapes", split="unlabelled")


def test_subset_maps_indices_labels_and_names():
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


def test_subset_fingerprint_depends_on_the_choice():
    """Guards results on different subsets that look the same."""
    source = ShapesSource(20)
    prints = {Subset(source, chosen).fingerprint() for chosen in ([1, 2], [2, 1], [1, 3])}
    assert len(prints) == 3
    assert Subset(source, [1, 2]).fingerprint() in prints


def test_subset_raises_when_an_index_lies_outside():
    """Guards a wrong image from a negative or too large index."""
    for index in (-1, 20):
        with pytest.raises(IndexError, match="20 images"):
            Subset(ShapesSource(20), [index])


def test_typical_side_is_the_median_short_side_when_some_images_are_broken(tmp_path, write):
    """Guards one broken first image that stops the choice of a recipe."""
    for index, height in enumerate([10, 20, 30]):
        write(tmp_path / f"{index}.png", height=height, width=40)
    (tmp_path / "0broken.jpg").write_bytes(b"")
    (tmp_path / "9text.jpg").write_text("x")
    assert open_source(str(tmp_path)).typical_side == 20
    assert ShapesSource(5, 24).typical_side == 24


def test_typical_side_raises_when_nothing_is_readable(tmp_path):
    """Guards a median of nothing."""
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of 1 images"):
        _ = open_source(str(tmp_path)).typical_side


def test_digest_tells_where_parts_end():
    """Guards names that run into each other: ab + c is not a + bc."""
    assert digest([b"ab", b"c"]) != digest([b"a", b"bc"])
    assert len(digest([])) == 16
