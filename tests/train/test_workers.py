"""Processes of a run other than the main one."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.train.conftest import PLAIN_MODEL, resolved

from massrl.distributed import World
from massrl.errors import DataError
from massrl.train.launch import end_without
from massrl.train.workers import run_worker, start_worker


class Started(World):
    """The place of a worker whose main process has sent this configuration."""

    config: Any
    gathered: list[Any]

    def broadcast(self, content: Any = None) -> Any:
        """Return the configuration, and no checkpoint."""
        return self.config, None

    def all_gather_object(self, content: Any) -> list[Any]:
        """Record what this process tells the others."""
        self.gathered.append(content)
        return [content]


def started(config: Any) -> Started:
    place = Started()
    object.__setattr__(place, "config", config)
    object.__setattr__(place, "gathered", [])
    return place


def test_worker_trains_and_leaves_files_and_log_to_the_main_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards the run folder against a second writer, and the terminal against a second line of all."""
    config = resolved(model=PLAIN_MODEL, train={"max_steps": 2, "probe_every": 1})
    config = replace(config, out=str(tmp_path / "run"))
    with caplog.at_level(logging.INFO, logger="massrl"):
        result = run_worker(started(config))
    assert (result.session.step, result.is_main) == (2, False)
    assert result.folder == tmp_path / "run"
    assert not result.folder.exists()
    assert caplog.text == ""
    assert not logging.getLogger("massrl").disabled


def test_worker_that_cannot_open_the_images_tells_the_others(tmp_path: Path) -> None:
    """Guards the other processes against waiting: they raise the same error with its rank."""
    config = resolved()
    data = replace(config.data, train=str(tmp_path / "nowhere"))
    place = started(replace(config, data=data))
    with pytest.raises(DataError, match="nowhere") as caught:
        run_worker(place)
    assert place.gathered == [("", str(caught.value))]
    assert not logging.getLogger("massrl").disabled


def test_worker_watches_its_parent_and_joins_the_group_of_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards ``massrl join``: an orphan must end, and ranks come from the environment."""
    calls: list[Any] = []

    class Thread:
        def __init__(self, **settings: Any) -> None:
            calls.append((settings["target"], settings["args"], settings["daemon"]))

        def start(self) -> None:
            calls.append("started")

    monkeypatch.setattr("massrl.train.workers.Thread", Thread)
    monkeypatch.setattr("massrl.train.workers.run_worker", calls.append)
    start_worker(gpu=False, parent=17)
    assert calls == [(end_without, (17,), True), "started", World()]
