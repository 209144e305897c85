"""Write files atomically, recognise those that massrl wrote, and locate the cache.

Pictures, pages, cards and exported networks have a mark that names the command they are of; the other
files of massrl are recognised by their content. No file is recognised by its name.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from massrl.errors import CheckpointError, ConfigError, DiskError, TrainingError

logger = logging.getLogger("massrl")


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that its path always has the old content or the new one, never a part.

    A symbolic link is replaced, and what it points to is left alone.

    Args:
        path: the file; its folder is made where needed.
        write: called with a binary file to write the content to.

    Raises:
        DiskError: if it cannot be written, such as on a full disk; an old file is unchanged.
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
        raise DiskError(f"cannot write {path}: {reason}{previous}") from None
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
        whole = isinstance(content, dict) and all(
            isinstance(content[key], kind) for key, kind in keys.items()
        )
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise CheckpointError(f"{path} is damaged: {', '.join(keys)} are wanted in it, as JSON")
    return content


@contextlib.contextmanager
def drawn_again(what: str) -> Iterator[None]:
    """Let no picture, page or table stop what it shows: a warning takes the place of its error.

    A damaged file that it is made from, and a full disk, are such errors; what stops a run otherwise is not.

    Args:
        what: a file that can be made again from others.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, TrainingError) and not isinstance(error, DiskError):
            raise
        logger.warning(
            "%s is left out: %s", what, " ".join(str(error).split()) or type(error).__name__
        )


def inside(folder: Path, name: object) -> Path | None:
    """Return the path of a file that a file of a folder names; ``None`` where it would leave the folder."""
    try:
        path = folder / str(name)
        return path if path.resolve().is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, links in a circle
        return None


def cache_folder(kind: str) -> Path:
    """Return ``$MASSRL_CACHE/KIND``, or ``~/.cache/massrl/KIND``; it may not exist yet."""
    root = os.environ.get("MASSRL_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "massrl") / kind


def check_outputs(
    outputs: Mapping[Path, str],
    *,
    inputs: Iterable[str | Path | None] = (),
    overwrite: bool = False,
    flag: str = "--out",
) -> None:
    """Refuse outputs that would replace somebody else's file, before any work is done.

    Args:
        outputs: the files to be written, each with the name of the command it is of.
        inputs: files that are read, and folders whose files are; whatever is no path is passed over.
        overwrite: replace files that are not of that command too, with a warning; an input never.
        flag: the flag that sets the outputs.

    Raises:
        ConfigError: if a file exists that massrl did not write for the same command, if an output is an
            input or a folder, or if its folder cannot be written to.
    """
    read = []
    for item in inputs:
        with contextlib.suppress(ValueError, OSError, RuntimeError):  # no path, but a name
            read += [Path(item).expanduser().resolve()] if item else []
    others = []
    for path, command in outputs.items():
        _check_place(path, flag=flag)
        if not os.path.lexists(path):
            continue
        own = path.resolve()
        if any(own == item or (item.is_dir() and own.is_relative_to(item)) for item in read):
            raise ConfigError(f"{path} is read by this command: choose another {flag}")
        wrote = written_by(path)
        if wrote != command:
            others.append(f"{path} ({f'of massrl {wrote}' if wrote else 'not of massrl'})")
    if others and not overwrite:
        raise ConfigError(
            f"{' and '.join(others)} would be replaced: choose another {flag}, or give --overwrite"
        )
    for other in others:
        logger.warning("--overwrite: %s is replaced", other)


def _check_place(path: Path, *, flag: str) -> None:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, but a file is to be written: choose another {flag}")
    folder = path.parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"{path} cannot be written: {folder} is no folder to write to ({flag})")


_PNG, _JPEG, _WEBP, _ZIP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"WEBP", b"PK\x03\x04"
_IHDR_END = 33
METADATA_KEY = "massrl"
"""Key of massrl's JSON in the metadata of a safetensors file."""
WRITTEN_BY = "written_by"
"""Key in that JSON: the command that wrote the file."""
_ENDS = 512  # bytes at either end of a file that a mark is looked for in


