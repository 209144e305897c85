"""Fills in what a configuration leaves open, from the data and the machine, and says so."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from massrl.config import Config
from massrl.data.loader import steps_per_epoch
from massrl.data.sources import Normalization, Source
from massrl.errors import ConfigError
from massrl.train.module import Schedule
from massrl.views.layouts import resolve_layout

T = TypeVar("T")

_SMALL_IMAGE = (
    64  # pixels; below this a view is as large as the image, and ResNets get a small stem
)
_MAX_WARMUP = 0.1  # of the run


@dataclass(frozen=True)
class Machine:
    """What there is to train on.

    Attributes:
        accelerator: ``cpu`` or ``gpu``.
        cores: CPU cores this process may use.
        name: for people.
    """

    accelerator: str
    cores: int
    name: str


def this_machine(accelerator: str = "auto") -> Machine:
    """Look at the machine.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if accelerator == "gpu" and not available:
        raise ConfigError("--train.accelerator is 'gpu', but torch finds none here: use 'cpu'")
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not every system can tell
        cores = os.cpu_count() or 1
    if accelerator != "cpu" and available:
        return Machine("gpu", cores, torch.cuda.get_device_name())
    return Machine("cpu", cores, f"{cores} CPU cores")


def resolve_config(config: Config, source: Source, machine: Machine) -> tuple[Config, list[str]]:
    """Choose what was left open.

    Args:
        config: what the user asked for.
        source: the images to learn from.
        machine: what there is to train on.

    Returns:
        The configuration with nothing left open but ``train.max_steps`` where ``train.seconds`` is
        to decide it, and one line for each choice.

    Raises:
        ConfigError: if the parts do not fit together.
    """
    notes: list[str] = []

    def choose(given: T | None, flag: str, value: T, why: str) -> T:
        if given is not None:
            return given
        notes.append(f"{flag} {value}: {why}")
        return value

    gpu = machine.accelerator == "gpu"
    if config.train.devices > 1:
        raise ConfigError(
            f"--train.devices is {config.train.devices}, but this version trains on 1 device"
        )
    side = source.typical_side
    small = side <= _SMALL_IMAGE
    size = choose(
        config.views.size,
        "--views.size",
        side if small else (224 if gpu else 96),
        f"images of about {side} px" + ("" if small else f" on {machine.name}"),
    )
    backbone = choose(
        config.model.backbone,
        "--model.backbone",
        "resnet50" if gpu else ("resnet10-narrow" if small else "resnet18"),
        f"for {machine.name}",
    )
    batch_size = choose(
        config.data.batch_size,
        "--data.batch_size",
        _batch_size(len(source), 256 if gpu or small else 64, config.train.accumulate),
        f"for {len(source)} images on {machine.name}",
    )
    workers = choose(
        config.data.workers, "--data.workers", max(1, min(16, machine.cores - 1)), machine.name
    )
    per_device = batch_size // (config.train.devices * config.train.accumulate)
    if per_device < 2:
        raise ConfigError(
            f"--data.batch_size is {batch_size}: with --train.accumulate {config.train.accumulate} that "
            f"is {per_device} image at a time, but batch norm needs 2 or more"
        )
    layout = resolve_layout(config.views)
    total = _total_steps(config, steps_per_epoch(len(source), batch_size))
    normalization = normalization_of(config, source)
    resolved = replace(
        config,
        data=replace(
            config.data,
            train=_absolute(config.data.train),
            val=_absolute(config.data.val) if config.data.val else None,
            batch_size=batch_size,
            workers=workers,
            mean=normalization.mean,
            std=normalization.std,
        ),
        views=replace(
            config.views,
            size=size,
            policies=tuple(_absolute(policy) for policy in layout.policies),
            num_crops=layout.num_crops,
            crop=layout.crop,
            crop_scale=layout.crop_scale,
            flip_prob=layout.flip_prob,
            fill=layout.fill,
        ),
        model=replace(config.model, backbone=backbone),
        method=replace(config.method, pairs=config.method.pairs or layout.pairs),
        train=replace(
            config.train,
            max_steps=total,
            accelerator=machine.accelerator,
            precision=config.train.precision or ("bf16-mixed" if gpu else "32-true"),
        ),
    )
    return resolved, notes


def _absolute(text: str) -> str:
    """A path that exists, from the root, so that a run can go on from any folder; else the text."""
    path = Path(text).expanduser()
    return str(path.resolve()) if path.exists() else text


def _batch_size(count: int, most: int, accumulate: int) -> int:
    """As many images as fit, but no more than a quarter of a small folder, in powers of two."""
    size = most
    while size > 2 * accumulate and size > count / 4:
        size //= 2
    return max(2, size // accumulate) * accumulate


def _total_steps(config: Config, per_epoch: int) -> int | None:
    """``max_steps`` goes before ``seconds``, and ``seconds`` before ``epochs``."""
    train = config.train
    if train.max_steps is not None or train.seconds is not None:
        return train.max_steps
    return max(1, round(train.epochs * per_epoch))


def normalization_of(config: Config, source: Source) -> Normalization:
    """The constants in use: the configuration's, or else the data set's own."""
    own = source.normalization
    return Normalization(mean=config.data.mean or own.mean, std=config.data.std or own.std)


def make_schedule(config: Config, per_epoch: int) -> Schedule:
    """Learning rate and τ by step, once the number of steps is known."""
    total = config.train.max_steps or 1
    warmup = min(config.optim.warmup_epochs * per_epoch, _MAX_WARMUP * total)
    return Schedule(
        peak_lr=config.scaled_lr,
        warmup_steps=round(warmup),
        total_steps=total,
        target_momentum=config.method.target_momentum,
    )
