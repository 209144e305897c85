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
    plan: Mapping[str, int], *, seed: int = 0, environment: Mapping[str, str] | None = None
) -> dict[str, Outcome]:
    """Run the cases 0 to n - 1 of some kinds; one that ends its process is counted, and skipped.

    Args:
        plan: number of cases by kind, which is the name of its module in this package.
        seed: of all of them.
        environment: of the child processes; by default this process's own.
    """
    outcomes = {kind: Outcome(kind) for kind in plan}
    while ranges := _next_ranges(plan, outcomes):
        begin = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz.child", str(seed), *ranges]
        child = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace"
        )
        started = ["", ""]
        for line in child.stdout.splitlines():
            kind, number, *found = line.split(" ", 2)
            started = [kind, number] if not found else ["", ""]
            if found:
                outcomes[kind].add(int(number), found[0])
        if started[0]:  # and not ended
            outcomes[started[0]].add(int(started[1]), _end(child.returncode, child.stderr))
        elif child.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {child.stderr[-2_000:]}")
        outcomes[ranges[-1].partition(":")[0]].seconds += time.monotonic() - begin
    return outcomes


def _next_ranges(plan: Mapping[str, int], outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return what the next process runs, ``KIND:START:STOP`` each: the next cases, up to a batch."""
    ranges, left = [], BATCH
    for kind, count in plan.items():
        start = outcomes[kind].num_cases
        stop = min(count, start + left)
        if stop > start:
            ranges.append(f"{kind}:{start}:{stop}")
            left -= stop - start
    return ranges


def _end(code: int, errors: str) -> str:
    if errors.startswith("Timeout"):
        return f"hang {' '.join(errors.split())[:500]}"
    cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"crash {cause}: {' '.join(errors.split())[:500]}"
