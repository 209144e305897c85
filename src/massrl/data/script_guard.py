"""The guard of a script, ``if __name__ == "__main__":``, where worker processes import the script.

They do under the start methods spawn (macOS, Windows) and forkserver (Linux from Python 3.14 on).
"""

from __future__ import annotations

import multiprocessing
import os
import sys

from massrl.errors import ConfigError

STARTING = "MASSRL_STARTING_WORKERS"
"""Environment variable of this process while it starts workers, and of those."""
UNGUARDED = 64
"""Exit code of a worker that has been told to import a script without a guard."""

GUARD = (
    'put the calls of the script under `if __name__ == "__main__":`, because worker processes import the '
    "script (start method {method}); or load in this process: --data.workers 0"
)


def start_method() -> str:
    """Return how processes are started: ``fork``, ``spawn`` or ``forkserver``."""
    return str(multiprocessing.get_start_method())


def refuse_during_import() -> None:
    """Refuse to work in a worker process that is importing a script without a guard.

    If it is a worker of massrl, the process ends here: the one that started it reports why.

    Raises:
        ConfigError: in a process that somebody else has started.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        if STARTING in os.environ:
            os._exit(UNGUARDED)
        raise ConfigError(GUARD.format(method=start_method()))


def check_main_module() -> None:
    """Raise if workers would have to import a script that is no file.

    Raises:
        ConfigError: with the name that Python gives to such a script.
    """
    main, method = sys.modules["__main__"], start_method()
    file = str(getattr(main, "__file__", None) or "")
    if method != "fork" and getattr(main, "__spec__", None) is None and file.startswith("<"):
        raise ConfigError(
            f"worker processes cannot import {file} (start method {method}): save the script as a file, "
            f'with its calls under `if __name__ == "__main__":`, or use --data.workers 0'
        )
