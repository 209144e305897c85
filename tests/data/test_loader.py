"""The loader: the images of each step, for any number of workers, from any step on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import photos

from massrl.data.catalogue import open_source
from massrl.data.loader import (
    SampleKey,
    StepBatchSampler,
    ViewBatch,
    ViewDataset,
    build_loader,
    steps_per_epoch,
)
from massrl.data.pack import pack
from massrl.data.source import Source
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import ConfigError, ImageError
from massrl.views.device import execute
from massrl.views.device_view_maker import DeviceViewMaker
from massrl.views.view_maker import ViewMaker

SOURCE = ShapesSource(20, 16, seed=0, objects=1, split="train")
MAKER = ViewMaker("byol", size=16, seed=3)


class Broken(Source):
    """Ten images of one grey level each, of which some are no images."""

    name = "broken"

    def __init__(self, *bad: int) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 10

    def read(self, index: int) -> bytes | np.ndarray:
        """A file's bytes where it is broken, else an array."""
        if index in self.bad:
            return b"no picture"
        return np.full((20, 20, 3), 100 + index, np.uint8)

    def describe(self, index: int) -> str:
        """A path."""
        return f"folder/{index}.jpg"

    def fingerprint(self) -> str:
        """Any sixteen digits."""
        return "0" * 16


def steps(count: int = 20, batch_size: int = 6, **changes: Any) -> StepBatchSampler:
    settings: dict[str, Any] = {"seed": 1, "total_steps": 9}
    return StepBatchSampler(count, batch_size, **{**settings, **changes})


def loaded(source: Source = SOURCE, *, workers: int = 0, **changes: Any) -> list[ViewBatch]:
    batches = steps(len(source), changes.pop("batch_size", 6), **changes)
    return list(build_loader(source, MAKER, batches=batches, workers=workers))


def test_epoch_has_every_image_once() -> None:
    """Guards against images that an epoch repeats or omits."""
    batches = list(steps(count=20, batch_size=5, total_steps=8))
    for epoch in (0, 1):
        keys = [key for batch in batches[4 * epoch : 4 * epoch + 4] for key in batch]
        assert sorted(key.index for key in keys) == list(range(20))
        assert {key.epoch for key in keys} == {epoch}
    assert batches[:4] != [[SampleKey(0, p.index) for p in batch] for batch in batches[4:]]


def test_epoch_has_complete_steps_only() -> None:
    """Guards against a short last batch, and against a step that mixes two epochs."""
    batches = list(steps(count=20, batch_size=6, total_steps=9))
    assert [len(batch) for batch in batches] == [6] * 9
    assert [{key.epoch for key in batch} for batch in batches] == [{0}] * 3 + [{1}] * 3 + [{2}] * 3
    for epoch in range(3):
        keys = [key.index for batch in batches[3 * epoch : 3 * epoch + 3] for key in batch]
        assert len(set(keys)) == 18


def test_images_that_an_epoch_drops_differ_from_epoch_to_epoch() -> None:
    """Guards against images that are never used because they always come last."""
    seen = {key.index for batch in steps(count=20, batch_size=6, total_steps=30) for key in batch}
    assert seen == set(range(20))


