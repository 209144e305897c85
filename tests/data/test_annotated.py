"""Images with objects: subsets, label maps, classes numbered as another source's."""

from __future__ import annotations

import numpy as np
import pytest

from massrl.data.annotated import IGNORED, ObjectSource, ObjectSubset, Scene, remap_object_classes
from massrl.data.catalogue import open_objects
from massrl.errors import DataError


class Squares(ObjectSource):
    """Two scenes: a large and a small square that overlap, one of them a crowd; and none."""

    name = "squares"
    object_names = ("large", "small", "crowd")
    has_masks = True
    difficult: np.ndarray | None = None

    def __len__(self) -> int:
        return 2

    def read(self, index: int) -> np.ndarray:
        """A black image."""
        return np.zeros((8, 8, 3), np.uint8)

    def describe(self, index: int) -> str:
        """Any name."""
        return f"squares[{index}]"

    def fingerprint(self) -> str:
        """Any digits."""
        return "0" * 16

    def scene(self, index: int) -> Scene:
        """The first image has three objects, the second none."""
        masks = np.zeros((3, 8, 8), bool)
        masks[0, 2:4, 2:4], masks[1, 1:6, 1:6], masks[2, 6:, 6:] = True, True, True
        labels, crowd = np.array([1, 0, 2]), np.array([False, False, True])
        count = 3 if index == 0 else 0
        return Scene(
            image=self.read(index),
            boxes=np.zeros((count, 4), np.float32),
            labels=labels[:count],
            masks=masks[:count],
            crowd=crowd[:count],
            difficult=None if self.difficult is None else self.difficult[:count],
        )


def test_label_map_has_the_smallest_object_on_top() -> None:
    """Guards small objects, which a large one behind them would hide, and crowds."""
    labels = Squares().label_map(0)
    assert labels.dtype == np.uint8
    assert labels[2, 2] == 2  # the small square, of class 1, although it is listed first
    assert labels[1, 1] == labels[5, 5] == 1
    assert labels[7, 7] == IGNORED
    assert labels[0, 0] == 0
    assert not Squares().label_map(1).any()


def test_label_map_of_too_many_classes_is_refused() -> None:
    """Guards class 255, which would be ignored."""
    source = Squares()
    source.set_object_names(tuple(map(str, range(255))))
    with pytest.raises(DataError, match="255 classes; a map holds 254"):
        source.label_map(0)


def test_image_labels_tell_present_absent_and_difficult_classes() -> None:
    """Guards multi-label evaluation of any source with objects."""
    source = Squares()
    assert source.image_labels().tolist() == [[1, 1, 1], [0, 0, 0]]
    source.difficult = np.array([True, False, True])
    assert source.image_labels().tolist() == [[1, -1, -1], [0, 0, 0]]
    assert ObjectSubset(source, [1, 0]).image_labels().tolist() == [[0, 0, 0], [1, -1, -1]]


def test_subset_has_the_objects_of_its_images() -> None:
    """Guards the embedded data as what detection is tried with."""
    whole = open_objects("shapes(count=12,size=32,objects=3)", flag="--data.train")
    part = ObjectSubset(whole, np.array([5, 2]))
    assert (part.object_names, part.has_masks, part.has_maps) == (whole.object_names, True, True)
    assert np.array_equal(part.scene(0).image, whole.scene(5).image)
    scene, labels = whole.scene(5), part.label_map(0)
    assert scene.masks is not None
    for mask, label in zip(scene.masks, scene.labels, strict=True):
        assert set(labels[mask].tolist()) == {label + 1}
    assert not labels[~scene.masks.any(axis=0)].any()


def test_classes_of_another_source_are_taken_over() -> None:
    """Guards validation images whose classes have another order than the training images'."""
    source = Squares()
    names = ("crowd", "small", "other", "large")
    assert remap_object_classes(source, names).object_names == names
    with pytest.raises(DataError, match=r"\['large'\] that the training images have not"):
        remap_object_classes(Squares(), ("small", "crowd"))
