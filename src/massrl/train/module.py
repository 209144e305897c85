"""The training step, whole: a thin Lightning module around a method."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import lightning
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
from massrl.views.device import Crops, execute
from massrl.views.layouts import resolve_layout

logger = logging.getLogger("massrl")

_START_ANEW = (
    "a new run with a lower --optim.lr, or with --train.precision 32-true, "
    "may help: massrl pretrain --config RUN/config.yaml --optim.lr …"
)


class NormalisedViews(Sequence[Tensor]):
    """N views, each normalised when it is asked for: at 32 bits all of them would take four times more.

    Args:
        views: uint8 ``(N, B, H, W, 3)``.
        mean: of the channels, ``(3,)``, for values of 0-255.
        std: likewise.
        sides: height and width of each view, which lies in the upper left corner; all of it by default.
    """

    def __init__(
        self, views: Tensor, mean: Tensor, std: Tensor, sides: Sequence[int] | None = None
    ) -> None:
        self._views, self._mean, self._std, self._sides = views, mean, std, sides

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, number: Any) -> Any:
        """Float32 ``(B, 3, H, W)``, channels-last."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        view = self._views[number]
        if self._sides is not None:
            view = view[:, : self._sides[number], : self._sides[number]]
        return (view - self._mean).div_(self._std).permute(0, 3, 1, 2)


