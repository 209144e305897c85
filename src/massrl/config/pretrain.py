"""The configuration of a pre-training run: frozen dataclasses, checked when they are made.

The command line's flags and their help are derived from these classes, and so is the check of every
recipe. ``None`` means "chosen when the run starts, from the data and the machine, and logged"; the run
folder's ``config.yaml`` holds what was chosen.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from massrl.config.checks import MANY, in_range, raise_faults, require
from massrl.config.choices import ACCELERATORS, MEMORIES, PRECISIONS
from massrl.config.fields import field_faults, option
from massrl.config.layers import plain
from massrl.config.sections import DataConfig, MethodConfig, ModelConfig, OptimConfig, ViewsConfig
from massrl.errors import ConfigError
from massrl.registry import LOGGERS


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Length of the run, devices, and what is written while it runs."""

    epochs: float | None = option(None, group="length")
    """Passes over the data, 100 where no length is given; of several, the first that is reached counts."""
    max_steps: int | None = option(None, group="length")
    """Optimiser steps of the whole run."""
    time_budget: float | None = option(None, group="length")
    """Seconds from the start to the last file, within a tenth: `max_steps` is set by timing a few steps."""
    seed: int = 0
    """Seed of the weights, the order of the images, and every view."""
    devices: int | None = option(None, resume=True)
    """Devices per machine; by default 1, or as many as torchrun or srun started."""
    nodes: int | None = option(None, resume=True)
    """Machines; more than 1 are started by torchrun or srun, see `scripts/`."""
    accelerator: str = option("auto", choices=ACCELERATORS, resume=True)
    """Kind of device."""
    accumulate: int = 1
    """Batches that `batch_size` is split into; their gradients are averaged for one step."""
    memory: str | None = option(None, choices=MEMORIES, resume=True)
    """Activations kept for the backward pass."""
    precision: str | None = option(None, choices=PRECISIONS)
    """Numeric precision; losses are always computed in 32 bits."""
    compile: bool = option(False, resume=True)
    """Compile the networks with `torch.compile`: a slow start, then faster steps on a GPU."""
    checkpoint_every: int | None = option(None, resume=True)
    """Optimiser steps between checkpoints; by default one every five minutes."""
    log_every: int = option(1, resume=True)
    """Optimiser steps between rows of `metrics.csv`."""
    loggers: tuple[str, ...] = option((), choices=LOGGERS, arguments=True, resume=True)
    """Experiment trackers that metrics and pictures are sent to, besides the run folder."""
    probe_every: float = option(5.0, resume=True)
    """Epochs between k-NN probes, where there are labels; 0 for none."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self, "--train."),
            in_range(self.max_steps, "--train.max_steps", low=1),
            in_range(self.seed, "--train.seed", low=-(2**31), high=2**31),
            in_range(self.time_budget, "--train.time_budget", low=1),
            in_range(self.devices, "--train.devices", low=1),
            in_range(self.nodes, "--train.nodes", low=1),
            in_range(self.accumulate, "--train.accumulate", low=1),
            in_range(self.checkpoint_every, "--train.checkpoint_every", low=1),
            in_range(self.log_every, "--train.log_every", low=1),
            in_range(self.probe_every, "--train.probe_every", low=0),
            require(
                self.epochs is None or 0 < self.epochs < MANY,
                f"--train.epochs is {self.epochs or 0:g}, but a number above 0 is wanted",
            ),
        )

    @property
    def num_devices(self) -> int:
        """Number of devices on all machines."""
        return (self.devices or 1) * (self.nodes or 1)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A pre-training run."""

    recipe: str = ""
    """Recipe that the configuration builds on."""
    out: str = ""
    """Run folder to create."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which images to train on, and how they are read."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """The views of each image. A field that is not set is as the layout has it."""
    method: MethodConfig = field(default_factory=MethodConfig)
    """The training objective."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The networks."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimiser and the learning-rate schedule."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Length of the run, devices, and what is written while it runs."""

    def __post_init__(self) -> None:
        per_step = self.train.num_devices * self.train.accumulate
        if self.data.batch_size is not None and self.data.batch_size % per_step:
            raise ConfigError(
                f"--data.batch_size is {self.data.batch_size}, which does not divide by "
                f"--train.devices × --train.nodes × --train.accumulate = {per_step}"
            )

    @property
    def batch_size(self) -> int:
        """Unique images per optimiser step, once chosen."""
        if self.data.batch_size is None:
            raise ConfigError("--data.batch_size has not been chosen yet")
        return self.data.batch_size

    @property
    def view_size(self) -> int:
        """Side of a view in pixels, once chosen."""
        if self.views.size is None:
            raise ConfigError("--views.size has not been chosen yet")
        return self.views.size

    @property
    def device_batch_size(self) -> int:
        """Unique images per forward pass on one device."""
        return self.batch_size // (self.train.num_devices * self.train.accumulate)

    @property
    def scaled_lr(self) -> float:
        """Peak learning rate: ``lr × batch_size / 256``."""
        return self.optim.lr * self.batch_size / 256

    def to_dict(self) -> dict[str, Any]:
        """Return nested mappings of YAML's own types."""
        content: dict[str, Any] = plain(dataclasses.asdict(self))
        return content
