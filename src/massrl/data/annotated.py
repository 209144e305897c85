"""Images with objects in them: the data of detection and segmentation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from massrl.data.source import Source, Subset
from massrl.errors import DataError
from massrl.images.reading import read_pixels

IGNORED = 255  # in a label map: pixels that neither training nor evaluation counts


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One image and the K objects in it.

    Attributes:
        image: uint8 ``(H, W, 3)``, RGB.
        boxes: float32 ``(K, 4)``, x1, y1, x2, y2 in pixels from 0; x2 and y2 are excluded.
        labels: int64 ``(K,)``, class of each object.
        masks: bool ``(K, H, W)``, the visible pixels of each object; ``None`` where only boxes are known.
        crowd: bool ``(K,)``, boxes around a group of objects, which evaluation ignores.
        difficult: bool ``(K,)``, objects marked as difficult, as VOC does, which evaluation ignores;
            ``None`` for none.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    crowd: np.ndarray
    difficult: np.ndarray | None = None


class ObjectSource(Source):
    """A source whose images are annotated with objects.

    Attributes:
        object_names: name of each class of objects.
        has_masks: whether the objects' pixels are known.
        has_maps: whether a class is known for every pixel.
        notes: sentences on what was converted or left out of the annotations.
    """

    object_names: tuple[str, ...]
    has_masks: bool = False
    has_maps: bool = False
    notes: tuple[str, ...] = ()

    @property
    def used_names(self) -> tuple[str, ...]:
        """Classes that occur among the objects."""
        return self.object_names

    def set_object_names(self, names: tuple[str, ...]) -> None:
        """Number the classes as in ``names``, which holds all of ``used_names``."""
        self.object_names = names

    @abstractmethod
    def scene(self, index: int) -> Scene:
        """Return one image with its objects.

        Raises:
            ImageError: if it cannot be read.
        """

    def image(self, index: int) -> np.ndarray:
        """Return an image as its annotations see it: as stored, where they belong to the stored one.

        Returns:
            uint8 ``(H, W, 3)``, RGB; that of ``scene``.

        Raises:
            ImageError: if it cannot be read.
        """
        return read_pixels(self, index)

    def object_counts(self) -> np.ndarray | None:
        """Return how many objects of each image training and evaluation count.

        Returns:
            int64 ``(n,)``, without crowds and difficult objects; None where it is not known before the
            images are read.
        """
        return None

    def image_labels(self) -> np.ndarray:
        """Return which classes each image shows.

        Returns:
            int64 ``(n, num_classes)``: 1 where the class is in the image, 0 where it is not, -1 where all
            of its objects are difficult.
        """
        labels = np.zeros((len(self), len(self.object_names)), np.int64)
        for index, row in enumerate(labels):
            scene = self.scene(index)
            if scene.difficult is None:
                row[scene.labels] = 1
            else:
                row[scene.labels[scene.difficult]] = -1
                row[scene.labels[~scene.difficult]] = 1
        return labels

    def label_map(self, index: int) -> np.ndarray:
        """Return the class of every pixel.

        By default the objects' masks are painted over each other, the smallest last; crowds are ``IGNORED``.

        Returns:
            uint8 ``(H, W)``: 0 for background, 1 + its class for an object, ``IGNORED``.
        """
        if len(self.object_names) >= IGNORED:
            raise DataError(
                f"{self.name} has {len(self.object_names)} classes; a map holds {IGNORED - 1}"
            )
        scene = self.scene(index)
        assert scene.masks is not None
        labels = np.zeros(scene.image.shape[:2], np.uint8)
        for item in np.argsort(-scene.masks.sum(axis=(1, 2)), kind="stable"):
            labels[scene.masks[item]] = IGNORED if scene.crowd[item] else 1 + scene.labels[item]
        return labels


def remap_object_classes(source: ObjectSource, names: tuple[str, ...]) -> ObjectSource:
    """Number a source's classes as another source does, which may have more; the source is changed.

    Args:
        source: the images to renumber the objects of.
        names: classes of the images to train on.

    Raises:
        DataError: if the source has a class that is not among ``names``.
    """
    unknown = [name for name in source.used_names if name not in names]
    if unknown:
        raise DataError(
            f"{source.name} has objects {unknown[:3]} that the training images have not (--data.val)"
        )
    if source.object_names != names:
        source.set_object_names(names)
    return source


class ObjectSubset(Subset, ObjectSource):
    """Some images of a source with objects, in the given order.

    Args:
        source: the whole.
        indices: positions in it.
    """

    def __init__(self, source: ObjectSource, indices: Sequence[int] | np.ndarray) -> None:
        super().__init__(source, indices)
        self._whole = source
        self.object_names = source.object_names
        self.has_masks, self.has_maps = source.has_masks, source.has_maps
        self.notes = source.notes

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``."""
        return self._whole.scene(int(self.indices[index]))

    def image(self, index: int) -> np.ndarray:
        """See ``ObjectSource.image``."""
        return self._whole.image(int(self.indices[index]))

    def object_counts(self) -> np.ndarray | None:
        """See ``ObjectSource.object_counts``."""
        counts = self._whole.object_counts()
        return None if counts is None else np.asarray(counts[self.indices])

    def image_labels(self) -> np.ndarray:
        """See ``ObjectSource.image_labels``."""
        return np.asarray(self._whole.image_labels()[self.indices])

    def label_map(self, index: int) -> np.ndarray:
        """See ``ObjectSource.label_map``."""
        return self._whole.label_map(int(self.indices[index]))
