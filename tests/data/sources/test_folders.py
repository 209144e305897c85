"""Folders of images and lists of paths: order, labels, parts, fingerprints."""

from __future__ import annotations

import logging
import pickle
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from massrl.data.catalogue import open_source
from massrl.data.source import IMAGENET_NORMALIZATION
from massrl.data.sources.base import parse_spec
from massrl.data.sources.folders import FilesKind, FileSource
from massrl.errors import DataError, ImageError
from massrl.images.decode import decode

Write = Callable[..., Path]


def test_folder_with_every_image_in_a_class_folder_is_labelled(pets: Path) -> None:
    """Guards labels that follow the disk's order instead of the sorted class names."""
    source = open_source(str(pets))
    assert isinstance(source, FileSource)
    assert source.name == "pets"
    assert list(source.names) == ["cat/a.PNG", "cat/b.jpg", "dog/c.webp", "dog/d.bmp", "dog/e.gif"]
    assert source.class_names == ("cat", "dog")
    assert source.labels.dtype == np.int64
    assert source.labels.tolist() == [0, 0, 1, 1, 1]
    assert source.normalization == IMAGENET_NORMALIZATION
    assert decode(source.read(2)).shape == (12, 16, 3)
    assert source.describe(2) == str(pets / "dog" / "c.webp")


def test_flat_deep_or_mixed_folder_is_unlabelled(tmp_path: Path, write: Write) -> None:
    """Guards class names made up of whatever folders there are."""
    layouts = {
        "flat": ["a.jpg", "b.jpg"],
        "deep": ["x/y/a.jpg", "z/y/b.jpg"],
        "mixed": ["a.jpg", "x/a.jpg", "y/b.jpg"],
        "one": ["x/a.jpg", "x/b.jpg"],
    }
    for name, files in layouts.items():
        for file in files:
            write(tmp_path / name / file)
        source = open_source(str(tmp_path / name))
        assert len(source) == len(files)
        assert source.labels is None
        assert source.class_names == ()


def test_prefix_overrides_the_layout(pets: Path, write: Write) -> None:
    """Guards `unlabelled:` and `labelled:`, which decide by hand."""
    assert open_source(f"unlabelled:{pets}").labels is None
    assert open_source(f"unlabeled:{pets}").class_names == ()
    assert open_source(str(pets), split="unlabelled").labels is None
    write(pets / "emu" / "deep" / "f.jpg")
    assert open_source(str(pets)).labels is None
    assert open_source(f"labelled:{pets}").labels.tolist() == [0, 0, 1, 1, 1, 2]
    write(pets / "loose.jpg")
    with pytest.raises(DataError, match=r"'loose\.jpg'; a labelled folder is DIR/CLASS/IMAGE"):
        open_source(f"labelled:{pets}")


def test_images_are_ordered_by_relative_path_whatever_their_letters(
    tmp_path: Path, write: Write
) -> None:
    """Guards an order that differs between systems, spaces, and letters beyond ASCII."""
    for name in ["b c/Ünï ☃.jpg", "a/z.jpg", "B/y.jpg", "b/x.jpg"]:
        write(tmp_path / "mes photos é" / name)
    source = open_source(str(tmp_path / "mes photos é"))
    assert list(source.names) == ["B/y.jpg", "a/z.jpg", "b c/Ünï ☃.jpg", "b/x.jpg"]
    assert decode(source.read(2)).shape == (12, 16, 3)
    assert source.class_names == ("B", "a", "b", "b c")


