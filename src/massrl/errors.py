"""Every error massrl raises on purpose, in one tree.

    MassrlError              anything the user can mend; the shell shows its one line, exit code 2
    ├── ConfigError          a key, name or value that the configuration does not accept
    ├── DataError            a folder, file list or dataset that cannot be used
    │   └── ImageError       one image that cannot be decoded; carries the image's name
    ├── CheckpointError      a run folder, checkpoint or weights file that cannot be used
    └── TrainingError        a run that cannot go on: no room on the disk, weights of no use
        └── NonFiniteError   a loss that is no number; carries its step and its images

A message is one line: what was wrong, the value given, what is accepted, and which flag sets it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MassrlError(Exception):
    """Base of all errors that a user of massrl can mend."""


class ConfigError(MassrlError):
    """A key, name or value that the configuration does not accept."""


class DataError(MassrlError):
    """A folder, file list or dataset that cannot be used."""


class ImageError(DataError):
    """One image that cannot be decoded.

    Args:
        name: the path or identifier of the image.
        reason: why it cannot be decoded, without a full stop.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        """Rebuild from both parts, so that the error survives the trip from a loader's worker."""
        return type(self), (self.name, self.reason)


class CheckpointError(MassrlError):
    """A run folder, checkpoint or weights file that cannot be used."""


class TrainingError(MassrlError):
    """A run that cannot go on."""


class NonFiniteError(TrainingError):
    """A loss that is not finite.

    Args:
        message: the whole line.
        step: the optimiser step.
        loss: the loss, as text.
        indices: positions of the images in their source.
    """

    def __init__(self, message: str, *, step: int, loss: str, indices: list[int]) -> None:
        super().__init__(message)
        self.step = step
        self.loss = loss
        self.indices = indices


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which known names stand nearest to an unknown one.

    Args:
        name: the name the user gave.
        known: all names that would have been accepted.

    Returns:
        ``"did you mean 'a' or 'b'?"`` when something is near, else ``"known: a, b, c"``.

    Example:
        >>> suggest("randaugmnt", ["randaugment", "simclr"])
        "did you mean 'randaugment'?"
        >>> suggest("zzz", ["b", "a"])
        'known: a, b'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(item) for item in near)}?"
    return f"known: {', '.join(names)}"
