"""Backbone files: safetensors whose metadata says how the network is built and its images are prepared.

That description is called ``about`` throughout: ``backbone`` (name), ``stem``, ``size`` (side of the
images, pixels), ``mean`` and ``std`` (normalisation), ``seed``, and where the weights come from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors
from torch import Tensor

from massrl.errors import CheckpointError
from massrl.files import METADATA_KEY, WRITTEN_BY, write_atomically

_REQUIRED = {"backbone": str, "stem": str, "size": int, "mean": list, "std": list, "seed": int}
_MAX_SIDE = 1 << 16  # pixels


def save_backbone(
    path: Path,
    state: Mapping[str, Tensor],
    *,
    about: Mapping[str, Any],
    command: str = "pretrain",
) -> None:
    """Save a backbone's weights with their description.

    Args:
        path: the ``.safetensors`` file.
        state: the network's ``state_dict``.
        about: description of the network and its images; JSON types only.
        command: of massrl that the file is of, which it says.

    Raises:
        TrainingError: if the file cannot be written.
    """
    content = backbone_content(state, about=about, command=command)
    write_atomically(path, lambda file: file.write(content))


def backbone_content(
    state: Mapping[str, Tensor], *, about: Mapping[str, Any], command: str = "pretrain"
) -> bytes:
    """Return the content of the file that ``save_backbone`` writes."""
    # Copies: safetensors refuses tensors that share memory, as tied weights do.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    # One key: safetensors writes several in another order in each process.
    text = json.dumps({**about, WRITTEN_BY: f"massrl {command}"})
    return save_safetensors(tensors, metadata={METADATA_KEY: text})


def backbone_about(path: Path) -> dict[str, Any] | None:
    """Return the description in a backbone file; ``None`` for a file that massrl did not write.

    Raises:
        CheckpointError: if the description is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
    except (SafetensorError, OSError):
        return None
    return None if text is None else _parse_about(text, path)


def load_backbone_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of ``save_backbone``: the weights and their description.

    Raises:
        CheckpointError: if the file is missing, damaged, or was not written by massrl.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no backbone {path}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    except SafetensorError as error:
        if _begins_as_safetensors(path):
            raise CheckpointError(f"{path} is damaged: {error}") from None
        text = None
    if text is None:
        raise CheckpointError(
            f"{path} is no backbone file of massrl: massrl import {quote(str(path))} makes one of another "
            "project's checkpoint"
        )
    return state, _parse_about(text, path)


def _begins_as_safetensors(path: Path) -> bool:
    """Return whether a file has a header in JSON after eight bytes, as no pickle or archive has."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _parse_about(text: str, path: Path) -> dict[str, Any]:
    try:
        about = json.loads(text)
        valid = all(isinstance(about[name], kind) for name, kind in _REQUIRED.items())
        valid = valid and _are_constants(about["mean"]) and _are_constants(about["std"])
        valid = valid and 0 < about["size"] <= _MAX_SIDE and abs(about["seed"]) < 1 << 63
    except (ValueError, KeyError, TypeError, RecursionError):
        valid = False
    if not valid:
        raise CheckpointError(f"{path} does not say how to build its backbone: it is damaged")
    return {name: value for name, value in about.items() if name != WRITTEN_BY}


def _are_constants(values: list[Any]) -> bool:
    """Return whether a list is one finite number for each channel."""
    return len(values) == 3 and all(
        type(value) in (int, float) and abs(value) < math.inf for value in values
    )
