"""Exit codes of the command line: the table that the help and the documentation show."""

from __future__ import annotations

import signal

EXIT_CODES = {
    0: "done; a run that reached its length or its --train.time_budget, or was requeued by SLURM",
    1: "massrl data check has found a broken image; or a fault of massrl",
    2: "a mistake in what was given, or something that is missing: one line says what is accepted",
    130: "stopped by Ctrl-C (SIGINT); a run was saved, and --resume continues it",
    143: "stopped by SIGTERM, likewise",
}
"""Every exit code with its meaning."""

_ENDING = ("SIGINT", "SIGTERM")


def exit_code(stopped_by: str | None) -> int:
    """Return the exit code of a command, as shells number signals.

    Args:
        stopped_by: the signal that stopped it, or whatever else did: a time budget, and SLURM's signal, after
            which the run is requeued, are no failures; ``None`` where nothing did.

    Example:
        >>> exit_code("SIGINT"), exit_code("SIGTERM"), exit_code("SIGUSR1"), exit_code(None)
        (130, 143, 0, 0)
    """
    return 128 + signal.Signals[str(stopped_by)] if stopped_by in _ENDING else 0
