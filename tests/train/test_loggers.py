"""Loggers: the rows of ``metrics.csv`` and pictures elsewhere too, and never at the cost of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Plugin
from tests.train.conftest import (
    EVERY_THIRD,
    PLAIN_MODEL,
    CrashError,
    crash_at,
    quiet,
    resolved,
    run,
)

from massrl.commands.pretrain import resume
from massrl.config.files import load_config
from massrl.config.parser import make_config
from massrl.errors import ConfigError
from massrl.registry import LOGGERS
from massrl.runs.folder import RunFolder
from massrl.runs.metrics import read_metrics
from massrl.train import loggers as module

LABELLED = {"probe_every": 1.0, "max_steps": 6}


def test_tensorboard_has_every_metric_and_the_pictures(tmp_path: Path) -> None:
    """Guards against lost rows, shifted steps and missing pictures."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run(tmp_path / "run", train={**LABELLED, "loggers": ["tensorboard"]}).folder
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    rows = read_metrics(folder / "metrics.csv")
    for name in ("loss", "lr", "tau", "gradient_norm", "images_per_second", "knn"):
        logged = [(item.step, item.value) for item in events.Scalars(name)]
        expected = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        assert [step for step, _ in logged] == [step for step, _ in expected]
        assert [v for _, v in logged] == pytest.approx([v for _, v in expected], rel=1e-4)
    assert set(events.Tags()["images"]) == {"views", "loss of every pair"}
    assert (folder / "loss_matrix.png").is_file()


def test_run_is_resumed_with_another_logger(crashed: Path) -> None:
    """Guards loggers as what a resume may change."""
    pytest.importorskip("tensorboard")
    before = load_config(crashed / "config.yaml").to_dict()
    after = make_config({**before, "train": {**before["train"], "loggers": ["tensorboard"]}})
    resume(crashed, after, console=quiet())
    assert any((crashed / "tensorboard").iterdir())


class Failing(module.RunLogger):
    """Fails from the second row on, as with a full disk or a server that is gone."""

    rows = 0

    def __init__(self, folder: RunFolder, record: str | None) -> None:
        """Open nothing."""

    def settings(self, values: dict[str, Any]) -> None:
        """Receive the configuration."""
        assert values["train.max_steps"] == 10

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Fail."""
        Failing.rows += 1
        if Failing.rows > 1:
            raise OSError("no such server")

    def close(self, status: str) -> None:
        """Not called after a failure."""
        raise AssertionError


def test_failing_logger_is_dropped_and_training_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards hours of training against a server that is gone."""
    monkeypatch.setattr(Failing, "rows", 0)
    monkeypatch.setitem(LOGGERS.parts, "mlflow", Failing)
    result = run(tmp_path / "run", model=PLAIN_MODEL, train={"loggers": ["mlflow"]})
    assert result.session.step == 10
    assert Failing.rows == 2
    log = (result.folder / "log.txt").read_text(encoding="utf-8")
    assert log.count("--train.loggers mlflow is dropped: no such server") == 1


def test_logger_whose_package_is_missing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against days of training without the configured logger."""
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'massrl\[wandb\]'"):
        run(tmp_path / "run", train={"loggers": ["wandb"]})
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="--train.loggers"):
        module.check_loggers(["nosuch"])
    module.check_loggers([])


def test_weights_and_biases_is_online_only_with_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards offline use, which must never wait for a login."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert not module.has_wandb_key()
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine api.wandb.ai login user password x")
    netrc.chmod(0o600)
    assert module.has_wandb_key()
    netrc.write_text("machine example.org login user password x")
    assert not module.has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert module.has_wandb_key()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert not module.has_wandb_key()


@pytest.mark.filterwarnings("default")  # warnings of their packages
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_other_loggers_write_into_the_run_folder_without_a_service(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the other two where their packages are installed."""
    pytest.importorskip(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, 5)
        with pytest.raises(CrashError):
            run(folder, train={**EVERY_THIRD, "loggers": [name]})
    records = json.loads((folder / "loggers.json").read_text(encoding="utf-8"))
    resume(folder, console=quiet())
    assert "is dropped" not in (folder / "log.txt").read_text(encoding="utf-8")
    assert any(name in path.name for path in folder.iterdir())
    assert json.loads((folder / "loggers.json").read_text(encoding="utf-8")) == records
    if name == "mlflow":
        from mlflow import MlflowClient

        rows = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").get_metric_history(
            records[name], "loss"
        )
        assert {row.step for row in rows} == {
            int(row["step"]) for row in read_metrics(folder / "metrics.csv")
        }


