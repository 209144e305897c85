"""Published lists: downloaded once, and refused where they differ from what was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from massrl.data import label_lists as module
from massrl.data.label_lists import PUBLISHED_LISTS, PublishedList, list_file
from massrl.errors import DataError
from massrl.files import cache_folder

CONTENT = b"n1_1.JPEG\nn2_7.JPEG\n"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published list, whose address is a file."""
    monkeypatch.setenv("MASSRL_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "list.txt"
    file.write_bytes(CONTENT)
    monkeypatch.setitem(
        module.PUBLISHED_LISTS, "two", PublishedList(file.as_uri(), len(CONTENT), 2)
    )
    return file


def test_list_is_downloaded_once(published: Path) -> None:
    """Guards the second evaluation, which may be without a network."""
    with pytest.raises(DataError, match=r"--data.download is false: file:.*by hand"):
        list_file("two", download=False)
    path = list_file("two", download=True)
    assert path == cache_folder("lists") / "two.txt"
    assert path.read_bytes() == CONTENT
    published.unlink()
    assert list_file("two", download=False) == path
    assert list_file("mine.txt", download=False) == Path("mine.txt")


@pytest.mark.parametrize("content", [CONTENT[:-3], CONTENT + b"\n", b"<html> not found</html>"])
def test_file_that_differs_from_the_published_list_is_refused(
    published: Path, content: bytes
) -> None:
    """Guards results against a truncated list, and against a web page in place of one."""
    published.write_bytes(content)
    with pytest.raises(DataError, match=r"is not the published list: .* names instead of 20 and 2"):
        list_file("two", download=True)
    cached = cache_folder("lists") / "two.txt"
    assert not cached.exists()
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    with pytest.raises(DataError, match=r"two.txt is not the published list: .*; remove it"):
        list_file("two", download=True)


def test_list_that_cannot_be_downloaded_says_where_to_put_it(published: Path) -> None:
    """Guards a machine without a network against a traceback."""
    published.unlink()
    with pytest.raises(
        DataError, match=r"cannot be downloaded: .* can be put at .*two.txt by hand"
    ):
        list_file("two", download=True)


def test_published_lists_have_a_hundredth_and_a_tenth_of_imagenet() -> None:
    """Guards the two names against each other."""
    sizes = {name: item.num_images for name, item in PUBLISHED_LISTS.items()}
    assert sizes == {"imagenet-1": 1_281_167 // 100, "imagenet-10": 1_281_167 // 10}
    for name, item in PUBLISHED_LISTS.items():
        assert item.address.endswith(f"/{name.partition('-')[2]}percent.txt")
