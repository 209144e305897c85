"""The files of a run folder, and its lock."""

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
except ImportError:  # on Windows, where two runs in one folder are not detected
    fcntl = None  # type: ignore[assignment]


class RunFolder:
    """Paths of the files of a run.

    Attributes:
        path: the folder.
        config: the resolved configuration, which repeats the run.
        metrics: a row per logged optimiser step.
        checkpoint: everything needed to resume.
        backbone: the trained weights and their description.
        data: name, size and fingerprint of the training images.
        matrix: mean loss of every pair of views over the last steps.
        matrix_picture: the same as a picture.
        views: contact sheet of the first images.
        non_finite: step, images and plans of a non-finite loss.
        loggers: identifier of the run in each external logger.
        results: metrics of the evaluations.
        report: HTML report.
        log: log messages.
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
        """Create the folder of a new run.

        Raises:
            ConfigError: if it has a run already or cannot be written to.
        """
        folder = cls(path)
        if folder.checkpoint.exists() or folder.backbone.exists():  # else there is nothing to lose
            raise ConfigError(
                f"{path} has a run already: --resume {path} continues it, another --out starts a "
                "new one"
            )
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.log.open("a").close()
        except OSError as error:
            raise ConfigError(
                f"--out {path} cannot be written to: {error.strerror}; choose another folder"
            ) from None
        return folder

    @classmethod
    def existing(cls, path: str | Path, *, flag: str) -> RunFolder:
        """Return the folder of an existing run.

        Args:
            path: the folder.
            flag: the flag it was given by, for the error.

        Raises:
            CheckpointError: if it has no run.
        """
        folder = cls(path)
        if not folder.config.is_file():
            raise CheckpointError(f"{path} is no run folder: it has no config.yaml ({flag})")
        return folder

    @classmethod
    def free(cls, name: str) -> RunFolder:
        """Create an unused folder: ``runs/NAME``, ``runs/NAME-2`` and so on."""
        path, number = Path("runs") / name, 1
        while path.exists():
            number += 1
            path = Path("runs") / f"{name}-{number}"
        return cls.new(path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder against other training processes, and remove incomplete files of a killed one.

        The operating system releases the lock when the process ends, however it ends.

        Raises:
            ConfigError: if another process has locked it, or nothing can be written.
        """
        lock = self._open_lock()
        # Loader processes outlive a killed run by seconds: they must not keep the lock.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lock.close)
        try:
            for part in self.checkpoint.parent.glob(".*.part"):
                part.unlink(missing_ok=True)
            yield
        finally:
            lock.close()

    def _open_lock(self) -> IO[str]:
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

    def copy_policies(self, policies: Sequence[str]) -> tuple[str, ...]:
        """Copy policy files into the folder, so that later edits of them do not change the run.

        Returns:
            The policies, with the path of the copy in place of each file.
        """
        copies: dict[str, str] = {}
        for policy in policies:
            if is_policy_file(policy) and policy not in copies:
                copy = self.path / "policies" / f"{len(copies) + 1}-{Path(policy).name}"
                write_text(copy, Path(policy).expanduser().read_text(encoding="utf-8"))
                copies[policy] = str(copy)
        return tuple(copies.get(policy, policy) for policy in policies)

    def relative_policies(self, policies: Sequence[str]) -> tuple[str, ...]:
        """Return the policies with paths in the folder relative to it."""
        own = str(self.path / "policies")
        return tuple(
            str(Path(policy).relative_to(self.path)) if policy.startswith(own) else policy
            for policy in policies
        )


logger = logging.getLogger("massrl")


def with_policies(
    views: ViewsConfig, change: Callable[[Sequence[str]], tuple[str, ...]]
) -> ViewsConfig:
    """Return ``views`` with ``change`` applied to all policies, the target's included."""
    own, target = views.policies or (), views.target_policy
    changed = change([*own, *([target] if target else [])])
    policies, rest = changed[: len(own)], changed[len(own) :]
    return replace(views, policies=policies, target_policy=rest[0] if rest else None)


def save_config(folder: RunFolder, config: Config) -> None:
    """Write a resolved configuration into its folder, with paths that survive moving the folder."""
    rate = f"{config.scaled_lr:g} = optim.lr × data.batch_size / 256"
    views = with_policies(config.views, folder.relative_policies)
    text = config_text(replace(config, views=views))
    write_text(folder.config, f"# peak learning rate in use: {rate}\n{text}")


def resume_hint(folder: RunFolder) -> str:
    """Return how to continue a run that has stopped."""
    if not folder.checkpoint.is_file():
        return "no checkpoint was saved yet"
    return f"massrl pretrain --resume {quote(str(folder.path))} continues from the last checkpoint"
