"""The files of a session that has ended, and signals while they are written."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.train.conftest import PLAIN_MODEL, quiet, run

from massrl.cli import main
from massrl.commands.pretrain import resume
from massrl.errors import TrainingError
from massrl.methods.base import Method
from massrl.methods.byol import BYOL
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics
from massrl.train.loggers import Loggers

SAVING = "massrl.train.callbacks.final_files.save_trained"
MOMENTS: dict[str, Any] = {
    "backbone": SAVING,
    "report": "massrl.report.run_page.report_run",
    "loggers": (Loggers, "close"),
}
"""What is called one after the other once the loop has ended."""


def signal_before(patch: pytest.MonkeyPatch, moment: str, *numbers: int) -> None:
    """Send this process signals before a function of ``MOMENTS`` does its work."""
    place = MOMENTS[moment]
    if isinstance(place, str):
        module, _, name = place.rpartition(".")
        owner: Any = __import__(module, fromlist=[name])
    else:
        owner, name = place
    original: Callable[..., Any] = getattr(owner, name)

    def send(*arguments: Any, **keywords: Any) -> Any:
        for number in numbers:
            os.kill(os.getpid(), number)
        return original(*arguments, **keywords)

    patch.setattr(owner, name, send)


@pytest.fixture(autouse=True)
def _handlers_are_restored() -> Iterator[None]:
    """Fail if a signal handler is left installed."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


FILES = {"backbone.safetensors", "report.html", "metrics.csv", "loss_matrix.json", "config.yaml"}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_a_complete_run_is_saved_does_not_stop_it(
    moment: str, number: signal.Signals, tmp_path: Path
) -> None:
    """Guards a complete run against ending as an interrupted one without its backbone.

    The same kind: SIGTERM, a run that is resumed after its last step, and a run that a signal has stopped.
    """
    with pytest.MonkeyPatch.context() as patch:
        signal_before(patch, moment, number)
        result = run(tmp_path / "run", model=PLAIN_MODEL, train={"max_steps": 2})
    assert (result.session.step, result.session.stopped_by) == (2, None)
    assert names_in(result.folder) >= FILES
    log = (result.folder / "log.txt").read_text(encoding="utf-8")
    assert f"{number.name}: the run is complete" in log
    assert "--resume" not in log


def test_interrupted_saving_of_a_complete_run_ends_with_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards scripts that go on to evaluate the run."""
    signal_before(monkeypatch, "backbone", signal.SIGINT)
    images = "--data.train=shapes(count=8,size=16)"
    words = [images, "--data.batch_size=4", "--data.workers=0", "--train.max_steps=1"]
    words += ["--model.backbone=resnet10-tiny", "--train.accelerator=cpu"]
    assert main(["pretrain", *words, f"--out={tmp_path / 'run'}"]) == 0
    assert "done: 1 step" in capsys.readouterr().out
    assert names_in(tmp_path / "run") >= FILES


def test_second_interrupt_stops_the_saving_and_a_resume_makes_up_for_it(tmp_path: Path) -> None:
    """Guards the way out of a disk that hangs: the run stays resumable, and says so."""
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        signal_before(patch, "backbone", signal.SIGINT, signal.SIGINT)
        with pytest.raises(TrainingError, match="stopped at once by a second Ctrl-C"):
            run(folder, model=PLAIN_MODEL, train={"max_steps": 2})
    assert "backbone.safetensors" not in names_in(folder)
    assert "--resume" in (folder / "log.txt").read_text(encoding="utf-8").splitlines()[-1]
    with pytest.MonkeyPatch.context() as patch:
        signal_before(patch, "backbone", signal.SIGINT)  # of a run without a step to make
        assert resume(folder, console=quiet()).session.step == 2
    assert names_in(folder) >= FILES


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("devices", [1, 2])
def test_end_of_a_run_says_what_its_curves_show(tmp_path: Path, parts: int, devices: int) -> None:
    """Guards a loss without a meaning: guessing is named in log, table and page, from the images compared.

    A batch of 8 is divided into parts and devices, but devices share their negatives: 2 ln(1 + 4 · 7) for
    one part, 2 ln(1 + 4 · 3) for two.
    """
    train = {"accumulate": parts, "devices": devices, "max_steps": 3}
    result = run(tmp_path / "run", model=PLAIN_MODEL, train=train, method={"name": "simclr"})
    expected = 2 * math.log(1 + 4 * (8 // parts - 1))
    folder = RunFolder(result.folder)
    rows = read_metrics(folder.metrics)
    assert [float(row["chance"]) for row in rows] == pytest.approx([expected] * len(rows), rel=1e-5)
    log, page = (path.read_text(encoding="utf-8") for path in (folder.log, folder.report))
    assert f"guessing loss {expected:.4g}" in log
    assert "better than guessing" in log
    assert "collapsed            " in log
    for words in ("What the curves say", "better than guessing", "still improving"):
        assert words in page
    assert f"{expected:.4g} by guessing" in page


def test_objective_without_a_loss_of_guessing_shows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards objectives of other packages, which need not know theirs."""
    monkeypatch.setattr(BYOL, "chance", Method.chance)
    folder = RunFolder(run(tmp_path / "run", train={"max_steps": 2}).folder)
    assert [row["chance"] for row in read_metrics(folder.metrics)] == ["", ""]
    for path in (folder.log, folder.report):
        assert "guessing" not in path.read_text(encoding="utf-8")
