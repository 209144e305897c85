"""``massrl bench views`` and ``massrl bench step``: measure what views and training steps cost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massrl.commands.arguments import first
from massrl.commands.early_checks import check_new_run
from massrl.commands.pretrain import requested_config
from massrl.config.checks import in_range, raise_faults
from massrl.config.parser import make, make_config
from massrl.config.pretrain import Config
from massrl.config.sections import ViewsConfig
from massrl.errors import counted

if TYPE_CHECKING:
    from massrl.train.timing import StepCost
    from massrl.views.timing import ViewCost


@dataclass(frozen=True, kw_only=True)
class BenchViewsConfig:
    """A measurement of what views cost on this machine."""

    images: str = ""
    """Folder, list of paths, or name of a data set."""
    root: str | None = None
    """Folder of named data sets, which are downloaded to it."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """The views of each image. A field that is not set is as the layout has it."""
    count: int = 64
    """Images to measure, from the first."""
    rounds: int = 3
    """Repetitions, of which the median is reported."""
    images_per_second: float | None = None
    """Speed of the training step, to compute how many loader workers it needs."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.count, "--count", low=1),
            in_range(self.rounds, "--rounds", low=1),
            in_range(self.images_per_second, "--images_per_second", low=1),
        )


def measure_views(config: BenchViewsConfig | dict[str, Any]) -> ViewCost:
    """Measure what the views of a layout cost on this machine, with the user's own images.

    Args:
        config: images and layout.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    from massrl.data.build import open_images
    from massrl.views.build import fitting_size, make_view_maker
    from massrl.views.layouts import resolve_layout

    wanted = config if isinstance(config, BenchViewsConfig) else make(BenchViewsConfig, config)
    source = open_images(wanted.images, root=wanted.root)
    resolve_layout(wanted.views)
    from massrl.runs.environment import detect_hardware  # torch, after all that can be refused
    from massrl.views.timing import view_cost

    machine, views = detect_hardware(), wanted.views
    if views.executor == "auto":  # as a run on this machine chooses it
        views = replace(views, executor="device" if machine.has_gpu else "cpu")
    size = views.size or fitting_size(source.typical_side, gpu=machine.has_gpu)
    maker = make_view_maker(views, size=size, seed=0)
    return view_cost(source, maker, count=wanted.count, rounds=wanted.rounds)


def measure_step(config: Config | dict[str, Any] | str | Path) -> StepCost:
    """Measure what an optimiser step costs on this machine; no run is written.

    Args:
        config: as ``pretrain`` takes it; ``train.max_steps`` steps are measured, 20 by default.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    from massrl.config.files import read_layers

    wanted = config if isinstance(config, Config) else make_config(read_layers(config))
    check_new_run(wanted)
    from massrl.train.timing import cost_of_steps

    return cost_of_steps(wanted)


def run_bench_views(words: list[str]) -> int:
    """Run ``massrl bench views`` and return the exit code."""
    images = first(words, "the images to measure with: a folder, a list or a name")
    config = make(BenchViewsConfig, {"images": images}, arguments=words)
    cost = measure_views(config)
    print(f"{images}: {counted(cost.num_images, 'image')}, {cost.views}, one thread")
    for line in cost.lines():
        print(line)
    speed = config.images_per_second
    if speed is not None:
        print(f"\nA step of {speed:,.0f} images/s needs --data.workers {cost.workers(speed)}")
    return 0


def run_bench_step(words: list[str]) -> int:
    """Run ``massrl bench step`` and return the exit code."""
    cost = measure_step(requested_config(words))
    print(
        f"a step of {counted(cost.batch_size, 'image')}, {counted(cost.num_views, 'view')} of each"
    )
    for line in cost.lines():
        print(line)
    return 0
