"""What views cost on this machine: milliseconds a stage and an operation, and the workers to keep up."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from massrl.data.source import Source
from massrl.errors import DataError, ImageError
from massrl.images.decode import decode
from massrl.views.cpu import apply_steps, crops_of, execute
from massrl.views.plan import Plan
from massrl.views.view_maker import ViewMaker

Image = tuple[int, np.ndarray, Plan]  # index, pixels, plan


@dataclass(frozen=True, kw_only=True)
class ViewCost:
    """Medians over several rounds, of one thread.

    Attributes:
        num_images: images that were measured.
        views: what was made of each.
        stages: milliseconds an image of each stage, in the order in which they come.
        whole: milliseconds an image of all of them together, as the loader has them.
        operations: for each operation alone its milliseconds a time, and its times an image;
            neighbours that are made together cost less.
    """

    num_images: int
    views: str
    stages: dict[str, float]
    whole: float
    operations: dict[str, tuple[float, float]]

    @property
    def images_per_second(self) -> float:
        """What one worker makes."""
        return 1000 / self.whole

    def workers(self, images_per_second: float) -> int:
        """Workers that keep up with a step of so many images a second."""
        return math.ceil(images_per_second / self.images_per_second)

    def lines(self) -> list[str]:
        """The figures for a person, line by line."""
        lines = [f"{'stage':<22}ms an image   share"]
        rest = self.whole - sum(self.stages.values())
        lines += [
            f"  {name:<20}{value:11.3f}{value / self.whole:8.0%}"
            for name, value in {**self.stages, "between them": rest}.items()
        ]
        lines.append(
            f"  {'whole':<20}{self.whole:11.3f}   {self.images_per_second:,.0f} images/s a core"
        )
        if not self.operations:
            return [*lines, "", "the operations are the device's, a batch at a time"]
        lines += ["", f"{'operation':<22}ms a time   times an image   ms an image"]
        costly = sorted(self.operations.items(), key=lambda item: -math.prod(item[1]))
        lines += [
            f"  {name:<20}{each:9.3f}{often:17.2f}{each * often:14.3f}"
            for name, (each, often) in costly
        ]
        return lines


def view_cost(source: Source, maker: ViewMaker, *, count: int, rounds: int = 3) -> ViewCost:
    """Measure the views of a source's first images.

    Args:
        source: the images.
        maker: makes their views.
        count: images to measure.
        rounds: how often; medians are given.

    Raises:
        DataError: if no image can be decoded.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # as in the loader's workers
    try:
        return _measure(source, maker, count=count, rounds=rounds)
    finally:
        cv2.setNumThreads(threads)


def _measure(source: Source, maker: ViewMaker, *, count: int, rounds: int) -> ViewCost:
    images = _decoded(source, maker, count)
    out = np.empty(maker.shape, np.uint8)

    def whole() -> None:
        for index, _, _ in images:
            maker.write(source.read(index), epoch=0, index=index, out=out)

    def each(work: Callable[[int, np.ndarray, Plan], object]) -> Callable[[], None]:
        def run() -> None:
            for index, pixels, plan in images:
                work(index, pixels, plan)

        return run

    def plan_again(index: int, pixels: np.ndarray, plan: Plan) -> object:
        return maker.plan(epoch=0, index=index, height=plan.height, width=plan.width)

    encoded = {index: source.read(index) for index, _, _ in images}
    stages: dict[str, Callable[[], None]] = {
        "read": each(lambda index, pixels, plan: source.read(index)),
        "decode": each(
            lambda index, pixels, plan: decode(
                encoded[index], reduction=round(plan.height / pixels.shape[0])
            )
        ),
        "plan": each(plan_again),
        "cut and resize": each(lambda index, pixels, plan: crops_of(pixels, plan)),
    }
    whole()  # brings in what is loaded when it is first needed
    figures = {name: _median(run, rounds, len(images)) for name, run in stages.items()}
    operations = {} if maker.leaves_pixels else _operations(images, rounds)
    if not maker.leaves_pixels:
        views = each(lambda index, pixels, plan: execute(pixels, plan, out=out))
        figures["operations"] = _median(views, rounds, len(images)) - figures["cut and resize"]
    layout = maker.layout
    names = ", ".join(dict.fromkeys(layout.policies))
    return ViewCost(
        num_images=len(images),
        views=f"{layout.num_views} views of {maker.size} px from {names}",
        stages=figures,
        whole=_median(whole, rounds, len(images)),
        operations=operations,
    )


def _decoded(source: Source, maker: ViewMaker, count: int) -> list[Image]:
    """The first images that can be decoded, at the scale that their plans allow."""
    images: list[Image] = []
    for index in range(len(source)):
        if len(images) == count:
            break
        try:
            pixels, plan = maker.decode_and_plan(source.read(index), index=index)
        except ImageError:
            continue
        images.append((index, pixels, plan))
    if not images:
        raise DataError(f"{source.name} has no image that can be decoded")
    return images


def _operations(images: list[Image], rounds: int) -> dict[str, tuple[float, float]]:
    """Each operation alone; where neighbours are fused, a view costs less than their sum."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for _, pixels, plan in images:
            crops = crops_of(pixels, plan)
            for view in plan.views:
                for step in view.steps:
                    single = view._replace(flip=False, steps=(step,))
                    begin = time.perf_counter()
                    apply_steps(crops[view.crop], single, fill=plan.fill)
                    seconds[step.words()[0]].append(time.perf_counter() - begin)
    return {
        name: (statistics.median(times) * 1000, len(times) / rounds / len(images))
        for name, times in seconds.items()
    }


def _median(run: Callable[[], None], rounds: int, num_images: int) -> float:
    """Milliseconds an image."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) / num_images * 1000
