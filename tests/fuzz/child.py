"""Run some cases in a process of their own: ``python -m tests.fuzz.child SEED KIND:START:STOP …``.

Each case's number is printed before it runs, and its outcome after it, so that a crash or a hang names its
case: ``python -m tests.fuzz.child SEED KIND:N:N+1`` repeats case N.
"""

from __future__ import annotations

import faulthandler
import importlib
import logging
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np

from massrl.errors import MassrlError
from tests.fuzz.case import Cases, FaultError, check_message

MAX_SECONDS = 10  # of one case; then the process ends itself


class Terminal:
    """Standard error as a file, so that a line that any library writes to it is found."""

    def __init__(self, path: Path) -> None:
        self.own = os.fdopen(os.dup(2), "w")
        self._file = path.open("w+b")
        os.dup2(self._file.fileno(), 2)

    def taken(self) -> str:
        """Return what was written since the last call."""
        sys.stderr.flush()
        self._file.seek(0)
        text = self._file.read().decode("utf-8", "replace")
        self._file.seek(0)
        self._file.truncate()
        return text


def outcome(cases: Cases, generator: np.random.Generator, terminal: Terminal) -> str:
    """Run one case; return ``read``, ``refused`` or a fault."""
    try:
        try:
            cases.run(generator)
            found = "read"
        except MassrlError as error:
            check_message(str(error))
            found = "refused"
        lines = terminal.taken()
        if lines:
            raise FaultError(f"lines on the terminal: {lines[:300]!r}")
    except FaultError as error:
        return f"fault {error}"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return f"fault {type(error).__name__} at {where}: {' '.join(str(error).split())[:300]}"
    return found


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(seed: int, ranges: list[str]) -> None:
    """Run the cases of some ranges, each ``KIND:START:STOP``."""
    logging.getLogger("massrl").addHandler(logging.NullHandler())
    logging.getLogger("massrl").propagate = False
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        kinds = {}
        for kind in dict.fromkeys(text.partition(":")[0] for text in ranges):
            (Path(folder) / kind).mkdir()
            kinds[kind] = importlib.import_module(f"tests.fuzz.{kind}").Cases(Path(folder) / kind)
        terminal = Terminal(Path(folder) / "terminal")
        faulthandler.enable(terminal.own)
        warnings.simplefilter("error")
        for text in ranges:
            kind, start, stop = text.split(":")
            for number in range(int(start), int(stop)):
                _tell(f"{kind} {number}")
                faulthandler.dump_traceback_later(MAX_SECONDS, exit=True, file=terminal.own)
                found = outcome(kinds[kind], np.random.default_rng((seed, number)), terminal)
                faulthandler.cancel_dump_traceback_later()
                _tell(f"{kind} {number} {found}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