def test_record_of_the_first_session_is_passed_again_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards one curve of a run against one for each of its sessions."""
    calls: list[Any] = []

    class Recording(module.RunLogger):
        def __init__(self, folder: RunFolder, record: str | None) -> None:
            calls.append(("open", record))
            self.record = record or "first"

        def settings(self, values: dict[str, Any]) -> None:
            calls.append(("settings", values["train.max_steps"]))

        def metrics(self, values: dict[str, float], step: int) -> None:
            calls.append((step, values))

        def close(self, status: str) -> None:
            calls.append(("close", status))

    monkeypatch.setitem(LOGGERS.parts, "mlflow", Recording)
    config = resolved(train={"loggers": ["mlflow"]})
    folder = RunFolder.new(tmp_path / "run")
    for status in ("failed", "success"):
        loggers = module.Loggers(config, folder)
        loggers.row({"step": 3, "loss": 1.5, "knn": None}, 3)
        loggers.picture("views", np.zeros((2, 2, 3), np.uint8), 3)  # ignored by default
        loggers.close(status)
        loggers.row({"step": 4, "loss": 1.5}, 4)  # closed
    row = (3, {"loss": 1.5})
    assert calls == [
        *(("open", None), ("settings", 10), row, ("close", "failed")),
        *(("open", "first"), row, ("close", "success")),
    ]


def test_logger_of_another_package_receives_rows_and_pictures(
    plugin: Plugin, tmp_path: Path
) -> None:
    """Guards the public way: a logger is a class and an entry point."""
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
    train = {"loggers": ["lines"], "max_steps": 3}
    folder = run(tmp_path / "run", model=PLAIN_MODEL, train=train).folder
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    rows = read_metrics(folder / "metrics.csv")
    assert [line[1] for line in lines if line[0] == "metrics"] == [0, 1, 2]
    losses = [line[2] for line in lines if line[0] == "metrics"]
    assert losses == pytest.approx([float(row["loss"]) for row in rows], rel=1e-4)
    assert [line[1] for line in lines if line[0] == "picture"] == ["views", "loss of every pair"]
    assert (lines[0], lines[-1]) == (["settings", 3], ["close", "success"])
    assert json.loads((folder / "loggers.json").read_text()) == {"lines": "mine"}


@pytest.mark.parametrize("record", ["", "self.record = record or 'first'"], ids=["none", "own"])
def test_settings_come_once_for_each_run_of_several_sessions(
    record: str, plugin: Plugin, tmp_path: Path
) -> None:
    """Guards the protocol over a resume: ``settings`` once, with and without an id, and every session closed.

    The same kind: a logger that joins at a resume, whose first session that is.
    """
    source = f"""
from massrl.train.loggers import RunLogger

class Lines(RunLogger):
    name = "lines.txt"

    def __init__(self, folder, record):
        self.file = folder.path / self.name
        {record or "pass"}
        self.write(f"open {{record}}")

    def write(self, text):
        with self.file.open("a") as file:
            file.write(text + chr(10))

    def settings(self, values):
        self.write("settings")

    def metrics(self, values, step):
        self.write(f"step {{step}}")

    def close(self, status):
        self.write(f"close {{status}}")

class Later(Lines):
    name = "later.txt"
"""
    entry_points = {"lines": "my_plugin:Lines", "later": "my_plugin:Later"}
    plugin(source, {"massrl.loggers": entry_points})
    folder = tmp_path / "run"
    train = {"loggers": ["lines"], "max_steps": 4, "checkpoint_every": 2}
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, 3)
        with pytest.raises(CrashError):
            run(folder, model=PLAIN_MODEL, train=train)
    saved = load_config(folder / "config.yaml")
    both = make_config(saved.to_dict(), arguments=["--train.loggers=lines,later"])
    resume(folder, both, console=quiet())
    own = "first" if record else "None"
    first = ["open None", "settings", "step 0", "step 1", "step 2", "close failed"]
    rest = ["step 2", "step 3", "close success"]
    assert (folder / "lines.txt").read_text().split("\n")[:-1] == [*first, f"open {own}", *rest]
    assert (folder / "later.txt").read_text().split("\n")[:-1] == ["open None", "settings", *rest]
