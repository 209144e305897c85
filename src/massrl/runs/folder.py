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
from massrl.files import check_outputs, write_text, written_by

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
        start: where the initial weights of a run with ``--init-from`` come from.
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
        self.start = self.path / "start.json"
        self.matrix = self.path / "loss_matrix.json"
        self.matrix_picture = self.path / "loss_matrix.png"
        self.views = self.path / "views.png"
        self.non_finite = self.path / "non_finite.json"
        self.loggers = self.path / "loggers.json"
        self.results = self.path / "results.json"
        self.report = self.path / "report.html"
        self.log = self.path / "log.txt"

    @property
    def files(self) -> list[Path]:
        """Every file of a run, except copies of policies."""
        own = [value for name, value in vars(self).items() if name != "path"]
        return [*own, self.path / "results-random-init.json"]

    @classmethod
    def new(cls, path: str | Path, *, overwrite: bool = False) -> RunFolder:
        """Create the folder of a new run; with ``overwrite``, remove the files of an earlier one.

        Raises:
            ConfigError: if it has a run already, or files of somebody else, or cannot be written to.
        """
        folder = cls(path)
        if overwrite:
            folder.clear()
        else:
            folder.check_new()
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.log.open("a").close()
        except OSError as error:
            raise ConfigError(
                f"--out {path} cannot be written to: {error.strerror}; choose another folder"
            ) from None
        return folder

    def check_new(self, *, overwrite: bool = False) -> None:
        """Refuse a folder in which a new run would replace a run, or files of somebody else.

        What a run left that ended before its first checkpoint is no loss.

        Raises:
            ConfigError: if something would be replaced, and ``overwrite`` is not given.
        """
        if (self.checkpoint.exists() or self.backbone.exists()) and not overwrite:
            raise ConfigError(
                f"{self.path} has a run already: --resume {self.path} continues it, another --out starts "
                "a new one, --overwrite replaces it"
            )
        over = next(item for item in (self.path, *self.path.absolute().parents) if item.exists())
        if not over.is_dir():
            raise ConfigError(f"--out {self.path} cannot be written to: {over} is a file")
        files = dict.fromkeys(self.files, "pretrain")
        if _is_log(self.log):
            del files[self.log], files[self.loggers]
        elif (policies := self.path / "policies").exists():
            files |= dict.fromkeys(policies.iterdir(), "pretrain")
        check_outputs(files, overwrite=overwrite)

    def check_earlier(self, *, overwrite: bool = False) -> None:
        """Refuse a folder that is not of an earlier run, which ``clear`` is to remove.

        Raises:
            ConfigError: if its log or configuration is somebody else's, and ``overwrite`` is not given.
        """
        own_config = not self.config.exists() or written_by(self.config) == "pretrain"
        if not (overwrite or (_is_log(self.log) and own_config)):
            raise ConfigError(f"{self.path} is something else than a run: choose another --out")

    def clear(self) -> None:
        """Remove the files of a run, and nothing else in its folder."""
        try:
            for file in (*self.files, *self.path.glob("policies/[0-9]*-*")):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"--out {self.path}: {error.strerror}: {error.filename}") from None

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


def _is_log(path: Path) -> bool:
    """Return whether a file is the log of a run, or the beginning of one that a full disk cut off."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(20).decode("latin-1")
    wanted = "0000-00-00 00:00:00 "
    pairs = zip(start, wanted, strict=False)
    return all(char.isdigit() if like == "0" else char == like for char, like in pairs)


def weights_file(path: Path, *, flag: str, complete: bool = True) -> Path:
    """Return the file with the weights of a run; a path that is no folder as it is.

    Args:
        path: a run folder, or a file.
        flag: the flag it was given by, for the error.
        complete: whether the run must be; else its checkpoint is returned where it has one.

    Raises:
        CheckpointError: if a folder has no run, or none that is complete.
    """
    if not path.is_dir():
        return path
    folder = RunFolder.existing(path, flag=flag)
    if not complete and folder.checkpoint.is_file():
        return folder.checkpoint
    if not folder.backbone.is_file():
        raise CheckpointError(
            f"{path} has no {folder.backbone.name} yet, since its run is not complete: "
            f"massrl pretrain --resume {quote(str(path))} completes it"
        )
    return folder.backbone


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
