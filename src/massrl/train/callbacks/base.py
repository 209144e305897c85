"""What all that watches a run is built on: something to do after each optimiser step, and a clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning

from massrl.train.module import PretrainingModule

_NEWEST_SHARE = 0.05  # of the last step in a smoothed speed


class StepCallback(lightning.Callback):
    """Calls ``after_step`` once for every optimiser step, however many batches make one."""

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Lightning's hook."""
        module = pl_module
        assert isinstance(module, PretrainingModule)
        if (batch_idx + 1) % module.config.train.accumulate == 0:
            self.after_step(trainer, module)

    def after_step(self, trainer: lightning.Trainer, module: PretrainingModule) -> None:
        """What to do when ``module.step`` steps have been made."""

    def close(self) -> None:
        """What to give back when training ends, well or not."""

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Lightning's hook for a good end.

        It is earlier than ``teardown``, by which Lightning's own signal handlers are gone: giving
        the signals back then would bring them to life again.
        """
        self.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Lightning's hook for any other."""
        self.close()


class Clock(lightning.Callback):
    """Measures what steps cost, and how much of that was waiting for data.

    Probes and checkpoints are no part of a step: whoever makes one pauses the clock.

    Attributes:
        seconds: seconds spent on whole steps, those of earlier sittings of the run included.
        images_per_second: of the last steps, smoothed; ``None`` before the first has ended.
        data_wait: share of the last steps' time spent waiting for a batch, smoothed.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.images_per_second: float | None = None
        self._num_batches = 0
        self.data_wait = 0.0
        self._last = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done meanwhile."""
        begin = time.perf_counter()
        yield
        self._last += time.perf_counter() - begin

    @property
    def now(self) -> float:
        """``seconds``, with those of the step under way."""
        return self.seconds + time.perf_counter() - self._last

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there: what has passed since the last one ended was waiting."""
        self._waited = time.perf_counter() - self._last

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The batch is done."""
        now = time.perf_counter()
        whole = now - self._last
        self._num_batches += 1
        weight = max(_NEWEST_SHARE, 1 / self._num_batches)
        images = len(batch.indices) * pl_module.world.size
        speed, before = images / whole, self.images_per_second or 0.0
        self.images_per_second = before + weight * (speed - before)
        self.data_wait += weight * (self._waited / whole - self.data_wait)
        self.seconds += whole
        self._last = now
