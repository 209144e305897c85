"""The index of packed images: its numbers fit each other, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from massrl.data.catalogue import open_source
from massrl.data.pack import pack
from massrl.data.sources.pack_index import read_pack_index
from massrl.errors import DataError


@pytest.fixture
def index(odd_names: Path, tmp_path: Path) -> Path:
    """The index of a set of two shards or more."""
    pack(open_source(str(odd_names)), tmp_path / "set", shard_bytes=6000)
    return tmp_path / "set-index.safetensors"


def parts(index: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with safe_open(index, framework="np") as file:
        about = json.loads(file.metadata()["massrl"])
        return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def write(index: Path, about: Any, columns: dict[str, np.ndarray]) -> None:
    save_file(columns, index, metadata={"massrl": json.dumps(about)})


def test_index_is_what_was_packed(index: Path, odd_names: Path) -> None:
    """Guards the tests below: refusing everything would pass them."""
    about, columns = read_pack_index(index, flag="--data.train")
    assert about["class_names"] == list(open_source(str(odd_names)).class_names)
    assert columns["size"].tolist() == [len(open_source(str(odd_names)).read(i)) for i in range(10)]


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("shard", 0, 99),
        ("shard", 9, -1),
        ("offset", 0, -512),
        ("offset", 0, 1 << 62),
        ("size", 3, -1),
        ("size", 3, (1 << 63) - 1),
        ("labels", 0, 99),
        ("labels", 0, -1),
        ("ends", 0, 1),
        ("ends", 3, -1),
        ("ends", 10, 1 << 40),
    ],
)
def test_number_that_does_not_fit_is_refused(
    index: Path, name: str, place: int, value: int
) -> None:
    """Guards reading beside an image, memory for a class of a huge number, and labels of no class.

    Also of this kind: columns of another length or type, and names that overlap.
    """
    about, columns = parts(index)
    columns[name] = columns[name].copy()
    columns[name][place] = value
    write(index, about, columns)
    with pytest.raises(DataError, match=r"cannot be read as an index: .*\(--data.train\)"):
        open_source(str(index.with_name("set-*.tar")))


@pytest.mark.parametrize("name", ["shard", "offset", "size", "labels", "names", "ends"])
def test_column_that_is_missing_or_of_another_kind_is_refused(index: Path, name: str) -> None:
    """Guards against a traceback out of NumPy."""
    about, columns = parts(index)
    for other in (None, columns[name][:-1], columns[name].astype(np.float32), columns[name][None]):
        changed = {**columns, name: np.ascontiguousarray(other)} if other is not None else columns
        rest = {key: value for key, value in changed.items() if other is not None or key != name}
        write(index, about, rest)
        with pytest.raises(DataError, match="cannot be read as an index"):
            read_pack_index(index, flag="--data.train")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", None),
        ("class_names", "cat"),
        ("class_names", [1, 2]),
        ("mean", [0.5, 0.5]),
        ("mean", [0.5, 0.5, float("nan")]),
        ("std", [0.5, 0.5, 0]),
        ("std", None),
        ("shards", None),
        ("shards", {}),
        ("shards", {"../set-00000.tar": 6144}),
        ("shards", {"/etc/passwd": 6144}),
        ("shards", {"set-00000.tar": "6144"}),
        ("shards", {"set-00000.tar": 10**30}),
    ],
)
def test_description_that_is_no_description_is_refused(index: Path, key: str, value: Any) -> None:
    """Guards files outside of the folder, which an index of another's may name, and odd constants."""
    about, columns = parts(index)
    write(index, {**about, key: value}, columns)
    with pytest.raises(DataError, match="cannot be read as an index"):
        read_pack_index(index, flag="--data.train")
    write(index, {name: item for name, item in about.items() if name != key}, columns)
    with pytest.raises(DataError, match="cannot be read as an index"):
        read_pack_index(index, flag="--data.train")


def test_description_that_is_no_mapping_is_refused(index: Path) -> None:
    """Guards against a traceback for any JSON."""
    for about in (None, 3, [], "text"):
        write(index, about, parts(index)[1])
        with pytest.raises(DataError, match="cannot be read as an index"):
            read_pack_index(index, flag="--data.train")
        write(index, {}, parts(index)[1])
