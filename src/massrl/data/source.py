"""A source: a fixed, ordered set of images, encoded or decoded, with labels where there are any."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from massrl.errors import DataError, ImageError
from massrl.images.header import image_size
from massrl.images.reading import read_image

_NUM_SIDES = 32  # images read for the typical side


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """Constants of each channel, R, G, B, of images scaled to [0, 1].

    Attributes:
        mean: is subtracted.
        std: the difference is divided by it.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# torchvision's ImageNet constants, used by every published ResNet.
IMAGENET_NORMALIZATION = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
# Over all pixels of the 50,000 training images of each set, as commonly published.
CIFAR10_NORMALIZATION = Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
CIFAR100_NORMALIZATION = Normalization(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))
# Over all pixels of the 5,000 labelled training images, as commonly published.
STL10_NORMALIZATION = Normalization(mean=(0.4467, 0.4398, 0.4066), std=(0.2603, 0.2566, 0.2713))


class Source(ABC):
    """A fixed, ordered set of images, labelled or unlabelled.

    Attributes:
        name: short name for logs and results, such as ``"cifar10/train"`` or ``"photos"``.
        class_names: name of each class; empty when unlabelled.
        labels: int64 ``(n,)``, class index of each image; None when unlabelled.
        normalization: constants of the set.
        ignored_names: files beside the images that are not read, as they are no images.
        only_class: the one sub-folder that all images lie in, which is no label for them; ``None`` in
            all other cases.
    """

    name: str
    only_class: str | None = None
    class_names: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    normalization: Normalization = IMAGENET_NORMALIZATION
    ignored_names: Sequence[str] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> bytes | np.ndarray:
        """Return one image: its file's bytes, or decoded uint8 ``(H, W, 3)``, RGB, that the caller owns.

        Raises:
            ImageError: if it cannot be read.
        """

    @abstractmethod
    def describe(self, index: int) -> str:
        """Return the image's path, or such as ``"cifar10/train[17]"``, for messages."""

    def file(self, index: int) -> str | None:
        """Return the path of the image's own file; ``None`` if the images are no files, as by default."""
        return None

    @abstractmethod
    def fingerprint(self) -> str:
        """Return 16 hex digits that change with names, sizes and labels (contents are not read)."""

    def sizes(self) -> np.ndarray | None:
        """Return the bytes of each image as ``read`` returns it, int64 ``(n,)``, which takes no reading.

        Returns:
            None where they are not known; -1 for an image that is not there.
        """
        return None

    @cached_property
    def typical_side(self) -> int:
        """Median short side, in pixels, of up to 32 evenly spaced readable images.

        Raises:
            DataError: if none of them can be read.
        """
        sides = []
        for index in np.linspace(0, len(self) - 1, min(len(self), _NUM_SIDES)).astype(int):
            try:
                image = read_image(self, int(index))
            except ImageError:
                continue
            size = image.shape[:2] if isinstance(image, np.ndarray) else image_size(image)
            if size is not None:
                sides.append(min(size))
        if not sides:
            raise DataError(
                f"{self.name}: none of {min(len(self), _NUM_SIDES)} images that were read is readable; "
                "'massrl data check' lists the reasons"
            )
        return round(float(np.median(sides)))


class Subset(Source):
    """Some images of another source, in the given order.

    Args:
        source: the whole.
        indices: positions in it.

    Raises:
        IndexError: if an index is out of range.
    """

    def __init__(self, source: Source, indices: Sequence[int] | np.ndarray) -> None:
        self.source = source
        self.indices = np.asarray(indices, np.int64).reshape(-1)
        if self.indices.size and not 0 <= self.indices.min() <= self.indices.max() < len(source):
            raise IndexError(f"{source.name} has {len(source)} images; an index is out of range")
        self.name = f"{source.name}[{len(self.indices)} of {len(source)}]"
        self.class_names = source.class_names
        self.labels = None if source.labels is None else source.labels[self.indices]
        self.normalization = source.normalization

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> bytes | np.ndarray:
        """See ``Source.read``."""
        return self.source.read(int(self.indices[index]))

    def describe(self, index: int) -> str:
        """See ``Source.describe``."""
        return self.source.describe(int(self.indices[index]))

    def sizes(self) -> np.ndarray | None:
        """See ``Source.sizes``."""
        sizes = self.source.sizes()
        return None if sizes is None else np.asarray(sizes[self.indices])

    def file(self, index: int) -> str | None:
        """See ``Source.file``."""
        return self.source.file(int(self.indices[index]))

    def fingerprint(self) -> str:
        """See ``Source.fingerprint``; the indices and their order count too."""
        return digest([self.source.fingerprint().encode(), self.indices.tobytes()])


def whole(source: Source) -> Source:
    """Return the source that a subset, or a subset of a subset, is taken from."""
    while isinstance(source, Subset):
        source = source.source
    return source


def unlabelled(source: Source, flag: str) -> str:
    """Return in words why a source cannot be evaluated on: no labels, or one class only.

    Args:
        source: the images.
        flag: that sets them.
    """
    classes = source.class_names or tuple(filter(None, [whole(source).only_class]))
    wanted = "a folder with one sub-folder per class, or the name of a data set, is wanted"
    if len(classes) == 1:
        return (
            f"{source.name} has one class only, {classes[0]!r}, and two or more are needed to evaluate on: "
            f"{wanted} ({flag})"
        )
    return f"{source.name} has no labels to evaluate on: {wanted} ({flag})"


def remap_classes(source: Source, class_names: tuple[str, ...]) -> Source:
    """Return the same images, with labels that are indices of ``class_names``, which holds all classes."""
    renumbered = Subset(source, np.arange(len(source)))
    indices = np.array([class_names.index(name) for name in source.class_names], np.int64)
    renumbered.labels = None if source.labels is None else indices[source.labels]
    renumbered.class_names = class_names
    return renumbered


def digest(parts: Iterable[bytes]) -> str:
    """Return 16 hex digits of a sequence of byte strings; where one ends and the next begins counts."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def describe_source(source: Source) -> dict[str, Any]:
    """Return name, sizes and fingerprint of a source, for results."""
    return {
        "name": source.name,
        "num_images": len(source),
        "num_classes": len(source.class_names),
        "fingerprint": source.fingerprint(),
    }
