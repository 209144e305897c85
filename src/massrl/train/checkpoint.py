"""Save and load training checkpoints.

They are read by ``massrl.weights``, so that no code in a file is ever executed.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

from massrl.data.source import Source
from massrl.errors import CheckpointError
from massrl.files import write_atomically
from massrl.runs.folder import RunFolder
from massrl.weights.safe_reader import read_content

FORMAT = 2


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Save the state of a run: nested dictionaries and lists of tensors, numbers and strings."""
    buffer = io.BytesIO()  # in memory first: torch's own writer hides the disk's error messages
    torch.save({"format": FORMAT, **content}, buffer)
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint of ``save_checkpoint`` onto the CPU.

    Raises:
        CheckpointError: if it is missing, damaged or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    content = read_content(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of massrl (format {FORMAT} is expected)")
    return content


def restore_point(folder: RunFolder, source: Source) -> dict[str, Any] | None:
    """Return the content of a run's last checkpoint, ``None`` if there is none yet.

    Raises:
        CheckpointError: if it cannot be read, or the run was trained on other images.
    """
    if not folder.data.is_file():
        raise CheckpointError(
            f"{folder.path} has no data.json, which records the images of the run"
        )
    try:
        fingerprint = json.loads(folder.data.read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{folder.data}, which records the images of the run, is damaged: "
            f"{type(error).__name__} {error}"
        ) from None
    if fingerprint != source.fingerprint():
        raise CheckpointError(
            f"{folder.path}: {source.name} differs from the images that the run was trained on (names, "
            f"sizes or labels); start a new run with another --out"
        )
    return load_checkpoint(folder.checkpoint) if folder.checkpoint.is_file() else None
