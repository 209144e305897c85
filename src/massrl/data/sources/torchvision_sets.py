"""torchvision's data sets by name: downloaded where it offers that, read without its transforms.

Splits mean the same for all: ``train`` is everything but the official test part (so the validation
part of flowers102, dtd and fgvc_aircraft belongs to it), ``val`` is the official test part (of
imagenet, whose test labels are secret, the validation part). caltech101 and sun397 have no split in
torchvision; theirs is our own: a fifth of every class, drawn with seed 0, is ``val``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from massrl.data.sources.base import OpenOptions, SourceKind, Spec
from massrl.data.sources.folders import FileSource
from massrl.data.sources.torchvision_load import default_root, load_dataset
from massrl.data.splits import holdout
from massrl.errors import DataError, suggest

_OWN_SPLIT_FRACTION = 0.2
_OWN_SPLIT_SEED = 0
_UNLABELLED = -1  # torchvision's mark for a missing label

Parts = tuple[dict[str, Any], ...]  # torchvision's arguments; several parts are joined


@dataclass(frozen=True, kw_only=True)
class _NamedSet:
    """How torchvision stores a set and names its parts.

    Attributes:
        factory: torchvision's class.
        splits: arguments of that class for each split; several parts are joined.
        files: returns image paths and labels of a loaded torchvision set; None for sets that hold
            their pixels in ``.data``.
        normalization: constants of the set.
        downloads: whether torchvision offers the set for download.
        subfolder: of the root, where torchvision does not make a folder for the set itself.
        own_split: whether the split is ours, because torchvision has none.
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


class TorchvisionKind(SourceKind):
    """torchvision's data sets by name, also with a split as ``cifar10:val``."""

    names = NAMES

    def matches(self, spec: Spec) -> bool:
        """See ``SourceKind.matches``."""
        return self.is_name(spec)

    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """See ``SourceKind.open``; a split in the spec has precedence."""
        return open_named(
            spec.name,
            split=spec.part if ":" in spec.text else options.split,
            root=options.root,
            download=options.download,
            flag=options.flag,
        )

    def validation_spec(self, spec: Spec) -> str:
        """See ``SourceKind.validation_spec``."""
        return spec.name


def open_named(
    name: str,
    *,
    split: str = "train",
    root: Path | None = None,
    download: bool = True,
    flag: str = "--data.train",
) -> Source:
    """Open one of torchvision's data sets.

    Args:
        name: one of ``NAMES``.
        split: ``"train"`` or ``"val"`` as this module's docstring says; stl10 also has
            ``"unlabelled"``, its 100,000 images without labels.
        root: the folder of all sets, in torchvision's layout; default ``default_root()``.
        download: whether torchvision may download what is missing, with its own progress bar.
        flag: where the user gave the name, for errors.

    Raises:
        DataError: if the set has no such part, or is missing and cannot be downloaded.
    """
    if name not in _SETS:
        raise DataError(f"dataset {name!r} is unknown: {suggest(name, NAMES)} ({flag})")
    named = _SETS[name]
    if split not in named.splits:
        known = suggest(split, named.splits)
        raise DataError(f"{name} has no part {split!r}: {known} ({flag})")
    folder = (default_root() if root is None else Path(root)).expanduser()
    parts = [
        load_dataset(
            name,
            folder / named.subfolder,
            factory=named.factory,
            arguments=arguments,
            can_download=named.downloads,
            download=download,
        )
        for arguments in named.splits[split]
    ]
    title = f"{name}/{split}"
    if named.files is None:
        return _from_arrays(title, parts[0], normalization=named.normalization)
    paths: list[Path] = []
    labels: list[int] = []
    for part in parts:
        part_paths, part_labels = named.files(part)
        paths += part_paths
        labels += part_labels
    if named.own_split:
        paths, labels = _own_part(paths, labels, split=split)
    return FileSource(
        title,
        folder,
        names=[_relative(path, folder) for path in paths],
        labels=labels,
        class_names=_class_names(parts[0], labels),
        normalization=named.normalization,
    )


def _from_arrays(title: str, dataset: Any, *, normalization: Normalization) -> ArraySource:
    images = dataset.data
    if images.shape[1] == 3 and images.shape[3] != 3:
        images = images.transpose(0, 2, 3, 1)  # STL-10 has its channels first
    found = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    labels: np.ndarray | None = np.asarray(found, np.int64)
    names: tuple[str, ...] = tuple(dataset.classes)
    if labels is not None and (labels == _UNLABELLED).all():
        labels, names = None, ()
    return ArraySource(title, images, labels=labels, class_names=names, normalization=normalization)


def _own_part(paths: list[Path], labels: list[int], *, split: str) -> tuple[list[Path], list[int]]:
    """Split a set that has no split; sorted first, as torchvision lists files in the disk's order."""
    order = sorted(range(len(paths)), key=lambda index: paths[index].as_posix())
    sorted_labels = np.array([labels[index] for index in order], np.int64)
    train, val = holdout(sorted_labels, _OWN_SPLIT_FRACTION, seed=_OWN_SPLIT_SEED)
    selected = [order[index] for index in (val if split == "val" else train)]
    return [paths[index] for index in selected], [labels[index] for index in selected]


def _class_names(dataset: Any, labels: list[int]) -> tuple[str, ...]:
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if names is None:  # Flowers102 in older torchvision
        return tuple(str(index) for index in range(max(labels, default=-1) + 1))
    return tuple(item if isinstance(item, str) else item[0] for item in names)


def _relative(path: Path, folder: Path) -> str:
    """Return a path relative to the root, so that the fingerprint does not depend on the root."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.absolute().as_posix()
