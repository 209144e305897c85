"""The run folder: one name for each file, and no run overwritten."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from massrl.errors import CheckpointError, ConfigError
from massrl.runs.folder import RunFolder


def test_files_have_the_documented_names(tmp_path: Path) -> None:
    """Guards the names that scripts rely on."""
    folder = RunFolder(tmp_path)
    names = {
        str(value.relative_to(tmp_path)) for key, value in vars(folder).items() if key != "path"
    }
    assert names == {
        "config.yaml",
        "metrics.csv",
        "checkpoints/last.ckpt",
        "backbone.safetensors",
        "data.json",
        "loss_matrix.json",
        "loss_matrix.png",
        "non_finite.json",
        "views.png",
        "loggers.json",
        "results.json",
        "report.html",
        "log.txt",
    }


def test_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    """Guards ``--out runs/deep/mine`` on a fresh machine; an empty folder may be there already."""
    path = tmp_path / "a b" / "ü"
    assert RunFolder.new(path).path.is_dir()
    assert RunFolder.new(str(path)).path == path


def test_new_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    """Guards a finished run against the next one's files; both ways on are named."""
    RunFolder(tmp_path).backbone.write_text("")
    with pytest.raises(ConfigError, match=r"holds a run already.*--resume .*--out"):
        RunFolder.new(tmp_path)


def test_new_folder_where_a_file_stands_is_refused(tmp_path: Path) -> None:
    """Guards against a traceback of mkdir."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="--out .* cannot be written to"):
            RunFolder.new(path)


def test_existing_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """Guards --resume against a folder of photographs; the flag it came from is named."""
    with pytest.raises(CheckpointError, match=r"holds no run.*\(--resume\)"):
        RunFolder.existing(tmp_path, flag="--resume")
    (tmp_path / "config.yaml").write_text("")
    assert RunFolder.existing(tmp_path, flag="--resume").path == tmp_path


def test_free_folder_never_is_one_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards runs without --out: the second has a folder of its own."""
    monkeypatch.chdir(tmp_path)
    paths = [RunFolder.free("shapes/train").path for _ in range(3)]
    assert paths == [
        Path("runs/shapes/train"),
        Path("runs/shapes/train-2"),
        Path("runs/shapes/train-3"),
    ]


def test_folder_that_is_held_refuses_a_second_run(tmp_path: Path) -> None:
    """Guards two runs with one ``--out``, each writing over the other's rows and weights."""
    folder = RunFolder.new(tmp_path / "run")
    with folder.held(), pytest.raises(ConfigError, match="another process is training in"):
        RunFolder(tmp_path / "run").held().__enter__()
    with folder.held():
        pass


def test_half_written_files_of_a_killed_run_are_cleared(tmp_path: Path) -> None:
    """Guards the disk: every ``kill -9`` during a save leaves a whole checkpoint's room behind."""
    folder = RunFolder.new(tmp_path / "run")
    folder.checkpoint.parent.mkdir()
    left = folder.checkpoint.with_name(".last.ckpt.4446.part")
    left.write_bytes(b"half")
    folder.checkpoint.write_bytes(b"whole")
    with folder.held():
        assert [path.name for path in folder.checkpoint.parent.iterdir()] == ["last.ckpt"]


def test_lock_is_free_as_soon_as_the_process_is_killed(tmp_path: Path) -> None:
    """Guards a supervisor that restarts at once: loader processes outlive a killed run by seconds."""
    code = (
        "import os, signal, sys, time\n"
        "from massrl.runs.folder import RunFolder\n"
        "with RunFolder.new(sys.argv[1]).held():\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(30)\n"
        "    time.sleep(1)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False)
    assert done.returncode == -signal.SIGKILL
    with RunFolder(tmp_path / "run").held():
        pass
    assert time.monotonic() - begin < 25
