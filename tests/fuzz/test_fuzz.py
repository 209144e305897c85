"""A few cases of each kind of damaged input; ``make fuzz`` runs thousands."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tests.fuzz.__main__ import KINDS, table
from tests.fuzz.kernels import sanitized_environment
from tests.fuzz.runner import Outcome, run_cases
from tests.fuzz.traps import EXPECTED, chosen

SHORT = {
    "checkpoints": 200,
    "configs": 40,
    "shards": 30,
    "annotations": 40,
    "names": 20,
    "images": 400,
    "runs": 12,
    "results": 8,
    "kernels": 400,
}


def test_every_kind_has_a_short_form() -> None:
    """Guards the test below against a kind that is added and forgotten."""
    assert set(SHORT) == set(KINDS)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str] | str:
    """The environment of ``sanitized_environment``, or what is missing."""
    return sanitized_environment(tmp_path_factory.mktemp("sanitized"))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """All kinds but the kernels, in one process, which imports everything once."""
    return run_cases({kind: SHORT[kind] for kind in SHORT if kind != "kernels"}, seed=1)


def check(outcome: Outcome) -> None:
    assert outcome.faults == []
    assert outcome.num_cases == SHORT[outcome.kind]
    assert outcome.counts["read"] > 0
    assert outcome.counts["refused"] > 0


@pytest.mark.parametrize("kind", [kind for kind in SHORT if kind != "kernels"])
def test_damaged_input_is_read_or_refused(kind: str, outcomes: dict[str, Outcome]) -> None:
    """Guards against a crash, a traceback, a hang, a silently black picture, and code out of a file."""
    check(outcomes[kind])


def test_kernels_stay_in_their_memory(sanitized: dict[str, str] | str) -> None:
    """Guards against reading or writing beside an image, and numbers that C leaves undefined."""
    if isinstance(sanitized, str):
        pytest.skip(f"no {sanitized}")
    check(run_cases({"kernels": SHORT["kernels"]}, seed=1, environment=sanitized)["kernels"])


def test_runner_sees_whatever_no_case_may_do() -> None:
    """Guards all of the above: a runner that misses a crash finds no fault in anything.

    Also of this kind: processes that vanish with a code of success, lines that a library in C writes,
    messages without end, and the cases after a crash, which must be run all the same.
    """
    count = 40
    outcome = run_cases({"traps": count}, seed=3)["traps"]
    drawn = [chosen(np.random.default_rng((3, number))) for number in range(count)]
    wanted = [EXPECTED[action] for action in drawn]
    assert {word: wanted.count(word) for word in wanted} == dict(outcome.counts)
    assert set(drawn) == set(EXPECTED)
    found = {int(line.split()[1].rstrip(":")): line for line in outcome.faults}
    for number, (action, word) in enumerate(zip(drawn, wanted, strict=True)):
        assert (number in found) == (word in ("crash", "fault")), action
        assert number not in found or f": {word} " in found[number]
    assert any("SIGSEGV" in line for line in outcome.faults)


def test_sanitizer_stops_what_reads_beside_its_memory(sanitized: dict[str, str] | str) -> None:
    """Guards the cases of the kernels: without the sanitizer, no reading beside an image is seen."""
    if isinstance(sanitized, str):
        pytest.skip(f"no {sanitized}")
    code = "import ctypes; ctypes.string_at(ctypes.create_string_buffer(100), 200)"
    found = subprocess.run(
        [sys.executable, "-c", code], env=sanitized, capture_output=True, text=True, check=False
    )
    assert found.returncode != 0
    assert "heap-buffer-overflow" in found.stderr


def test_page_has_the_counts_of_each_kind() -> None:
    """Guards the page that is written after minutes of work."""
    outcome = Outcome("names", seconds=2.4)
    for number in range(1_200):
        outcome.add(number, "refused" if number else "crash SIGSEGV")
    text = table([outcome], ["kernels: no compiler"], arguments=" --seed 3")
    assert "| 1,200 | 0 | 1,199 | 1 | 0 | 0 | 2 |" in text
    assert "Not run: kernels: no compiler." in text
    assert "tests.fuzz --seed 3`" in text
    assert "CPU core" in text