@pytest.mark.parametrize("accumulate", [2, 3, 6])
def test_accumulation_splits_the_same_step_into_batches(accumulate: int) -> None:
    """Guards §3: batch_size counts unique images, so k batches are one step's images in order."""
    whole = list(steps())
    split = list(steps(accumulate=accumulate))
    assert len(split) == len(steps(accumulate=accumulate)) == 9 * accumulate
    assert {len(batch) for batch in split} == {6 // accumulate}
    joined = [
        [key for batch in split[i : i + accumulate] for key in batch]
        for i in range(0, len(split), accumulate)
    ]
    assert joined == whole


@pytest.mark.parametrize("start", [0, 1, 3, 5, 8, 9])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_from_a_later_step_are_the_tail_of_all(start: int, accumulate: int) -> None:
    """Guards resume at any step, in the middle of an epoch too."""
    tail = steps(start_step=start, accumulate=accumulate)
    assert list(tail) == list(steps(accumulate=accumulate))[start * accumulate :]
    assert len(tail) == len(list(tail))


def test_order_depends_on_the_seed() -> None:
    """Guards the seed."""
    assert list(steps(seed=1)) != list(steps(seed=2))


@pytest.mark.parametrize(("count", "batch_size"), [(5, 6), (2, 3)])
def test_fewer_images_than_a_batch_are_refused_naming_the_flag(count: int, batch_size: int) -> None:
    """Guards against an endless wait for a batch that never fills."""
    with pytest.raises(
        ConfigError, match=rf"{count} images.*--data\.batch_size to {count} or less"
    ):
        steps(count=count, batch_size=batch_size)


def test_steps_per_epoch_are_complete_steps() -> None:
    """Guards the schedule, which counts epochs in these."""
    assert [steps_per_epoch(count, 6) for count in (6, 11, 12, 50_000)] == [1, 1, 2, 8333]


def test_batch_has_the_views_of_its_images() -> None:
    """Guards layout and order: view n of image b is at [n, b], as the view maker made it."""
    for number, batch in enumerate(loaded(total_steps=4)):
        assert batch.views.shape == (2, 6, 16, 16, 3)
        assert (batch.views.dtype, batch.indices.dtype) == (torch.uint8, torch.int64)
        assert batch.failures == []
        for position, index in enumerate(batch.indices.tolist()):
            wanted = MAKER(SOURCE.read(index), epoch=number // 3, index=index)
            assert np.array_equal(batch.views[:, position].numpy(), wanted)


# Python from 3.12 on warns of every fork of a process that has threads, as torch's always has.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4")
@pytest.mark.parametrize("executor", ["cpu", "device"])
def test_batches_are_the_same_for_any_number_of_workers_and_from_shards(
    executor: str, tmp_path: Path
) -> None:
    """Guards §2: views must not depend on the worker that makes them, nor their order on the fastest."""
    folder = open_source(str(photos(tmp_path / "photos", "a", "b", count=10)))
    pack(folder, tmp_path / "set", shard_bytes=6000)
    maker = (ViewMaker if executor == "cpu" else DeviceViewMaker)("massrl", size=16, seed=3)

    def views(source: Source, workers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        loader = build_loader(source, maker, batches=steps(total_steps=5), workers=workers)
        return [
            (execute(item.views) if executor == "device" else item.views, item.indices)
            for item in loader
        ]

    alone = views(folder, 0)
    assert len(alone) == 5
    shards = open_source(str(tmp_path / "set-*.tar"))
    for source, workers in ((folder, 1), (folder, 4), (shards, 0), (shards, 4)):
        for one, other in zip(alone, views(source, workers), strict=True):
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])


def test_parts_of_all_processes_have_each_image_once() -> None:
    """Guards several devices: no image twice in an epoch, none omitted, one global batch."""
    whole = list(steps(total_steps=6, accumulate=1))
    for accumulate, size in ((1, 2), (1, 3), (3, 2)):
        shares = [
            list(steps(total_steps=6, accumulate=accumulate, share=(rank, size)))
            for rank in range(size)
        ]
        assert {len(share) for share in shares} == {6 * accumulate}
        for step, keys in enumerate(whole):
            own = slice(step * accumulate, (step + 1) * accumulate)
            parts = [share[own] for share in shares]
            joined = [key for batch in zip(*parts, strict=True) for part in batch for key in part]
            assert joined == keys


def test_loader_from_a_later_step_gives_the_tail_of_all_batches() -> None:
    """Guards resume, which must continue with the same pixels."""
    whole, tail = loaded(), loaded(start_step=4)
    assert len(tail) == 5
    for one, other in zip(whole[4:], tail, strict=True):
        assert torch.equal(one.views, other.views)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_broken_image_is_reported_and_not_in_the_batch(workers: int) -> None:
    """Guards the issue: never a silent black image; name and reason come with the batch."""
    batches = loaded(Broken(2, 7), workers=workers, batch_size=5, total_steps=2)
    failures = [failure for batch in batches for failure in batch.failures]
    assert sorted(name for name, _ in failures) == ["folder/2.jpg", "folder/7.jpg"]
    assert all(reason and "\n" not in reason for _, reason in failures)
    seen = sorted(index for batch in batches for index in batch.indices.tolist())
    assert seen == [0, 1, 3, 4, 5, 6, 8, 9]
    for batch in batches:
        assert batch.views.shape[1] == len(batch.indices) == 5 - len(batch.failures)
        assert batch.views.float().mean(dim=(0, 2, 3, 4)).min() > 20


def test_batch_of_broken_images_is_empty_and_has_the_same_types() -> None:
    """Guards against a crash of ``stack``, or indices that turn into floating point."""
    dataset = ViewDataset(Broken(*range(10)), MAKER)
    batch = dataset.__getitems__([SampleKey(0, 1), SampleKey(0, 2)])
    assert batch.views.numel() == 0
    assert (batch.views.dtype, batch.indices.dtype) == (torch.uint8, torch.int64)
    assert len(batch.failures) == 2


def test_image_that_cannot_be_read_is_reported_too() -> None:
    """Guards files that are deleted between listing and reading."""

    class Vanished(Broken):
        def read(self, index: int) -> bytes | np.ndarray:
            if index == 3:
                raise ImageError("folder/3.jpg", "No such file or directory")
            return super().read(index)

    batches = loaded(Vanished(), batch_size=10, total_steps=1)
    assert batches[0].failures == [("folder/3.jpg", "No such file or directory")]
    assert 3 not in batches[0].indices


def test_image_is_read_once_for_all_its_views() -> None:
    """Guards the speed: a source that is read per view costs N times the decoding."""
    reads: list[int] = []

    class Counting(Broken):
        def read(self, index: int) -> bytes | np.ndarray:
            reads.append(index)
            return super().read(index)

    loaded(Counting(), batch_size=10, total_steps=1)
    assert sorted(reads) == list(range(10))
