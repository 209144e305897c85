"""Pickles are parsed, and nothing in them is run."""

from __future__ import annotations

import collections
import io
import pickle
from pathlib import PurePosixPath
from typing import Any

import pytest

from massrl.errors import CheckpointError
from massrl.weights.pickled import Call, External, Global, Unpickler

PLAIN = (
    None,
    True,
    False,
    0,
    255,
    65_535,
    -1,
    1 << 31,
    1 << 2_000,
    -(1 << 70),
    1.5,
    "é",
    "x" * 300,
)
DATA = {
    "plain": [*PLAIN, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[]]],
    "bytes": [b"", b"a", b"x" * 300],
    "deep": {"a": {"b": {"c": list(range(2_000))}}},
}


def load(data: bytes) -> Any:
    def accept(name: str) -> None:
        pass

    return Unpickler(io.BytesIO(data), size=len(data), accept=accept).load()


def as_python(item: Any) -> Any:
    """Make what the calls of harmless classes stand for."""
    if isinstance(item, Call) and item.name == "_codecs.encode":
        return item.args[0].encode("latin-1")
    if isinstance(item, Call) and item.name == "builtins.bytes":
        return b""
    if isinstance(item, Call):
        assert item.name == "builtins.dict"
        return {key: as_python(value) for key, value in item.pairs or ()}
    return type(item)(map(as_python, item)) if isinstance(item, list | tuple) else item


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_is_what_was_pickled(protocol: int) -> None:
    """Guards each opcode of each protocol: what Python wrote is what is read."""
    assert as_python(load(pickle.dumps(DATA, protocol))) == DATA


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_objects_become_calls_by_name(protocol: int) -> None:
    """Guards "nothing is made": classes, their arguments, state, items and keys, as plain data."""
    ordered = collections.OrderedDict(a=1)
    ordered.note = 3  # type: ignore[attr-defined]
    found = load(pickle.dumps([ordered, PurePosixPath("a"), {5}, print, b"x"], protocol))
    assert found[0].name == "collections.OrderedDict"
    assert found[0].pairs == [("a", 1)]
    assert found[0].state.pairs == [("note", 3)]
    assert found[1].name == "pathlib.PurePosixPath"
    assert "a" in found[1].args
    held = found[2].items or found[2].args[0]
    assert (found[2].name, held) == ("builtins.set", [5])
    assert isinstance(found[3], Global)
    assert found[3].name == "builtins.print"


def test_names_of_python_2_are_those_of_python_3() -> None:
    """Guards old files: they name ``__builtin__`` and ``copy_reg``."""
    assert load(b"\x80\x02c__builtin__\nset\n.").name == "builtins.set"
    assert load(b"\x80\x02U\x01aT\x01\x00\x00\x00b\x86.") == (b"a", b"b")


def test_shared_and_circular_objects_stay_so() -> None:
    """Guards the memo: two references to one list are one list."""
    circle: list[Any] = []
    circle.append(circle)
    found = load(pickle.dumps([circle, circle], 2))
    assert found[0] is found[1] is found[0][0]


def test_external_reference_is_kept() -> None:
    """Guards storages, which lie outside of the pickle."""
    found = load(b"\x80\x02X\x01\x00\x00\x00aQ.")
    assert isinstance(found, External)
    assert found.key == "a"


def test_name_that_is_refused_stops_the_reading_at_once() -> None:
    """Guards the one gate; also for names on the stack, which protocol 4 introduced."""

    def accept(name: str) -> None:
        raise CheckpointError(f"no {name}")

    for data in (b"\x80\x02cos\nsystem\n.", b"\x80\x04\x8c\x02os\x8c\x06system\x93."):
        with pytest.raises(CheckpointError, match="no os.system"):
            Unpickler(io.BytesIO(data), size=len(data), accept=accept).load()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80",
        b"\x80\x02",
        b"\x80\x02}",
        b"\x80\x02t.",
        b"\x80\x02R.",
        b"\x80\x02K\x01)R.",  # calls a number
        b"\x80\x02)K\x01b.",  # gives a tuple a state
        b"\x80\x02K\x01K\x02a.",  # appends to a number
        b"\x80\x02K\x01K\x02K\x03s.",  # sets a key of a number
        b"\x80\x02h\x07.",  # a memo entry that is not there
        b"\x80\x02q\x07.",  # stores nothing
        b"\x80\x02cos.",  # a name without an end
        b"\x80\x02c" + b"a" * 5_000 + b"\n.",
        b"\x80\x02X\xff\xff\xff\xffa.",  # 4 GB of text
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa.",  # 8 EB of bytes
        b"\x80\x02\x8b\xff\xff\xff\x7f1.",  # a number of 2 GB
        b"\x80\x02U\xffab.",
        b"\x80\x02ios\nsystem\n.",  # opcodes of protocol 0 that call by themselves
        b"\x80\x02(cos\nsystem\no.",
        b"\x80\x02\x82\x01.",  # an extension
        b"\x80\x05\x97.",  # a buffer outside
        b"Pid\n.",
    ],
)
def test_damaged_pickle_is_refused(data: bytes) -> None:
    """Guards the machine: missing operands, lengths beyond the file, opcodes it does not know."""
    with pytest.raises(CheckpointError):
        load(data)


def test_number_of_entries_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards time and memory: an empty list takes one byte of a file and sixty of memory."""
    monkeypatch.setattr("massrl.weights.pickled._MAX_OPCODES", 1_000)
    with pytest.raises(CheckpointError, match="over 1,000 entries"):
        load(b"\x80\x02(" + b"]" * 2_000 + b"l.")
