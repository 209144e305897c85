"""Loggers: what ``metrics.csv`` is told, told elsewhere too, and never in the way of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Plugin
from tests.train.conftest import quiet, run
from tests.train.test_resume import EVERY_THIRD, PowerCutError, cut_at

from massrl.commands.pretrain import resume
from massrl.config.files import load_config
from massrl.config.parser import make_config
from massrl.errors import ConfigError
from massrl.registry import LOGGERS
from massrl.report.heat_map import Matrix
from massrl.report.matrix_picture import draw_matrix
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics
from massrl.train import loggers as module

LABELLED = {"probe_every": 1.0, "max_steps": 6}


def test_tensorboard_has_every_figure_and_the_pictures(tmp_path: Path) -> None:
    """Guards the record against rows that are lost, steps that are shifted, pictures left out."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run(tmp_path / "run", train={**LABELLED, "loggers": ["tensorboard"]}).folder
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    rows = read_metrics(folder / "metrics.csv")
    for name in ("loss", "lr", "tau", "gradient_norm", "images_per_second", "knn"):
        kept = [(item.step, item.value) for item in events.Scalars(name)]
        wanted = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        assert [step for step, _ in kept] == [step for step, _ in wanted]
        assert [v for _, v in kept] == pytest.approx([v for _, v in wanted], rel=1e-4)
    assert set(events.Tags()["images"]) == {"views", "loss of every pair"}
    assert (folder / "loss_matrix.png").is_file()


def test_run_goes_on_with_loggers_added(tmp_path: Path) -> None:
    """Guards loggers as what a resume may change."""
    pytest.importorskip("tensorboard")
    with pytest.MonkeyPatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(PowerCutError):
            run(tmp_path / "run", train=EVERY_THIRD)
    before = load_config(tmp_path / "run" / "config.yaml").to_dict()
    after = make_config({**before, "train": {**before["train"], "loggers": ["tensorboard"]}})
    resume(tmp_path / "run", after, console=quiet())
    assert any((tmp_path / "run" / "tensorboard").iterdir())


class Failing(module.RunLogger):
    """A logger whose disk, server or package fails from the second row on."""

    rows = 0

    def __init__(self, folder: RunFolder, record: str | None) -> None:
        """Needs nothing."""

    def settings(self, values: dict[str, Any]) -> None:
        """Receives the configuration."""
        assert values["train.max_steps"] == 10

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Fails."""
        Failing.rows += 1
        if Failing.rows > 1:
            raise OSError("no such server")

    def close(self, status: str) -> None:
        """Is never reached."""
        raise AssertionError


def test_logger_that_fails_is_given_up_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards hours of training against a server that is gone."""
    monkeypatch.setattr(Failing, "rows", 0)
    monkeypatch.setitem(LOGGERS.parts, "mlflow", Failing)
    result = run(tmp_path / "run", train={"loggers": ["mlflow"]})
    assert result.session.step == 10
    assert Failing.rows == 2
    log = (result.folder / "log.txt").read_text(encoding="utf-8")
    assert log.count("--train.loggers mlflow is dropped: no such server") == 1


def test_logger_that_is_not_installed_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a run that would go on for days without the record that was asked for."""
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'massrl\[wandb\]'"):
        run(tmp_path / "run", train={"loggers": ["wandb"]})
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="--train.loggers"):
        run(tmp_path / "run", train={"loggers": ["nosuch"]})


def test_key_decides_whether_a_service_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards "offline use never blocks": without a key nothing is asked of anyone."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert not module.has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert module.has_wandb_key()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert not module.has_wandb_key()


@pytest.mark.filterwarnings("default")  # what their packages are warned of is not ours
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_other_loggers_write_where_there_is_no_service(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the other two where their packages are installed."""
    pytest.importorskip(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(PowerCutError):
            run(folder, train={**EVERY_THIRD, "loggers": [name]})
    record = json.loads((folder / "loggers.json").read_text(encoding="utf-8"))
    resume(folder, console=quiet())
    assert "is dropped" not in (folder / "log.txt").read_text(encoding="utf-8")
    assert any(name in path.name for path in folder.iterdir())
    assert json.loads((folder / "loggers.json").read_text(encoding="utf-8")) == record
    if name == "mlflow":
        from mlflow import MlflowClient

        rows = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").get_metric_history(
            record[name], "loss"
        )
        assert {row.step for row in rows} == {
            int(row["step"]) for row in read_metrics(folder / "metrics.csv")
        }


def test_record_is_asked_for_again_when_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards one curve of a run against as many as it had sittings."""
    records: list[str | None] = []

    class Silent(module.RunLogger):
        def __init__(self, folder: RunFolder, record: str | None) -> None:
            records.append(record)
            self.record = record or "first"

        def settings(self, values: dict[str, Any]) -> None:
            assert records == [None]

        def metrics(self, values: dict[str, float], step: int) -> None:
            """Show nothing."""

        def close(self, status: str) -> None:
            """Close nothing."""

    monkeypatch.setitem(LOGGERS.parts, "mlflow", Silent)
    with pytest.MonkeyPatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(PowerCutError):
            run(tmp_path / "run", train={**EVERY_THIRD, "loggers": ["mlflow"]})
    resume(tmp_path / "run", console=quiet())
    assert records == [None, "first"]


def test_logger_of_another_package_receives_rows_and_pictures(
    plugin: Plugin, tmp_path: Path
) -> None:
    """Guards the promise that a logger is a class and a row."""
    source = """
import json
from massrl.train.loggers import RunLogger

class Lines(RunLogger):
    def __init__(self, folder, record):
        self.file = folder.path / "lines.jsonl"
        self.record = "mine"

    def _write(self, *content):
        with self.file.open("a") as file:
            file.write(json.dumps(content) + chr(10))

    def settings(self, values):
        self._write("settings", values["train.max_steps"])

    def metrics(self, values, step):
        self._write("metrics", step, values["loss"])

    def picture(self, title, pixels, step):
        self._write("picture", title, step, list(pixels.shape)[2])

    def close(self, status):
        self._write("close", status)
"""
    plugin(source, {"massrl.loggers": {"lines": "my_plugin:Lines"}})
    folder = run(tmp_path / "run", train={"loggers": ["lines"], "max_steps": 3}).folder
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    rows = read_metrics(folder / "metrics.csv")
    assert [line[1] for line in lines if line[0] == "metrics"] == [0, 1, 2]
    losses = [line[2] for line in lines if line[0] == "metrics"]
    assert losses == pytest.approx([float(row["loss"]) for row in rows], rel=1e-4)
    assert [line[1] for line in lines if line[0] == "picture"] == ["views", "loss of every pair"]
    assert (lines[0], lines[-1]) == (["settings", 3], ["close", "success"])
    assert json.loads((folder / "loggers.json").read_text()) == {"lines": "mine"}


def test_picture_of_the_matrix_is_dark_where_the_loss_is_high() -> None:
    """Guards orientation: rows are rows, and pairs that are not in use are blank."""
    rows = [[None, 4.0], [0.5, None]]
    picture = draw_matrix(Matrix(names=["first", "second"], rows=rows)).astype(int)
    dark = np.argwhere((picture[:, :, 2] - picture[:, :, 0] > 60) & (picture.sum(2) < 330))
    assert len(dark) > 500
    blank = np.argwhere((picture == (0xF1, 0xF2, 0xF4)).all(axis=2))
    centre, middle = dark.mean(axis=0), blank.mean(axis=0)
    assert centre[0] < middle[0]  # the first row
    assert centre[1] > middle[1]  # the second column
