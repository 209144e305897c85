"""A disk that fills at any size: one line, no torn file, and once there is room again the same result.

``MASSRL_DISK_STEP=4096`` tries every 4 kB instead of a few sizes.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from massrl.cli import main

IMAGES = "shapes(count=24,size=16)"
EVALUATION = [f"--data.train={IMAGES}", f"--data.val={IMAGES}", "--cache=false"]
TRAINING = [
    *("pretrain", f"--data.train={IMAGES}", "--data.batch_size=8", "--data.workers=0"),
    *("--views.size=16", "--model.backbone=resnet10-tiny", "--train.max_steps=2"),
    *("--train.accelerator=cpu", "--train.probe_every=0", "--train.checkpoint_every=1"),
    *("--model.projector.hidden=16", "--model.projector.out=8"),
]
COMMANDS: dict[str, list[str]] = {
    "pretrain": [*TRAINING, "--out=HERE/new"],
    "evaluate": ["evaluate", "RUN", *EVALUATION, "--task=knn,features", "--out=HERE/results"],
    "compare": ["compare", "RUN", "TWIN", "--out=HERE/comparison"],
    "export": ["export", "RUN", "--out=HERE/a.safetensors"],
    "views": ["views", IMAGES, "--count=2", "--out=HERE/a.png"],
    "views page": ["views", IMAGES, "--count=2", "--out=HERE/a.html"],
    "policies": ["policies", "simclr", "--size=32", "--out=HERE/a.png"],
    "data pack": ["data", "pack", IMAGES, "HERE/packed"],
}


class Disk:
    """Makes the files that are opened below a folder share a number of bytes."""

    def __init__(self, patch: pytest.MonkeyPatch, root: Path) -> None:
        self.root, self.capacity, self._open = root, 1 << 60, open
        for module, name in ((builtins, "open"), (io, "open"), (tarfile, "bltn_open")):
            patch.setattr(module, name, self.open)

    @property
    def used(self) -> int:
        """Bytes that the files take."""
        return sum(item.stat().st_size for item in self.root.rglob("*") if item.is_file())

    def open(self, file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        """Open a file as Python does, except that a full disk may refuse what is written."""
        inside = isinstance(file, str | Path) and self.root in Path(file).parents
        if not inside or not set(mode) & set("wax+"):
            return self._open(file, mode, *rest, **options)
        raw = _File(self, str(file), mode.replace("b", ""))
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        kept = {key: options[key] for key in ("encoding", "errors", "newline") if key in options}
        return io.TextIOWrapper(buffered, **kept)


class _File(io.FileIO):
    def __init__(self, disk: Disk, path: str, mode: str) -> None:
        super().__init__(path, mode)
        self._disk = disk

    def write(self, content: Any) -> int:
        """Write what there is room for, as the system does."""
        room = self._disk.capacity - self._disk.used
        if room <= 0 and len(content):
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(bytes(content[:room]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with results."""
    here = tmp_path_factory.mktemp("runs")
    assert main([*TRAINING, f"--out={here / 'run'}"]) == 0
    assert main(["evaluate", str(here / "run"), *EVALUATION, "--task=knn"]) == 0
    shutil.copytree(here / "run", here / "twin")
    return here


@pytest.mark.parametrize("name", COMMANDS)
def test_full_disk_leaves_no_torn_file_and_the_command_goes_on(
    name: str,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards work against a full disk. The kind: every command, every size, every file that it writes.

    No traceback, and no picture, page or weights that are half there. Once there is room again, the command,
    or ``--resume`` of a run, goes on to the same result.
    """
    given = {"RUN": runs / "run", "TWIN": runs / "twin"}
    here = tmp_path / "here"
    words = [str(given.get(word, word)).replace("HERE", str(here)) for word in COMMANDS[name]]
    here.mkdir()
    disk = Disk(monkeypatch, here)
    assert main(words) == 0
    whole = disk.used
    weights = {path.name: load_file(path) for path in here.rglob("*.safetensors")}
    step = int(os.environ.get("MASSRL_DISK_STEP", max(4096, whole // 3)))
    for capacity in range(0, whole, step):
        shutil.rmtree(here)
        here.mkdir()
        capsys.readouterr()
        disk.capacity = capacity
        code = main(words)
        said = capsys.readouterr().err
        assert code in (0, 2), (capacity, said)
        assert "Traceback" not in said
        assert "unexpected" not in said
        assert "no space left" in said.lower(), capacity
        assert_whole(here)
        disk.capacity = 1 << 60
        resumable = (here / "new" / "checkpoints" / "last.ckpt").is_file()
        again = ["pretrain", "--resume", str(here / "new")] if resumable else words
        if not (name == "data pack" and code == 0):
            assert main(again) == 0, (capacity, capsys.readouterr().err)
        assert_whole(here)
        for path in here.rglob("*.safetensors"):
            expected, got = weights[path.name], load_file(path)
            assert all(np.array_equal(got[key], expected[key]) for key in expected)
        assert {path.name for path in here.rglob("*.safetensors")} == weights.keys()
        assert not list(here.rglob(".*part"))


def assert_whole(folder: Path) -> None:
    """Check that every picture, page, card and safetensors file can be read to its end."""
    for path in folder.rglob("*"):
        if path.suffix in (".png", ".jpg"):
            with Image.open(path) as picture:
                picture.load()
        if path.suffix == ".html":
            assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
        if path.suffix == ".md":
            assert path.read_text(encoding="utf-8").endswith("-->\n")
        if path.suffix == ".safetensors":
            load_file(path)
