"""Images with objects in them: what detectors and segmenters learn from and are judged by."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from massrl.data.source import Source, Subset
from massrl.errors import DataError

IGNORED = 255  # of a label map: pixels that are neither right nor wrong


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One image and what is in it: K objects.

    Attributes:
        image: uint8 ``(H, W, 3)``, RGB.
        boxes: float32 ``(K, 4)``, x1, y1, x2, y2 in pixels; x2 and y2 lie one past the last.
        labels: int64 ``(K,)``, class of each object.
        masks: bool ``(K, H, W)``, the visible pixels of each object; ``None`` where only boxes are known.
        crowd: bool ``(K,)``, groups that nobody is asked to tell apart.
        difficult: bool ``(K,)``, objects that nobody is asked for, as VOC has them; ``None`` for none.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    crowd: np.ndarray
    difficult: np.ndarray | None = None


class ObjectSource(Source):
    """A source that knows the objects in its images.

    Attributes:
        object_names: name of each class of objects.
        has_masks: whether the objects' pixels are known.
        has_maps: whether a class is known for every pixel.
    """

    object_names: tuple[str, ...]
    has_masks: bool = False
    has_maps: bool = False

    @property
    def used_names(self) -> tuple[str, ...]:
        """Classes of the objects that there are."""
        return self.object_names

    def count_as(self, names: tuple[str, ...]) -> None:
        """Count classes of objects as another part does, which has all of this one's."""
        self.object_names = names

    @abstractmethod
    def scene(self, index: int) -> Scene:
        """One image with its objects.

        Raises:
            ImageError: if it cannot be read.
        """

    def label_map(self, index: int) -> np.ndarray:
        """Class of every pixel, uint8 ``(H, W)``: 0 for background, 1 + its class for an object.

        By default the objects' masks are laid over each other, the smallest uppermost; crowds are ignored.
        """
        if len(self.object_names) >= IGNORED:
            raise DataError(
                f"{self.name} has {len(self.object_names)} classes; a map holds {IGNORED - 1}"
            )
        scene = self.scene(index)
        assert scene.masks is not None
        labels = np.zeros(scene.image.shape[:2], np.uint8)
        for place in np.argsort(-scene.masks.sum(axis=(1, 2)), kind="stable"):
            labels[scene.masks[place]] = IGNORED if scene.crowd[place] else 1 + scene.labels[place]
        return labels


def remap_object_classes(source: ObjectSource, names: tuple[str, ...]) -> ObjectSource:
    """The same images, their objects' classes counted as those that are learnt; it may lack some.

    Raises:
        DataError: if it has a class of its own.
    """
    own = [name for name in source.used_names if name not in names]
    if own:
        raise DataError(f"{source.name} has objects {own[:3]} that are not learnt (--data.val)")
    if source.object_names != names:
        source.count_as(names)
    return source


def limited(source: ObjectSource, indices: np.ndarray) -> ObjectSource:
    """Some images of a source of objects, in the given order."""
    return _Part(source, indices)


class _Part(Subset, ObjectSource):
    def __init__(self, source: ObjectSource, indices: np.ndarray) -> None:
        super().__init__(source, indices)
        self._whole = source
        self.object_names = source.object_names
        self.has_masks, self.has_maps = source.has_masks, source.has_maps

    def scene(self, index: int) -> Scene:
        """See ``ObjectSource.scene``."""
        return self._whole.scene(int(self.indices[index]))

    def label_map(self, index: int) -> np.ndarray:
        """See ``ObjectSource.label_map``."""
        return self._whole.label_map(int(self.indices[index]))
