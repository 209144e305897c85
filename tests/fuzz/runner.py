"""Run cases in batches of child processes, and count what became of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
BATCH = 500  # cases of one process


@dataclass
class Outcome:
    """What became of the cases of one kind.

    Attributes:
        kind: its name.
        counts: number of cases by ``read``, ``refused``, ``crash``, ``hang`` and ``fault``.
        faults: text of each crash, hang and fault, with the case's number.
        seconds: of all of them.
    """

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def num_cases(self) -> int:
        """All cases that were run."""
        return sum(self.counts.values())

    def add(self, number: int, found: str) -> None:
        """Count one case."""
        word = found.partition(" ")[0]
        self.counts[word] += 1
        if word not in ("read", "refused"):
            self.faults.append(f"{self.kind} {number}: {found}")


def run_cases(
    kind: str, count: int, *, seed: int = 0, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run the cases 0 to ``count - 1`` of a kind; one that ends its process is counted, and skipped.

    Args:
        kind: name of its module in this package.
        count: number of cases.
        seed: of all of them.
        environment: of the child processes; by default this process's own.
    """
    result, begin, start = Outcome(kind), time.monotonic(), 0
    while start < count:
        stop = min(start + BATCH, count)
        command = [sys.executable, "-m", "tests.fuzz.child", kind, *map(str, (seed, start, stop))]
        child = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace"
        )
        started = start - 1
        for line in child.stdout.splitlines():
            word, _, found = line.partition(" ")
            started = int(word)
            if found:
                result.add(started, found)
        ended = child.stdout.splitlines()[-1:] == [str(started)]
        if child.returncode and not ended:
            raise RuntimeError(f"{' '.join(command)} failed: {child.stderr[-2_000:]}")
        if ended:
            result.add(started, _end(child.returncode, child.stderr))
        start = started + 1
    result.seconds = time.monotonic() - begin
    return result


def _end(code: int, errors: str) -> str:
    if errors.startswith("Timeout"):
        return f"hang {' '.join(errors.split())[:500]}"
    cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"crash {cause}: {' '.join(errors.split())[:500]}"
