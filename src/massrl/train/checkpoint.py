"""Write and read checkpoints.

No code from a file is ever run: checkpoints are read with ``weights_only``.
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

FORMAT = 2


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Save everything that a run needs to continue: tensors, numbers and strings only."""
    whole = io.BytesIO()  # in memory first: torch's own writer hides what the disk says
    torch.save({"format": FORMAT, **content}, whole)
    write_atomically(path, lambda file: file.write(whole.getbuffer()))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint that ``save_checkpoint`` wrote, onto the CPU.

    Raises:
        CheckpointError: if it is missing, damaged or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds, all of them "not readable"
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: it is damaged, or holds more than weights "
            f"({type(error).__name__})"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of massrl (format {FORMAT} is expected)")
    return content


def restore_point(folder: RunFolder, source: Source) -> dict[str, Any] | None:
    """Return the last checkpoint of a run, ``None`` before its first.

    Raises:
        CheckpointError: if it cannot be read, or the run trained on other images.
    """
    if not folder.data.is_file():
        raise CheckpointError(
            f"{folder.path} does not say which images the run trains on: no data.json"
        )
    if json.loads(folder.data.read_text(encoding="utf-8"))["fingerprint"] != source.fingerprint():
        raise CheckpointError(
            f"{folder.path}: {source.name} is not what the run was trained on (names, sizes or "
            f"labels differ); a new run can start with another --out"
        )
    return load_checkpoint(folder.checkpoint) if folder.checkpoint.is_file() else None