def test_dangling_link_is_reported(pets: Path) -> None:
    """Guards images that disappear without a message."""
    (pets / "cat" / "gone.jpg").symlink_to(pets / "nothing.jpg")
    source = open_source(str(pets))
    index = list(source.names).index("cat/gone.jpg")
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read \(No such file"):
        source.read(index)


def test_divided_folder_is_opened_by_its_parts(tmp_path: Path, write: Write) -> None:
    """Guards training on the validation images."""
    for name in ["train/cat/a.jpg", "train/dog/b.jpg", "val/cat/c.jpg", "val/dog/d.jpg"]:
        write(tmp_path / "set" / name)
    train = open_source(str(tmp_path / "set"))
    val = open_source(str(tmp_path / "set"), split="val")
    assert (train.name, list(train.names)) == ("set/train", ["cat/a.jpg", "dog/b.jpg"])
    assert (val.name, list(val.names)) == ("set/val", ["cat/c.jpg", "dog/d.jpg"])
    assert open_source(str(tmp_path / "set" / "val"), split="val").labels.tolist() == [0, 1]


def test_divided_folder_without_val_uses_test_or_is_refused(tmp_path: Path, write: Write) -> None:
    """Guards a validation set silently equal to the training set."""
    write(tmp_path / "a" / "train" / "x.jpg")
    with pytest.raises(DataError, match=r"has train/ but none of val/.*--data\.val"):
        open_source(str(tmp_path / "a"), split="val")
    write(tmp_path / "a" / "test" / "y.jpg")
    assert list(open_source(str(tmp_path / "a"), split="val").names) == ["y.jpg"]


def test_folder_train_beside_other_classes_is_a_class(tmp_path: Path, write: Write) -> None:
    """Guards vehicles: a class called "train" is no split."""
    for name in ["bus/a.jpg", "car/b.jpg", "train/c.jpg"]:
        write(tmp_path / name)
    assert open_source(str(tmp_path)).class_names == ("bus", "car", "train")


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    """Guards an empty run, and a message that does not say what to do."""
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"no images in .* \(1 other file\).*\.jpg.*--data\.train"):
        open_source(str(tmp_path))


def test_list_has_paths_relative_to_its_folder(tmp_path: Path, write: Write) -> None:
    """Guards lists written on Windows or with a byte-order mark, blank lines and absolute paths."""
    write(tmp_path / "a b" / "é.jpg")
    absolute = write(tmp_path / "elsewhere" / "x.png")
    text = f"a b/é.jpg\r\n\r\n{absolute}\n"
    (tmp_path / "list.txt").write_text(text, encoding="utf-8-sig", newline="")
    source = open_source(str(tmp_path / "list.txt"))
    assert (source.name, len(source), source.labels) == ("list", 2, None)
    assert [decode(source.read(index)).shape for index in (0, 1)] == [(12, 16, 3)] * 2


def test_list_has_labels_in_a_second_column(tmp_path: Path, write: Write) -> None:
    """Guards one set of images against two class orders: as folders and as a list."""
    for name in "abc":
        write(tmp_path / f"{name}.jpg")
    for labels, names in (("10 2 2", ("10", "2")), ("dog cat dog", ("cat", "dog"))):
        lines = [f"{name}.jpg\t{label}" for name, label in zip("abc", labels.split(), strict=True)]
        (tmp_path / "list.txt").write_text("\n".join(lines))
        source = open_source(str(tmp_path / "list.txt"))
        assert source.class_names == names
        assert [names[label] for label in source.labels] == labels.split()
    assert open_source(f"unlabelled:{tmp_path / 'list.txt'}").labels is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lists no images"),
        ("nothing.jpg\n", r"line 1: 'nothing\.jpg' does not exist; paths are relative to"),
        ("a.jpg\tcat\na.jpg\n", "line 2: no class after a tab"),
    ],
)
def test_list_with_an_unusable_line_is_refused(
    text: str, reason: str, tmp_path: Path, write: Write
) -> None:
    """Guards lists relative to another folder, found out at the first batch only."""
    write(tmp_path / "a.jpg")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=reason):
        open_source(str(tmp_path / "list.txt"))


def test_file_that_is_no_list_is_refused(tmp_path: Path, write: Write) -> None:
    """Guards one image, or any binary file, read as a list of paths."""
    with pytest.raises(DataError, match="is one image; give its folder"):
        open_source(str(write(tmp_path / "a.jpg")))
    (tmp_path / "x.bin").write_bytes(b"\xff\xd8\x00\x81")
    with pytest.raises(DataError, match="accepted: a text file in UTF-8"):
        open_source(str(tmp_path / "x.bin"))
    write(tmp_path / "b.jpg")
    (tmp_path / "list.txt").write_text("b.jpg")
    with pytest.raises(DataError, match="has no labels"):
        open_source(f"labelled:{tmp_path / 'list.txt'}")


