"""``massrl evaluate``: evaluate a backbone and write the results and the report."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from massrl.commands.arguments import first
from massrl.commands.early_checks import check_evaluation
from massrl.config.evaluation import ALL, EvaluateConfig
from massrl.config.parser import make
from massrl.errors import CheckpointError, ConfigError, counted
from massrl.registry import TASKS

if TYPE_CHECKING:
    from rich.console import Console
    from torch import nn

    from massrl.config.pretrain import Config
    from massrl.evaluation.context import EvaluationContext

logger = logging.getLogger("massrl")


def evaluate(
    backbone: str | Path | nn.Module,
    config: EvaluateConfig | dict[str, Any] | None = None,
    *,
    console: Console | None = None,
) -> dict[str, Any]:
    """Evaluate a backbone on labelled images.

    Args:
        backbone: whatever ``load_backbone`` takes, such as a run folder, a checkpoint of another project
            or ``timm:resnet50``; or a network that it returned.
        config: tasks, data and settings; fields of the data that are not set are as in the run.
        console: where progress is shown; the terminal by default.

    Returns:
        The content of ``results.json``: ``backbone``, ``run`` and ``tasks`` with the metrics, settings and
        provenance of each result, those of earlier evaluations of the same weights included. It is written
        into the run folder, or one beside the file, or ``config.out`` where that is set.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    options = config if isinstance(config, EvaluateConfig) else make(EvaluateConfig, config or {})
    name = str(backbone) if isinstance(backbone, str | Path) else None
    if name is not None:
        check_evaluation(name, options)
    from rich.console import Console

    from massrl.evaluation.results import earlier_results
    from massrl.runs.log import TaskProgress

    path = results_path(name or "", options) if name is not None or options.out else None
    if path is not None:
        _check_outputs(backbone, options, path)
    with TaskProgress(console or Console(stderr=True)) as progress:
        context, fingerprint = _open_context(backbone, options, path, progress)
        about = {
            "name": name,
            "fingerprint": fingerprint,
            "random_init": options.random_init,
            **context.about,
        }
        results = {
            "backbone": about,
            "run": context.run.to_dict() if context.run is not None else None,
            "tasks": {} if path is None else earlier_results(path.parent, about),
        }
        if path is not None and not options.overwrite:
            _check_same_backbone(path, about)
        if not _run_and_write(context, options, results, path):
            raise ConfigError("no task could be run: see above (--task)")
    return results


def _run_and_write(
    context: EvaluationContext, options: EvaluateConfig, results: dict[str, Any], path: Path | None
) -> int:
    """Run the tasks, add their results to the others, and write them and the page.

    Returns:
        The number of new results.
    """
    from massrl.evaluation.data import with_skip_hint
    from massrl.evaluation.run import run_tasks
    from massrl.files import write_json
    from massrl.report.run_page import report_run
    from massrl.runs.folder import RunFolder

    done = 0
    try:
        with with_skip_hint():
            for result in run_tasks(context, options):
                assert result.context is not None
                provenance = result.context.provenance(options)
                results["tasks"].pop(result.name, None)  # the latest come last
                results["tasks"][result.name] = {**result.to_dict(), **provenance}
                if path is not None:  # after every task, since the next one may fail
                    write_json(path, results)
                done += 1
    finally:
        if path is not None and done:
            report_run(RunFolder(path.parent))
    return done


def _check_outputs(backbone: str | Path | nn.Module, options: EvaluateConfig, path: Path) -> None:
    """Refuse to replace files of the user's, or to put the results of one backbone beside another run.

    Pictures that the results in the folder name are massrl's own.
    """
    from massrl.evaluation.results import DAMAGED, read_results
    from massrl.files import check_outputs, written_by
    from massrl.runs.folder import RunFolder

    folder, given = RunFolder(path.parent), isinstance(backbone, str | Path)
    own = given and Path(str(backbone)).resolve() == folder.path.resolve()
    if written_by(folder.config) and not own and not options.overwrite:
        raise ConfigError(
            f"{folder.path} is the folder of another run, whose results these would seem to be: choose "
            "another --out, or give --overwrite"
        )
    known: set[str] = set()
    with suppress(*DAMAGED):
        tasks = read_results(folder.path, random_init=options.random_init)["tasks"].values()
        known = {str(task[key]) for task in tasks for key in ("picture", "folder") if key in task}
    outputs = dict.fromkeys((path, folder.report), "evaluate")
    suffix = "-random-init" if options.random_init else ""
    for name in TASKS if ALL in options.task else options.task:
        with suppress(ConfigError):  # said when it is made
            files = [f"{name}{suffix}{ending}" for ending in TASKS.load_call(name).files]
            new = [file for file in files if Path(file).parts[0] not in known]
            outputs |= {folder.path / file: "evaluate" for file in new}
    data = (options.data.train, options.data.val, backbone if given and not own else None)
    read = [item for item in data if isinstance(item, str | Path)]
    check_outputs(outputs, inputs=read, overwrite=options.overwrite)


