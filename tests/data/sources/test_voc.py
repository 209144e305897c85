"""Pascal VOC's layout: boxes, lists, and the sets that have a name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.conftest import masked, voc

from massrl.data.catalogue import open_objects, open_source
from massrl.data.sources.base import OpenOptions, parse_spec
from massrl.data.sources.voc import VocKind, VocSource, is_voc
from massrl.data.sources.voc_masks import VOC_CLASSES
from massrl.errors import DataError


def test_boxes_count_pixels_from_one_and_include_both_ends(tmp_path: Path) -> None:
    """Guards boxes that are a pixel off, which costs AP at strict thresholds."""
    source = open_objects(str(voc(tmp_path / "set")), flag="--data.train")
    assert (len(source), source.object_names, source.has_masks) == (2, ("cell", "plate"), False)
    scene = source.scene(1)
    assert scene.image.shape == (10, 20, 3)
    assert scene.boxes.tolist() == [[0, 1, 10, 10], [10, 0, 20, 4]]
    assert scene.labels.tolist() == [0, 1]
    assert scene.crowd.tolist() == [False, False]
    assert scene.difficult is not None
    assert scene.difficult.tolist() == [False, True]
    assert scene.masks is None
    part = open_objects(str(tmp_path / "set"), split="val", flag="--data.val")
    assert [part.describe(index).rpartition("/")[2] for index in range(len(part))] == ["i2.png"]
    own = open_objects(f"{tmp_path / 'set'}:test", flag="--data.val")
    assert own.fingerprint() == part.fingerprint()


def test_set_with_a_name_has_its_published_lists(tmp_path: Path) -> None:
    """Guards ``voc2007``: published figures train on trainval and evaluate on test."""
    root = voc(tmp_path / "VOCdevkit" / "VOC2007", ("dog", "boat"))
    lists = root / "ImageSets" / "Main"
    (lists / "train.txt").rename(lists / "trainval.txt")
    (lists / "train.txt").write_text("i0\n")
    (lists / "val.txt").write_text("i1\n")

    def names(spec: str, split: str) -> list[str]:
        source = open_objects(
            spec, split=split, root=str(tmp_path), download=False, flag="--data.train"
        )
        return [Path(source.describe(index)).stem for index in range(len(source))]

    assert names("voc2007", "train") == ["i0", "i1"]
    assert names("voc2007", "val") == ["i2"]
    assert names("voc2007:val", "train") == ["i1"]
    with pytest.raises(
        DataError, match=r"voc2012 is not there and downloading is off; put.*VOCDetection"
    ):
        names("voc2012", "train")


def test_classes_of_voc_keep_their_published_order(tmp_path: Path) -> None:
    """Guards class numbers against depending on which classes a list happens to hold."""
    source = open_objects(str(voc(tmp_path / "set", ("dog", "boat"))), flag="--data.train")
    assert source.object_names == VOC_CLASSES
    assert source.scene(0).labels.tolist() == [VOC_CLASSES.index("dog"), VOC_CLASSES.index("boat")]


def stems(spec: str | Path, **options: object) -> list[str]:
    source = open_source(spec, **options)
    return [Path(source.describe(index)).stem for index in range(len(source))]


def test_images_without_objects_are_all_but_those_of_val_and_test(tmp_path: Path) -> None:
    """Guards pre-training on the images that a detector is evaluated on."""
    root = voc(tmp_path / "set")
    assert stems(str(root)) == stems(root) == ["i0", "i1", "i3", "i4"]
    assert open_source(str(root)).labels is None
    assert stems(str(root), split="val") == ["i2"]
    (root / "ImageSets" / "Main" / "val.txt").write_text("i1\n")
    assert stems(str(root)) == ["i0", "i3", "i4"]
    assert stems(str(root), split="val") == ["i1", "i2"]
    assert stems(str(root), split="whole") == ["i0", "i1", "i2", "i3", "i4"]


def test_images_of_a_list_are_those_it_names(tmp_path: Path) -> None:
    """Guards a list that is accepted and ignored, and a list of no image."""
    root = voc(tmp_path / "set")
    assert stems(f"{root}:train") == ["i0", "i1"]
    assert stems(f"{root}:test") == ["i2"]
    with pytest.raises(DataError, match=r"no image in its list 'trian'.*\(--data\.train\)"):
        open_source(f"{root}:trian")


def test_images_of_a_set_with_a_name_are_those_of_its_training_list(tmp_path: Path) -> None:
    """Guards ``voc2007``, which is pre-trained on trainval."""
    root = voc(tmp_path / "VOCdevkit" / "VOC2007", ("dog", "boat"))
    lists = root / "ImageSets" / "Main"
    (lists / "train.txt").rename(lists / "trainval.txt")
    assert stems("voc2007", root=tmp_path, download=False) == ["i0", "i1"]
    assert stems("voc2007:test", root=tmp_path, download=False) == ["i2"]
    assert stems("voc2007", split="val", root=tmp_path, download=False) == ["i2"]


def test_prefix_overrides_the_layout(tmp_path: Path) -> None:
    """Guards ``unlabelled:``, which takes every image of a folder whatever its layout."""
    root = voc(tmp_path / "set")
    assert len(open_source(f"unlabelled:{root}")) == 5


def test_validation_images_are_those_of_the_set_itself(tmp_path: Path) -> None:
    """Guards an evaluation without ``--data.val``, which asks the set for its own list."""
    root, kind = voc(tmp_path / "set"), VocKind()
    assert kind.validation_spec(parse_spec(str(root))) == str(root)
    assert kind.validation_spec(parse_spec("voc2007:trainval")) == "voc2007"


def test_multilabel_specs_name_training_and_test_list(tmp_path: Path) -> None:
    """Guards transfer figures: those of trainval against test, else of train against val."""
    root, kind, options = voc(tmp_path / "set"), VocKind(), OpenOptions()
    spec = parse_spec(str(root))
    assert kind.multilabel_specs(spec, options) == (f"{root}:train", f"{root}:test")
    (root / "ImageSets" / "Main" / "test.txt").unlink()
    assert kind.multilabel_specs(spec, options) == (f"{root}:train", f"{root}:val")


def test_image_labels_tell_present_absent_and_difficult_classes(tmp_path: Path) -> None:
    """Guards the average precision of VOC, which ignores images whose only object is difficult."""
    source = VocSource(voc(tmp_path / "set"), flag="--data.train")
    assert source.object_names == ("cell", "plate")
    assert source.image_labels().tolist() == [[1, 1], [1, 1]]
    lone = voc(tmp_path / "lone", ("cell", "cell"))
    for file in (lone / "Annotations").iterdir():
        file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    assert VocSource(lone, flag="x").image_labels().tolist() == [[-1], [-1]]


def test_validation_list_is_test_where_there_is_only_trainval(tmp_path: Path) -> None:
    """Guards VOC 2007 as a folder: its val is a part of trainval, on which is trained."""
    root = voc(tmp_path / "set")
    lists = root / "ImageSets" / "Main"
    (lists / "train.txt").rename(lists / "trainval.txt")
    (lists / "val.txt").write_text("i1\n")
    assert VocSource(root, "val", flag="x").describe(0).endswith("i2.png")
    assert len(VocSource(root, "train", flag="x")) == 2


def test_layout_is_recognised_by_its_folders(tmp_path: Path) -> None:
    """Guards folders of classes that happen to hold one of VOC's names."""
    root = voc(tmp_path / "set")
    assert is_voc(root)
    assert not is_voc(root / "JPEGImages")
    shutil.rmtree(root / "JPEGImages")
    assert not is_voc(root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object></annotation>", "mismatched tag"),
        ("<annotation><object><name>a</name></object></annotation>", "an object without a box"),
        ("<annotation><object><bndbox/></object></annotation>", "could not convert"),
        (None, "No such file"),
    ],
)
def test_broken_annotation_is_refused_in_one_line(
    tmp_path: Path, text: str | None, message: str
) -> None:
    """Guards against a traceback of the XML reader's own."""
    file = voc(tmp_path / "set") / "Annotations" / "i0.xml"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(
        DataError, match=f"i0.xml is no annotation of Pascal VOC: .*{message}"
    ) as caught:
        VocSource(tmp_path / "set", flag="--data.train")
    assert "\n" not in str(caught.value)


