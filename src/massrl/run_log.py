"""What a run says: to the terminal and to the run folder's ``log.txt`` alike."""

from __future__ import annotations

import logging
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from massrl.config import Config
from massrl.data.sources import Source
from massrl.views.layouts import resolve_layout

logger = logging.getLogger("massrl")


class _ConsoleHandler(logging.Handler):
    """Prints through rich, so that a line goes above a live progress line and not through it."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        self._console.print(
            self.format(record), style=style, markup=False, highlight=False, soft_wrap=True
        )


class _LogFile(logging.FileHandler):
    """A log that a full disk silences: the error that says so must not drown in tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        """Let the line go."""


@contextmanager
def logging_to(path: Path, console: Console) -> Iterator[None]:
    """Send what is said to the terminal and, with the time, to a file, for as long as this lasts."""
    file = _LogFile(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    handlers = (file, _ConsoleHandler(console))
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        with suppress(OSError):  # a full disk: the error that says so is under way
            file.close()


def say_config(config: Config, source: Source, notes: Sequence[str]) -> None:
    """Say what a run will do, with every number in use and every choice that was made for it."""
    layout = resolve_layout(config.views)
    method, optim, train = config.method, config.optim, config.train
    labelled = f"{len(source.class_names)} classes" if source.labels is not None else "no labels"
    objective = {
        "byol": f"BYOL, τ {method.target_momentum:g} → 1",
        "simclr": f"SimCLR (InfoNCE), temperature {method.temperature:g}",
    }[method.objective]
    projector, predictor = config.model.projector, config.model.predictor
    heads = f"projector {projector.layers} layers of {projector.hidden} to {projector.out}"
    if method.objective == "byol":
        heads += f", predictor {predictor.layers} layers of {predictor.hidden}"
    steps = (
        f"{train.max_steps} steps" if train.max_steps else f"about {duration(train.seconds or 0)}"
    )
    batch = (
        f"{config.batch_size} unique images = {config.device_batch_size} × {train.num_devices} "
        f"device{'s' * (train.num_devices > 1)} × {train.accumulate} accumulated"
    )
    rows = {
        "recipe": config.recipe or "none",
        "run": config.out,
        "data": f"{source.name}: {len(source):,} images, {labelled}",
        "views": f"{layout.name}: {layout.num_views} views of {config.views.size} px from "
        + ", ".join(dict.fromkeys(layout.policies))
        + "; crops of {:g}-{:g} of the area".format(*layout.crop_scale),
        "method": f"{objective}; pairs {method.pairs}, {method.reduction}; batch norm {method.batch_norm}",
        "model": f"{config.model.backbone}, stem {config.model.stem}; {heads}",
        "batch": batch,
        "lr": f"{config.scaled_lr:g} = {optim.lr:g} × {config.batch_size} / 256, {optim.name}, "
        f"weight decay {optim.weight_decay:g}",
        "train": f"{steps} on {train.accelerator}, {train.precision}, {train.memory} memory, "
        f"seed {train.seed}",
    }
    for name, text in rows.items():
        logger.info("%-8s %s", name, text)
    for note in notes:
        logger.info("%-8s %s", "chosen", note)


def duration(seconds: float) -> str:
    """Seconds as a person reads them.

    Example:
        >>> duration(42), duration(125), duration(7300)
        ('42 s', '2 min 05 s', '2 h 01 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class TaskProgress:
    """Shows how far an evaluation is: a live line on a terminal, nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> TaskProgress:
        self._progress.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` are done."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done)


def describe_source(source: Source) -> dict[str, Any]:
    """Which images figures rest on."""
    return {
        "name": source.name,
        "num_images": len(source),
        "num_classes": len(source.class_names),
        "fingerprint": source.fingerprint(),
    }


def circumstances(machine: str) -> dict[str, Any]:
    """What figures were made with: software, hardware, and the commit of a source checkout."""
    packages = (
        "massrl",
        "torch",
        "torchvision",
        "lightning",
        "opencv-python-headless",
        "scikit-learn",
    )
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # such as a checkout that is not installed
            versions[package] = "not installed"
    return {
        "software": {"python": platform.python_version(), **versions},
        "hardware": f"{machine}, {platform.machine()}",
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the checkout this package is run from, ``None`` when it was installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
