"""Exceptions of massrl.

    MassrlError              base class; the command line prints its message and exits with code 2,
    │                        130 or 143 for a StoppedError
    ├── ConfigError          a key, name or value that is not accepted
    ├── DataError            a folder, file list or data set that cannot be used
    │   └── ImageError       an image that cannot be decoded; has its name
    │       └── ImageKindError   an image, whole or not, of a kind that is not accepted
    ├── CheckpointError      a run folder, checkpoint or weights file that cannot be used
    └── TrainingError        a run that cannot continue
        ├── DiskError        a file that cannot be written, such as on a full disk
        ├── NonFiniteError   a loss that is not finite; has its step and images
        └── StoppedError     stopped at once by a signal; has its name

A message is one line: what is wrong, the value given, what is accepted, and the flag that sets it.
"""

from __future__ import annotations

import difflib
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_OWN_FOLDER = str(Path(__file__).parent)


class MassrlError(Exception):
    """Base class of all errors that a user can resolve."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(MassrlError):
    """A key, name or value that is not accepted."""


class DataError(MassrlError):
    """A folder, file list or data set that cannot be used."""


class ImageError(DataError):
    """An image that cannot be decoded.

    Args:
        name: the path or identifier of the image.
        reason: why it cannot be decoded, without a full stop.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        """Pickle both arguments, so that the error can be sent from a loader's worker process."""
        return type(self), (self.name, self.reason)


class ImageKindError(ImageError):
    """An image of a kind that is not accepted, such as one of 13 bands; the file may be whole."""


class CheckpointError(MassrlError):
    """A run folder, checkpoint or weights file that cannot be used."""


class TrainingError(MassrlError):
    """A run that cannot continue."""


class DiskError(TrainingError):
    """A file that cannot be written, such as on a full disk."""


class NonFiniteError(TrainingError):
    """A loss that is not finite.

    Args:
        message: the complete message.
        step: optimiser step.
        loss: its value, as text.
        indices: positions of the batch's images in their source.
    """

    def __init__(self, message: str, *, step: int, loss: str, indices: list[int]) -> None:
        super().__init__(message)
        self.step = step
        self.loss = loss
        self.indices = indices


def interrupt(number: int, frame: object) -> None:
    """Raise ``KeyboardInterrupt``: the handler of a process that runs one command, and exits."""
    raise KeyboardInterrupt


class StoppedError(TrainingError):
    """A run that a signal has stopped before it could save.

    Args:
        message: the complete message.
        signal_name: such as ``SIGINT``.
    """

    def __init__(self, message: str, *, signal_name: str) -> None:
        super().__init__(message)
        self.signal_name = signal_name


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, for messages.

    Example:
        >>> counted(1, "image"), counted(4000, "image"), counted(2, "class")
        ('1 image', '4,000 images', '2 classes')
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def one_line(text: str) -> str:
    r"""Return a text as one line that any terminal can show, whatever names of files are in it.

    Example:
        >>> print(one_line("holiday\nphoto.png is broken"))
        holiday\nphoto.png is broken
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def suggest(name: object, known: Iterable[str]) -> str:
    """Return a hint for an unknown name: the most similar known names, or else all of them.

    Args:
        name: the name that was given; in a file it may be anything.
        known: all accepted names.

    Returns:
        ``"did you mean 'a' or 'b'?"`` if any are similar, else ``"known: a, b, c"``.

    Example:
        >>> suggest("randaugmnt", ["randaugment", "simclr"])
        "did you mean 'randaugment'?"
        >>> suggest("zzz", ["b", "a"])
        'known: a, b'
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(item) for item in near)}?"
    return f"known: {', '.join(names)}"


def users_fault(error: BaseException) -> str | None:
    """Return one line for an error that a user can resolve, although it is no ``MassrlError``.

    That is what the system says of a file or of memory, and whatever a user's own code raised.

    Args:
        error: a raised exception.

    Returns:
        The line; ``None`` for anything else, which is a fault of massrl.
    """
    kind, text = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":  # the latter is torch's
        where = "the GPU has" if "CUDA" in text else "there is"
        return (
            f"{where} too little memory for this: a smaller batch (--data.batch_size), smaller images "
            "(--views.size) or --train.memory streamed needs less"
        )
    if isinstance(error, OSError) and error.strerror:
        files = " and ".join(str(file) for file in (error.filename, error.filename2) if file)
        return f"{files}: {error.strerror}" if files else f"{error.strerror} ({kind})"
    if isinstance(error, ValueError) and "null byte" in text:  # the system's names have none
        return "a path has a null character in it"
    where = raised_in(error)
    return f"your own code, {where}, raised {kind}: {text}" if where else None


def raised_in(error: BaseException, *, package: str = "") -> str:
    """Return the innermost line of the user's own code that an error passed through.

    The user's own code is everything outside Python's and massrl's folders and those of installed packages.

    Args:
        error: a raised exception; a ``SyntaxError`` has the line that cannot be parsed.
        package: a module whose package is the user's own too, though it may be installed.

    Returns:
        Such as ``my_network.py, line 12``; empty if no code of the user's was involved.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}, line {error.lineno}"
    where = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
        named = bool(package) and module.partition(".")[0] == package.partition(".")[0]
        installed = file.startswith((*_LIBRARIES, _OWN_FOLDER, "<"))
        if named or not installed:
            where = f"{_short(file)}, line {line}"
    return where


def _short(file: str) -> str:
    """Return a path relative to the current folder, where it lies in it."""
    path, folder = Path(file), Path.cwd()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else file
