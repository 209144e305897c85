"""Folders of images and lists of paths."""

from __future__ import annotations


@pytest.fixture
def labelled(tmp_path, write):
    """Two classes, five images."""
    for index, name in enumerate(
        ["cat/b.jpg", "cat/a.PNG", "dog/c.webp", "dog/d.bmp", "dog/e.gif"]
    ):
        write(tmp_path / "pets" / name, seed=index)
    return tmp_path / "pets"


def test_folder_is_labelled_when_every_image_lies_in_a_class_folder(labelled):
    """Guards labels that follow the disk's order instead of the sorted class names."""
    source = open_source(str(labelled))
    assert isinstance(source, FileSource)
    assert source.name == "pets"
    assert list(source.names) == ["cat/a.PNG", "cat/b.jpg", "dog/c.webp", "dog/d.bmp", "dog/e.gif"]
    assert source.class_names == ("cat", "dog")
    assert source.labels.dtype == np.int64
    assert source.labels.tolist() == [0, 0, 1, 1, 1]
    assert source.normalization == IMAGENET_NORMALIZATION
    assert decode(source.read(2)).shape == (12, 16, 3)
    assert source.describe(2) == str(labelled / "dog" / "c.webp")


def test_folder_is_unlabelled_when_it_is_flat_deep_or_mixed(tmp_path, write):
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


def test_folder_labels_follow_the_prefix_when_one_is_given(labelled, write):
    """Guards `unlabelled:` and `labelled:`, the way to decide by hand."""
    assert open_source(f"unlabelled:{labelled}").labels is None
    assert open_source(f"unlabeled:{labelled}").class_names == ()
    assert open_source(str(labelled), split="unlabelled").labels is None
    write(labelled / "emu" / "deep" / "f.jpg")
    assert open_source(str(labelled)).labels is None
    assert open_source(f"labelled:{labelled}").labels.tolist() == [0, 0, 1, 1, 1, 2]
    write(labelled / "loose.jpg")
    with pytest.raises(DataError, match=r"'loose\.jpg'; a labelled folder is DIR/CLASS/IMAGE"):
        open_source(f"labelled:{labelled}")


def test_folder_order_is_by_relative_path_when_names_hold_odd_letters(tmp_path, write):
    """Guards an order that differs between systems, spaces, and letters beyond ASCII."""
    for name in ["b c/Ünï ☃.jpg", "a/z.jpg", "B/y.jpg", "b/x.jpg"]:
        write(tmp_path / "mes photos é" / name)
    source = open_source(str(tmp_path / "mes photos é"))
    assert list(source.names) == ["B/y.jpg", "a/z.jpg", "b c/Ünï ☃.jpg", "b/x.jpg"]
    assert decode(source.read(2)).shape == (12, 16, 3)
    assert source.class_names == ("B", "a", "b", "b c")


def test_folder_reports_a_link_that_leads_nowhere(labelled):
    """Guards images that vanish without a word."""
    (labelled / "cat" / "gone.jpg").symlink_to(labelled / "nothing.jpg")
    source = open_source(str(labelled))
    index = list(source.names).index("cat/gone.jpg")
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be read \(No such file"):
        source.read(index)


def test_folder_enters_the_part_when_it_is_divided(tmp_path, write):
    """Guards training on the validation images."""
    for name in ["train/cat/a.jpg", "train/dog/b.jpg", "val/cat/c.jpg", "val/dog/d.jpg"]:
        write(tmp_path / "set" / name)
    train = open_source(str(tmp_path / "set"))
    val = open_source(str(tmp_path / "set"), split="val")
    assert (train.name, list(train.names)) == ("set/train", ["cat/a.jpg", "dog/b.jpg"])
    assert (val.name, list(val.names)) == ("set/val", ["cat/c.jpg", "dog/d.jpg"])
    assert open_source(str(tmp_path / "set" / "val"), split="val").labels.tolist() == [0, 1]


def test_folder_uses_test_when_there_is_no_val_and_says_so_when_neither(tmp_path, write):
    """Guards a validation set silently equal to the training set."""
    write(tmp_path / "a" / "train" / "x.jpg")
    with pytest.raises(DataError, match=r"has train/ but none of val/.*--data\.val"):
        open_source(str(tmp_path / "a"), split="val")
    write(tmp_path / "a" / "test" / "y.jpg")
    assert list(open_source(str(tmp_path / "a"), split="val").names) == ["y.jpg"]


def test_folder_takes_train_for_a_class_when_other_classes_stand_beside(tmp_path, write):
    """Guards vehicles: a class called "train" is no training part."""
    for name in ["bus/a.jpg", "car/b.jpg", "train/c.jpg"]:
        write(tmp_path / name)
    assert open_source(str(tmp_path)).class_names == ("bus", "car", "train")


def test_folder_raises_when_it_holds_no_image(tmp_path):
    """Guards an empty run, and a message that does not say what to do."""
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"no images in .* \(1 other files\).*\.jpg.*--data\.train"):
        open_source(str(tmp_path))


def test_list_reads_paths_relative_to_its_folder(tmp_path, write):
    """Guards lists written on Windows or with a byte-order mark, blank lines and absolute paths."""
    write(tmp_path / "a b" / "é.jpg")
    absolute = write(tmp_path / "elsewhere" / "x.png")
    text = f"a b/é.jpg\r\n\r\n{absolute}\n"
    (tmp_path / "list.txt").write_text(text, encoding="utf-8-sig", newline="")
    source = open_source(str(tmp_path / "list.txt"))
    assert (source.name, len(source), source.labels) == ("list", 2, None)
    assert [decode(source.read(index)).shape for index in (0, 1)] == [(12, 16, 3)] * 2


def test_list_takes_labels_from_a_second_column(tmp_path, write):
    """Guards one set of images against two class orders: as folders and as a list."""
    write(tmp_path / "a.jpg")
    for labels, names in (("10 2 2", ("10", "2")), ("dog cat dog", ("cat", "dog"))):
        lines = [f"a.jpg\t{label}" for label in labels.split()]
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
def test_list_raises_when_a_line_cannot_be_used(text, reason, tmp_path, write):
    """Guards lists relative to another folder, found out at the first batch only."""
    write(tmp_path / "a.jpg")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=reason):
        open_source(str(tmp_path / "list.txt"))


def test_list_raises_when_the_file_is_no_list(tmp_path, write):
    """Guards one image, or any binary file, read as a list of paths."""
    with pytest.raises(DataError, match="is one image; give its folder"):
        open_source(str(write(tmp_path / "a.jpg")))
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="accepted: a text file in UTF-8"):
        open_source(str(tmp_path / "x.bin"))
    write(tmp_path / "b.jpg")
    (tmp_path / "list.txt").write_text("b.jpg")
    with pytest.raises(DataError, match="has no labels"):
        open_source(f"labelled:{tmp_path / 'list.txt'}")


def test_fingerprint_changes_with_names_sizes_and_labels_only(tmp_path, write):
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


def test_source_survives_a_trip_to_a_worker(labelled):
    """Guards loaders that start their workers afresh (spawn)."""
    source = pickle.loads(pickle.dumps(open_source(str(labelled))))
    assert source.names[0] == "cat/a.PNG"
    assert source.labels.tolist() == [0, 0, 1, 1, 1]


def test_odd_folder_gives_each_file_what_issue_2_asks(odd_folder):
    """Guards every kind of odd file at once: three clear errors, four right pictures."""
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
