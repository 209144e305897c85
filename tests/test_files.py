"""Atomic writing: a path has the old content or the new one, whatever happens."""

from __future__ import annotations

import errno
import io
import zipfile
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from massrl.errors import CheckpointError, ConfigError, TrainingError
from massrl.files import (
    cache_folder,
    check_outputs,
    marked,
    read_json,
    write_atomically,
    write_json,
    write_text,
    written_by,
)


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
    """Guards the last good checkpoint: half a file must never have its name, and no temporary file remain."""
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


def test_cache_folder_is_the_users_unless_another_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``$MASSRL_CACHE``: features of a test or a job must not fill the home folder."""
    monkeypatch.setenv("MASSRL_CACHE", str(tmp_path))
    assert cache_folder("features") == tmp_path / "features"
    monkeypatch.delenv("MASSRL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("features") == tmp_path / "home" / ".cache" / "massrl" / "features"
    assert not (tmp_path / "home").exists()


KEYS = {"step": int, "name": str}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xb0\xff",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b'{"step": "1", "name": "a"}',
        b"[" * 9999,
    ],
)
def test_file_of_a_run_that_is_damaged_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    """Guards "unexpected JSONDecodeError". The kind: no text, no JSON, no mapping, keys, types, nesting."""
    path = tmp_path / "data.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"data\.json is damaged: step, name are wanted"):
        read_json(path, KEYS)


def test_file_of_a_run_is_read_or_the_system_says_why_not(tmp_path: Path) -> None:
    """Guards folders in place of files, and files that are gone."""
    write_json(tmp_path / "data.json", {"step": 3, "name": "a", "more": None})
    assert read_json(tmp_path / "data.json", KEYS) == {"step": 3, "name": "a", "more": None}
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        read_json(tmp_path, KEYS)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_json(tmp_path / "gone.json", KEYS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("command", ["views", "evaluate"])
def test_marked_picture_is_the_same_for_other_programs(
    tmp_path: Path, kind: str, command: str
) -> None:
    """Guards pictures: the mark is where the format keeps texts, and no reader minds it."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 31, 3), np.uint8)
    plain = cv2.imencode(f".{kind.lower()}", pixels)[1].tobytes()
    path = tmp_path / "picture"
    path.write_bytes(plain)
    assert written_by(path) is None
    path.write_bytes(marked(plain, command))
    assert written_by(path) == command
    np.testing.assert_array_equal(
        cv2.imread(str(path)), cv2.imdecode(np.frombuffer(plain, np.uint8), 1)
    )
    with Image.open(path) as opened, Image.open(io.BytesIO(plain)) as other:
        assert opened.format == kind
        assert opened.tobytes() == other.tobytes()
        text = {**opened.info}.get({"PNG": "Software", "JPEG": "comment"}.get(kind, ""))
    if kind != "WEBP":
        assert text in (f"massrl {command}\n", f"massrl {command}\n".encode())


def test_marked_network_is_the_same_for_torch_and_onnx(tmp_path: Path) -> None:
    """Guards exported files: torch, zip and ONNX read them as before, and the mark with their own means."""
    path, buffer = tmp_path / "a.pth", io.BytesIO()
    torch.save({"x": torch.arange(5)}, buffer)
    path.write_bytes(marked(buffer.getvalue(), "export"))
    assert written_by(path) == "export"
    assert torch.equal(torch.load(path, weights_only=True)["x"], torch.arange(5))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment == b"massrl export\n"
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [result]))
    path.write_bytes(marked(model.SerializeToString(), "export"))
    assert written_by(path) == "export"
    read = onnx.load(path)
    onnx.checker.check_model(read)
    assert [(item.key, item.value) for item in read.metadata_props] == [
        ("massrl", "massrl export\n")
    ]
    assert read.graph == model.graph


@pytest.mark.parametrize(
    "content",
    [
        b"# How I use massrl\n\n`<!-- massrl export -->` stands at the end of a card.\n",
        b"<!DOCTYPE html>\n<html><body>massrl views</body></html>\n",
        b'{"tasks": ["buy milk"], "run": 1}\n',
        b'{"name": "mine"}',
        b"\x89PNG\r\n\x1a\n but no more",
        b"step,loss\n1,2\n",
        b"",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f{",
    ],
)
def test_file_that_only_resembles_one_of_massrl_is_the_users(
    tmp_path: Path, content: bytes
) -> None:
    """Guards what a user wrote about massrl, or under a name that massrl uses."""
    for name in ("results.json", "report.html", "views.png", "notes.md", "config.yaml"):
        (tmp_path / name).write_bytes(content)
        assert written_by(tmp_path / name) is None
        with pytest.raises(ConfigError, match=f"{name} .not of massrl. would be replaced"):
            check_outputs({tmp_path / name: "evaluate"})


def test_outputs_are_checked_where_they_are_to_be(tmp_path: Path) -> None:
    """Guards hours of work against a place that cannot be written to; and other inputs than paths."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="is no folder to write to"):
        check_outputs({tmp_path / "file" / "deep" / "a.png": "views"})
    with pytest.raises(ConfigError, match="is a folder"):
        check_outputs({tmp_path: "views"}, overwrite=True)
    check_outputs({tmp_path / "new" / "a.png": "views"}, inputs=["", None, "cifar10", "a\0b:c"])
