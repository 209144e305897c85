"""One optimiser step: forward and backward passes, weight update, target update."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from massrl.config.pretrain import Config
from massrl.data.loader import ViewBatch
from massrl.data.source import Normalization
from massrl.distributed import World
from massrl.errors import ImageError, NonFiniteError, TrainingError
from massrl.methods.base import Method, MethodOutput
from massrl.optim.build import build_optimizer
from massrl.optim.groups import parameter_groups
from massrl.optim.schedules import Schedule
from massrl.train.fabric import autocast, make_fabric
from massrl.train.normalized_views import NormalizedViews
from massrl.views.device import Crops, execute
from massrl.views.layouts import Layout

logger = logging.getLogger("massrl")

OUT_OF_TIME = 1
"""A stop request of the time budget; every signal's number is larger, so that a signal takes precedence."""

_NEW_RUN_HINT = (
    "start a new run with a lower --optim.lr, or with --train.precision 32-true: "
    "massrl pretrain --config RUN/config.yaml --optim.lr …"
)


class StepObserver:
    """Base class of observers, which measure the stages of a step; this one does nothing."""

    def stage(self, name: str) -> AbstractContextManager[Any]:
        """Return a context around ``data``, ``forward``, ``backward``, ``optimiser`` or ``target``."""
        return nullcontext()


