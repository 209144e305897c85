"""Names in lists, as tools and people write them, and the files that they mean."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from massrl.data.sources.name_lists import (
    FileNames,
    NamedFiles,
    composed,
    missing_name,
    read_lines,
    readings,
)
from massrl.errors import DataError

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Ångström é") for form in ("NFC", "NFD"))


def files(folder: Path, *names: str) -> NamedFiles:
    """Write files of no content and return them, to be found by their names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return NamedFiles(folder, flag="--x", shorten=True)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16"], ids=["plain", "mark", "utf-16"]
)
def test_lines_are_those_of_any_system(tmp_path: Path, end: bytes, encoding: str) -> None:
    """Guards lists of Windows: its line ends, its byte-order mark, and what PowerShell writes.

    To the kind belong Macs of old (CR), blank lines, and no line end at the end of the file.
    """
    text = f"a b.jpg\n\n  \n{COMPOSED}.jpg".replace("\n", end.decode())
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    lines = read_lines(tmp_path / "list.txt")
    assert lines == [(1, "a b.jpg"), (4, f"{COMPOSED}.jpg")]


def test_other_bytes_are_no_list(tmp_path: Path) -> None:
    """Guards a picture, or Latin-1, that is read as names which nobody has written."""
    for content in ("é.jpg".encode("latin-1"), b"a.jpg\nb\0.jpg\n", "a.jpg".encode("utf-16-le")):
        (tmp_path / "list.txt").write_bytes(content)
        with pytest.raises(UnicodeDecodeError):
            read_lines(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("a b", "a b.jpg"),
        (" a b.jpg \t", "a b.jpg"),
        ("a b.JPG", "a b.jpg"),
        ("./a b.jpg", "a b.jpg"),
        (".\\sub\\c.1", "sub/c.1.PNG"),
        ("sub//c.1.png", "sub/c.1.PNG"),
        ("sub/c.1.xml", "sub/c.1.PNG"),
        ("C:\\data\\sub\\c.1.png", "sub/c.1.PNG"),
        ("/old/place/a b.jpg", "a b.jpg"),
        (f"{DECOMPOSED}", f"{COMPOSED}.jpg"),
        (f"{COMPOSED} 2/x", f"{DECOMPOSED} 2/x.jpg"),
        ("d,e.jpg", "d,e.jpg"),
        ("a b -1", "a b.jpg"),
        ("a b.jpg,cat", "a b.jpg"),
        ("d,e.jpg,cat", "d,e.jpg"),
        ('"d,e.jpg", cat', "d,e.jpg"),
        ('"a b.jpg"', "a b.jpg"),
        ("a b\t cat", "a b.jpg"),
    ],
)
def test_line_finds_the_file_that_it_means(tmp_path: Path, line: str, path: str) -> None:
    """Guards "image not found" for names with blanks, commas, suffixes, folders and letters of their own."""
    names = ("a b.jpg", "sub/c.1.PNG", f"{COMPOSED}.jpg", f"{DECOMPOSED} 2/x.jpg", "d,e.jpg")
    found = files(tmp_path, *names, "a b.txt").find(line)
    assert found is not None
    assert found[0] == path
    assert (tmp_path / found[0]).is_file()


@pytest.mark.parametrize(
    "line",
    [
        "b",
        "a b.png",
        "c.1",
        "A B.jpg",
        "a",
        "sub/a b.jpg/x",
        "..",
        "\0",
        "x" * 999 + "/a",
        "/",
        '"',
    ],
)
def test_line_of_no_file_finds_none(tmp_path: Path, line: str) -> None:
    """Guards lenience that goes too far: another name, another format, another folder."""
    assert files(tmp_path, "a b.jpg", "sub/c.1.PNG").find(line) is None


def test_text_behind_a_name_is_returned(tmp_path: Path) -> None:
    """Guards labels, whatever separates them."""
    found = files(tmp_path, "a b.jpg")
    for line in ("a b.jpg\tbig cat", "a b.jpg,big cat", '"a b.jpg","big cat"'):
        assert found.find(line) == ("a b.jpg", "big cat")
    assert found.find("a b.jpg 7") == ("a b.jpg", "7")
    assert found.find("a b.jpg") == ("a b.jpg", "")


def test_file_that_is_spelt_the_same_goes_first(tmp_path: Path) -> None:
    """Guards images that differ in the suffix alone: they are two where it is given, unclear where not."""
    found = files(tmp_path, "a.jpg", "a.JPG", "a.png")
    for name in ("a.jpg", "a.JPG", "a.png"):
        assert found.find(name) == (name, "")
    with pytest.raises(DataError, match=r"'a' means a.* a suffix tells them apart \(--x\)"):
        found.find("a")


def test_names_in_other_folders_are_not_shortened_unless_asked(tmp_path: Path) -> None:
    """Guards ``val/a.jpg`` of a list, whose folder is missing, against being ``a.jpg`` beside it."""
    files(tmp_path, "a.jpg")
    assert NamedFiles(tmp_path, flag="--x").find("val/a.jpg") is None
    assert NamedFiles(tmp_path, flag="--x").find(str(tmp_path / "a.jpg")) is not None


def test_all_lines_are_found_or_counted(tmp_path: Path) -> None:
    """Guards images that are silently left out, and two images that become one file."""
    found = files(tmp_path, "a.jpg", "b.jpg")
    assert found.find_all(["b", "./a.jpg", "a"], what="the list") == ["b.jpg", "a.jpg", "a.jpg"]
    with pytest.raises(DataError, match=r"lacks c and 1 more of the list \(--x\)"):
        found.find_all(["a", "c", "d"], what="the list")
    with pytest.raises(DataError, match="one/a.jpg and two/a.jpg of the list are both a.jpg"):
        found.find_all(["one/a.jpg", "two/a.jpg"], what="the list")


def test_many_lines_of_one_folder_list_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards lists of a million images on a network drive: no look at the disk for each line."""
    import os

    calls = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (calls.append(path), listdir(path))[1])
    found = files(tmp_path, *(f"sub/{number}.jpg" for number in range(50)))
    for number in range(50):
        for mark in "\t,":
            line = f"sub/{number}.jpg{mark}{number}"
            assert found.find(line) == (f"sub/{number}.jpg", str(number))
    assert sorted(calls) == [tmp_path, tmp_path / "sub"]


def test_paths_are_found_by_their_ends() -> None:
    """Guards published lists, whose names have the folder of the class before them or not."""
    names = FileNames(["/d/n1/x_1.JPEG", "/d/n2/x_1.JPEG", "/d/n2/x_2.jpeg"])
    assert names.find("x_2") == names.find("n2/x_2.JPEG") == [2]
    assert names.find("n2\\x_1.JPEG") == [1]
    assert names.find("x_1.jpeg") == [0, 1]
    assert names.find("n3/x_1.JPEG") == names.find("x") == []


def test_reading_without_a_file_is_the_one_with_an_image_suffix() -> None:
    """Guards the message for a missing image, which must show its name and not the label."""
    assert missing_name("no such.jpg,cat") == ("no such.jpg", "cat")
    assert missing_name("no such 1.jpg") == ("no such 1.jpg", "")
    assert missing_name("2008_000008") == ("2008_000008", "")
    assert list(readings("a")) == [("a", "")]


def test_letters_are_compared_composed() -> None:
    """Guards classes of folders that a Mac has written against the same ones of Linux."""
    assert composed(DECOMPOSED) == composed(COMPOSED) == COMPOSED