def test_missing_list_or_image_is_named(tmp_path: Path) -> None:
    """Guards a mistyped list, and annotations that were copied without their images."""
    root = voc(tmp_path / "set")
    with pytest.raises(DataError, match=r"no list 'trian': did you mean 'train'.*\(--x\)"):
        VocSource(root, "trian", flag="--x")
    (root / "JPEGImages" / "i1.png").unlink()
    with pytest.raises(DataError, match=r"JPEGImages lacks i1 and 0 more of .*train.txt \(--x\)"):
        VocSource(root, flag="--x")


def test_annotations_without_objects_are_refused(tmp_path: Path) -> None:
    """Guards a detector of no classes."""
    root = voc(tmp_path / "set")
    for file in (root / "Annotations").iterdir():
        file.write_text("<annotation></annotation>")
    with pytest.raises(DataError, match="has no objects in its annotations"):
        VocSource(root, flag="--data.train")


def resized(root: Path, size: tuple[int, int], *, orientation: int = 1) -> Path:
    """Write the first image of the layout, annotated at 20 × 10, at another size; width first."""
    exif = Image.Exif()
    exif[0x112] = orientation
    (root / "JPEGImages" / "i0.png").unlink()
    Image.new("RGB", size).save(root / "JPEGImages" / "i0.jpg", exif=exif)
    return root


