"""What one case may do: succeed, or refuse its input in one line."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

_MAX_MESSAGE = 10_000  # characters
_NOT_IN_A_MESSAGE = re.compile(r"unexpected \w+(Error|Exception|Warning)|Traceback|\n")


class FaultError(Exception):
    """Something that no input may bring about."""


class Cases(ABC):
    """The cases of one kind of input.

    Args:
        folder: an empty folder for files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def run(self, generator: np.random.Generator) -> None:
        """Make a damaged input and use it as a user would.

        Raises:
            MassrlError: if it is refused.
            FaultError: if something happens that may not.
        """


def check_message(message: str) -> None:
    """Raise if a message is not one line for a user.

    Raises:
        FaultError: with the message.
    """
    if len(message) > _MAX_MESSAGE or _NOT_IN_A_MESSAGE.search(message.strip()):
        raise FaultError(f"a message is not one line for a user: {message[:300]!r}")
