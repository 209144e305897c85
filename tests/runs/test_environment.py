"""The environment of a result: hardware, versions, commit."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import pytest
import torch

from massrl.errors import ConfigError
from massrl.runs import environment
from massrl.runs.environment import Hardware, detect_hardware, environment_info


def test_cpu_is_used_where_it_is_asked_for_or_nothing_else_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards ``--train.accelerator cpu`` on a machine with a GPU, and ``auto`` on one without."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not detect_hardware("cpu").has_gpu
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = detect_hardware()
    assert (found.accelerator, found.has_gpu) == ("cpu", False)
    assert found.cores >= 1
    assert found.name == f"{found.cores} CPU cores"


def test_gpu_is_used_where_there_is_one_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards ``auto`` on a machine with a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    for accelerator in ("auto", "gpu"):
        found = detect_hardware(accelerator)
        assert (found.has_gpu, found.name) == (True, "a GPU")


def test_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards a run of days against starting on a CPU without a word."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"--train\.accelerator.*finds no GPU"):
        detect_hardware("gpu")


def test_cores_are_those_of_the_process_and_not_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards a container or a job with two of ninety-six cores against ninety-six workers."""
    monkeypatch.setattr("massrl.runs.environment.os.sched_getaffinity", lambda _: {3, 5})
    assert detect_hardware("cpu").cores == 2
    monkeypatch.delattr("massrl.runs.environment.os.sched_getaffinity")
    monkeypatch.setattr("massrl.runs.environment.os.cpu_count", lambda: 7)
    assert detect_hardware("cpu").cores == 7


def test_environment_has_versions_hardware_and_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the provenance of every metric."""
    info = environment_info(Hardware("cpu", 2, "2 CPU cores").name)
    assert set(info) == {"software", "hardware", "commit"}
    assert info["hardware"] == f"2 CPU cores, {platform.machine()}"
    assert info["software"]["python"] == platform.python_version()
    assert info["software"]["torch"] == metadata.version("torch")

    def absent(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(environment.metadata, "version", absent)
    assert environment_info("x")["software"]["massrl"] == "not installed"


def test_commit_is_none_for_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against the commit of whatever repository the environment happens to be in."""
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "a" / "b" / "c" / "d.py"))
    assert environment_info("x")["commit"] is None
