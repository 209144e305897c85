"""torchvision's data sets by name, in small copies of their layouts."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from massrl.data.catalogue import open_source
from massrl.data.source import (
    CIFAR10_NORMALIZATION,
    CIFAR100_NORMALIZATION,
    IMAGENET_NORMALIZATION,
    STL10_NORMALIZATION,
)
from massrl.data.sources.base import parse_spec
from massrl.data.sources.folders import FileSource
from massrl.data.sources.torchvision_sets import NAMES, TorchvisionKind, open_named
from massrl.errors import DataError
from massrl.images.decode import decode

pytestmark = pytest.mark.usefixtures("offline")
Write = Callable[..., Path]


def _write_cifar(root: Path, *, fine: bool = False) -> dict[str, np.ndarray]:
    """Write torchvision's layout: rows of 1024 red, 1024 green and 1024 blue numbers, pickled."""
    folder = root / ("cifar-100-python" if fine else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    key = "fine_labels" if fine else "labels"
    files = ["train", "test"] if fine else [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
    rows = {}
    for seed, name in enumerate(files):
        rows[name] = np.random.default_rng(seed).integers(0, 256, (4, 3072), dtype=np.uint8)
        with (folder / name).open("wb") as file:
            pickle.dump({"data": rows[name], key: [seed, 1, 2, 3]}, file)
    names = {"fine_label_names" if fine else "label_names": [f"c{n}" for n in range(10)]}
    with (folder / ("meta" if fine else "batches.meta")).open("wb") as file:
        pickle.dump(names, file)
    return rows


def test_cifar10_has_its_arrays_and_labels(tmp_path: Path) -> None:
    """Guards channels first taken for rows, and batches out of order."""
    rows = _write_cifar(tmp_path)
    train = open_source("cifar10", root=tmp_path)
    val = open_source("cifar10", split="val", root=tmp_path)
    assert (train.name, len(train), len(val)) == ("cifar10/train", 20, 4)
    assert train.labels.tolist()[:8] == [0, 1, 2, 3, 1, 1, 2, 3]
    assert val.labels.tolist() == [5, 1, 2, 3]
    red_at_2_5 = rows["data_batch_2"][1][2 * 32 + 5]
    assert train.read(5)[2, 5, 0] == red_at_2_5
    assert train.read(5).shape == (32, 32, 3)
    assert train.read(5).flags.c_contiguous
    assert train.normalization == CIFAR10_NORMALIZATION
    assert train.class_names[3] == "c3"
    assert train.describe(17) == "cifar10/train[17]"
    assert train.typical_side == 32
    assert len({train.fingerprint(), val.fingerprint()}) == 2


def test_image_that_was_read_belongs_to_the_caller(tmp_path: Path) -> None:
    """Guards a caller that writes into the data set."""
    _write_cifar(tmp_path)
    train = open_named("cifar10", root=tmp_path)
    before = train.read(0).copy()
    train.read(0)[:] = 0
    assert np.array_equal(train.read(0), before)


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    """Guards coarse labels, and the constants of the other CIFAR."""
    _write_cifar(tmp_path, fine=True)
    source = open_source("cifar100:val", root=tmp_path)
    assert (source.name, source.labels.tolist()) == ("cifar100/val", [1, 1, 2, 3])
    assert source.normalization == CIFAR100_NORMALIZATION


def test_stl10_has_its_unlabelled_images(tmp_path: Path) -> None:
    """Guards columns taken for rows, label 0 for "none", and label 1 as the first class."""
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    # On disk every channel lies column by column.
    disk = np.zeros((2, 3, 96, 96), np.uint8)
    disk[1, 0, 7, 4] = 200  # red, column 7, row 4
    for part in ("train", "unlabeled", "test"):
        (folder / f"{part}_X.bin").write_bytes(disk.tobytes())
    for part in ("train", "test"):
        (folder / f"{part}_y.bin").write_bytes(bytes([1, 10]))
    (folder / "fold_indices.txt").write_text("")
    (folder / "class_names.txt").write_text("\n".join(f"c{n}" for n in range(10)))
    train = open_source("stl10", root=tmp_path)
    free = open_source("stl10:unlabelled", root=tmp_path)
    assert train.labels.tolist() == [0, 9]
    assert (free.labels, free.class_names, len(free)) == (None, (), 2)
    assert free.read(1).shape == (96, 96, 3)
    assert np.argwhere(free.read(1)).tolist() == [[4, 7, 0]]
    assert free.normalization == STL10_NORMALIZATION


def _write_files(name: str, root: Path, write: Write) -> dict[str, list[str]]:
    """Write a small copy of a set in torchvision's layout; return the files of each part."""
    if name == "food101":
        base = root / "food-101"
        files = {part: [f"pie/{part}1", f"tea/{part}2"] for part in ("train", "test")}
        (base / "meta").mkdir(parents=True)
        for part, items in files.items():
            grouped = {item.split("/")[0]: [item] for item in items}
            (base / "meta" / f"{part}.json").write_text(json.dumps(grouped))
        return _images(base / "images", files, write, val="test")
    if name == "dtd":
        base = root / "dtd" / "dtd"
        parts = ("train", "val", "test")
        files = {part: [f"banded/{part}1", f"zigzag/{part}2"] for part in parts}
        (base / "labels").mkdir(parents=True)
        for part, items in files.items():
            (base / "labels" / f"{part}1.txt").write_text("\n".join(f"{i}.jpg" for i in items))
        return _images(base / "images", files, write, val="test")
    if name == "fgvc_aircraft":
        base = root / "fgvc-aircraft-2013b" / "data"
        files = {"trainval": ["01", "02"], "test": ["03", "04"]}
        base.mkdir(parents=True)
        (base / "variants.txt").write_text("A300\nB52")
        for part, items in files.items():
            text = f"{items[0]} A300\n{items[1]} B52"
            (base / f"images_variant_{part}.txt").write_text(text)
        return _images(base / "images", files, write, val="test")
    if name == "oxfordiiitpet":
        base = root / "oxford-iiit-pet"
        files = {"trainval": ["Cat_1", "Dog_1"], "test": ["Cat_2", "Dog_2"]}
        (base / "annotations" / "trimaps").mkdir(parents=True)
        for part, items in files.items():
            text = f"{items[0]} 1 1 1\n{items[1]} 2 2 1\n"
            (base / "annotations" / f"{part}.txt").write_text(text)
        return _images(base / "images", files, write, val="test")
    if name == "flowers102":
        base = root / "flowers-102"
        base.mkdir(parents=True)
        scipy.io.savemat(base / "imagelabels.mat", {"labels": [1, 2, 1, 2, 1, 2]})
        ids = {"trnid": [1, 2], "valid": [3, 4], "tstid": [5, 6]}
        scipy.io.savemat(base / "setid.mat", ids)
        files = {
            part: [f"image_{i:05d}" for i in ids[key]]
            for part, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid"))
        }
        return _images(base / "jpg", files, write, val="test")
    if name == "stanford_cars":
        base = root / "stanford_cars"
        (base / "devkit").mkdir(parents=True)
        scipy.io.savemat(base / "devkit" / "cars_meta.mat", {"class_names": ["Audi", "BMW"]})
        files = {"train": ["1", "2"], "test": ["3", "4"]}
        kinds = np.dtype([("fname", object), ("class", object)])
        for part, path in (("train", "devkit/cars_train_annos"), ("test", None)):
            rows = np.array([(f"{n}.jpg", k) for k, n in enumerate(files[part], 1)], kinds)
            where = base / f"{path or 'cars_test_annos_withlabels'}.mat"
            scipy.io.savemat(where, {"annotations": rows})
        got = {}
        for part, key in (("train", "train"), ("test", "val")):
            listed = _images(base / f"cars_{part}", {part: files[part]}, write, val="test")
            got[key] = listed[key]
        return got
    base = root / "imagenet"
    files = {"train": ["n01/a", "n02/b"], "val": ["n01/c", "n02/d"]}
    for part, items in files.items():
        for item in items:
            write(base / part / f"{item}.jpg")
    torch.save(({"n01": ("tench", "Tinca"), "n02": ("goldfish",)}, []), base / "meta.bin")
    return {part: [f"{part}/{item}.jpg" for item in items] for part, items in files.items()}


def _images(
    folder: Path, files: dict[str, list[str]], write: Write, *, val: str
) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for part, items in files.items():
        for item in items:
            write(folder / f"{item}.jpg")
            parts["val" if part == val else "train"].append(f"{item}.jpg")
    return parts


@pytest.mark.parametrize(
    "name",
    [
        "food101", "dtd", "fgvc_aircraft", "oxfordiiitpet", "flowers102", "stanford_cars",
        "imagenet",
    ],
)  # fmt: skip
def test_set_of_files_has_images_and_labels_of_each_part(
    name: str, tmp_path: Path, write: Write
) -> None:
    """Guards torchvision attributes renamed, a part left out, and labels beside other images."""
    expected = _write_files(name, tmp_path, write)
    for split in ("train", "val"):
        source = open_source(name, split=split, root=tmp_path, download=False)
        assert isinstance(source, FileSource)
        assert source.name == f"{name}/{split}"
        assert len(source) == len(expected[split])
        for path, expected_path in zip(source.names, expected[split], strict=True):
            assert path.endswith(expected_path)
            assert not path.startswith("/")
        assert source.labels.tolist() == [0, 1] * (len(source) // 2)
        assert len(source.class_names) >= 2
        assert decode(source.read(1)).shape == (12, 16, 3)
        assert source.normalization == IMAGENET_NORMALIZATION


@pytest.mark.parametrize("name", ["caltech101", "sun397"])
def test_set_without_a_split_has_ours(name: str, tmp_path: Path, write: Write) -> None:
    """Guards a split that follows the disk's order, overlaps, or leaves out a class."""
    for seed, label in enumerate(["ant", "bee"]):
        for number in range(1, 11):
            if name == "caltech101":
                folder = tmp_path / "caltech101" / "101_ObjectCategories"
                write(folder / label / f"image_{number:04d}.jpg", seed=seed)
            else:
                write(tmp_path / "SUN397" / label[0] / label / f"sun_{label}{number}.jpg")
    if name == "caltech101":
        (tmp_path / "caltech101" / "Annotations").mkdir()
        (folder / "BACKGROUND_Google").mkdir()
    else:
        (tmp_path / "SUN397" / "ClassName.txt").write_text("/a/ant\n/b/bee\n")
    train = open_source(name, root=tmp_path, download=False)
    val = open_source(name, split="val", root=tmp_path, download=False)
    assert np.bincount(train.labels).tolist() == [8, 8]
    assert np.bincount(val.labels).tolist() == [2, 2]
    assert list(train.names) == sorted(train.names)
    assert not set(train.names) & set(val.names)
    for source in (train, val):
        for label, path in zip(source.labels, source.names, strict=True):
            assert f"/{['ant', 'bee'][label]}/" in path


def test_unknown_part_or_name_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    """Guards unlabelled images that are silently the training images."""
    with pytest.raises(DataError, match="cifar10 has no part 'unlabelled': known: train, val"):
        open_source("cifar10:unlabelled", root=tmp_path)
    with pytest.raises(DataError, match="did you mean 'cifar10'"):
        open_named("cifar11")


def test_name_is_recognised_with_and_without_a_split() -> None:
    """Guards paths that begin like a name, and a split that is opened whatever is asked for."""
    kind = TorchvisionKind()
    assert kind.names == NAMES
    assert all(kind.matches(parse_spec(name)) for name in NAMES)
    assert kind.matches(parse_spec("stl10:unlabelled"))
    assert not kind.matches(parse_spec("cifar10/train"))
    assert not kind.matches(parse_spec("unlabelled:cifar10"))
    assert kind.validation_spec(parse_spec("cifar10:train")) == "cifar10"


def test_split_in_the_name_has_precedence(tmp_path: Path) -> None:
    """Guards ``--data.val cifar10:train`` against being the test images."""
    _write_cifar(tmp_path)
    source = open_source("cifar10:train", split="val", root=tmp_path)
    assert source.name == "cifar10/train"
    with pytest.raises(DataError, match="cifar10 has no part ''"):
        open_source("cifar10:", root=tmp_path)