def test_fingerprint_depends_on_names_sizes_and_labels_alone(tmp_path: Path, write: Write) -> None:
    """Guards results that look comparable and are not; a moved folder stays comparable."""

    def fingerprint(spec: str) -> str:
        return open_source(spec).fingerprint()

    for name in ["x/a.jpg", "y/b.jpg"]:
        write(tmp_path / "one" / name)
        write(tmp_path / "two" / name)
    first = fingerprint(str(tmp_path / "one"))
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert first == fingerprint(str(tmp_path / "two"))
    assert first != fingerprint(f"unlabelled:{tmp_path / 'one'}")
    (tmp_path / "one" / "x" / "a.jpg").rename(tmp_path / "one" / "x" / "c.jpg")
    (tmp_path / "two" / "y" / "b.jpg").write_bytes(b"shorter")
    assert len({first, fingerprint(str(tmp_path / "one")), fingerprint(str(tmp_path / "two"))}) == 3


def test_source_can_be_sent_to_a_worker(pets: Path) -> None:
    """Guards loaders that spawn their workers."""
    source = pickle.loads(pickle.dumps(open_source(str(pets))))
    assert source.names[0] == "cat/a.PNG"
    assert source.labels.tolist() == [0, 0, 1, 1, 1]


def test_odd_files_are_read_or_refused_each_in_its_own_way(odd_folder: Path) -> None:
    """Guards every kind of odd file at once: three clear errors, four correct images."""
    source = open_source(str(odd_folder))
    shapes, reasons, named = {}, {}, 0
    for index in range(len(source)):
        name = Path(source.describe(index)).name
        try:
            shapes[name] = decode(source.read(index), name=source.describe(index)).shape
        except ImageError as error:
            reasons[name] = error.reason
            named += error.name == str(odd_folder / name)
    assert shapes == {
        "cmyk.jpg": (48, 64, 3),
        "deep.png": (48, 64, 3),
        "dot.png": (1, 1, 3),
        "with space é.jpeg": (48, 64, 3),
    }
    assert named == 3
    assert sorted(reasons) == ["empty.jpg", "text.jpg", "truncated.jpg"]
    assert reasons["empty.jpg"] == "empty file"


def test_kind_takes_what_exists_and_whatever_has_a_prefix(tmp_path: Path, pets: Path) -> None:
    """Guards the message for a mistyped path: with a prefix it is about a path, else about names too."""
    kind = FilesKind()
    assert kind.is_fallback
    assert kind.matches(parse_spec(str(pets)))
    assert kind.matches(parse_spec(pets))
    assert kind.matches(parse_spec("labelled:not/there"))
    assert not kind.matches(parse_spec("not/there"))
    with pytest.raises(
        DataError, match=r"not/there is neither a folder nor a file \(--data.train\)"
    ):
        open_source("labelled:not/there")


def test_validation_images_are_those_of_a_divided_folder(tmp_path: Path, write: Write) -> None:
    """Guards evaluation without ``--data.val``: ``val/`` beside ``train/``."""
    for name in ("train/a.jpg", "val/b.jpg"):
        write(tmp_path / "set" / name)
    kind = FilesKind()
    assert kind.validation_spec(parse_spec(str(tmp_path / "set"))) == str(tmp_path / "set")
    assert kind.validation_spec(parse_spec(str(tmp_path / "set" / "train"))) is None


