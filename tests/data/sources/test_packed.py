"""Packed images: the same images, in tar shards."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from massrl.data.catalogue import open_source
from massrl.data.pack import pack
from massrl.data.sources.packed import PackedSource, index_path
from massrl.errors import DataError, ImageError
from massrl.views.view_maker import ViewMaker


def test_packed_images_are_those_of_the_folder(odd_names: Path, tmp_path: Path) -> None:
    """Guards order, bytes, labels and fingerprint: a run may be resumed with either."""
    source = open_source(str(odd_names))
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


def test_source_can_be_sent_to_a_worker(odd_names: Path, tmp_path: Path) -> None:
    """Guards workers that are spawned: an open file cannot be pickled."""
    pack(open_source(str(odd_names)), tmp_path / "set")
    packed = PackedSource(str(tmp_path / "set-*.tar"))
    first = packed.read(3)
    assert pickle.loads(pickle.dumps(packed)).read(3) == first


def test_incomplete_set_is_refused_with_its_fault(odd_names: Path, tmp_path: Path) -> None:
    """Guards the messages: a missing shard, a damaged index, a truncated shard."""
    pack(open_source(str(odd_names)), tmp_path / "set", shard_bytes=6000)
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


def test_prefix_drops_or_requires_the_labels(odd_names: Path, tmp_path: Path) -> None:
    """Guards ``unlabelled:`` and ``labelled:`` before shards as before folders."""
    pack(open_source(str(odd_names)), tmp_path / "set")
    assert open_source(f"unlabelled:{tmp_path}/set-*.tar").labels is None
    assert open_source(f"labelled:{tmp_path}/set-*.tar").labels is not None
    pack(open_source(f"unlabelled:{odd_names}"), tmp_path / "none")
    with pytest.raises(DataError, match="has no labels"):
        open_source(f"labelled:{tmp_path}/none-*.tar")


@pytest.mark.parametrize("pattern", ["a/set-1-*.tar", "a/set-1-00003.tar"])
def test_index_is_found_from_the_pattern_or_a_shard(pattern: str) -> None:
    """Guards names that contain a hyphen."""
    assert index_path(pattern) == Path("a/set-1-index.safetensors")
