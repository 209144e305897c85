"""torchvision's datasets by name: downloaded where it offers that, read without its transforms.

Splits mean the same for all: ``train`` is everything but the official test part (so the validation
part of flowers102, dtd and fgvc_aircraft belongs to it), ``val`` is the official test part (of
imagenet, whose test labels are secret, the validation part). caltech101 and sun397 have no split in
torchvision; theirs is our own: a fifth of every class, drawn with seed 0, is ``val``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tarfile import TarError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from massrl.data.source import (
    CIFAR10_NORMALIZATION,
    CIFAR100_NORMALIZATION,
    IMAGENET_NORMALIZATION,
    STL10_NORMALIZATION,
    Normalization,
    Source,
)
from massrl.data.sources.arrays import ArraySource
from massrl.data.sources.folders import FileSource
from massrl.data.splits import holdout
from massrl.errors import DataError, suggest

_OWN_SPLIT_FRACTION = 0.2


_OWN_SPLIT_SEED = 0


_UNLABELLED = -1  # torchvision's mark for a missing label

Parts = tuple[dict[str, Any], ...]  # torchvision's arguments; several parts are joined


@dataclass(frozen=True, kw_only=True)
class _NamedSet:
    """Where torchvision keeps a set and how its parts are called there.

    ``files`` returns a loaded torchvision dataset's image paths and labels; None marks the sets
    that hold their pixels in ``.data``. ``subfolder`` is the root that torchvision is given, where
    it does not make a folder for the set by itself.
    """

    factory: str
    splits: dict[str, Parts]
    files: Callable[[Any], tuple[list[Path], list[int]]] | None = None
    normalization: Normalization = IMAGENET_NORMALIZATION
    downloads: bool = True
    subfolder: str = ""
    own_split: bool = False


def _image_files(dataset: Any) -> tuple[list[Path], list[int]]:
    return [Path(path) for path in dataset._image_files], list(dataset._labels)


def _pet_files(dataset: Any) -> tuple[list[Path], list[int]]:
    return [Path(path) for path in dataset._images], list(dataset._labels)


def _pairs(name: str) -> Callable[[Any], tuple[list[Path], list[int]]]:
    def files(dataset: Any) -> tuple[list[Path], list[int]]:
        pairs = getattr(dataset, name)
        return [Path(path) for path, _ in pairs], [int(label) for _, label in pairs]

    return files


def _caltech_files(dataset: Any) -> tuple[list[Path], list[int]]:
    folder = Path(dataset.root) / "101_ObjectCategories"
    numbered = zip(dataset.index, dataset.y, strict=True)
    paths = [folder / dataset.categories[y] / f"image_{index:04d}.jpg" for index, y in numbered]
    return paths, list(dataset.y)


def _by_split(train: tuple[str, ...], val: str) -> dict[str, Parts]:
    return {"train": tuple({"split": part} for part in train), "val": ({"split": val},)}


_CIFAR_SPLITS: dict[str, Parts] = {"train": ({"train": True},), "val": ({"train": False},)}


_WHOLE: dict[str, Parts] = {"train": ({},), "val": ({},)}


_SETS = {
    "cifar10": _NamedSet(
        factory="CIFAR10", splits=_CIFAR_SPLITS, normalization=CIFAR10_NORMALIZATION
    ),
    "cifar100": _NamedSet(
        factory="CIFAR100", splits=_CIFAR_SPLITS, normalization=CIFAR100_NORMALIZATION
    ),
    "stl10": _NamedSet(
        factory="STL10",
        splits={**_by_split(("train",), "test"), "unlabelled": ({"split": "unlabeled"},)},
        normalization=STL10_NORMALIZATION,
    ),
    "food101": _NamedSet(
        factory="Food101", splits=_by_split(("train",), "test"), files=_image_files
    ),
    "flowers102": _NamedSet(
        factory="Flowers102", splits=_by_split(("train", "val"), "test"), files=_image_files
    ),
    "oxfordiiitpet": _NamedSet(
        factory="OxfordIIITPet", splits=_by_split(("trainval",), "test"), files=_pet_files
    ),
    "dtd": _NamedSet(factory="DTD", splits=_by_split(("train", "val"), "test"), files=_image_files),
    "fgvc_aircraft": _NamedSet(
        factory="FGVCAircraft", splits=_by_split(("trainval",), "test"), files=_image_files
    ),
    "stanford_cars": _NamedSet(
        factory="StanfordCars",
        splits=_by_split(("train",), "test"),
        files=_pairs("_samples"),
        downloads=False,  # torchvision has the call, but the address is gone
    ),
    "caltech101": _NamedSet(
        factory="Caltech101", splits=_WHOLE, files=_caltech_files, own_split=True
    ),
    "sun397": _NamedSet(factory="SUN397", splits=_WHOLE, files=_image_files, own_split=True),
    "imagenet": _NamedSet(
        factory="ImageNet",
        splits=_by_split(("train",), "val"),
        files=_pairs("samples"),
        downloads=False,  # by its licence
        subfolder="imagenet",
    ),
}


NAMES = tuple(_SETS)


# Pascal VOC by name, whose lists are as torchvision and its kit call them; of 2012 the test part is secret.
VOC_NAMES = {
    "voc2007": {"train": "trainval", "val": "test"},
    "voc2012": {"train": "train", "val": "val"},
}


def default_root() -> Path:
    """Where the sets lie: ``$MASSRL_DATA``, else ``~/.cache/massrl/datasets``."""
    chosen = os.environ.get("MASSRL_DATA")
    path = Path(chosen) if chosen else Path("~/.cache/massrl/datasets")
    return path.expanduser()


def open_named(
    name: str,
    *,
    split: str = "train",
    root: Path | None = None,
    download: bool = True,
    flag: str = "--data.train",
) -> Source:
    """Open one of torchvision's datasets.

    Args:
        name: one of ``NAMES``.
        split: ``"train"`` or ``"val"`` as this module's docstring says; stl10 also has
            ``"unlabelled"``, its 100,000 images without labels.
        root: the folder that holds all sets, as torchvision lays them out; default
            ``default_root()``.
        download: whether torchvision may fetch what is missing, with its own progress bar.
        flag: where the user said so, for errors.

    Raises:
        DataError: if the set has no such part, is not there, or cannot be fetched.
    """
    if name not in _SETS:
        raise DataError(f"dataset {name!r} is unknown: {suggest(name, NAMES)} ({flag})")
    chosen = _SETS[name]
    if split not in chosen.splits:
        known = suggest(split, chosen.splits)
        raise DataError(f"{name} has no part {split!r}: {known} ({flag})")
    folder = (default_root() if root is None else Path(root)).expanduser()
    parts = [
        _load(name, folder, chosen, arguments=arguments, download=download)
        for arguments in chosen.splits[split]
    ]
    title = f"{name}/{split}"
    if chosen.files is None:
        return _from_arrays(title, parts[0], normalization=chosen.normalization)
    paths: list[Path] = []
    labels: list[int] = []
    for part in parts:
        part_paths, part_labels = chosen.files(part)
        paths += part_paths
        labels += part_labels
    if chosen.own_split:
        paths, labels = _own_part(paths, labels, split=split)
    return FileSource(
        title,
        folder,
        names=[_relative(path, folder) for path in paths],
        labels=labels,
        class_names=_class_names(parts[0], labels),
        normalization=chosen.normalization,
    )


def voc_folder(name: str, *, root: Path | None = None, download: bool = True) -> Path:
    """The folder of Pascal VOC, ``VOCdevkit/VOC2007`` below the root, all parts of it fetched.

    Args:
        name: one of ``VOC_NAMES``.
        root: the folder that holds all sets; default ``default_root()``.
        download: whether torchvision may fetch what is missing.

    Raises:
        DataError: if it is not there or cannot be fetched.
    """
    folder = (default_root() if root is None else Path(root)).expanduser()
    kit = _NamedSet(factory="VOCDetection", splits={})
    for part in VOC_NAMES[name].values():
        arguments = {"year": name.removeprefix("voc"), "image_set": part}
        _load(name, folder, kit, arguments=arguments, download=download)
    return folder / "VOCdevkit" / name.upper()


def _load(
    name: str, folder: Path, chosen: _NamedSet, *, arguments: dict[str, Any], download: bool
) -> Any:
    """Let torchvision open the set; fetch it only after it was not found, as that is silent."""
    import torchvision.datasets

    factory = getattr(torchvision.datasets, chosen.factory)
    root = folder / chosen.subfolder
    advice = f"put torchvision's files for {chosen.factory} into {root}, or pass --data.root"
    try:
        return factory(root=str(root), **arguments)
    except (RuntimeError, OSError) as error:
        missing = _one_line(error)
    except ImportError as error:
        raise DataError(f"{name} needs a package that is not installed: {error}") from None
    if not chosen.downloads:
        raise DataError(f"{name} is not there and cannot be downloaded; {advice} ({missing})")
    if not download:
        raise DataError(f"{name} is not there and downloading is off; {advice} ({missing})")
    try:
        root.mkdir(parents=True, exist_ok=True)
        return factory(root=str(root), **arguments, download=True)
    # URLError, time-outs and a full disk are OSErrors; wrong checksums are RuntimeErrors; a helper
    # that torchvision wants for some hosts is an ImportError.
    except (RuntimeError, OSError, EOFError, ImportError, TarError, BadZipFile) as error:
        cause = _one_line(error)
        raise DataError(f"{name} could not be downloaded ({cause}); {advice}") from None


def _from_arrays(title: str, dataset: Any, *, normalization: Normalization) -> ArraySource:
    images = dataset.data
    if images.shape[1] == 3 and images.shape[3] != 3:
        images = images.transpose(0, 2, 3, 1)  # STL-10 keeps its channels first
    found = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    labels: np.ndarray | None = np.asarray(found, np.int64)
    names: tuple[str, ...] = tuple(dataset.classes)
    if labels is not None and (labels == _UNLABELLED).all():
        labels, names = None, ()
    return ArraySource(title, images, labels=labels, class_names=names, normalization=normalization)


def _own_part(paths: list[Path], labels: list[int], *, split: str) -> tuple[list[Path], list[int]]:
    """Our split of a set without one; sorted first, as torchvision lists in the disk's order."""
    order = sorted(range(len(paths)), key=lambda index: paths[index].as_posix())
    sorted_labels = np.array([labels[index] for index in order], np.int64)
    kept, held = holdout(sorted_labels, _OWN_SPLIT_FRACTION, seed=_OWN_SPLIT_SEED)
    chosen = [order[index] for index in (held if split == "val" else kept)]
    return [paths[index] for index in chosen], [labels[index] for index in chosen]


def _class_names(dataset: Any, labels: list[int]) -> tuple[str, ...]:
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if names is None:  # Flowers102 in older torchvision
        return tuple(str(index) for index in range(max(labels, default=-1) + 1))
    return tuple(item if isinstance(item, str) else item[0] for item in names)


def _relative(path: Path, folder: Path) -> str:
    """Relative to the root, so that a fingerprint does not depend on where the sets lie."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.absolute().as_posix()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