def _check_same_backbone(path: Path, about: dict[str, Any]) -> None:
    """Refuse to replace the results of another backbone by those of this one."""
    from massrl.files import read_json

    with suppress(CheckpointError, KeyError):
        earlier = read_json(path, {"backbone": dict})["backbone"]
        if all(earlier[key] != about[key] for key in ("name", "fingerprint")):
            raise ConfigError(
                f"{path} has the results of {earlier['name']}, which would be replaced: choose another "
                "--out, or give --overwrite"
            )


def results_path(backbone: str | Path, config: EvaluateConfig) -> Path:
    """Return the file that the results of a backbone are written to.

    In ``config.out``, else in the run folder, a folder beside the file, or one named after a library's
    network.
    """
    from massrl.evaluation.results import results_name
    from massrl.models.names import is_library_name

    name = results_name(random_init=config.random_init)
    if config.out:
        return Path(config.out).expanduser() / name
    path = Path(str(backbone))
    if is_library_name(str(backbone)):
        return Path("runs") / str(backbone).replace(":", "-") / name
    return (path if path.is_dir() else path.with_name(f"{path.stem}-results")) / name


def _open_context(
    backbone: str | Path | nn.Module, options: EvaluateConfig, path: Path | None, progress: Any
) -> tuple[EvaluationContext, str]:
    """Return the backbone, ready to be evaluated, and the fingerprint of its weights."""
    from massrl.config.files import load_config
    from massrl.evaluation.context import EvaluationContext
    from massrl.evaluation.feature_cache import network_fingerprint
    from massrl.models.names import is_users_code
    from massrl.runs.environment import detect_hardware
    from massrl.runs.folder import RunFolder

    run = None
    if isinstance(backbone, str | Path) and Path(backbone).is_dir():
        file = RunFolder(backbone).config
        run = load_config(file) if file.is_file() else None
    network = _load_network(backbone, run, options)
    about: dict[str, Any] = network.about  # type: ignore[assignment]
    fingerprint = network_fingerprint(network)
    cached = options.cache and not is_users_code(about["backbone"])
    context = EvaluationContext(
        network=network,
        about=about,
        hardware=detect_hardware(),
        run=run,
        cache_key=fingerprint if cached else None,
        folder=path.parent if path is not None else None,
        suffix="-random-init" if options.random_init else "",
        progress=progress,
    )
    return context, fingerprint


def _load_network(
    backbone: str | Path | nn.Module, run: Config | None, options: EvaluateConfig
) -> nn.Module:
    """Load the network, with a warning where its run is not complete.

    Raises:
        ConfigError: if it is a module that does not tell how its images are prepared.
    """
    from massrl.weights.load import load_backbone, refuse_told

    if not isinstance(backbone, str | Path):
        refuse_told("a module", options.model)
        if options.random_init or not isinstance(getattr(backbone, "about", None), dict):
            raise ConfigError(
                "a module to evaluate must come from massrl.load_backbone, which tells how images are "
                "prepared; load_backbone(…, random_init=True) returns its random weights"
            )
        return backbone
    network = load_backbone(backbone, random_init=options.random_init, model=options.model)
    step = network.about["step"]  # type: ignore[index]
    total = run.train.max_steps if run is not None else None
    if total and step < total and not options.random_init:
        logger.warning(
            "the run is not complete: its weights after step %d of %d are evaluated; "
            "massrl pretrain --resume %s completes it",
            step,
            total,
            quote(str(backbone)),
        )
    return network


def run_evaluate(words: list[str]) -> int:
    """Run ``massrl evaluate`` and return the exit code."""
    backbone = first(words, "the run folder, file or name to evaluate")
    config = make(EvaluateConfig, arguments=words)
    tasks = evaluate(backbone, config)["tasks"]
    from massrl.evaluation.results import headline_keys, metric_label, metric_text

    width = max(map(len, tasks))
    for name, result in tasks.items():
        metrics = [
            f"{metric_label(key)} {metric_text(result, key, '{:6.2f} %')}"
            for key in headline_keys(result)
        ]
        print("   ".join([f"{name:<{width}}", *metrics, counted(result["num_images"], "image")]))
    path = results_path(backbone, config)
    print(path)
    print(path.with_name("report.html"))
    return 0
