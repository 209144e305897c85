"""Resolve a configuration: select every open value from the data and the hardware."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from massrl.config.fields import changeable_on_resume
from massrl.config.layers import flat
from massrl.config.pretrain import Config, TrainConfig
from massrl.config.sections import DataConfig, ModelConfig, ViewsConfig
from massrl.data.build import normalization_of
from massrl.data.catalogue import absolute_spec
from massrl.data.loader import steps_per_epoch
from massrl.data.source import Source
from massrl.data.sources.cache import fits_in_memory
from massrl.errors import ConfigError, counted
from massrl.methods.base import Method
from massrl.models.names import is_library_name
from massrl.models.sizes import nearest_multiple, patch_side
from massrl.optim.schedules import Schedule
from massrl.registry import OBJECTIVES
from massrl.runs.environment import Hardware, detect_hardware
from massrl.train.initialize import backbone_of_weights, local_size
from massrl.views.build import fitting_size, is_small
from massrl.views.layouts import LAYOUT_FIELDS, Layout, resolve_layout

T = TypeVar("T")

_MAX_WARMUP = 0.1  # of the run
_DEFAULT_EPOCHS = 100.0  # of a run without any length


class _Notes(list[str]):
    """One line for each selected value."""

    def select(self, configured: T | None, flag: str, value: T, why: str) -> T:
        """Return the configured value; if it is open, return ``value`` and add a note."""
        if configured is not None:
            return configured
        self.append(f"{flag} {value}: {why}")
        return value


def resolve_config(config: Config, source: Source, hardware: Hardware) -> tuple[Config, list[str]]:
    """Select a value for every open field.

    Args:
        config: the user's configuration.
        source: the training images.
        hardware: the machine.

    Returns:
        The resolved configuration, in which only ``train.max_steps`` may be open, if there is a
        ``train.time_budget``; and one line for each selected value.

    Raises:
        ConfigError: if the parts do not fit together.
    """
    notes = _Notes()
    if config.data.limit is not None and config.data.limit > len(source):
        notes.append(
            f"all {counted(len(source), 'image')}: --data.limit {config.data.limit:,} is larger"
        )
    layout = resolve_layout(config.views)
    of_model = _Notes()
    model = _resolve_model(config.model, source, hardware, of_model)
    patch = patch_side(model.backbone or "")
    views = _resolve_views(config.views, layout, source, hardware, patch=patch, notes=notes)
    notes += of_model
    config = replace(
        config,
        views=views,
        model=model,
        data=_resolve_data(config, source, hardware, notes),
        method=replace(config.method, pairs=config.method.pairs or layout.pairs),
    )
    per_epoch = steps_per_epoch(len(source), config.batch_size)
    return replace(config, train=_resolve_train(config, per_epoch, hardware, notes)), notes


def resolve_resumed(before: Config, after: Config) -> Config:
    """Return the configuration of a resumed run.

    Args:
        before: the run's configuration so far.
        after: the requested one.

    Raises:
        ConfigError: if they differ in a field that cannot change on resume, or the batch is too small for
            the new number of devices.
    """
    changeable = changeable_on_resume(Config)
    other = [flag for flag in changed_fields(before, after) if flag not in changeable]
    if other:
        raise ConfigError(
            f"--resume continues the same run, in which --{', --'.join(other)} cannot change; "
            f"these can: --{', --'.join(changeable)}"
        )
    _check_batch(after.batch_size, after.train.num_devices * after.train.accumulate)
    hardware = detect_hardware(after.train.accelerator)
    if after.data.cache == "auto":
        after = replace(after, data=replace(after.data, cache=before.data.cache))
    return replace(
        after,
        data=_absolute(after.data),
        train=replace(after.train, accelerator=hardware.accelerator),
    )


def changed_fields(before: Config, after: Config) -> dict[str, Any]:
    """Return the fields that differ, as ``section.field`` -> new value."""
    old, new = flat(before.to_dict()), flat(after.to_dict())
    return {key: value for key, value in new.items() if old[key] != value}


def _absolute(data: DataConfig) -> DataConfig:
    """Return the section with absolute paths."""
    return replace(
        data,
        train=absolute_spec(data.train),
        val=absolute_spec(data.val) if data.val else None,
        root=str(Path(data.root).expanduser().resolve()) if data.root else None,
    )


def _resolve_views(
    views: ViewsConfig,
    layout: Layout,
    source: Source,
    hardware: Hardware,
    *,
    patch: int,
    notes: _Notes,
) -> ViewsConfig:
    executor, on_device = views.executor, hardware.has_gpu and not layout.local_crops
    why = f"images of about {source.typical_side} px"
    why += "" if is_small(source.typical_side) else f" on {hardware.name}"
    why += f", in patches of {patch} px" if patch > 1 else ""
    fitting = nearest_multiple(fitting_size(source.typical_side, gpu=hardware.has_gpu), patch)
    size = notes.select(views.size, "--views.size", fitting, why)
    if views.local_size is None and layout.local_crops:
        layout = _whole_patches(layout, size, patch, notes)
    return replace(
        views,
        size=size,
        **{name: getattr(layout, name) for name in LAYOUT_FIELDS},
        executor=executor if executor != "auto" else "device" if on_device else "cpu",
    )


def _whole_patches(layout: Layout, size: int, patch: int, notes: _Notes) -> Layout:
    """Return the layout with local views of whole patches, if its own are not."""
    own = round(layout.local_size * size)
    side = min(size, nearest_multiple(own, patch))
    if side == own:
        return layout
    value = local_size(side, size)
    notes.append(f"--views.local_size {value}: {side} px, in patches of {patch} px")
    return replace(layout, local_size=float(value))


def _resolve_model(
    model: ModelConfig, source: Source, hardware: Hardware, notes: _Notes
) -> ModelConfig:
    on_cpu = "resnet10-narrow" if is_small(source.typical_side) else "resnet18"
    backbone = "resnet50" if hardware.has_gpu else on_cpu
    why, stem, path = f"for {hardware.name}", model.stem, None
    if model.init_from:
        library = is_library_name(model.init_from)
        path = model.init_from if library else str(Path(model.init_from).expanduser().resolve())
        if model.backbone is None:
            backbone, stem = backbone_of_weights(path)
            why = f"the backbone of {path}"
    return replace(
        model,
        backbone=notes.select(model.backbone, "--model.backbone", backbone, why),
        stem=stem if model.stem == "auto" else model.stem,
        init_from=path,
    )


def _resolve_data(config: Config, source: Source, hardware: Hardware, notes: _Notes) -> DataConfig:
    data, parts = config.data, config.train.num_devices * config.train.accumulate
    batch_size = notes.select(
        data.batch_size,
        "--data.batch_size",
        _batch_size(
            len(source), 256 if hardware.has_gpu or is_small(source.typical_side) else 64, parts
        ),
        f"for {counted(len(source), 'image')} on {hardware.name}",
    )
    _check_batch(batch_size, parts)
    spare = max(1, min(16, hardware.cores // (config.train.devices or 1) - 1))
    normalization = normalization_of(config, source)
    return replace(
        _absolute(data),
        batch_size=batch_size,
        workers=notes.select(data.workers, "--data.workers", spare, hardware.name),
        cache=_cache(data.cache, source, notes),
        mean=normalization.mean,
        std=normalization.std,
    )


def _cache(configured: str, source: Source, notes: _Notes) -> str:
    if configured != "auto":
        return configured
    if not fits_in_memory(source):
        return "none"
    notes.append(
        f"--data.cache memory: {counted(len(source), 'image')} of about {source.typical_side} px"
    )
    return "memory"


def _resolve_train(
    config: Config, per_epoch: int, hardware: Hardware, notes: _Notes
) -> TrainConfig:
    """Resolve the section: of several lengths, the first that is reached ends the run."""
    train, method = config.train, config.method
    objective: type[Method] = OBJECTIVES.load_call(method.name)
    streams_free = objective.streams_free and method.batch_norm == "per-view"
    epochs = train.epochs
    if (train.max_steps, train.time_budget, epochs) == (None, None, None):
        epochs = _DEFAULT_EPOCHS
    steps = train.max_steps
    if epochs is not None:
        passes = max(1, round(epochs * per_epoch))
        if steps is not None and passes != steps:
            which = "epochs" if passes < steps else "max_steps"
            notes.append(
                f"--train.{which} is reached first: {counted(passes, 'step')} in {epochs:g} epochs "
                f"(--train.epochs), --train.max_steps {steps:,}"
            )
        steps = min(passes, steps or passes)
    return replace(
        train,
        epochs=None,  # the saved configuration has one length
        max_steps=steps,
        accelerator=hardware.accelerator,
        memory=train.memory or ("streamed" if streams_free else "joint"),
        precision=train.precision or ("bf16-mixed" if hardware.has_gpu else "32-true"),
    )


def _batch_size(count: int, most: int, parts: int) -> int:
    """Return ``most``, halved until it is at most a quarter of the ``count`` images."""
    size = most
    while size > 2 * parts and size > count / 4:
        size //= 2
    return max(2, size // parts) * parts


def _check_batch(batch_size: int, parts: int) -> None:
    """Refuse batches whose parts, each of one forward pass, have fewer than two images."""
    images = batch_size // parts
    if images < 2:
        raise ConfigError(
            f"--data.batch_size is {batch_size}: divided by {parts} (--train.devices × --train.nodes × "
            f"--train.accumulate) that is {counted(images, 'image')} at a time, but 2 or more are wanted"
        )


def make_schedule(config: Config, per_epoch: int) -> Schedule:
    """Return learning rate and τ by step, for a configuration with ``max_steps``."""
    total = config.train.max_steps or 1
    warmup = min(asked_warmup(config, per_epoch), _MAX_WARMUP * total)
    return Schedule(
        peak_lr=config.scaled_lr,
        warmup_steps=round(warmup),
        total_steps=total,
        target_momentum=config.method.target_momentum,
    )


def asked_warmup(config: Config, per_epoch: int) -> int:
    """Return the steps of ``optim.warmup_epochs``, however short the run is."""
    return round(config.optim.warmup_epochs * per_epoch)


def probe_interval(config: Config, per_epoch: int) -> int:
    """Return the optimiser steps from one k-NN probe to the next, 0 for no probes."""
    epochs = config.train.probe_every
    return max(1, round(epochs * per_epoch)) if epochs else 0
