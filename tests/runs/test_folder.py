"""The run folder: one name for each file, and no run overwritten."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from massrl.config.files import load_config, read_layers
from massrl.config.parser import make_config
from massrl.config.sections import ViewsConfig
from massrl.errors import CheckpointError, ConfigError
from massrl.runs.folder import RunFolder, resume_hint, save_config, with_policies


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
        "start.json",
        "loss_matrix.json",
        "loss_matrix.png",
        "non_finite.json",
        "views.png",
        "loggers.json",
        "results.json",
        "report.html",
        "log.txt",
    }


def test_new_folder_is_created_with_its_parents(tmp_path: Path) -> None:
    """Guards ``--out runs/deep/mine`` on a fresh machine; an empty folder may be there already."""
    path = tmp_path / "a b" / "ü"
    assert RunFolder.new(path).path.is_dir()
    assert RunFolder.new(str(path)).path == path


def test_new_folder_that_has_a_run_is_refused(tmp_path: Path) -> None:
    """Guards a finished run against the next one's files; both alternatives are named."""
    RunFolder(tmp_path).backbone.write_text("")
    with pytest.raises(ConfigError, match=r"has a run already.*--resume .*--out"):
        RunFolder.new(tmp_path)


def test_new_folder_at_a_file_is_refused(tmp_path: Path) -> None:
    """Guards against a traceback of mkdir."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="--out .* cannot be written to"):
            RunFolder.new(path)


def test_existing_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """Guards --resume against a folder of photographs; the flag it came from is named."""
    with pytest.raises(CheckpointError, match=r"is no run folder.*\(--resume\)"):
        RunFolder.existing(tmp_path, flag="--resume")
    (tmp_path / "config.yaml").write_text("")
    assert RunFolder.existing(tmp_path, flag="--resume").path == tmp_path


def test_free_folder_is_never_one_that_exists(
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


def test_folder_that_is_locked_refuses_a_second_run(tmp_path: Path) -> None:
    """Guards two runs with one ``--out``, each writing over the other's rows and weights."""
    folder = RunFolder.new(tmp_path / "run")
    with folder.lock(), pytest.raises(ConfigError, match="another process is training in"):
        RunFolder(tmp_path / "run").lock().__enter__()
    with folder.lock():
        pass


def test_incomplete_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    """Guards the disk: every ``kill -9`` during a save leaves a whole checkpoint's room behind."""
    folder = RunFolder.new(tmp_path / "run")
    folder.checkpoint.parent.mkdir()
    left = folder.checkpoint.with_name(".last.ckpt.4446.part")
    left.write_bytes(b"half")
    folder.checkpoint.write_bytes(b"whole")
    with folder.lock():
        assert [path.name for path in folder.checkpoint.parent.iterdir()] == ["last.ckpt"]


def test_lock_is_free_as_soon_as_the_process_is_killed(tmp_path: Path) -> None:
    """Guards a supervisor that restarts at once: loader processes outlive a killed run by seconds."""
    code = (
        "import os, signal, sys, time\n"
        "from massrl.runs.folder import RunFolder\n"
        "with RunFolder.new(sys.argv[1]).lock():\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(30)\n"
        "    time.sleep(1)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False)
    assert done.returncode == -signal.SIGKILL
    with RunFolder(tmp_path / "run").lock():
        pass
    assert time.monotonic() - begin < 25


def test_policy_files_are_copied_once_and_named_relative_to_the_folder(tmp_path: Path) -> None:
    """Guards a run against edits of the user's file, and its folder against being moved."""
    own = tmp_path / "mine.yaml"
    own.write_text("- flip\n")
    folder = RunFolder(tmp_path / "run")
    policies = folder.copy_policies(("simclr", str(own), str(own)))
    copy = tmp_path / "run" / "policies" / "1-mine.yaml"
    assert policies == ("simclr", str(copy), str(copy))
    own.write_text("- blur\n")
    assert copy.read_text() == "- flip\n"
    assert folder.relative_policies(policies) == ("simclr", *["policies/1-mine.yaml"] * 2)


def test_change_of_policies_reaches_the_targets_too() -> None:
    """Guards the target's own policy file against being left behind."""
    views = ViewsConfig(policies=("a", "b"), target_policy="c")
    changed = with_policies(views, lambda names: tuple(name.upper() for name in names))
    assert (changed.policies, changed.target_policy) == (("A", "B"), "C")
    alone = with_policies(ViewsConfig(policies=("a",)), lambda names: tuple(names))
    assert (alone.policies, alone.target_policy) == (("a",), None)


def test_saved_configuration_is_loaded_as_it_was_and_names_its_peak_learning_rate(
    tmp_path: Path,
) -> None:
    """Guards ``--config runs/a/config.yaml``, which repeats the run."""
    config = make_config(
        read_layers("shapes-massrl"), {"data": {"batch_size": 128}, "optim": {"lr": 0.5}}
    )
    folder = RunFolder.new(tmp_path / "run")
    save_config(folder, config)
    assert load_config(folder.config) == config
    assert folder.config.read_text(encoding="utf-8").startswith(
        "# peak learning rate in use: 0.25 = optim.lr × data.batch_size / 256\n"
    )


def test_hint_names_the_command_only_where_a_checkpoint_can_be_resumed(tmp_path: Path) -> None:
    """Guards a user against a command that fails; a path with a blank is quoted."""
    folder = RunFolder.new(tmp_path / "a b")
    assert resume_hint(folder) == "no checkpoint was saved yet"
    folder.checkpoint.parent.mkdir()
    folder.checkpoint.write_bytes(b"")
    assert f"massrl pretrain --resume '{tmp_path}/a b' continues" in resume_hint(folder)
