"""Time of the views on this machine, by stage and by operation, and the workers that keep up."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from massrl.errors import DataError, ImageError, counted
from massrl.images.decode import decode
from massrl.images.reading import read_image
from massrl.views.cpu import apply_steps, crops_of, execute
from massrl.views.image_source import ImageSource
from massrl.views.plan import Plan
from massrl.views.view_maker import ViewMaker


@dataclass(frozen=True, kw_only=True)
class ViewCost:
    """Times of one thread, each the median of several rounds.

    Attributes:
        num_images: images that were measured.
        views: description of their views.
        stages: milliseconds of each stage for an image, in the order of the stages.
        whole: milliseconds of all of them together for an image, as in a loader's worker.
        operations: for each operation by itself, milliseconds of a call, and calls for an image;
            neighbours that are executed together cost less.
    """

    num_images: int
    views: str
    stages: dict[str, float]
    whole: float
    operations: dict[str, tuple[float, float]]

    @property
    def images_per_second(self) -> float:
        """Throughput of one worker."""
        return 1000 / self.whole

    def workers(self, images_per_second: float) -> int:
        """Return how many workers keep up with a step of that many images a second."""
        return math.ceil(images_per_second / self.images_per_second)

    def lines(self) -> list[str]:
        """Return tables of the stages and the operations, line by line."""
        lines = [f"{'stage':<22}ms an image   share"]
        rest = max(0.0, self.whole - sum(self.stages.values()))  # each is a median of its own
        lines += [
            f"  {name:<20}{value:11.3f}{value / self.whole:8.0%}"
            for name, value in {**self.stages, "between them": rest}.items()
        ]
        lines.append(
            f"  {'whole':<20}{self.whole:11.3f}   {self.images_per_second:,.0f} images/s a core"
        )
        if not self.operations:
            return [*lines, "", "the operations are executed on the device, a batch at a time"]
        lines += ["", f"{'operation':<22}ms a call   calls an image   ms an image"]
        costly = sorted(self.operations.items(), key=lambda item: -math.prod(item[1]))
        lines += [
            f"  {name:<20}{each:9.3f}{calls:17.2f}{each * calls:14.3f}"
            for name, (each, calls) in costly
        ]
        return lines


def view_cost(source: ImageSource, maker: ViewMaker, *, count: int, rounds: int = 3) -> ViewCost:
    """Measure the views of a source's first images.

    Args:
        source: the images.
        maker: makes their views.
        count: images to measure.
        rounds: repetitions, of which the median is taken.

    Raises:
        DataError: if no image can be decoded.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as in the loader's workers
    try:
        return _measure(source, maker, count=count, rounds=rounds)
    finally:
        cv2.setNumThreads(threads)


@dataclass(frozen=True)
class _Planned:
    """An image, encoded and decoded at the scale that its plan allows."""

    index: int
    encoded: bytes | NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    plan: Plan


def _measure(source: ImageSource, maker: ViewMaker, *, count: int, rounds: int) -> ViewCost:
    images = _planned(source, maker, count)
    out = np.empty(maker.shape, np.uint8)

    def median(work: Callable[[_Planned], object]) -> float:
        """Return milliseconds for an image."""
        times = []
        for _ in range(rounds):
            begin = time.perf_counter()
            for image in images:
                work(image)
            times.append(time.perf_counter() - begin)
        return statistics.median(times) / len(images) * 1000

    def write(image: _Planned) -> None:
        maker.write(source.read(image.index), epoch=0, index=image.index, out=out)

    def plan(image: _Planned) -> None:
        maker.plan(epoch=0, index=image.index, height=image.plan.height, width=image.plan.width)

    def decode_again(image: _Planned) -> None:
        decode(image.encoded, reduction=round(image.plan.height / image.pixels.shape[0]))

    for image in images:  # loads what is loaded at first use
        write(image)
    stages = {
        "read": median(lambda image: source.read(image.index)),
        "decode": median(decode_again),
        "plan": median(plan),
        "cut and resize": median(lambda image: crops_of(image.pixels, image.plan)),
    }
    operations = {}
    if not maker.leaves_operations:
        operations = _operations(images, rounds)
        views = median(lambda image: execute(image.pixels, image.plan, out=out))
        # Together with operations, a crop may take less time than alone: it goes straight to its place.
        stages["cut and resize"] = min(stages["cut and resize"], views)
        stages["operations"] = views - stages["cut and resize"]
    names = ", ".join(dict.fromkeys(maker.layout.policies))
    return ViewCost(
        num_images=len(images),
        views=f"{counted(maker.layout.num_views, 'view')} of {maker.size} px from {names}",
        stages=stages,
        whole=median(write),
        operations=operations,
    )


def _planned(source: ImageSource, maker: ViewMaker, count: int) -> list[_Planned]:
    """Return the first images that can be decoded."""
    images: list[_Planned] = []
    for index in range(len(source)):
        if len(images) == count:
            break
        try:
            encoded = read_image(source, index)
            pixels, plan = maker.decode_and_plan(encoded, index=index)
        except ImageError:
            continue
        images.append(_Planned(index, encoded, pixels, plan))
    if not images:
        raise DataError(f"{source.name} has no image that can be decoded")
    return images


def _operations(images: list[_Planned], rounds: int) -> dict[str, tuple[float, float]]:
    """Measure each operation by itself; a view whose neighbours are fused costs less than their sum."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for image in images:
            crops = crops_of(image.pixels, image.plan)
            for view in image.plan.views:
                for step in view.steps:
                    single = view._replace(flip=False, steps=(step,))
                    begin = time.perf_counter()
                    apply_steps(crops[view.crop], single, fill=image.plan.fill)
                    seconds[step.words()[0]].append(time.perf_counter() - begin)
    return {
        name: (statistics.median(times) * 1000, len(times) / rounds / len(images))
        for name, times in seconds.items()
    }
