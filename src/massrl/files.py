"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from massrl.errors import TrainingError


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that its name holds the old content or the new one, whatever happens.

    Args:
        path: the file.
        write: called with a binary file to write the content to.

    Raises:
        TrainingError: if it cannot be written, a full disk among the reasons; the old file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        reason = "no room left on the disk" if full else error.strerror or str(error)
        kept = "; the previous one is intact" if path.exists() else ""
        raise TrainingError(f"cannot write {path}: {reason}{kept}") from None
    finally:  # gone already where all went well; not there to remove where the folder is none
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically, indented for people."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def cache_folder(kind: str) -> Path:
    """``$MASSRL_CACHE/KIND``, or ``~/.cache/massrl/KIND``; it may not be there yet."""
    root = os.environ.get("MASSRL_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "massrl") / kind
