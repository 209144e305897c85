"""The files of a run folder, each under its one name."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import IO

from massrl.config.checks import is_policy_file
from massrl.config.files import config_text
from massrl.config.pretrain import Config
from massrl.config.sections import ViewsConfig
from massrl.errors import CheckpointError, ConfigError
from massrl.files import write_text

try:
    import fcntl
except ImportError:  # not on Windows; two runs in one folder are then the user's own care
    fcntl = None  # type: ignore[assignment]


class RunFolder:
    """Where a run writes and is read from.

    Attributes:
        path: the folder.
        config: the resolved configuration, enough to repeat the run.
        metrics: a row per logged optimiser step.
        checkpoint: all that is needed to go on.
        backbone: the trained weights, with how to build the network.
        data: which images the run learns from.
        matrix: mean loss of every pair of views over the last steps.
        matrix_picture: the same to look at.
        views: the contact sheet of the first images.
        non_finite: step, images and plans of a loss that was not finite.
        loggers: what each logger calls its record of the run.
        results: figures of the evaluations.
        report: the page a person reads.
        log: what was said.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.csv"
        self.checkpoint = self.path / "checkpoints" / "last.ckpt"
        self.backbone = self.path / "backbone.safetensors"
        self.data = self.path / "data.json"
        self.matrix = self.path / "loss_matrix.json"
        self.matrix_picture = self.path / "loss_matrix.png"
        self.views = self.path / "views.png"
        self.non_finite = self.path / "non_finite.json"
        self.loggers = self.path / "loggers.json"
        self.results = self.path / "results.json"
        self.report = self.path / "report.html"
        self.log = self.path / "log.txt"

    @classmethod
    def new(cls, path: str | Path) -> RunFolder:
        """A folder for a new run, made if it is not there.

        Raises:
            ConfigError: if it holds a run already or cannot be made.
        """
        folder = cls(path)
        if folder.checkpoint.exists() or folder.backbone.exists():  # else there is nothing to lose
            raise ConfigError(
                f"{path} holds a run already: --resume {path} goes on with it, "
                "another --out starts anew"
            )
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.log.open("a").close()
        except OSError as error:
            reason = f"cannot be written to: {error.strerror}"
            raise ConfigError(f"--out {path} {reason}; another folder is wanted") from None
        return folder

    @classmethod
    def existing(cls, path: str | Path, *, flag: str) -> RunFolder:
        """The folder of a run that was started.

        Raises:
            CheckpointError: if it holds none.
        """
        folder = cls(path)
        if not folder.config.is_file():
            raise CheckpointError(f"{path} holds no run: it has no config.yaml ({flag})")
        return folder

    @classmethod
    def free(cls, name: str) -> RunFolder:
        """A folder that is not taken: ``runs/NAME``, ``runs/NAME-2`` and so on."""
        path, number = Path("runs") / name, 1
        while path.exists():
            number += 1
            path = Path("runs") / f"{name}-{number}"
        return cls.new(path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training in the folder; clear what a killed one left half-written.

        The system lets go of the lock when the process ends, however it does.

        Raises:
            ConfigError: if another process holds it, or nothing can be written.
        """
        lock = self._locked()
        # The loader's processes outlive a run that is killed by seconds: they must not hold its lock.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lock.close)
        try:
            for part in self.checkpoint.parent.glob(".*.part"):
                part.unlink(missing_ok=True)
            yield
        finally:
            lock.close()

    def _locked(self) -> IO[str]:
        try:
            lock = self.log.open("a")
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written to: {error.strerror}") from None
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigError(f"another process is training in {self.path}") from None
        return lock

    def keep_policies(self, policies: Sequence[str]) -> tuple[str, ...]:
        """Copy the user's own strategies into the folder, so that the run does not change with them."""
        kept: dict[str, str] = {}
        for policy in policies:
            if is_policy_file(policy) and policy not in kept:
                copy = self.path / "policies" / f"{len(kept) + 1}-{Path(policy).name}"
                write_text(copy, Path(policy).expanduser().read_text(encoding="utf-8"))
                kept[policy] = str(copy)
        return tuple(kept.get(policy, policy) for policy in policies)

    def portable(self, policies: Sequence[str]) -> tuple[str, ...]:
        """Strategies as the configuration in the folder names them: its own ones from where it lies."""
        own = str(self.path / "policies")
        return tuple(
            str(Path(policy).relative_to(self.path)) if policy.startswith(own) else policy
            for policy in policies
        )


logger = logging.getLogger("massrl")


def with_policies(
    views: ViewsConfig, change: Callable[[Sequence[str]], tuple[str, ...]]
) -> ViewsConfig:
    """The views with all strategies changed, the target's among them."""
    own, target = views.policies or (), views.target_policy
    changed = change([*own, *([target] if target else [])])
    policies, rest = changed[: len(own)], changed[len(own) :]
    return replace(views, policies=policies, target_policy=rest[0] if rest else None)


def save_config(folder: RunFolder, config: Config) -> None:
    """Write a resolved configuration into its folder, which may be moved with it."""
    rate = f"{config.scaled_lr:g} = optim.lr × data.batch_size / 256"
    views = with_policies(config.views, folder.portable)
    text = config_text(replace(config, views=views))
    write_text(folder.config, f"# peak learning rate in use: {rate}\n{text}")


def resume_hint(folder: RunFolder) -> str:
    """What a run that could not go on has kept."""
    if not folder.checkpoint.is_file():
        return "no checkpoint had been made yet"
    return (
        f"the last checkpoint is kept: massrl pretrain --resume {quote(str(folder.path))} goes on"
    )
