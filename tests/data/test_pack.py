"""Packing images into tar shards."""

from __future__ import annotations

import errno
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from massrl.data.catalogue import open_source
from massrl.data.pack import Recoding, pack
from massrl.data.sources.packed import PackedSource
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import DataError, ImageError
from massrl.images.decode import decode


def test_shards_are_plain_tar_files(odd_names: Path, tmp_path: Path) -> None:
    """Guards other readers: WebDataset takes what stands before the first point for an image's key."""
    source = open_source(str(odd_names))
    pack(source, tmp_path / "set")
    with tarfile.open(tmp_path / "set-00000.tar") as tar:
        names = tar.getnames()
        assert names[:2] == ["000000000.png", "000000000.cls"]
        assert len(names) == 20
        assert tar.extractfile("000000007.cls").read() == b"1"
        assert tar.extractfile("000000007.png").read() == source.read(7)


def test_large_images_are_shrunk_and_small_ones_packed_unchanged(tmp_path: Path) -> None:
    """Guards ``--short_side``: large images are shrunk, small ones packed byte for byte."""
    (tmp_path / "photos").mkdir()
    smooth = np.repeat(np.linspace(0, 255, 300, dtype=np.uint8)[None, :, None], 200, 0)
    large = np.repeat(smooth, 3, axis=2)
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), large)
    cv2.imwrite(str(tmp_path / "photos" / "b.png"), large[:40, :50])
    source = open_source(str(tmp_path / "photos"))
    pack(source, tmp_path / "set", recoding=Recoding(short_side=60, quality=95))
    packed = PackedSource(str(tmp_path / "set-*.tar"))
    assert packed.read(0).startswith(b"\xff\xd8")
    shrunk = decode(packed.read(0))
    assert shrunk.shape == (60, 90, 3)
    wanted = cv2.resize(large, (90, 60), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - wanted).max() <= 4
    assert packed.read(1) == source.read(1)
    assert packed.labels is None


def test_decoded_images_are_packed_without_loss(tmp_path: Path) -> None:
    """Guards sources that hold pixels and no files, such as CIFAR-10 by name."""
    source = ShapesSource(6, 16, seed=0, objects=1, split="train")
    pack(source, tmp_path / "set")
    packed = PackedSource(str(tmp_path / "set-*.tar"))
    for index in range(6):
        assert np.array_equal(decode(packed.read(index)), source.read(index))
    assert packed.normalization == source.normalization
    assert packed.class_names == source.class_names


def test_broken_image_stops_the_packing_or_is_skipped_and_counted(
    odd_names: Path, tmp_path: Path
) -> None:
    """Guards ``--on_error``."""
    broken = odd_names / "c.d" / "2.png"
    broken.write_bytes(broken.read_bytes()[:300])  # its header is whole
    source = open_source(str(odd_names))
    with pytest.raises(ImageError, match=r"2\.png"):
        pack(source, tmp_path / "stopped")
    assert pack(source, tmp_path / "set", skip_broken=True) == (9, 1)
    assert len(PackedSource(str(tmp_path / "set-*.tar"))) == 9


KILLED = """
import os, signal, sys
from pathlib import Path
from massrl.data import pack
from massrl.data.catalogue import open_source

calls, original = [], pack._encode

def dying(*arguments, **options):
    calls.append(1)
    if len(calls) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)

pack._encode = dying
pack.pack(open_source(sys.argv[1]), Path(sys.argv[2]), shard_bytes=6000)
"""


def test_killed_packing_leaves_nothing_that_looks_complete(odd_names: Path, tmp_path: Path) -> None:
    """Guards against ``kill -9``: no index, no incomplete shard under its name; packing again starts anew."""
    source = open_source(str(odd_names))
    command = [sys.executable, "-c", KILLED, str(odd_names), str(tmp_path / "set")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    parts = list(tmp_path.glob(".*.part"))
    assert len(parts) == 1
    whole = sorted(tmp_path.glob("set-*.tar"))
    assert whole
    for shard in whole:
        with tarfile.open(shard) as tar:
            assert len(tar.getnames()) % 2 == 0
    with pytest.raises(DataError, match="packing was not finished"):
        open_source(str(tmp_path / "set-*.tar"))
    with pytest.raises(DataError, match=r"\d more, to .*, are of a packing"):
        pack(source, tmp_path / "set")
    for left in (*whole, *parts):
        with pytest.raises(DataError, match=f"{re.escape(parts[0].name)}, are of a packing"):
            pack(source, tmp_path / "set")
        left.unlink()
    assert pack(source, tmp_path / "set", shard_bytes=6000) == (10, 0)
    assert PackedSource(str(tmp_path / "set-*.tar")).fingerprint() == source.fingerprint()
    with pytest.raises(DataError, match="exists already"):
        pack(source, tmp_path / "set")
    assert not list(tmp_path.glob(".*.part"))


def test_full_disk_leaves_nothing_behind(
    odd_names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the space that half a shard takes, and the error against a second one at its closing."""

    def full(tar: tarfile.TarFile, *_: object) -> None:
        tar.fileobj.close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    monkeypatch.setattr(tarfile.TarFile, "close", full)
    with pytest.raises(DataError, match="No space left"):
        pack(open_source(str(odd_names)), tmp_path / "out" / "set")
    assert list((tmp_path / "out").iterdir()) == []


def test_source_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    """Guards an index of nothing."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("no image")
    with pytest.raises(DataError, match="no image that can be packed"):
        pack(open_source(str(tmp_path / "photos")), tmp_path / "set", skip_broken=True)
    assert not list(tmp_path.glob("*set*"))


def test_progress_counts_the_images(odd_names: Path, tmp_path: Path) -> None:
    """Guards a progress bar that never moves."""
    seen: list[tuple[int, int]] = []
    pack(open_source(str(odd_names)), tmp_path / "set", progress=lambda *item: seen.append(item))
    assert seen == [(number, 10) for number in range(1, 11)]
