"""Files that are whole or not there, and are never run as code."""

from __future__ import annotations

import errno
import io
import pickle
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from tests.conftest import ABOUT

from massrl.errors import CheckpointError, TrainingError
from massrl.files import write_atomically, write_json, write_text
from massrl.train.checkpoint import load_checkpoint, save_checkpoint
from massrl.weights.backbone_file import load_backbone_file, save_backbone


class FullDisk(io.RawIOBase):
    """A file on a disk without room."""

    def writable(self) -> bool:
        """It seems to be."""
        return True

    def write(self, content: Any) -> int:
        """Fail as a full disk does."""
        raise OSError(errno.ENOSPC, "No space left on device")


def half_written(error: BaseException) -> Any:
    def write(file: IO[bytes]) -> None:
        file.write(b"half of the new")
        file.flush()
        raise error

    return write


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), TrainingError, "no space left on the disk"),
        (OSError(errno.EIO, "Input/output error"), TrainingError, "Input/output error"),
        (RuntimeError("a fault of ours"), RuntimeError, "a fault of ours"),
        (ValueError("a fault of ours"), ValueError, "a fault of ours"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
    ],
)
@pytest.mark.parametrize("old", [True, False])
def test_writer_that_fails_leaves_the_old_file_and_no_part(
    tmp_path: Path, error: BaseException, raised: type[BaseException], message: str, old: bool
) -> None:
    """Guards the last good checkpoint: half a file must never bear its name, nor litter lie about."""
    path = tmp_path / "last.ckpt"
    if old:
        path.write_bytes(b"old")
    with pytest.raises(raised, match=message) as caught:
        write_atomically(path, half_written(error))
    assert [item.name for item in tmp_path.iterdir()] == (["last.ckpt"] if old else [])
    assert not old or path.read_bytes() == b"old"
    if raised is TrainingError:
        assert ("the previous one is intact" in str(caught.value)) == old
        assert str(path) in str(caught.value)


def test_checkpoint_on_a_full_disk_says_so(tmp_path: Path) -> None:
    """Guards torch's own ways of failing: it may report a full disk as a RuntimeError."""
    path = tmp_path / "last.ckpt"
    with pytest.raises(TrainingError, match="no space left on the disk"):
        write_atomically(path, lambda _: torch.save({"x": torch.zeros(9999)}, FullDisk()))
    assert list(tmp_path.iterdir()) == []


def test_writing_below_a_file_is_one_line(tmp_path: Path) -> None:
    """Guards against a second error, out of the tidying up, that hides the first."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(TrainingError, match="cannot write .*file"):
        write_text(tmp_path / "file" / "y.txt", "z")


def test_written_files_replace_the_old_ones_whole(tmp_path: Path) -> None:
    """Guards the good case: text as UTF-8, JSON for people, folders made."""
    path = tmp_path / "deep" / "é.txt"
    write_text(path, "a long old text")
    write_text(path, "τ")
    assert path.read_bytes() == "τ".encode()
    write_json(tmp_path / "r.json", {"τ": [1, 2.5, None]})
    assert (tmp_path / "r.json").read_text(encoding="utf-8").startswith('{\n  "τ": [')
    assert sorted(item.name for item in tmp_path.iterdir()) == ["deep", "r.json"]


def content() -> dict[str, Any]:
    return {
        "step": 7,
        "seconds": 1.5,
        "names": ["a", "b"],
        "model": {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)},
        "optim": {"state": {0: {"momentum": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
    }


def test_checkpoint_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    """Guards resume: numbers, names and tensors to the last bit."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    save_checkpoint(path, content())
    loaded = load_checkpoint(path)
    assert {key: loaded[key] for key in ("step", "seconds", "names")} == {
        "step": 7,
        "seconds": 1.5,
        "names": ["a", "b"],
    }
    assert torch.equal(loaded["model"]["w"], content()["model"]["w"])
    assert torch.equal(loaded["optim"]["state"][0]["momentum"], torch.ones(2))


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path, keep: float) -> None:
    """Guards against a traceback out of torch for a file that was cut off."""
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, content())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_checkpoint_that_is_missing_or_of_another_format_is_refused(tmp_path: Path) -> None:
    """Guards against a checkpoint of something else that is half understood."""
    path = tmp_path / "last.ckpt"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_checkpoint(path)
    for strange in ({"state_dict": {}}, {"format": 99}, torch.zeros(2)):
        torch.save(strange, path)
        with pytest.raises(CheckpointError, match="no checkpoint of massrl"):
            load_checkpoint(path)


class Bomb:
    """Unpickled, it makes a file: what a hostile checkpoint could do."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_checkpoint_with_code_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    """Guards a downloaded checkpoint: loading must never run what it brings along."""
    path, target = tmp_path / "last.ckpt", tmp_path / "executed"
    if how == "torch":
        torch.save({"format": 1, "x": Bomb(target)}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not target.exists()


def test_backbone_file_is_read_as_it_was_saved(tmp_path: Path) -> None:
    """Guards the exported weights: every dtype and layout, and how to build the network."""
    state = {
        "conv.weight": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
        "bn.num_batches_tracked": torch.tensor(5),
        "part": torch.arange(10.0)[2:5],
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    about = {**ABOUT, "name": "é"}
    path = tmp_path / "backbone.safetensors"
    save_backbone(path, state, about=about)
    loaded, told = load_backbone_file(path)
    assert told == about
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype


def test_backbone_with_tied_weights_can_be_saved(tmp_path: Path) -> None:
    """Guards the end of a long run: safetensors refuses tensors that share memory."""
    weight = torch.randn(3, 3)
    path = tmp_path / "backbone.safetensors"
    save_backbone(path, {"a": weight, "b": weight, "c": weight[1:]}, about=ABOUT)
    loaded, _ = load_backbone_file(path)
    assert torch.equal(loaded["a"], loaded["b"])
    assert torch.equal(loaded["c"], weight[1:])


@pytest.mark.parametrize("damaged", [b"", b"x" * 100, None, 40])
def test_backbone_file_that_is_damaged_is_refused_in_one_line(tmp_path: Path, damaged: Any) -> None:
    """Guards against a traceback out of safetensors."""
    path = tmp_path / "backbone.safetensors"
    save_backbone(path, {"a": torch.zeros(100)}, about=ABOUT)
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged if isinstance(damaged, bytes) else path.read_bytes()[:-damaged])
    with pytest.raises(CheckpointError, match="backbone.safetensors") as caught:
        load_backbone_file(path)
    assert "\n" not in str(caught.value)


def test_safetensors_of_another_maker_are_refused(tmp_path: Path) -> None:
    """Guards against weights whose network nobody knows."""
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="massrl did not write it"):
        load_backbone_file(path)