class PretrainingModule(lightning.LightningModule):
    """Steps of one run: views to loss, gradients to weights, weights to target.

    The position of the run is ``step``, the number of optimiser steps made; it goes on from where a
    checkpoint left it, whatever Lightning counts.

    Args:
        method: networks and objective.
        config: the resolved configuration.
        schedule: learning rate and τ by step.
        normalization: constants of the images.
        world: this process's place among those of the run.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        method: Method,
        *,
        config: Config,
        schedule: Schedule,
        normalization: Normalization,
        world: World | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # a step may back-propagate its views one by one
        self.method = method
        self.config = config
        self.schedule = schedule
        self._sides = resolve_layout(config.views).sides(config.view_size)
        self.world = world or World()
        self.stop_wanted = 0
        self._stop_agreed = 0
        self.step = 0
        self.step_loss = 0.0
        self.gradient_norm = 0.0
        self._indices: list[int] = []
        self.output: MethodOutput | None = None
        self.skipped: dict[str, str] = {}
        self._optimizer_state: dict[str, Any] | None = None
        self._scaler_state: dict[str, Any] = {}
        self.register_buffer("mean", channels(normalization.mean), persistent=False)
        self.register_buffer("std", channels(normalization.std), persistent=False)

    def _judge_gradients(self) -> None:
        """Measure the step's gradients before they change anything, and refuse those of no use.

        With 16-bit floats they bear a scale, and those that are too large are left out by the scaler.
        """
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        norm = gradient_norm(self.method)
        self.gradient_norm = norm / scaler.get_scale() if scaler is not None else norm
        if scaler is None and not math.isfinite(norm):
            named = [
                index for some in self.world.all_gather_object(self._indices) for index in some
            ]
            self._refuse(f"the gradient is {norm}", norm, named)

    def normalise(self, views: Tensor) -> NormalisedViews:
        """Normalised views from uint8 ``(N, B, H, W, 3)``."""
        return NormalisedViews(views, self.mean, self.std, self._sides)

    def training_step(self, batch: ViewBatch, batch_index: int) -> None:
        """One batch: an optimiser step or a part of one, and after each whole one the target's."""
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        parts = self.config.train.accumulate
        part = batch_index % parts
        if part == 0:
            optimizer.zero_grad()
            self._indices = []
        self.forward_backward(batch, part, self.manual_backward)
        if part == parts - 1:
            self.world.average_gradients(self.parameters())
            self._judge_gradients()
            for group in optimizer.param_groups:
                group["lr"] = self.schedule.lr(self.step)
            optimizer.step()
            self.method.update_target(self.schedule.tau(self.step))
            self.step += 1

    def forward_backward(
        self, batch: ViewBatch, part: int, backward: Callable[[Tensor], object]
    ) -> None:
        """Add one batch's gradients to those of its optimiser step.

        Args:
            batch: the views.
            part: which of the step's batches it is.
            backward: back-propagates a loss.
        """
        weight = self._agree(batch)
        self._indices += batch.indices.tolist()
        # Networks with random layers draw the same numbers at the same step of every run.
        parts, world = self.config.train.accumulate, self.world
        place = (self.config.train.seed * 1_000_003 + self.step) * parts + part
        torch.manual_seed(place * world.size + world.rank)
        views = execute(batch.views) if isinstance(batch.views, Crops) else batch.views
        output = self.method.forward_backward(
            self.normalise(views), lambda loss: backward(loss * (weight / parts))
        )
        figures = torch.cat([output.loss[None], output.matrix.flatten()])
        loss, *matrix = world.mean(figures * weight).tolist()
        if not math.isfinite(loss):
            own = [] if math.isfinite(float(output.loss)) else batch.indices.tolist()
            named = [index for some in self.world.all_gather_object(own) for index in some]
            self._refuse(f"the loss is {loss}", loss, named)
        self.step_loss = loss / parts + (self.step_loss if part else 0.0)
        self.output = output._replace(matrix=torch.tensor(matrix).view(output.matrix.shape))

    def _agree(self, batch: ViewBatch) -> float:
        """Let all processes go on with this batch, or none of them.

        Returns:
            The weight of this process's mean loss in that of all images: 1 unless some were skipped.

        Raises:
            ImageError: if an image is broken and ``--data.on_error`` is ``stop``.
            TrainingError: if too few are left.
        """
        own = [len(batch.indices), len(batch.failures), self.stop_wanted]
        counts, failures, stops = self.world.exchange(own).T
        self._stop_agreed = int(stops.max())
        if failures.any():
            self._note_failures(
                [each for some in self.world.all_gather_object(batch.failures) for each in some]
            )
        if counts.min() < 2:
            raise TrainingError(
                f"step {self.step} has fewer than two images that can be decoded: massrl data check "
                f"lists them; a larger --data.batch_size leaves more"
            )
        return float(counts[self.world.rank] / counts.mean())

    def _note_failures(self, failures: list[tuple[str, str]]) -> None:
        """Stop at a broken image or count it, as ``--data.on_error`` says."""
        for name, reason in failures:
            if self.config.data.on_error == "stop":
                raise ImageError(
                    name, f"{reason} (--data.on_error skip goes on without such images)"
                )
            if name not in self.skipped:
                logger.warning("skipped %s: %s", name, reason)
            self.skipped[name] = reason

    def _refuse(self, what: str, value: float, indices: list[int]) -> NoReturn:
        """Stop at a number that is not finite, and name the images that gave it."""
        raise NonFiniteError(
            f"{what} at step {self.step}, on the images of indices {indices}; {_START_ANEW}",
            step=self.step,
            loss=str(value),
            indices=indices,
        )

    @property
    def stops(self) -> int:
        """The signal to stop at after this step, 0 for none: all processes do, once one of them got it."""
        return self._stop_agreed if self.world.size > 1 else self.stop_wanted

    def configure_optimizers(self) -> Optimizer:
        """The optimiser of the online networks, with a checkpoint's state where there is one."""
        optim = self.config.optim
        optimizer = build_optimizer(
            optim.name,
            parameter_groups(self.method.trainable(), weight_decay=optim.weight_decay),
            lr=self.schedule.peak_lr,
            momentum=optim.momentum,
            trust_coefficient=optim.trust_coefficient,
            clip=optim.clip,
            betas=optim.betas,
        )
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
        return optimizer

    def on_fit_start(self) -> None:
        """Give the scaler of 16-bit floats the scale it had."""
        if self._scaler_state:
            self.trainer.precision_plugin.load_state_dict(self._scaler_state)

    def check_finite(self) -> None:
        """Refuse weights that are of no use, before they are kept in the place of good ones.

        Raises:
            TrainingError: if a weight is not finite.
        """
        norms = torch.stack(torch._foreach_norm(list(self.method.parameters())))
        if not torch.isfinite(norms).all():
            raise TrainingError(
                f"weights are no longer finite after step {self.step - 1}; {_START_ANEW}"
            )

    def checkpoint(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        return {
            "step": self.step,
            "method": self.method.state_dict(),
            "optimizer": optimizer.state_dict(),  # type: ignore[union-attr]
            "scaler": self.trainer.precision_plugin.state_dict(),  # of 16-bit floats, else empty
            "skipped": self.skipped,
        }

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from what ``checkpoint`` gave; before the optimiser is built."""
        self.step = int(checkpoint["step"])
        self.method.load_state_dict(checkpoint["method"])
        self._optimizer_state = checkpoint["optimizer"]
        self._scaler_state = dict(checkpoint["scaler"])
        self.skipped = dict(checkpoint["skipped"])


def gradient_norm(network: nn.Module) -> float:
    """Length of all gradients together."""
    gradients = [item.grad for item in network.parameters() if item.grad is not None]
    return float(torch.stack(torch._foreach_norm(gradients)).norm())


def channels(values: tuple[float, float, float]) -> Tensor:
    """Constants of the three channels, for values of 0-255 along a last axis of 3."""
    return torch.tensor(values, dtype=torch.float32) * 255
