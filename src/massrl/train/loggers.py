"""Where a run's metrics and pictures go beside its own files: TensorBoard, Weights & Biases, MLflow.

Lightning's loggers do the work. None of them may hold a run up: Weights & Biases writes into the run
folder unless a key for its service is there, and MLflow does unless it is told of a server.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from netrc import NetrcParseError, netrc
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from massrl.config.layers import flat
from massrl.config.pretrain import Config
from massrl.errors import ConfigError
from massrl.files import write_json
from massrl.registry import LOGGERS
from massrl.runs.folder import RunFolder

logger = logging.getLogger("massrl")

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB


class RunLogger:
    """Base class of the loggers; a subclass with its row in ``registry.LOGGERS`` is all that one needs.

    Args:
        folder: the run folder.
        record: what the logger called this run in an earlier session, ``None`` for a new run.

    Attributes:
        package: what must be importable; the extra of its name installs it.
        record: what to pass when the run is resumed; ``None`` where the folder says it all.
        inner: a logger of Lightning, or anything with its ``log_hyperparams``, ``log_metrics`` and
            ``finalize``.
    """

    package: ClassVar[str] = ""
    record: str | None = None
    inner: Any

    def __init__(self, folder: RunFolder, record: str | None) -> None:
        raise NotImplementedError

    def settings(self, values: dict[str, Any]) -> None:
        """Log the configuration, once for each run."""
        self.inner.log_hyperparams(values)

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Log the metrics of a step."""
        self.inner.log_metrics(values, step=step)

    def picture(self, title: str, pixels: Pixels, step: int) -> None:
        """Log a picture, uint8 ``(height, width, 3)``."""

    def close(self, status: str) -> None:
        """Write everything out; ``status`` is ``success`` or ``failed``."""
        self.inner.finalize(status)


class TensorBoard(RunLogger):
    """TensorBoard's event files, in the run folder."""

    package = "tensorboard"

    def __init__(self, folder: RunFolder, record: str | None) -> None:
        from lightning.pytorch.loggers import TensorBoardLogger

        self.inner = TensorBoardLogger(folder.path, name="", version="tensorboard")

    def picture(self, title: str, pixels: Pixels, step: int) -> None:
        """See ``RunLogger``."""
        self.inner.experiment.add_image(title, pixels, step, dataformats="HWC")


class WeightsAndBiases(RunLogger):
    """Weights & Biases, offline unless a key is there."""

    package = "wandb"

    def __init__(self, folder: RunFolder, record: str | None) -> None:
        from lightning.pytorch.loggers import WandbLogger

        self.inner = WandbLogger(
            name=folder.path.name,
            project=os.environ.get("WANDB_PROJECT", "massrl"),
            save_dir=folder.path,
            id=record,
            resume="allow",
            offline=not has_wandb_key(),
            settings={"console": "off", "init_timeout": 30},
        )
        self.record = str(self.inner.experiment.id)

    def picture(self, title: str, pixels: Pixels, step: int) -> None:
        """See ``RunLogger``."""
        self.inner.log_image(title, [pixels], step=step)

    def close(self, status: str) -> None:
        """See ``RunLogger``."""
        self.inner.finalize(status)
        self.inner.experiment.finish()


class MLflow(RunLogger):
    """MLflow, in a database in the run folder unless ``MLFLOW_TRACKING_URI`` names a server."""

    package = "mlflow"

    def __init__(self, folder: RunFolder, record: str | None) -> None:
        from lightning.pytorch.loggers import MLFlowLogger

        server = os.environ.get("MLFLOW_TRACKING_URI")
        here = folder.path.resolve()
        self.inner = MLFlowLogger(
            experiment_name="massrl",
            run_name=folder.path.name,
            run_id=record,
            tracking_uri=server or f"sqlite:///{here / 'mlflow.db'}",
            artifact_location=None if server else (here / "mlflow").as_uri(),
        )
        self.record = str(self.inner.run_id)

    def picture(self, title: str, pixels: Pixels, step: int) -> None:
        """See ``RunLogger``."""
        name = f"{title.replace(' ', '_')}_{step}.png"
        self.inner.experiment.log_image(self.inner.run_id, pixels, name)


def has_wandb_key() -> bool:
    """Return whether Weights & Biases has a key for its service, and is not switched off."""
    if "WANDB_MODE" in os.environ:
        return os.environ["WANDB_MODE"] == "online"
    if "WANDB_API_KEY" in os.environ:
        return True
    try:
        return any("wandb" in host for host in netrc().hosts)
    except (OSError, NetrcParseError):
        return False


def check_loggers(names: Sequence[str]) -> None:
    """Refuse a logger whose package is not installed, before a run is started.

    Raises:
        ConfigError: with the command that installs it.
    """
    for name in names:
        package = LOGGERS.load_call(name).package
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"--train.loggers {name} needs its package: pip install 'massrl[{package}]'"
            )


class Loggers:
    """The loggers of a run; each receives every row and every picture.

    What each logger calls the run is saved in the run folder, and a resumed run continues it. A logger
    that fails is dropped with a warning; the run goes on.

    Args:
        config: the resolved configuration.
        folder: the run folder.
    """

    def __init__(self, config: Config, folder: RunFolder) -> None:
        self._open: dict[str, RunLogger] = {}
        known = folder.loggers.is_file()
        self._records = json.loads(folder.loggers.read_text(encoding="utf-8")) if known else {}
        for name in config.train.loggers:
            self._try(name, partial(self._add, name, config, folder))
        if self._records:
            write_json(folder.loggers, self._records)

    def _add(self, name: str, config: Config, folder: RunFolder) -> None:
        record = self._records.get(name)
        made: RunLogger = LOGGERS.build(name, folder, record)
        self._open[name] = made
        if made.record is not None:
            self._records[name] = made.record
        if record is None:  # MLflow refuses to set a value a second time
            made.settings(flat(config.to_dict()))

    def row(self, values: dict[str, Any], step: int) -> None:
        """Log the metrics of a step."""
        numbers = {
            key: float(value)
            for key, value in values.items()
            if isinstance(value, int | float) and key != "step"
        }
        for name, each in list(self._open.items()):
            self._try(name, partial(each.metrics, numbers, step))

    def picture(self, title: str, pixels: Pixels, step: int) -> None:
        """Log a picture, uint8 ``(height, width, 3)``."""
        for name, each in list(self._open.items()):
            self._try(name, partial(each.picture, title, pixels, step))

    def close(self, status: str) -> None:
        """Close all of them; ``status`` is ``success`` or ``failed``."""
        for name, each in list(self._open.items()):
            self._try(name, partial(each.close, status))
        self._open.clear()

    def _try(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # of another package: whatever it is, the run goes on
            logger.warning("--train.loggers %s is dropped: %s", name, " ".join(str(error).split()))
            self._open.pop(name, None)
