"""Read weights from an untrusted file without running any code from it.

torch's restricted unpickler does the reading. A class it does not know is accepted only from the packages
in which training frameworks keep their settings, and replaced by an empty stand-in of the same name: the
settings are lost, the weights are not, and no code that the file refers to is ever called.
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

# Packages whose classes only hold settings. A file with classes of any other is refused.
_SETTINGS_PACKAGES = (
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
# Class names in the error messages of torch's unpickler.
_UNKNOWN_CLASS = re.compile(r"(?:GLOBAL|class) ([\w.]+)")
_MAPPING_CLASS = re.compile(r"SETITEM.* but got <class '([\w.]+)'>")
_PLAIN = (bool, dict, float, int, list, set, str, tuple)
# What NumPy pickles an array with: it fills memory and calls nothing.
_ARRAYS: tuple[Any, ...] = (
    np.ndarray,
    np.dtype,
    np.empty(0).__reduce__()[0],
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
)
_MAX_STAND_INS = 100
_MAX_EXPANSION = 4  # unpacked size over file size


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return every tensor in a file by its path of keys.

    Args:
        path: a safetensors file, or one of ``torch.save``: a state dict, or a checkpoint that has one.

    Returns:
        Tensors on the CPU. Nested keys are joined by ``/``, such as
        ``teacher/module.backbone.conv1.weight``; list positions are numbers.

    Raises:
        CheckpointError: if the file is missing or damaged, has no weights, or cannot be read without
            running code.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from None
    _check_expansion(path)
    weights = dict(_flatten(_load_restricted(path), prefix=""))
    if not weights:
        raise CheckpointError(f"{path} has no named weights")
    return weights


def _check_expansion(path: Path) -> None:
    """Refuse a zip bomb: torch itself stores without compression."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
        if unpacked > _MAX_EXPANSION * path.stat().st_size:
            raise CheckpointError(
                f"{path} is refused: it unpacks to {unpacked:,} bytes, over {_MAX_EXPANSION} times "
                "its size"
            )


class _StandIn:
    """Stands in for a settings class: accepts anything and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _DictStandIn:
    """Stands in for a mapping class that is filled by keys, such as ``defaultdict``."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return {}


def _load_restricted(path: Path) -> Any:
    """Load with torch's restricted unpickler, adding a stand-in for each settings class it meets."""
    stand_ins: dict[str, type] = {}
    for _ in range(_MAX_STAND_INS):
        with torch.serialization.safe_globals([*_PLAIN, *_ARRAYS, *stand_ins.values()]):
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                message = str(error)
            except Exception as error:  # of half a dozen types, all of them "not readable"
                reason = " ".join(str(error).split())[:200]
                raise CheckpointError(f"{path} cannot be read: {reason}") from None
        mapping, unknown = _MAPPING_CLASS.search(message), _UNKNOWN_CLASS.search(message)
        name = (mapping or unknown or [""] * 2)[1]
        if name.partition(".")[0] not in _SETTINGS_PACKAGES or (name in stand_ins and not mapping):
            reason = (
                f"reading it would run {name}" if name else "it is damaged, or not a weights file"
            )
            raise CheckpointError(
                f"{path} is refused: {reason}; state dicts and safetensors are accepted"
            )
        module, _, cls = name.rpartition(".")
        base = _DictStandIn if mapping else _StandIn
        stand_ins[name] = type(cls, (base,), {"__module__": module})
    raise CheckpointError(f"{path} is refused: it has over {_MAX_STAND_INS} classes of settings")


def _flatten(content: Any, *, prefix: str) -> list[tuple[str, Tensor]]:
    """Return every tensor by its path; each container is visited once, however often it occurs."""
    found: list[tuple[str, Tensor]] = []
    stack, visited = [(prefix, content)], set()
    while stack:
        path, item = stack.pop()
        if isinstance(item, Tensor):
            found.append((path.removesuffix("/"), item))
        elif isinstance(item, np.ndarray) and item.dtype != object:
            found.append((path.removesuffix("/"), torch.from_numpy(item)))
        elif isinstance(item, Mapping | list | tuple) and id(item) not in visited:
            visited.add(id(item))
            parts = item.items() if isinstance(item, Mapping) else enumerate(item)
            stack += [(f"{path}{key}/", part) for key, part in reversed(list(parts))]
    return found
