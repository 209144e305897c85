"""The index of packed images, checked before anything is read by its numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from massrl.errors import DataError

_COLUMNS = ("shard", "offset", "size", "labels")  # a whole number for each image


def read_pack_index(path: Path, *, flag: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the index that ``massrl data pack`` has written.

    Args:
        path: the file.
        flag: where the user gave the images, for errors.

    Returns:
        The description: ``name``, ``class_names``, ``shards`` (sizes by file name), ``mean`` and ``std``. And
        the columns: ``shard``, ``offset``, ``size`` and ``labels`` ``(n,)``, ``names`` uint8, ``ends``
        ``(n + 1,)``.

    Raises:
        DataError: if it cannot be read, or its numbers do not fit each other.
    """
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {})["massrl"])
            columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        fault = _fault_of_description(about) or _fault_of_columns(about, columns)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        fault = f"{type(error).__name__} {error}"
    if fault:
        raise DataError(f"{path} cannot be read as an index: {fault} ({flag})")
    return about, columns


def _fault_of_description(about: Any) -> str:
    """Say what is wrong with the description; empty if nothing is."""
    if not isinstance(about, dict) or not isinstance(about["name"], str):
        return "it has no name"
    names = about["class_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return "class_names are no list of texts"
    for key in ("mean", "std"):
        if not _is_triple(about[key]) or (key == "std" and min(about[key]) <= 0):
            return f"{key} are not three numbers"
    if not isinstance(about["shards"], dict):
        return "shards are no sizes by name"
    for name, size in about["shards"].items():
        plain = PurePath(name).name == name and "\0" not in name
        if not plain or type(size) is not int or not 0 <= size < 1 << 63:
            return "shards are no files beside it"
    return ""


def _is_triple(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 3
        and all(type(value) in (int, float) and abs(value) < math.inf for value in values)
    )


def _fault_of_columns(about: dict[str, Any], columns: dict[str, np.ndarray]) -> str:
    """Say what is wrong with the columns; empty if nothing is."""
    names, ends = columns["names"], columns["ends"]
    numbers = [columns[name] for name in _COLUMNS]
    if names.dtype != np.uint8 or any(item.dtype.kind != "i" for item in (ends, *numbers)):
        return "its columns are of other types"
    count = len(ends) - 1
    if any(item.shape != (count,) for item in numbers) or names.ndim != 1 or ends.ndim != 1:
        return "its columns differ in length"
    if count < 0 or ends[0] != 0 or ends[-1] != len(names) or (np.diff(ends) < 0).any():
        return "the names of its images are not where they should be"
    shard, offset, size, labels = numbers
    sizes = np.array(list(about["shards"].values()), np.int64)
    if count and not 0 <= shard.min() <= shard.max() < len(sizes):
        return "an image is in a shard that it does not name"
    if count and (min(offset.min(), size.min()) < 0 or (offset > sizes[shard] - size).any()):
        return "an image is outside of its shard"
    if (
        count
        and about["class_names"]
        and not 0 <= labels.min() <= labels.max() < len(about["class_names"])
    ):
        return "an image is of a class that it does not name"
    return ""
