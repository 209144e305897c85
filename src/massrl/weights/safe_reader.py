"""Weights out of a file of any origin, without running a line of code from it.

torch's own restricted reader does the reading. What it does not know is read only where it is one of the
containers that training frameworks keep their settings in, and then into an empty shell of the same name:
the settings are lost, the weights are not, and nothing that the file brings along is ever called.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from massrl.errors import CheckpointError

# Modules whose classes hold settings, and no more. Anything else in a file is a reason to refuse it.
_SETTINGS = (
    "argparse",
    "collections",
    "hydra",
    "lightning",
    "lightning_fabric",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "typing",
    "yacs",
)
# In the words of torch's reader.
_UNKNOWN = re.compile(r"(?:GLOBAL|class) ([\w.]+)")
_FILLED = re.compile(r"SETITEM.* but got <class '([\w.]+)'>")
_PLAIN = (bool, dict, float, int, list, set, str, tuple)
# NumPy's own way of writing an array down: it fills memory and calls nothing.
_ARRAYS: tuple[Any, ...] = (
    np.ndarray,
    np.dtype,
    np.empty(0).__reduce__()[0],
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
)
_MOST_SHELLS = 100
_MOST_UNPACKED = 4  # times the size of the file


def read_weights(path: Path) -> dict[str, Tensor]:
    """Every tensor that a file names, by its place in it.

    Args:
        path: a safetensors file, or what ``torch.save`` wrote: weights, or a training state around them.

    Returns:
        Tensors on the CPU; the parts of a nested key are joined by ``/``, such as
        ``teacher/module.backbone.conv1.weight``. Places in a list are numbers.

    Raises:
        CheckpointError: if the file is missing or damaged, holds no weights, or would have to run code.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from None
    _refuse_bomb(path)
    weights = dict(_named(_read_safely(path), prefix=""))
    if not weights:
        raise CheckpointError(f"{path} holds no weights by name")
    return weights


def _refuse_bomb(path: Path) -> None:
    """Refuse a file that would unpack to many times its size: torch itself stores without packing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
        if unpacked > _MOST_UNPACKED * path.stat().st_size:
            raise CheckpointError(f"{path} is refused: it unpacks to {unpacked:,} bytes")


class _Shell:
    """What settings are read into: it takes anything and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Shell:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _DictShell:
    """Likewise for what is filled by keys, as a ``defaultdict`` is."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return {}


def _read_safely(path: Path) -> Any:
    """Read with torch's restricted reader, a shell for each kind of settings that it meets."""
    shells: dict[str, type] = {}
    for _ in range(_MOST_SHELLS):
        with torch.serialization.safe_globals([*_PLAIN, *_ARRAYS, *shells.values()]):
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                message = str(error)
            except (
                Exception
            ) as error:  # torch raises half a dozen kinds, all of them "not readable"
                reason = " ".join(str(error).split())[:200]
                raise CheckpointError(f"{path} cannot be read: {reason}") from None
        filled, unknown = _FILLED.search(message), _UNKNOWN.search(message)
        name = (filled or unknown or [""] * 2)[1]
        known = shells.get(name)
        if name.partition(".")[0] not in _SETTINGS or (known and not filled):
            what = (
                f"it would have to run {name}" if name else "it is damaged, or no file of weights"
            )
            raise CheckpointError(
                f"{path} is refused: {what}; files of weights alone are read, and safetensors"
            )
        home, _, kind = name.rpartition(".")
        shells[name] = type(kind, (_DictShell if filled else _Shell,), {"__module__": home})
    raise CheckpointError(f"{path} is refused: it holds more kinds of objects than weights have")


def _named(content: Any, *, prefix: str) -> list[tuple[str, Tensor]]:
    """Every tensor by its path, each container entered once, however often it is referred to."""
    found: list[tuple[str, Tensor]] = []
    waiting, entered = [(prefix, content)], set()
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, Tensor):
            found.append((path.removesuffix("/"), item))
        elif isinstance(item, np.ndarray) and item.dtype != object:
            found.append((path.removesuffix("/"), torch.from_numpy(item)))
        elif isinstance(item, Mapping | list | tuple) and id(item) not in entered:
            entered.add(id(item))
            parts = item.items() if isinstance(item, Mapping) else enumerate(item)
            waiting += [(f"{path}{key}/", part) for key, part in reversed(list(parts))]
    return found