def test_list_may_be_written_as_other_tools_do(tmp_path: Path, write: Write) -> None:
    """Guards lists of Windows, of spreadsheets, of torchvision's sets and of Caffe, one of each kind.

    To the kind belong: CRLF, a byte-order mark, backslashes, ``./``, quotes, names of columns, a class after
    a comma or a blank, no suffix, one in upper case, and letters that a Mac has decomposed.
    """
    decomposed = unicodedata.normalize("NFD", "Ångström.jpg")
    for name in ("train/a b.jpg", "train/c,d.jpg", f"train/{decomposed}"):
        write(tmp_path / name)
    composed = unicodedata.normalize("NFC", "Ångström")
    lists = {
        "windows.txt": f".\\train\\a b.JPG\r\n.\\train\\c,d\r\n.\\train\\{composed}.jpg\r\n",
        "sheet.csv": f'filename,label\n"train/a b.jpg",1\n"train/c,d.jpg",2\ntrain/{composed}.jpg,2\n',
        "caffe.txt": f"./train/a b.jpg 1\n./train/c,d.jpg 2\n./train/{composed}.jpg 2\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_bytes(text.encode("utf-8-sig"))
        source = open_source(str(tmp_path / name))
        assert list(source.names) == ["train/a b.jpg", "train/c,d.jpg", f"train/{decomposed}"]
        assert [decode(source.read(index)).shape for index in range(3)] == [(12, 16, 3)] * 3
        if name == "windows.txt":
            assert source.labels is None
        else:
            assert (source.class_names, source.labels.tolist()) == (("1", "2"), [0, 1, 1])


def test_missing_image_further_down_a_list_is_reported_when_it_is_read(
    tmp_path: Path, write: Write
) -> None:
    """Guards ``--data.on_error skip`` against one missing file that refuses the whole list."""
    write(tmp_path / "a.jpg")
    (tmp_path / "list.txt").write_text("a.jpg,x\ngone.jpg,y\n")
    source = open_source(str(tmp_path / "list.txt"))
    assert list(source.names) == ["a.jpg", "gone.jpg"]
    with pytest.raises(ImageError, match="gone.jpg: cannot be read"):
        source.read(1)


def test_classes_with_composed_and_decomposed_letters_are_the_same(
    tmp_path: Path, write: Write
) -> None:
    """Guards "classes that train has not" between folders of a Mac and of Linux."""
    for form, part in (("NFC", "train"), ("NFD", "val")):
        for name in ("é", "o"):
            write(tmp_path / part / unicodedata.normalize(form, name) / "a.jpg")
    train, val = (open_source(str(tmp_path), split=part) for part in ("train", "val"))
    assert train.class_names == val.class_names == ("o", "é")
    assert decode(val.read(0)).shape == (12, 16, 3)


def test_folder_with_other_images_says_so_at_every_start(
    tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards images that are left out without a word, of each part of a divided folder."""
    for part in ("train", "val"):
        write(tmp_path / "set" / part / "a.jpg")
        (tmp_path / "set" / part / "b.HEIC").write_bytes(b"x")
        with caplog.at_level(logging.WARNING):
            open_source(str(tmp_path / "set"), split=part)
        assert f"set/{part}: images left out: 1 (.heic 1)" in caplog.text


def test_test_images_are_not_pretrained_on_whatever_the_folder_is_called(
    tmp_path: Path, write: Write
) -> None:
    """Guards figures on test images that the backbone has been trained on."""
    for layout in (
        ("Train/a.jpg", "Test/b.jpg"),
        ("training/a.jpg", "testing/b.jpg"),
        ("images/train/a.jpg", "images/test/b.jpg"),
        ("train/a.jpg", "valid/b.jpg", "test/c.jpg"),
        ("x/train/a.jpg", "x/test/b.jpg", "y/train/c.jpg", "y/test/b.jpg"),
    ):
        root = tmp_path / layout[0].replace("/", "-")
        for name in layout:
            write(root / name)
        for spec in (str(root), f"unlabelled:{root}"):
            source = open_source(spec)
            stems = {Path(source.describe(index)).stem for index in range(len(source))}
            assert stems == ({"a", "c"} if layout[0][0] == "x" else {"a"})


def test_sizes_are_those_of_the_files(tmp_path: Path, write: Write) -> None:
    """Guards the search for equal contents, which reads only files of equal size."""
    path = write(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "gone.jpg")
    assert open_source(str(tmp_path)).sizes().tolist() == [path.stat().st_size, -1]


def test_list_with_an_image_in_two_classes_is_refused(
    tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards labels that contradict each other; an image twice in one class is used twice, which is said."""
    for name in ("a.png", "b.png"):
        write(tmp_path / name)
    file = tmp_path / "list.txt"
    file.write_text("a.png\tcat\nb.png\tdog\na.png\tcat\n")
    assert open_source(file).labels.tolist() == [0, 1, 0]
    assert caplog.messages == [f"{file} names images again, which are then used as often: 1 line"]
    file.write_text("a.png\tcat\nb.png\tdog\n./a.png\tdog\n")
    with pytest.raises(
        DataError, match=r"has a\.png in two classes, 'cat' and 'dog' \(--data\.train\)"
    ):
        open_source(file)
