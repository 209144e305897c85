"""``massrl pretrain``: start or resume a run, from Python and from the shell."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Console

from massrl.commands.arguments import take
from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.errors import ConfigError
from massrl.runs.folder import RunFolder

if TYPE_CHECKING:
    from massrl.train.session import PretrainResult


def pretrain(
    config: Config | dict[str, Any] | str | Path,
    *,
    console: Console | None = None,
    title: str = "pre-training",
) -> PretrainResult:
    """Pre-train a backbone without labels.

    Args:
        config: a ``Config``, nested mappings such as ``{"recipe": "default", "data": {"train":
            "photos"}}``, the path of a YAML file, or the name of a recipe.
        console: where progress is shown; the terminal by default.
        title: what progress calls the run.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    from massrl.train.pretrain import start_run

    wanted = config if isinstance(config, Config) else make_config(read_layers(config))
    return start_run(wanted, console=console or Console(stderr=True), title=title)


def resume(
    run: str | Path,
    config: Config | None = None,
    *,
    console: Console | None = None,
    title: str = "pre-training",
) -> PretrainResult:
    """Go on with a run from its last checkpoint, to the same weights as if it had never stopped.

    Args:
        run: the run folder.
        config: the run's own configuration with what is to be different from here on, such as where
            the images now lie; by default nothing is.
        console: where progress is shown; the terminal by default.
        title: what progress calls the run.

    Raises:
        CheckpointError: if the folder holds no run, or its data are no longer the same.
        ConfigError: if the configuration differs in what would make it another run.
    """
    from massrl.train.pretrain import resume_run

    folder = RunFolder.existing(run, flag="--resume")
    return resume_run(folder, config, console=console or Console(stderr=True), title=title)


def run_pretrain(words: list[str]) -> int:
    """Run ``massrl pretrain`` and return the exit code."""
    run = take(words, "--resume")
    if run is not None:
        if any(take(words, flag) for flag in ("--recipe", "--config", "--init-from")):
            raise ConfigError(
                "--resume goes on with a run as it was started: no --recipe, --config or --init-from"
            )
        return _resume(run, words)
    config = requested_config(words)

    return _after_training(pretrain(config))


def requested_config(words: list[str]) -> Config:
    """The configuration of a new run: flags over a file or a recipe, or over the default recipe."""
    from massrl.config.files import read_layers
    from massrl.config.parser import make_config
    from massrl.recipes import DEFAULT_RECIPE

    recipe, file, weights = (take(words, flag) for flag in ("--recipe", "--config", "--init-from"))
    if file is None:
        content = read_layers(recipe or DEFAULT_RECIPE)
    else:
        content = read_layers(Path(file), recipe=recipe)
    if weights is not None:
        words += ["--model.init_from", weights]
    return make_config(content, arguments=words)


def _resume(run: str, words: list[str]) -> int:
    from massrl.config.files import load_config
    from massrl.config.parser import make_config
    from massrl.runs.folder import RunFolder

    content = load_config(RunFolder.existing(run, flag="--resume").config).to_dict()
    config = make_config(content, arguments=words)

    return _after_training(resume(run, config))


def _after_training(result: Any) -> int:
    session, folder = result.session, result.folder
    if not result.is_main:
        return 0
    if session.skipped:
        print(
            f"{len(session.skipped)} broken images were skipped; log.txt names them",
            file=sys.stderr,
        )
    if session.stopped_by is not None:
        print(f"stopped by {session.stopped_by} after step {session.step} and saved; go on with:")
        print(f"  massrl pretrain --resume {quote(str(folder))}")
        return 0
    print(f"done: {session.step} steps, {session.seconds:.0f} seconds")
    print(f"  backbone  {folder / 'backbone.safetensors'}")
    print(f"  report    {folder / 'report.html'}")
    print(
        f"judge it with: massrl evaluate {quote(str(folder))} --task knn,linear "
        f"--data.train DIR --data.val DIR"
    )
    return 0
