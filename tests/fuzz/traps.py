"""Cases that do what no case may do: they try the runner, which must see each of them."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

import numpy as np

from massrl.errors import MassrlError
from tests.fuzz import case


def succeed() -> None:
    """End as a case may."""


def refuse() -> NoReturn:
    """End as a case may, with one line."""
    raise MassrlError("no")


def refuse_at_length() -> NoReturn:
    """Say more than anybody reads."""
    raise MassrlError("no " * 10_000)


def refuse_unexpectedly() -> NoReturn:
    """Say what the command line says of its own bugs."""
    raise MassrlError("unexpected ValueError: no")


def fail() -> NoReturn:
    """Raise what is no error for a user."""
    raise KeyError("no")


def write() -> None:
    """Write to the terminal behind Python's back, as libraries in C do."""
    os.write(2, b"libpng warning: no\n")


def warn() -> None:
    """Warn of something."""
    warnings.warn("no", stacklevel=1)


def leave() -> NoReturn:
    """End the process as a script does."""
    sys.exit(0)


def die() -> None:
    """End the process as a wrong pointer does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def vanish() -> NoReturn:
    """End the process at once, with an exit code of success."""
    os._exit(0)


EXPECTED: dict[Callable[[], None], str] = {
    **{
        succeed: "read",
        refuse: "refused",
        refuse_at_length: "fault",
        refuse_unexpectedly: "fault",
    },
    **{fail: "fault", write: "fault", warn: "fault", leave: "fault", die: "crash", vanish: "crash"},
}
"""What each of them is counted as."""


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def run(self, generator: np.random.Generator) -> None:
        """Do one of these things."""
        chosen(generator)()


def chosen(generator: np.random.Generator) -> Callable[[], None]:
    """Return what a case does."""
    return list(EXPECTED)[int(generator.integers(0, len(EXPECTED)))]
