"""The backbone's file: safetensors with what is needed to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors
from torch import Tensor

from massrl.errors import CheckpointError
from massrl.files import write_atomically


def save_backbone(path: Path, state: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Save a backbone's weights as safetensors, with what is needed to build it again.

    Args:
        path: the file.
        state: its ``state_dict``.
        about: how to build it; JSON's own types.
    """
    # Copies: safetensors refuses tensors that share memory, as tied weights do.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    content = save_safetensors(tensors, metadata={"massrl": json.dumps(about)})
    write_atomically(path, lambda file: file.write(content))


def backbone_about(path: Path) -> dict[str, Any] | None:
    """What ``save_backbone`` was told of a backbone; ``None`` for a file that it did not write."""
    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get("massrl")
    except (SafetensorError, OSError):
        return None
    return None if about is None else _checked(about, path)


def load_backbone_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_backbone`` wrote: the weights, and how to build the backbone.

    Raises:
        CheckpointError: if the file is missing, damaged, or not one of massrl's.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no backbone {path}")
    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get("massrl")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from None
    if about is None:
        raise CheckpointError(
            f"{path} does not say how to build its backbone: massrl did not write it"
        )
    return state, _checked(about, path)


def _checked(text: str, path: Path) -> dict[str, Any]:
    """What a file says of its backbone, once it is seen to be that."""
    kinds = {"backbone": str, "stem": str, "size": int, "mean": list, "std": list, "seed": int}
    try:
        about = json.loads(text)
        right = all(isinstance(about[name], kind) for name, kind in kinds.items())
    except (ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise CheckpointError(f"{path} does not say how to build its backbone: it is damaged")
    return dict(about)
