"""The progress line, on a terminal and elsewhere."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from massrl.train.callbacks import progress as module
from massrl.train.callbacks.progress import ProgressLine


def step_after(number: int, *, skipped: int = 0, chance: float | None = None) -> Any:
    schedule = SimpleNamespace(total_steps=100)
    return SimpleNamespace(
        step=number,
        schedule=schedule,
        loss=1.25,
        chance=chance,
        skipped=dict.fromkeys(range(skipped)),
    )


def make(*, terminal: bool, accuracy: float | None = None) -> tuple[ProgressLine, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=160)
    clock: Any = SimpleNamespace(images_per_second=1234.4, data_wait=0.5)
    probe: Any = SimpleNamespace(accuracy=accuracy)
    return ProgressLine(console, title="cifar", clock=clock, probe=probe), file


def test_plain_line_is_printed_every_fifteen_seconds_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards log files of clusters: one line per quarter of a minute, not one per step."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    line, file = make(terminal=False)
    line.on_start(step_after(50))
    for number in range(51, 101):
        now[0] += 1.0
        line.after_step(step_after(number))
    line.close()
    lines = file.getvalue().splitlines()
    steps = [text.split("step ")[1].split("/")[0] for text in lines]
    assert steps == ["51", "66", "81", "96", "100"]
    assert lines[1].startswith("cifar  step 66/100  34 s left  loss 1.250")
    assert "1234 images/s · waiting for data 50%" in lines[1]


def test_line_names_accuracy_and_skipped_images_where_there_are_some() -> None:
    """Guards what a user should not have to look up in the log."""
    line, file = make(terminal=False, accuracy=43.21)
    line.on_start(step_after(0))
    line.after_step(step_after(1, skipped=3))
    assert "k-NN 43.2 %" in file.getvalue()
    assert "3 images skipped" in file.getvalue()


def test_live_line_is_shown_on_a_terminal_and_removed_at_the_end() -> None:
    """Guards the terminal: the cursor must come back, also after an error."""
    line, file = make(terminal=True)
    line.on_start(step_after(0))
    line.after_step(step_after(10))
    line.close()
    line.close()
    text = file.getvalue()
    assert "10/100" in text
    assert "loss 1.250" in text
    assert "\x1b[?25h" in text  # shows the cursor again


def test_loss_of_guessing_stands_beside_the_loss() -> None:
    """Guards a loss that says nothing by itself; objectives without one have none."""
    for chance, text in ((9.6876, "loss 1.250 (guessing: 9.688) · "), (None, "loss 1.250 · ")):
        line, file = make(terminal=False)
        line.on_start(step_after(0))
        line.after_step(step_after(1, chance=chance))
        assert text in file.getvalue()