def test_boxes_belong_to_the_annotated_size(tmp_path: Path) -> None:
    """Guards turned photographs and shrunk files. See ``test_frames`` for the kind.

    The first object is x 0 to 10 and y 1 to 10 of 20 × 10, counted from VOC's own numbers by hand.
    """
    turned = VocSource(resized(voc(tmp_path / "a"), (20, 10), orientation=6), flag="x")
    assert turned.scene(0).image.shape == turned.image(0).shape == (10, 20, 3)
    assert turned.scene(0).boxes[0].tolist() == [0, 1, 10, 10]
    assert turned.notes[0].endswith("annotated as stored: 1 image")
    shrunk = VocSource(resized(voc(tmp_path / "b"), (10, 5)), flag="x")
    assert shrunk.scene(0).boxes.tolist() == [[0, 0.5, 5, 5], [5, 0, 10, 2]]
    assert shrunk.scene(1).boxes[0].tolist() == [0, 1, 10, 10]
    assert "are scaled to the size of the file: 1 image" in shrunk.notes[0]
    with pytest.raises(DataError, match=r"i0\.jpg has 10 × 20 pixels, but is annotated at 20 × 10"):
        VocSource(resized(voc(tmp_path / "c"), (10, 20)), flag="x")
    root = resized(voc(tmp_path / "d"), (30, 20))
    for file in (root / "Annotations").iterdir():
        file.write_text(file.read_text().replace("<width>20", "<width>0"))
    assert VocSource(root, flag="x").scene(0).boxes[0].tolist() == [0, 1, 10, 10]


def test_unusable_boxes_are_counted(tmp_path: Path) -> None:
    """Guards objects that vanish; those of the layout's third box have no width."""
    root = voc(tmp_path / "set")
    file = root / "Annotations" / "i0.xml"
    file.write_text(file.read_text().replace("<xmin>1<", "<xmin>nan<").replace("11<", "21<"))
    source = VocSource(root, flag="x")
    assert source.notes == (
        "4 of 6 objects are left out: 1 with a box whose numbers are not finite, 1 with a box outside the "
        "image, 2 with a box of no width or height",
    )
    assert source.object_counts().tolist() == [0, 1]  # the others are difficult
    assert [len(source.scene(index).boxes) for index in range(2)] == [0, 2]


def test_images_of_one_name_are_refused(tmp_path: Path) -> None:
    """Guards an image that gets the objects of another; files beside the images are none."""
    root = voc(tmp_path / "set")
    (root / "JPEGImages" / "i0.txt").write_text("")
    assert VocSource(root, flag="x").describe(0).endswith("i0.png")
    shutil.copy(root / "JPEGImages" / "i0.png", root / "JPEGImages" / "i0.jpg")
    with pytest.raises(DataError, match=r"'i0' means i0\.jpg and i0\.png in .*\(--x\)"):
        VocSource(root, flag="--x")


def test_masks_of_another_size_are_scaled_or_refused(tmp_path: Path) -> None:
    """Guards masks on their side and of shrunk files, against Pillow's resizing."""
    numbers = np.zeros((10, 20), np.uint8)
    numbers[2:7, 3:12] = 15
    root = masked(tmp_path / "set", Image.fromarray(numbers))
    for size, scale in (((40, 20), True), ((10, 5), True), ((20, 10), False)):
        Image.new("RGB", size).save(root / "JPEGImages" / "i1.png")
        source = VocSource(root, maps=True, flag="x")
        wanted = Image.fromarray(numbers).resize(size, Image.Resampling.NEAREST)
        assert np.array_equal(source.label_map(0), np.array(wanted))
        assert source.image(0).shape[:2] == size[::-1]
        assert bool(source.notes) is scale
    exif = Image.Exif()
    exif[0x112] = 8
    Image.new("RGB", (20, 10)).save(root / "JPEGImages" / "i1.png", exif=exif)
    assert VocSource(root, maps=True, flag="x").image(0).shape[:2] == (10, 20)
    Image.new("RGB", (10, 20)).save(root / "JPEGImages" / "i1.png")
    with pytest.raises(DataError, match="has 10 × 20 pixels, but is annotated at 20 × 10"):
        VocSource(root, maps=True, flag="x")
    (root / "SegmentationClass" / "i1.png").unlink()
    with pytest.raises(DataError, match=r"i1\.png cannot be read"):
        VocSource(root, maps=True, flag="x")


def test_parts_to_check_are_those_with_lists(tmp_path: Path) -> None:
    """Guards ``massrl data check`` against faults of parts that a folder does not have."""
    root = voc(tmp_path / "set")
    parts = VocKind().annotated_parts
    assert parts(parse_spec(str(root))) == [("train", False), ("val", False)]
    (root / "ImageSets" / "Segmentation").mkdir()
    (root / "ImageSets" / "Segmentation" / "trainval.txt").write_text("i0\n")
    (root / "ImageSets" / "Main" / "test.txt").unlink()
    assert parts(parse_spec(str(root))) == [("train", False), ("train", True)]
