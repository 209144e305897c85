"""Exceptions of massrl.

    MassrlError              base class; the command line prints its message and exits with code 2
    ├── ConfigError          a key, name or value that is not accepted
    ├── DataError            a folder, file list or data set that cannot be used
    │   └── ImageError       an image that cannot be decoded; has its name
    ├── CheckpointError      a run folder, checkpoint or weights file that cannot be used
    └── TrainingError        a run that cannot continue, such as on a full disk
        └── NonFiniteError   a loss that is not finite; has its step and images

A message is one line: what is wrong, the value given, what is accepted, and the flag that sets it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


class CheckpointError(MassrlError):
    """A run folder, checkpoint or weights file that cannot be used."""


class TrainingError(MassrlError):
    """A run that cannot continue."""


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