class TrainingStep:
    """Training state: networks, optimiser and step counter; a call makes one optimiser step.

    Args:
        method: networks and objective; moved to the device.
        config: the resolved configuration.
        layout: of the views.
        schedule: learning rate and τ by step.
        normalization: mean and std of the images.
        world: ranks of this process; a single process by default.
        observer: measures the stages of each step.

    Attributes:
        step: number of optimiser steps made, over all sessions of the run.
        loss: mean loss of the last step, over all processes.
        chance: loss of guessing of the same batches; ``None`` where the objective has none.
        gradient_norm: L2 norm of the last step's gradients.
        output: output for the last batch, its loss matrix averaged over processes.
        skipped: names of images that could not be decoded -> reasons.
        stop_requested: number of the signal that this process has received, or ``OUT_OF_TIME``; 0 for
            none.
        stop_signal: what to stop for after the last step, as above. Only a call sets it, from
            ``stop_requested`` of all processes: they stop after the same step, and every callback of that
            step sees it.
    """

    def __init__(
        self,
        method: Method,
        *,
        config: Config,
        layout: Layout,
        schedule: Schedule,
        normalization: Normalization,
        world: World | None = None,
        observer: StepObserver | None = None,
    ) -> None:
        self.world = world or World()
        self.config = config
        self.schedule = schedule
        self.observer = observer or StepObserver()
        self.fabric = make_fabric(config.train, self.world)
        self.method = method
        self.fabric.to_device(method.train())
        self._optimizer = self._build_optimizer()
        self.optimizer = cast(Optimizer, self.fabric.setup_optimizers(self._optimizer))
        self._sides = layout.sides(config.view_size)
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=self.fabric.device) * 255
            for values in (normalization.mean, normalization.std)
        )
        self.step = 0
        self.loss = 0.0
        self.chance: float | None = None
        self.gradient_norm = 0.0
        self.output: MethodOutput | None = None
        self.skipped: dict[str, str] = {}
        self.stop_requested = 0
        self.stop_signal = 0
        self._indices: list[int] = []
        self._num_compared = 0  # images of the last batch, of all processes

    def __call__(self, batches: Iterator[ViewBatch]) -> None:
        """Make one optimiser step on the next ``train.accumulate`` batches, then update the target.

        Raises:
            ImageError: if an image is broken and ``--data.on_error`` is ``stop``.
            NonFiniteError: if the loss or the gradient is not finite.
            TrainingError: if too few images can be decoded.
        """
        stage = self.observer.stage
        self._indices = []
        for part in range(self.config.train.accumulate):
            with stage("data"):
                batch = self.fabric.to_device(next(batches))
            with stage("forward"), autocast(self.fabric):
                self._add_gradients(batch, part)
        with stage("optimiser"):
            self.world.average_gradients(self.method.parameters())
            self._check_gradients()
            for group in self._optimizer.param_groups:
                group["lr"] = self.schedule.lr(self.step)
            self.optimizer.step()
            self.optimizer.zero_grad()
        with stage("target"):
            self.method.update_target(self.schedule.tau(self.step))
        self.step += 1
        # Also for a signal during this step; several processes stop one step later.
        if self.world.size == 1:
            self.stop_signal = self.stop_requested

    def _add_gradients(self, batch: ViewBatch, part: int) -> None:
        """Add the gradients of batch number ``part`` of this optimiser step."""
        weight = self._synchronise(batch)
        self._indices += batch.indices.tolist()
        parts, world = self.config.train.accumulate, self.world
        # Random layers such as dropout draw the same numbers in a resumed run.
        number = (self.config.train.seed * 1_000_003 + self.step) * parts + part
        torch.manual_seed(number * world.size + world.rank)
        pixels = execute(batch.views) if isinstance(batch.views, Crops) else batch.views

        def backward(loss: Tensor) -> None:
            with self.observer.stage("backward"):
                self.fabric.backward(loss * (weight / parts))

        output = self.method.forward_backward(self.normalize(pixels), backward)
        values = torch.cat([output.loss[None], output.matrix.flatten()])
        loss, *matrix = world.mean(values * weight).tolist()
        if not math.isfinite(loss):
            own = [] if math.isfinite(float(output.loss)) else batch.indices.tolist()
            self._raise_nonfinite(f"the loss is {loss}", loss, own)
        self.loss = loss / parts + (self.loss if part else 0.0)
        chance = self.method.chance(self._num_compared)
        if chance is not None:
            self.chance = chance / parts + ((self.chance or 0.0) if part else 0.0)
        self.output = output._replace(matrix=torch.tensor(matrix).view(output.matrix.shape))

    def normalize(self, views: Tensor) -> NormalizedViews:
        """Return the normalised views of uint8 ``(N, B, H, W, 3)``."""
        return NormalizedViews(views, self._mean, self._std, self._sides)

    def _synchronise(self, batch: ViewBatch) -> float:
        """All-gather image counts, decode failures and stop requests, so that all processes decide alike.

        Returns:
            The weight of this process's mean loss in the mean over all images: 1 unless some were skipped.

        Raises:
            ImageError: if an image is broken and ``--data.on_error`` is ``stop``.
            TrainingError: if a process has fewer than two images.
        """
        own = [len(batch.indices), len(batch.failures), self.stop_requested]
        counts, failures, stops = self.world.all_gather_numbers(own).T
        self.stop_signal = int(stops.max())
        self._num_compared = int(counts.sum())
        if failures.any():
            gathered = self.world.all_gather_object(batch.failures)
            self._count_failures([failure for some in gathered for failure in some])
        if counts.min() < 2:
            raise TrainingError(
                f"a process has fewer than two images that can be decoded at step {self.step}: massrl data "
                f"check lists the broken ones; or raise --data.batch_size"
            )
        return float(counts[self.world.rank] / counts.mean())

    def _count_failures(self, failures: list[tuple[str, str]]) -> None:
        """Raise for a broken image or count it, depending on ``--data.on_error``."""
        for name, reason in failures:
            if self.config.data.on_error == "stop":
                raise ImageError(name, f"{reason} (--data.on_error skip leaves out such images)")
            if name not in self.skipped:
                logger.warning("skipped %s: %s", name, reason)
            self.skipped[name] = reason

    def _check_gradients(self) -> None:
        """Measure the gradients before they are applied, and raise if they are not finite.

        With 16-bit floats they are scaled, and the scaler skips steps whose gradients overflow.
        """
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        norm = gradient_norm(self.method)
        self.gradient_norm = norm / scaler.get_scale() if scaler is not None else norm
        if scaler is None and not math.isfinite(norm):
            self._raise_nonfinite(f"the gradient is {norm}", norm, self._indices)

    def _raise_nonfinite(self, what: str, value: float, indices: list[int]) -> NoReturn:
        """Raise for a non-finite number; ``indices`` are the images of this process that caused it."""
        causes = [index for some in self.world.all_gather_object(indices) for index in some]
        raise NonFiniteError(
            f"{what} at step {self.step}, on the images of indices {causes}; {_NEW_RUN_HINT}",
            step=self.step,
            loss=str(value),
            indices=causes,
        )

    @property
    def is_last(self) -> bool:
        """Whether all steps of the run have been made."""
        return self.step >= self.schedule.total_steps

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def num_images(self) -> int:
        """Number of images of this process in the last step."""
        return len(self._indices)

    def _build_optimizer(self) -> Optimizer:
        optim = self.config.optim
        groups = parameter_groups(self.method.trainable(), weight_decay=optim.weight_decay)
        return build_optimizer(optim, groups, lr=self.schedule.peak_lr)

    def check_finite(self) -> None:
        """Raise if a weight is not finite, so that the last checkpoint is not overwritten.

        Raises:
            TrainingError: if a weight is not finite.
        """
        norms = torch.stack(torch._foreach_norm(list(self.method.parameters())))
        if not torch.isfinite(norms).all():
            raise TrainingError(
                f"weights are no longer finite after step {self.step - 1}; {_NEW_RUN_HINT}"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to resume after this step."""
        return {
            "step": self.step,
            "method": self.method.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),  # empty without 16-bit floats
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        self.step = int(state["step"])
        self.method.load_state_dict(state["method"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.fabric.strategy.precision.load_state_dict(state["scaler"])
        self.skipped = dict(state["skipped"])


def gradient_norm(network: nn.Module) -> float:
    """Return the L2 norm of all gradients, as one vector."""
    gradients = [item.grad for item in network.parameters() if item.grad is not None]
    return float(torch.stack(torch._foreach_norm(gradients)).norm())