def marked(content: bytes, command: str) -> bytes:
    """Return a PNG, JPEG, WebP, ``torch.save`` or ONNX file with the mark of a command.

    The mark is where each format keeps texts, so that other programs read the file as before: a ``tEXt`` or
    ``COM`` part, a further chunk, the archive's comment, an entry of ``metadata_props``.
    """
    mark = f"massrl {command}\n".encode()
    if content.startswith(_PNG):
        part = b"tEXtSoftware\0" + mark
        chunk = struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        return content[:_IHDR_END] + chunk + content[_IHDR_END:]
    if content.startswith(_JPEG):  # behind the JFIF header
        end = 4 + int.from_bytes(content[4:6], "big")
        return content[:end] + b"\xff\xfe" + struct.pack(">H", len(mark) + 2) + mark + content[end:]
    if content[8:12] == _WEBP:
        chunk = b"MARK" + struct.pack("<I", len(mark)) + mark + b"\0" * (len(mark) % 2)
        size = struct.pack("<I", int.from_bytes(content[4:8], "little") + len(chunk))
        return content[:4] + size + content[8:] + chunk
    if content.startswith(_ZIP):  # its last two bytes are the length of its comment
        return content[:-2] + struct.pack("<H", len(mark)) + mark
    entry = b"\x0a\x06massrl\x12" + bytes([len(mark)]) + mark  # field 14 of a ModelProto
    return content + b"\x72" + bytes([len(entry)]) + entry


_MARKS = (
    (rb"\x89PNG\r\n\x1a\n.{25}.{4}tEXtSoftware\0massrl ([a-z]+)\n", True),
    (rb"\xff\xd8\xff\xe0.{2,64}\xff\xfe..massrl ([a-z]+)\n", True),
    (rb"(?i:<!doctype html>).{0,400}<meta name=\"generator\" content=\"massrl ([a-z]+)\">", True),
    (rb".*MARK....massrl ([a-z]+)\n\0?$", False),
    (rb".*PK\x05\x06.{18}massrl ([a-z]+)\n$", False),
    (rb".*\x72.\x0a\x06massrl\x12.massrl ([a-z]+)\n$", False),
    (rb".*<!-- massrl ([a-z]+) -->\n$", False),
)
"""Patterns of the marks, and whether they are at the beginning of a file or at its end."""

_TEXTS = (
    (rb"# peak learning rate in use: ", "pretrain"),  # config.yaml
    (rb"step,epoch,loss,", "pretrain"),  # metrics.csv
    (rb"<!DOCTYPE html>.{0,300}<style>:root\{color-scheme:light dark;--page:#f6f7f9", "evaluate"),
    (rb'\{\n  "backbone": \{\n    "name": .{0,400}"fingerprint": ', "evaluate"),  # even if damaged
)
"""How texts begin; pages and results of earlier versions included."""

_JSON = {
    ("step", "views", "loss"): "pretrain",
    ("step", "plans", "indices"): "pretrain",
    ("name", "num_images", "fingerprint"): "pretrain",
    ("name", "sha256", "fingerprint"): "pretrain",
    ("backbone", "run", "tasks"): "evaluate",
    ("classes", "maps", "names", "rows"): "evaluate",
    ("tasks", "differences"): "compare",
    ("knn", "linear", "training_seconds", "details"): "demo",
}
"""Keys of a JSON file, and the command that writes it."""


def written_by(path: Path) -> str | None:
    """Return the name of the command of massrl that wrote a file; ``None`` for every other file."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            head = file.read(_ENDS * 4)
            file.seek(max(0, path.stat().st_size - _ENDS))
            tail = file.read()
    except OSError:
        return None
    for pattern, at_start in _MARKS:
        found = re.match(pattern, head if at_start else tail, re.DOTALL)
        if found:
            return found[1].decode()
    for pattern, command in _TEXTS:
        if re.match(pattern, head, re.DOTALL):
            return command
    return _json_written_by(path) if head.startswith(b"{") else _tensors_written_by(path, head)


def _json_written_by(path: Path) -> str | None:
    for keys, command in _JSON.items():
        with contextlib.suppress(CheckpointError):
            read_json(path, dict.fromkeys(keys, object))
            return command
    return None


def _tensors_written_by(path: Path, head: bytes) -> str | None:
    """Return the command in the header of a safetensors file."""
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or length > path.stat().st_size:
        return None
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(8 + length)[8:])
        about = json.loads(header["__metadata__"][METADATA_KEY])
        command = about[WRITTEN_BY].removeprefix("massrl ")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return str(command)
