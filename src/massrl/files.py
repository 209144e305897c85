"""Write files atomically, and locate the cache."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from massrl.errors import CheckpointError, TrainingError


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that its path always has the old content or the new one, never a part.

    Args:
        path: the file; its folder is made where needed.
        write: called with a binary file to write the content to.

    Raises:
        TrainingError: if it cannot be written, such as on a full disk; an old file is unchanged.
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
        reason = "no space left on the disk" if full else error.strerror or str(error)
        previous = "; the previous one is intact" if path.exists() else ""
        raise TrainingError(f"cannot write {path}: {reason}{previous}") from None
    finally:  # already renamed after a success; there may be no folder after a failure
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    r"""Write a text file atomically, as UTF-8.

    A name of a file that is not UTF-8 is written with escapes, such as ``\udce9``, which JSON reads back.
    """
    write_atomically(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically, indented."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, keys: Mapping[str, type]) -> dict[str, Any]:
    """Read a JSON file of a run.

    Args:
        path: the file.
        keys: what it must have, with the type of each.

    Raises:
        CheckpointError: if it cannot be read, or is damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        whole = all(isinstance(content[key], kind) for key, kind in keys.items())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise CheckpointError(f"{path} is damaged: {', '.join(keys)} are wanted in it, as JSON")
    return content


def cache_folder(kind: str) -> Path:
    """Return ``$MASSRL_CACHE/KIND``, or ``~/.cache/massrl/KIND``; it may not exist yet."""
    root = os.environ.get("MASSRL_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "massrl") / kind
