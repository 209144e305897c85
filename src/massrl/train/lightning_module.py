"""Pre-training as a LightningModule and a LightningDataModule, for your own Trainer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Sampler

from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.data.build import training_source
from massrl.data.loader import SampleKey, StepBatchSampler, ViewBatch, build_loader, steps_per_epoch
from massrl.errors import ConfigError, ImageError
from massrl.optim.build import build_optimizer
from massrl.optim.groups import parameter_groups
from massrl.optim.schedules import Schedule
from massrl.runs.environment import detect_hardware
from massrl.train.initialize import make_method
from massrl.train.normalized_views import NormalizedViews
from massrl.train.resolve import make_schedule, resolve_config
from massrl.train.session import cache_in_memory, make_run_views
from massrl.views.device import Crops, execute
from massrl.views.layouts import resolve_layout


class PretrainModule(lightning.LightningModule):
    """An objective with its networks, trained by automatic optimisation.

    Loss, schedules and target updates are those of ``massrl.pretrain``. The Trainer is responsible for
    precision, devices, accumulation, checkpoints and logging. With several devices it needs
    ``use_distributed_sampler=False``.

    Args:
        config: a resolved configuration, such as ``ViewsDataModule.config``.

    Attributes:
        method: the objective; ``method.backbone`` is the network to use afterwards.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.data.mean is None or config.data.std is None:
            raise ConfigError("the configuration is not resolved: use ViewsDataModule(…).config")
        self.config = config
        layout = resolve_layout(config.views)
        self.method = make_method(config, layout)
        self._sides = layout.sides(config.view_size)
        self.register_buffer("mean", 255 * torch.tensor(config.data.mean), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(config.data.std), persistent=False)
        self._schedule: Schedule | None = None

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of views, and log it as ``loss``.

        Raises:
            ImageError: if an image is broken and ``data.on_error`` is ``stop``.
        """
        if batch.failures and self.config.data.on_error == "stop":
            raise ImageError(*batch.failures[0])
        pixels = execute(batch.views) if isinstance(batch.views, Crops) else batch.views
        output = self.method(NormalizedViews(pixels, self.mean, self.std, self._sides))
        self.log("loss", output.loss.detach(), batch_size=len(batch.indices), prog_bar=True)
        loss: Tensor = output.loss
        return loss

    def configure_optimizers(self) -> Any:
        """Return the configured optimiser, and its schedule by optimiser step."""
        schedule = self._make_schedule()
        groups = parameter_groups(
            self.method.trainable(), weight_decay=self.config.optim.weight_decay
        )
        optimizer = build_optimizer(self.config.optim, groups, lr=schedule.peak_lr)
        peak = schedule.peak_lr or 1.0
        scheduler = LambdaLR(optimizer, lambda step: schedule.lr(step) / peak)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Make the optimiser step, then update the target network, where there is one."""
        step = self.trainer.global_step
        super().optimizer_step(*arguments, **named)
        assert self._schedule is not None
        self.method.update_target(self._schedule.tau(step))

    def _make_schedule(self) -> Schedule:
        self.trainer.fit_loop.setup_data()  # counts the batches of an epoch
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total):
            raise ConfigError(
                "the schedules need a last step: give the Trainer max_epochs or max_steps"
            )
        per_epoch = self.trainer.num_training_batches // self.trainer.accumulate_grad_batches
        train = replace(self.config.train, max_steps=int(total))
        self._schedule = make_schedule(replace(self.config, train=train), int(per_epoch))
        return self._schedule


class ViewsDataModule(lightning.LightningDataModule):
    """Batches of N views of unlabelled images, the same as in ``massrl.pretrain``.

    Args:
        config: as for ``massrl.pretrain``: a ``Config``, nested mappings such as
            ``{"recipe": "default", "data": {"train": "photos"}}``, the path of a YAML file, or the name
            of a recipe. ``data.batch_size`` is the number of images per optimiser step, over all
            devices and accumulated batches.

    Attributes:
        config: the resolved configuration, for ``PretrainModule``.
        source: the images.
    """

    def __init__(self, config: Config | dict[str, Any] | str | Path) -> None:
        super().__init__()
        requested = config if isinstance(config, Config) else make_config(read_layers(config))
        source = training_source(requested.data)
        hardware = detect_hardware(requested.train.accelerator)
        self.config, _ = resolve_config(requested, source, hardware)
        self.source = cache_in_memory(source, self.config)

    def train_dataloader(self) -> DataLoader[ViewBatch]:
        """Return a loader of one epoch; order and views differ from epoch to epoch.

        Raises:
            ConfigError: if the batch size is not divisible by the Trainer's devices × accumulation.
        """
        trainer, config = self.trainer, self.config
        world, rank, parts = 1, 0, config.train.accumulate
        if trainer is not None:
            world, rank = trainer.world_size, trainer.global_rank
            parts = trainer.accumulate_grad_batches
        if config.batch_size % (world * parts):
            raise ConfigError(
                f"data.batch_size is {config.batch_size}, which is not divisible by the Trainer's "
                f"{world} devices × {parts} accumulated batches"
            )
        batches = _EpochBatches(
            len(self.source),
            config.batch_size,
            seed=config.train.seed,
            accumulate=parts,
            total_steps=steps_per_epoch(len(self.source), config.batch_size),
            share=(rank, world),
        )
        return build_loader(
            self.source,
            make_run_views(config),
            batches=batches,
            workers=config.data.workers or 0,
            pin=torch.cuda.is_available(),
        )


class _EpochBatches(StepBatchSampler):
    """The batches of one epoch; a Trainer calls ``batch_sampler.sampler.set_epoch``."""

    epoch = 0

    @property
    def sampler(self) -> Sampler[Any]:
        """The object whose ``set_epoch`` a Trainer calls."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Select the order and the views of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[SampleKey]]:
        yield from self.steps(
            self.epoch * self.steps_per_epoch, (self.epoch + 1) * self.steps_per_epoch
        )
