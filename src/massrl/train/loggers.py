"""Log metrics and pictures to TensorBoard, Weights & Biases or MLflow, through Lightning's loggers.

Both services are optional: Weights & Biases logs offline into the run folder without an API key, MLflow
without a tracking server.
"""

from __future__ import annotations

import importlib.util
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
from massrl.files import drawn_again, read_json, write_json
from massrl.registry import LOGGERS
from massrl.runs.folder import RunFolder

logger = logging.getLogger("massrl")

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB


class RunLogger:
    """Base class of the loggers; a new one is a subclass and its row in ``registry.LOGGERS``.

    One is made for each session of a run: at its start and at every resume. ``settings`` is called in the
    first session that the logger takes part in, with or without a ``record``; then ``metrics`` and
    ``picture`` as the run goes on, and ``close`` at the end of the session. Steps after the last checkpoint
    are made, and logged, again by the session that resumes.

    Args:
        folder: the run folder.
        record: ``record`` of the earlier session, ``None`` if there was none.

    Attributes:
        package: the package that must be installed; massrl has an extra of the same name.
        record: the logger's id of this run, if it needs one to go on with its own record of the run; set
            by ``__init__`` and saved in the run folder.
        inner: a logger of Lightning, or any object with its ``log_hyperparams``, ``log_metrics`` and
            ``finalize``.
    """

    package: ClassVar[str] = ""
    record: str | None = None
    inner: Any

    def __init__(self, folder: RunFolder, record: str | None) -> None:
        raise NotImplementedError

    def settings(self, values: dict[str, Any]) -> None:
        """Log the configuration, by dotted names; once for each run."""
        self.inner.log_hyperparams(values)

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Log the metrics of a step."""
        self.inner.log_metrics(values, step=step)

    def picture(self, title: str, pixels: Pixels, step: int) -> None:
        """Log a picture, uint8 ``(height, width, 3)``; ignored by default."""

    def close(self, status: str) -> None:
        """Finish writing; ``status`` is ``success`` or ``failed``."""
        self.inner.finalize(status)


class TensorBoard(RunLogger):
    """TensorBoard event files in the run folder."""

    package = "tensorboard"

    def __init__(self, folder: RunFolder, record: str | None) -> None:
        from lightning.pytorch.loggers import TensorBoardLogger

        self.inner = TensorBoardLogger(folder.path, name="", version="tensorboard")

    def picture(self, title: str, pixels: Pixels, step: int) -> None:
        """See ``RunLogger``."""
        self.inner.experiment.add_image(title, pixels, step, dataformats="HWC")


class WeightsAndBiases(RunLogger):
    """Weights & Biases, offline without an API key."""

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
    """MLflow, with a database in the run folder unless ``MLFLOW_TRACKING_URI`` is set."""

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
    """Return whether an API key of Weights & Biases is configured, and ``WANDB_MODE`` allows its use."""
    if "WANDB_MODE" in os.environ:
        return os.environ["WANDB_MODE"] == "online"
    if "WANDB_API_KEY" in os.environ:
        return True
    try:
        return any("wandb" in host for host in netrc().hosts)
    except (OSError, NetrcParseError):
        return False


def check_loggers(names: Sequence[str]) -> None:
    """Check that the packages of these loggers are installed.

    Raises:
        ConfigError: for an unknown logger or a missing package, with the command that installs it.
    """
    for name in names:
        package = LOGGERS.load_call(name).package
        LOGGERS.check(name, None, None)
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"--train.loggers {name} needs its package: pip install 'massrl[{package}]'"
            )


class Loggers:
    """The loggers of a run; each receives every row and every picture.

    Their names and ids of the run are saved in the run folder, and a resumed run continues them. A logger
    that fails is dropped with a warning.

    Args:
        config: the resolved configuration.
        folder: the run folder.
    """

    def __init__(self, config: Config, folder: RunFolder) -> None:
        self._open: dict[str, RunLogger] = {}
        saved = folder.loggers.is_file()
        self._records: dict[str, Any] = {}
        if saved:
            with drawn_again(f"{folder.loggers.name}, whose loggers start anew,"):
                self._records = read_json(folder.loggers, {})
        for name in config.train.loggers:
            self._try(name, partial(self._add, name, config, folder))
        if self._records:
            write_json(folder.loggers, self._records)

    def _add(self, name: str, config: Config, folder: RunFolder) -> None:
        is_new = name not in self._records
        made: RunLogger = LOGGERS.build(name, folder, self._records.get(name))
        self._open[name] = made
        self._records[name] = made.record
        if is_new:  # MLflow refuses to set a value a second time
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
        except Exception as error:  # any error of another package: training continues
            logger.warning("--train.loggers %s is dropped: %s", name, " ".join(str(error).split()))
            self._open.pop(name, None)
