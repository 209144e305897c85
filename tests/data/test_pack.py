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


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_packing_goes_on_to_the_same_bytes(odd_names: Path, tmp_path: Path) -> None:
    """Guards hours of packing against ``kill -9``: complete shards are kept, the next one is begun anew.

    The same kind: an error and Ctrl-C (below), a kill between two steps of completing a shard.
    """
    source, stopped, whole = open_source(str(odd_names)), tmp_path / "stopped", tmp_path / "whole"
    assert pack(source, whole / "set", shard_bytes=6000) == (10, 0)
    command = [sys.executable, "-c", KILLED, str(odd_names), str(stopped / "set")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert list(stopped.glob(".*.part"))
    kept = {path: path.stat().st_mtime_ns for path in stopped.glob("set-*.tar")}
    assert kept
    with pytest.raises(DataError, match="packing was not finished"):
        open_source(str(stopped / "set-*.tar"))
    with pytest.raises(DataError, match="other images or settings"):
        pack(source, stopped / "set", shard_bytes=7000)
    assert pack(source, stopped / "set", shard_bytes=6000) == (10, 0)
    assert contents(stopped) == contents(whole)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert PackedSource(str(stopped / "set-*.tar")).fingerprint() == source.fingerprint()
    with pytest.raises(DataError, match="exists already"):
        pack(source, stopped / "set", shard_bytes=6000)
    assert pack(source, stopped / "set", shard_bytes=6000, overwrite=True) == (10, 0)
    assert contents(stopped) == contents(whole)


@pytest.mark.parametrize("stop", range(10))
def test_packing_that_is_stopped_at_any_image_goes_on_to_the_same_bytes(
    odd_names: Path, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the borders of shards, of which the first and last image and the index are special."""
    source, out = open_source(str(odd_names)), tmp_path / "stopped" / "set"
    pack(source, tmp_path / "whole" / "set", shard_bytes=6000)
    original = source.read

    def read(index: int) -> object:
        if index == stop:
            raise KeyboardInterrupt
        return original(index)

    with monkeypatch.context() as patch:
        patch.setattr(source, "read", read)
        with pytest.raises(KeyboardInterrupt):
            pack(source, out, shard_bytes=6000)
    assert not list(out.parent.glob(".*.part"))
    pack(source, out, shard_bytes=6000)
    assert contents(out.parent) == contents(tmp_path / "whole")


def test_broken_image_is_found_again_or_skipped_when_packing_goes_on(
    odd_names: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``--on_error`` over a stop: what its message advises works, and stop still means stop."""
    broken = odd_names / "c.d" / "2.png"
    broken.write_bytes(broken.read_bytes()[:300])
    source = open_source(str(odd_names))
    assert pack(source, tmp_path / "whole" / "set", shard_bytes=3000, skip_broken=True)[1] == 1
    original = source.read

    def read(index: int) -> object:
        if index == 8:
            raise KeyboardInterrupt
        return original(index)

    with monkeypatch.context() as patch:
        patch.setattr(source, "read", read)
        with pytest.raises(KeyboardInterrupt):
            pack(source, tmp_path / "out" / "set", shard_bytes=3000, skip_broken=True)
    with pytest.raises(ImageError, match=re.escape(broken.name)):
        pack(source, tmp_path / "out" / "set", shard_bytes=3000)
    assert pack(source, tmp_path / "out" / "set", shard_bytes=3000, skip_broken=True) == (9, 1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


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
