"""What a run is: frozen dataclasses, one section a subject, validated when they are made.

The command line's flags and their help are derived from these classes, and so is the check of every
recipe; a field that is not here does not exist anywhere. ``None`` means "chosen when the run
starts, from the data and the machine, and said in the log"; the run folder's ``config.yaml`` holds
what was chosen.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from massrl.config.checks import MANY, choice, in_range, raise_faults, require
from massrl.config.layers import plain
from massrl.config.sections import (
    MEMORIES,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimConfig,
    ViewsConfig,
)
from massrl.errors import ConfigError

LOGGERS = ("tensorboard", "wandb", "mlflow")


ACCELERATORS = ("auto", "cpu", "gpu")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, on what, and what is kept."""

    epochs: float = 100.0
    """Passes over the data; `max_steps` and `time_budget` go before it."""
    max_steps: int | None = None
    """Optimiser steps of the whole run."""
    time_budget: float | None = None
    """Plan the run to last about this many seconds: `max_steps` is set from a few steps that are timed."""
    seed: int = 0
    """Seed of the weights, of the order of the images, and of every view."""
    devices: int | None = None
    """Devices of each machine; where it is left out 1, or as many as torchrun or srun started."""
    nodes: int | None = None
    """Machines; more than 1 are started by torchrun or srun, see `scripts/`."""
    accelerator: str = "auto"
    """`auto`, `cpu` or `gpu`."""
    accumulate: int = 1
    """Batches that `batch_size` is split into; their gradients are averaged for one step."""
    memory: str | None = None
    """`streamed` holds the activations of one view at a time, `joint` those of all; gradients are
    the same. Free of cost for BYOL, which does so by itself; SimCLR computes every view twice."""
    precision: str | None = None
    """`32-true`, `bf16-mixed` or `16-mixed`; losses are always computed in 32 bits."""
    compile: bool = False
    """Compile the networks with `torch.compile`: a slow start, then faster steps on a GPU."""
    checkpoint_every: int | None = None
    """Optimiser steps between checkpoints; every five minutes where it is left out."""
    log_every: int = 1
    """Optimiser steps between rows of `metrics.csv`."""
    loggers: tuple[str, ...] = ()
    """Where figures and pictures go beside the run folder: `tensorboard`, `wandb`, `mlflow`."""
    probe_every: float = 5.0
    """Epochs between k-NN probes, where labels exist; 0 for none."""

    def __post_init__(self) -> None:
        raise_faults(
            choice(self.accelerator, ACCELERATORS, "--train.accelerator"),
            require(
                not isinstance(self.loggers, str),
                f"--train.loggers is {self.loggers!r}, but a list of texts is wanted",
            ),
            *(choice(name, LOGGERS, "--train.loggers") for name in self.loggers),
            choice(self.memory, MEMORIES, "--train.memory"),
            choice(self.precision, ("32-true", "bf16-mixed", "16-mixed"), "--train.precision"),
            in_range(self.max_steps, 1, MANY, "--train.max_steps"),
            in_range(self.seed, -(2**31), 2**31, "--train.seed"),
            in_range(self.time_budget, 1, MANY, "--train.time_budget"),
            in_range(self.devices, 1, MANY, "--train.devices"),
            in_range(self.nodes, 1, MANY, "--train.nodes"),
            in_range(self.accumulate, 1, MANY, "--train.accumulate"),
            in_range(self.checkpoint_every, 1, MANY, "--train.checkpoint_every"),
            in_range(self.log_every, 1, MANY, "--train.log_every"),
            in_range(self.probe_every, 0, MANY, "--train.probe_every"),
            require(
                0 < self.epochs < MANY,
                f"--train.epochs is {self.epochs:g}, but a number above 0 is wanted",
            ),
        )

    @property
    def num_devices(self) -> int:
        """Devices of all machines."""
        return (self.devices or 1) * (self.nodes or 1)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole pre-training run."""

    recipe: str = ""
    """Name of the recipe the run started from."""
    out: str = ""
    """Run folder to write."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which images, and how they are read."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """Which views each image becomes."""
    method: MethodConfig = field(default_factory=MethodConfig)
    """What the networks learn from the views."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The networks."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """How the weights are changed."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How long, on what, and what is kept."""

    def __post_init__(self) -> None:
        per_step = self.train.num_devices * self.train.accumulate
        if self.data.batch_size is not None and self.data.batch_size % per_step:
            raise ConfigError(
                f"--data.batch_size is {self.data.batch_size}, which does not divide by "
                f"--train.devices × --train.nodes × --train.accumulate = {per_step}"
            )

    @property
    def batch_size(self) -> int:
        """Unique images of one optimiser step, once it has been chosen."""
        if self.data.batch_size is None:
            raise ConfigError("--data.batch_size has not been chosen yet")
        return self.data.batch_size

    @property
    def view_size(self) -> int:
        """Side of a view in pixels, once it has been chosen."""
        if self.views.size is None:
            raise ConfigError("--views.size has not been chosen yet")
        return self.views.size

    @property
    def device_batch_size(self) -> int:
        """Unique images of one forward pass on one device."""
        return self.batch_size // (self.train.num_devices * self.train.accumulate)

    @property
    def scaled_lr(self) -> float:
        """The peak learning rate in use: ``lr × batch_size / 256``."""
        return self.optim.lr * self.batch_size / 256

    def to_dict(self) -> dict[str, Any]:
        """As nested mappings of YAML's own types."""
        content: dict[str, Any] = plain(dataclasses.asdict(self))
        return content
