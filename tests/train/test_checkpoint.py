"""Training checkpoints: loaded as they were saved, and never executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.conftest import resolved

from massrl.data.build import training_source
from massrl.data.source import describe_source
from massrl.errors import CheckpointError
from massrl.files import write_json
from massrl.runs.folder import RunFolder
from massrl.train.checkpoint import load_checkpoint, restore_point, save_checkpoint


def state() -> dict[str, Any]:
    return {
        "step": 7,
        "seconds": 1.5,
        "names": ["a", "b"],
        "model": {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)},
        "optim": {"state": {0: {"momentum": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    }


def test_checkpoint_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    """Guards resume: numbers, strings and tensors to the last bit."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    save_checkpoint(path, state())
    loaded = load_checkpoint(path)
    assert {key: loaded[key] for key in ("step", "seconds", "names")} == {
        "step": 7,
        "seconds": 1.5,
        "names": ["a", "b"],
    }
    assert torch.equal(loaded["model"]["w"], state()["model"]["w"])
    assert torch.equal(loaded["optim"]["state"][0]["momentum"], torch.ones(2))


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path, keep: float) -> None:
    """Guards against a traceback out of torch for a file that was cut off."""
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, state())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_checkpoint_that_is_missing_or_of_another_format_is_refused(tmp_path: Path) -> None:
    """Guards against a file of another program that would be loaded in part."""
    path = tmp_path / "last.ckpt"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_checkpoint(path)
    for content in ({"state_dict": {}}, {"format": 99}, torch.zeros(2)):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match="not a checkpoint of massrl"):
            load_checkpoint(path)


class Bomb:
    """Creates a file when it is unpickled, as a hostile checkpoint could."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_checkpoint_with_code_is_refused_and_not_executed(tmp_path: Path, how: str) -> None:
    """Guards a downloaded checkpoint: loading it must never execute code."""
    path, target = tmp_path / "last.ckpt", tmp_path / "executed"
    if how == "torch":
        torch.save({"format": 1, "x": Bomb(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not target.exists()


def test_restore_point_is_the_last_checkpoint_of_the_same_images(tmp_path: Path) -> None:
    """Guards a run against images that were added, and a folder that does not record its images."""
    folder = RunFolder.new(tmp_path / "run")
    source = training_source(resolved().data)
    with pytest.raises(CheckpointError, match=r"has no data\.json"):
        restore_point(folder, source)
    write_json(folder.data, describe_source(source))
    assert restore_point(folder, source) is None  # before the first checkpoint
    save_checkpoint(folder.checkpoint, state())
    restored = restore_point(folder, source)
    assert restored is not None
    assert restored["step"] == 7
    whole = folder.data.read_bytes()
    for damaged in (b"", b"[]", b"{}", whole[:20], b"\xff", b"[" * 100_000):
        folder.data.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"data\.json, .* is damaged"):
            restore_point(folder, source)
    folder.data.write_bytes(whole)
    other = training_source(resolved(data={"train": "shapes(count=41,size=16)"}).data)
    with pytest.raises(CheckpointError, match="differs from the images .* another --out"):
        restore_point(folder, other)
