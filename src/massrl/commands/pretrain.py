"""``massrl pretrain``: start or resume a run."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from massrl.commands.arguments import switch, take
from massrl.commands.early_checks import check_new_run
from massrl.commands.exit_codes import exit_code
from massrl.config.files import load_config, read_layers
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.data.script_guard import refuse_during_import
from massrl.errors import ConfigError, counted

if TYPE_CHECKING:
    from rich.console import Console

    from massrl.train.session import PretrainResult


def pretrain(
    config: Config | dict[str, Any] | str | Path,
    *,
    console: Console | None = None,
    title: str = "pre-training",
    overwrite: bool = False,
) -> PretrainResult:
    """Pre-train a backbone without labels.

    Args:
        config: a ``Config``, nested mappings such as ``{"recipe": "default", "data": {"train":
            "photos"}}``, the path of a YAML file, or the name of a recipe.
        console: where progress is shown; the terminal by default.
        title: name of the run in the progress display.
        overwrite: start anew in a folder that has a run or files of somebody else, and replace those that
            a run writes too.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    refuse_during_import()
    begin = time.monotonic()  # a time budget includes the imports
    wanted = config if isinstance(config, Config) else make_config(read_layers(config))
    check_new_run(wanted)
    from massrl.train.pretrain import start_run

    return start_run(
        wanted, console=console or _terminal(), title=title, begin=begin, overwrite=overwrite
    )


def resume(
    run: str | Path,
    config: Config | None = None,
    *,
    console: Console | None = None,
    title: str = "pre-training",
) -> PretrainResult:
    """Continue a run from its last checkpoint, to the same weights as if it had never stopped.

    Args:
        run: the run folder.
        config: the run's configuration with changes from here on, such as the place of the images; the
            run's own by default.
        console: where progress is shown; the terminal by default.
        title: name of the run in the progress display.

    Raises:
        CheckpointError: if the folder holds no run, or its data have changed.
        ConfigError: if the configuration differs in a field that would make it another run.
    """
    refuse_during_import()
    from massrl.runs.folder import RunFolder
    from massrl.train.pretrain import resume_run

    folder = RunFolder.existing(run, flag="--resume")
    return resume_run(folder, config, console=console or _terminal(), title=title)


def _terminal() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def run_pretrain(words: list[str]) -> int:
    """Run ``massrl pretrain`` and return the exit code."""
    run = take(words, "--resume", wanted="a run folder")
    overwrite = switch(words, "--overwrite")
    if run is None:
        return _print_result(pretrain(requested_config(words), overwrite=overwrite))
    if overwrite:
        raise ConfigError("--resume continues a run, and replaces nothing: no --overwrite")
    if any(start_values(words)):
        raise ConfigError(
            "--resume continues a run as it was started: no --recipe, --config or --init-from"
        )
    from massrl.runs.folder import RunFolder

    saved = load_config(RunFolder.existing(run, flag="--resume").config)
    return _print_result(resume(run, make_config(saved.to_dict(), arguments=words)))


def start_values(words: list[str]) -> tuple[str | None, str | None, str | None]:
    """Remove ``--recipe``, ``--config`` and ``--init-from`` and return their values."""
    return (
        take(words, "--recipe", wanted="the name of a recipe (massrl recipes lists them)"),
        take(words, "--config", wanted="a YAML file, such as another run's config.yaml"),
        take(
            words,
            "--init-from",
            wanted="a run folder, a .safetensors file, or a name such as torchvision:resnet50",
        ),
    )


def requested_config(words: list[str]) -> Config:
    """Return the configuration of a new run: flags over a file or recipe, or over the default recipe."""
    from massrl.recipes import DEFAULT_RECIPE

    recipe, file, weights = start_values(words)
    if file is None:
        content = read_layers(recipe or DEFAULT_RECIPE)
    else:
        content = read_layers(Path(file), recipe=recipe)
    if weights is not None:
        words += ["--model.init_from", weights]
    return make_config(content, arguments=words)


def _print_result(result: PretrainResult) -> int:
    """Print how a run has ended, and return the exit code."""
    session, folder = result.session, result.folder
    code = exit_code(session.stopped_by)
    if not result.is_main:
        return code
    if session.skipped:
        print(
            f"{counted(len(session.skipped), 'broken image')} skipped; log.txt names them all",
            file=sys.stderr,
        )
    if session.stopped_by is not None:
        print(f"stopped by {session.stopped_by} after step {session.step} and saved; resume with:")
        print(f"  massrl pretrain --resume {quote(str(folder))}")
        return code
    print(f"done: {counted(session.step, 'step')}, {counted(round(session.seconds), 'second')}")
    print(f"  backbone  {folder / 'backbone.safetensors'}")
    print(f"  report    {folder / 'report.html'}")
    print(
        f"evaluate it with: massrl evaluate {quote(str(folder))} --task knn,linear "
        f"--data.train DIR --data.val DIR"
    )
    return 0
