"""Where a run's figures and pictures go beside its own files: TensorBoard, Weights & Biases, MLflow.

Lightning's loggers do the talking. None of them may hold a run up: Weights & Biases writes into the run
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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from massrl.config.layers import flat
from massrl.config.pretrain import Config
from massrl.errors import ConfigError
from massrl.files import write_json
from massrl.runs.folder import RunFolder

logger = logging.getLogger("massrl")

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB


def check_loggers(names: Sequence[str]) -> None:
    """Refuse a logger whose package is not installed, before a run is begun.

    Raises:
        ConfigError: with the command that installs it.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"--train.loggers {name} needs its package: pip install 'massrl[{name}]'"
            )


class Loggers:
    """Those that a run has asked for; each gets every row and every picture.

    A run that goes on goes on with its record: what each logger calls it is kept in the run folder.
    A logger that fails costs its own part of the record and a word in the log, never the run.

    Args:
        config: the resolved configuration.
        folder: the run folder.
    """

    def __init__(self, config: Config, folder: RunFolder) -> None:
        self._open: dict[str, tuple[Any, Callable[[str, Pixels, int], None]]] = {}
        known = folder.loggers.is_file()
        self._records = json.loads(folder.loggers.read_text(encoding="utf-8")) if known else {}
        for name in config.train.loggers:
            self._try(name, partial(self._add, name, config, folder))
        if self._records:
            write_json(folder.loggers, self._records)

    def _add(self, name: str, config: Config, folder: RunFolder) -> None:
        record = self._records.get(name)
        kept, show, called = _KINDS[name](folder, record)
        self._open[name] = kept, show
        if called is not None:
            self._records[name] = called
        if record is None:  # MLflow takes a setting once
            kept.log_hyperparams(flat(config.to_dict()))

    def row(self, values: dict[str, Any], step: int) -> None:
        """The figures of a step."""
        numbers = {
            key: float(value)
            for key, value in values.items()
            if isinstance(value, int | float) and key != "step"
        }
        for name, (kept, _) in list(self._open.items()):
            self._try(name, partial(kept.log_metrics, numbers, step=step))

    def picture(self, title: str, pixels: Pixels, step: int) -> None:
        """A picture."""
        for name, (_, show) in list(self._open.items()):
            self._try(name, partial(show, title, pixels, step))

    def close(self, status: str) -> None:
        """See that everything is written, and say how it ended: ``success`` or ``failed``."""
        for name, (kept, _) in list(self._open.items()):
            self._try(name, partial(kept.finalize, status))
            if name == "wandb":
                self._try(name, kept.experiment.finish)
        self._open.clear()

    def _try(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # of somebody else's package: whatever it is, the run goes on
            logger.warning("--train.loggers %s is given up: %s", name, " ".join(str(error).split()))
            self._open.pop(name, None)


# A logger, what shows a picture with it, and what it calls its record, for which it is to be asked again.
Opened = tuple[Any, Callable[[str, Pixels, int], None], "str | None"]


def _tensorboard(folder: RunFolder, record: str | None) -> Opened:
    from lightning.pytorch.loggers import TensorBoardLogger

    made = TensorBoardLogger(folder.path, name="", version="tensorboard")

    def show(title: str, pixels: Pixels, step: int) -> None:
        made.experiment.add_image(title, pixels, step, dataformats="HWC")

    return made, show, None  # its folder is its record


def _wandb(folder: RunFolder, record: str | None) -> Opened:
    from lightning.pytorch.loggers import WandbLogger

    made = WandbLogger(
        name=folder.path.name,
        project=os.environ.get("WANDB_PROJECT", "massrl"),
        save_dir=folder.path,
        id=record,
        resume="allow",
        offline=not _has_wandb_key(),
        settings={"console": "off", "init_timeout": 30},
    )

    def show(title: str, pixels: Pixels, step: int) -> None:
        made.log_image(title, [pixels], step=step)

    return made, show, str(made.experiment.id)


def _has_wandb_key() -> bool:
    if "WANDB_MODE" in os.environ:
        return os.environ["WANDB_MODE"] == "online"
    if "WANDB_API_KEY" in os.environ:
        return True
    try:
        return any("wandb" in host for host in netrc().hosts)
    except (OSError, NetrcParseError):
        return False


def _mlflow(folder: RunFolder, record: str | None) -> Opened:
    from lightning.pytorch.loggers import MLFlowLogger

    server = os.environ.get("MLFLOW_TRACKING_URI")
    here = folder.path.resolve()
    made = MLFlowLogger(
        experiment_name="massrl",
        run_name=folder.path.name,
        run_id=record,
        tracking_uri=server or f"sqlite:///{here / 'mlflow.db'}",
        artifact_location=None if server else (here / "mlflow").as_uri(),
    )

    def show(title: str, pixels: Pixels, step: int) -> None:
        made.experiment.log_image(made.run_id, pixels, f"{title.replace(' ', '_')}_{step}.png")

    return made, show, str(made.run_id)


_KINDS: dict[str, Callable[[RunFolder, str | None], Opened]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
