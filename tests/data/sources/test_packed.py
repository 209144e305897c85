"""Packed images: the same images in tar files."""

from __future__ import annotations

import pickle
import re
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.conftest import photos

from massrl.commands.data import pack_data
from massrl.data.catalogue import open_source
from massrl.data.pack import Recoding, pack
from massrl.data.sources.packed import PackedSource
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import ConfigError, DataError, ImageError
from massrl.images.decode import decode
from massrl.views.view_maker import ViewMaker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images of two classes, with names that tar and WebDataset would stumble over."""
    folder = photos(tmp_path / "photos", "ä b", "c.d")
    (folder / "ä b" / "0.png").rename(folder / "ä b" / ("long " * 40 + "é.png"))
    return folder


def test_packed_images_are_those_of_the_folder(folder: Path, tmp_path: Path) -> None:
    """Guards order, bytes, labels and fingerprint: a run may go on with either."""
    source = open_source(str(folder))
    assert pack(source, tmp_path / "out" / "set", shard_bytes=6000) == (10, 0)
    shards = sorted((tmp_path / "out").glob("set-*.tar"))
    assert len(shards) > 2
    packed = open_source(str(tmp_path / "out" / "set-*.tar"))
    assert packed.fingerprint() == source.fingerprint()
    assert packed.class_names == source.class_names
    assert packed.labels.tolist() == source.labels.tolist()
    assert [packed.read(i) for i in range(10)] == [source.read(i) for i in range(10)]
    assert packed.describe(9) == f"{shards[-1].name}:{source.names[9]}"
    maker = ViewMaker("massrl", size=16)
    for index in range(10):
        views = (maker(item.read(index), epoch=2, index=index) for item in (packed, source))
        assert np.array_equal(*views)


def test_shards_are_plain_tar_files(folder: Path, tmp_path: Path) -> None:
    """Guards other readers: WebDataset takes what stands before the first point for an image's key."""
    source = open_source(str(folder))
    pack(source, tmp_path / "set")
    with tarfile.open(tmp_path / "set-00000.tar") as tar:
        names = tar.getnames()
        assert names[:2] == ["000000000.png", "000000000.cls"]
        assert len(names) == 20
        assert tar.extractfile("000000007.cls").read() == b"1"
        assert tar.extractfile("000000007.png").read() == source.read(7)


def test_packed_source_survives_the_trip_to_a_worker(folder: Path, tmp_path: Path) -> None:
    """Guards workers that are started and not forked: a file that is open cannot be sent."""
    pack(open_source(str(folder)), tmp_path / "set")
    packed = PackedSource(str(tmp_path / "set-*.tar"))
    first = packed.read(3)
    assert pickle.loads(pickle.dumps(packed)).read(3) == first


def test_images_are_made_smaller_where_that_is_asked_for(tmp_path: Path) -> None:
    """Guards ``--short_side``: large images are shrunk, small ones kept byte for byte."""
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


def test_pixels_of_a_data_set_are_packed_exactly(tmp_path: Path) -> None:
    """Guards sources that hold pixels and no files, such as CIFAR-10 by name."""
    source = ShapesSource(6, 16, seed=0, objects=1, split="train")
    pack(source, tmp_path / "set")
    packed = PackedSource(str(tmp_path / "set-*.tar"))
    for index in range(6):
        assert np.array_equal(decode(packed.read(index)), source.read(index))
    assert packed.normalization == source.normalization
    assert packed.class_names == source.class_names


def test_broken_images_stop_the_packing_or_are_counted(folder: Path, tmp_path: Path) -> None:
    """Guards ``--on_error``."""
    broken = folder / "c.d" / "2.png"
    broken.write_bytes(broken.read_bytes()[:300])  # its header is whole
    source = open_source(str(folder))
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


def test_packing_that_was_killed_leaves_nothing_that_looks_whole(
    folder: Path, tmp_path: Path
) -> None:
    """Guards against ``kill -9``: no index, no half shard under its name; the next try starts anew."""
    source = open_source(str(folder))
    command = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "set")]
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


def test_faults_of_a_packed_set_are_named(folder: Path, tmp_path: Path) -> None:
    """Guards the messages: a lost shard, a damaged index, a shard that was cut off."""
    pack(open_source(str(folder)), tmp_path / "set", shard_bytes=6000)
    packed = PackedSource(str(tmp_path / "set-*.tar"))
    last = sorted(tmp_path.glob("set-*.tar"))[-1]
    content = last.read_bytes()
    last.write_bytes(content[:700])
    with pytest.raises(ImageError, match="the shard ends before it"):
        packed.read(9)
    with pytest.raises(
        DataError, match=rf"{last.name} has 700 bytes instead of the {len(content):,}"
    ):
        open_source(str(tmp_path / "set-*.tar"))
    last.unlink()
    with pytest.raises(DataError, match=f"{last.name}, which is not there"):
        open_source(str(tmp_path / "set-*.tar"))
    (tmp_path / "set-index.safetensors").write_bytes(b"no index")
    with pytest.raises(DataError, match="cannot be read as an index"):
        open_source(str(tmp_path / "set-*.tar"))
    with pytest.raises(DataError, match="no index none-index.safetensors"):
        open_source(str(tmp_path / "none-*.tar"))


def test_full_disk_leaves_nothing_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the room that half a shard takes, and the reason against a second error at its closing."""
    import errno

    def full(tar: tarfile.TarFile, *_: object) -> None:
        tar.fileobj.close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    monkeypatch.setattr(tarfile.TarFile, "close", full)
    with pytest.raises(DataError, match="No space left"):
        pack(open_source(str(folder)), tmp_path / "out" / "set")
    assert list((tmp_path / "out").iterdir()) == []


def test_labels_of_packed_images_may_be_left_aside(folder: Path, tmp_path: Path) -> None:
    """Guards ``unlabelled:`` and ``labelled:`` before shards as before folders."""
    pack(open_source(str(folder)), tmp_path / "set")
    assert open_source(f"unlabelled:{tmp_path}/set-*.tar").labels is None
    assert open_source(f"labelled:{tmp_path}/set-*.tar").labels is not None
    pack(open_source(f"unlabelled:{folder}"), tmp_path / "none")
    with pytest.raises(DataError, match="has no labels"):
        open_source(f"labelled:{tmp_path}/none-*.tar")


@pytest.mark.parametrize("out", ["", "packed/", "."])
def test_name_that_names_nothing_is_refused(out: str, folder: Path) -> None:
    """Guards ``massrl data pack photos packed/``, whose shards would lie elsewhere."""
    with pytest.raises(ConfigError, match="such as packed/photos"):
        pack_data({"images": str(folder), "out": out})


def test_divided_folder_is_refused(tmp_path: Path) -> None:
    """Guards a set that silently lacks the images to judge by."""
    for part in ("train", "val"):
        photos(tmp_path / "split" / part, "a", "b", count=2)
    with pytest.raises(ConfigError, match="pack each of its folders by itself"):
        pack_data({"images": str(tmp_path / "split"), "out": str(tmp_path / "set")})
