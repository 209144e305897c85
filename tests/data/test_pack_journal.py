"""The journal of a packing: what is complete, whatever moment its process was killed at."""

from __future__ import annotations

from pathlib import Path

import pytest

from massrl.data.pack_journal import PackJournal
from massrl.errors import DataError

SETTINGS = {"images": "abc"}


def complete(journal: PackJournal, content: bytes, done: int) -> None:
    journal.next_part.write_bytes(content)
    journal.complete(done)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A packing that was stopped after two shards."""
    with PackJournal(tmp_path / "set", SETTINGS) as journal:
        complete(journal, b"one", 4)
        complete(journal, b"three", 9)
    return tmp_path / "set"


def test_complete_shards_are_known_again(stopped: Path) -> None:
    """Guards the place where a packing goes on."""
    with PackJournal(stopped, SETTINGS) as journal:
        assert journal.sizes == {"set-00000.tar": 3, "set-00001.tar": 5}
        assert journal.done == 9
        assert journal.next_part.name == ".set-00002.tar.part"


def test_shard_that_was_recorded_and_not_yet_named_is_complete(stopped: Path) -> None:
    """Guards the moment between the two: the shard is on the disk, and is not made again."""
    shard = stopped.with_name("set-00001.tar")
    shard.rename(stopped.with_name(".set-00001.tar.part"))
    with PackJournal(stopped, SETTINGS) as journal:
        assert journal.done == 9
    assert shard.read_bytes() == b"three"


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_cut_line_is_begun_anew(stopped: Path, cut: int) -> None:
    """Guards against a process that was killed while it wrote a line: the shard has no name yet."""
    path = stopped.with_name(".set.packing")
    path.write_bytes(path.read_bytes()[:-cut])
    stopped.with_name("set-00001.tar").unlink()
    with PackJournal(stopped, SETTINGS) as journal:
        assert (journal.done, list(journal.sizes)) == (4, ["set-00000.tar"])
        complete(journal, b"three", 9)
    with PackJournal(stopped, SETTINGS) as journal:
        assert journal.done == 9


def test_journal_without_a_shard_binds_nobody(tmp_path: Path) -> None:
    """Guards against a dead end after a kill in the first shard."""
    (tmp_path / ".set.packing").write_text('{"images": "abc"}\n')
    with PackJournal(tmp_path / "set", {"images": "others"}) as journal:
        assert journal.done == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: out.with_name("set-00001.tar").write_bytes(b"thr"), "missing or truncated"),
        (lambda out: out.with_name("set-00000.tar").unlink(), "missing or truncated"),
        (
            lambda out: out.with_name("set-00002.tar").write_text("mine"),
            "set-00002.tar exists already",
        ),
        (lambda out: out.with_name(".set.packing").write_text("{]\n"), "packing is damaged"),
        (lambda out: out.with_name(".set.packing").unlink(), "set-00000.tar exists already"),
    ],
)
def test_what_is_not_of_this_packing_is_refused_and_replaced_by_overwrite(
    stopped: Path, damage: object, message: str
) -> None:
    """Guards files of the user's, and a packing against damaged shards."""
    damage(stopped)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        PackJournal(stopped, SETTINGS)
    with PackJournal(stopped, SETTINGS, overwrite=True) as journal:
        assert (journal.done, list(stopped.parent.glob("set-*"))) == (0, [])


def test_second_process_is_refused(stopped: Path) -> None:
    """Guards two packings to one place; the lock goes with the process that has it."""
    with (
        PackJournal(stopped, SETTINGS),
        pytest.raises(DataError, match="another process is packing"),
    ):
        PackJournal(stopped, SETTINGS)
