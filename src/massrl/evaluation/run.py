"""Judges a backbone, wherever it comes from, and writes down what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from massrl.config.evaluation import EvaluateConfig
from massrl.config.files import load_config
from massrl.data.annotated import ObjectSource, ObjectSubset
from massrl.data.check import drop_broken
from massrl.data.source import Subset
from massrl.errors import ConfigError, DataError, suggest
from massrl.evaluation.context import EvaluatedBackbone, EvaluationContext, Images, open_network
from massrl.evaluation.data import (
    align_labels,
    evaluation_sources,
    object_sources,
    with_skip_hint,
)
from massrl.evaluation.feature_cache import network_fingerprint
from massrl.evaluation.metrics import classification_metrics
from massrl.evaluation.object_tasks import OBJECT_TASKS, run_object_task
from massrl.evaluation.results import _earlier, results_path
from massrl.evaluation.stages import Stages
from massrl.evaluation.task import ALL, LOOK, TRANSFER, skip_on_error
from massrl.evaluation.tasks import TASKS
from massrl.evaluation.tasks.feature_maps import POLICIES, look
from massrl.evaluation.tasks.transfer import run_transfer
from massrl.files import write_json
from massrl.images.pictures import save_picture
from massrl.runs.environment import detect_hardware
from massrl.runs.folder import RunFolder
from massrl.runs.log import TaskProgress

logger = logging.getLogger("massrl")


def evaluate_backbone(
    backbone: str | Path | nn.Module, wanted: EvaluateConfig, *, console: Console
) -> dict[str, Any]:
    """Judge a backbone and write what came of it; see ``massrl.evaluate``."""
    from massrl.report.run_page import report_run

    tasks = chosen_tasks(wanted.task)
    name = None if isinstance(backbone, nn.Module) else str(backbone)
    run = RunFolder(name) if name is not None and Path(name).is_dir() else None
    config = load_config(run.config) if run is not None and run.config.is_file() else None
    network, about = open_network(backbone, config, random_init=wanted.random_init)
    judged = EvaluatedBackbone(
        network, about, network_fingerprint(network), config, detect_hardware()
    )
    path = results_path(name or "", wanted) if name is not None or wanted.out else None
    results: dict[str, Any] = {
        "backbone": {
            "name": name,
            "fingerprint": judged.fingerprint,
            "random_init": wanted.random_init,
            **about,
        },
        "run": config.to_dict() if config is not None else None,
        "tasks": {} if path is None else _earlier(path, judged),
    }
    done = 0
    try:
        with TaskProgress(console) as progress, with_skip_hint():
            images, objects = _open(tasks, wanted, judged)
            for outcome, figures in _outcomes(judged, images, objects, wanted, path, progress):
                results["tasks"].pop(outcome, None)
                results["tasks"][outcome] = figures
                if path is not None:  # after every task: the next one may end all
                    write_json(path, results)
                done += 1
    finally:
        if path is not None and done:
            report_run(RunFolder(path.parent))
    if not done:
        raise ConfigError("none of the tasks could be carried out: see above (--task)")
    return results


Objects = tuple[ObjectSource, ObjectSource]


def _outcomes(
    judged: EvaluatedBackbone,
    images: Images | None,
    objects: dict[str, Objects],
    wanted: EvaluateConfig,
    path: Path | None,
    progress: TaskProgress,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task's figures as they come; of ``all`` tasks one that fails costs itself alone."""
    if images is not None:
        yield from _judge_images(judged, images, wanted, path, progress)
    if TRANSFER in chosen_tasks(wanted.task) and (wanted.transfer.sets or ALL not in wanted.task):
        yield from run_transfer(judged, wanted, progress)
    for task, parts in objects.items():
        with skip_on_error(task, wanted):
            yield task, _judge_objects(task, judged, parts, wanted, path, progress)


def _open(
    tasks: list[str], wanted: EvaluateConfig, judged: EvaluatedBackbone
) -> tuple[Images | None, dict[str, Objects]]:
    """The images that the tasks need; of ``all`` tasks those fall away that the images do not allow."""
    images: Images | None = None
    objects: dict[str, Objects] = {}
    faults = []
    run = judged.config
    if ALL not in wanted.task and any(task in OBJECT_TASKS for task in tasks):
        Stages(judged.network)  # refuses what has none, before anything is computed
    if any(task in (*TASKS, LOOK) for task in tasks):
        try:
            train, test, held_out = evaluation_sources(wanted.data, run)
            images = train, align_labels(train, test), held_out
        except DataError as error:
            faults.append(error)
    for task in filter(OBJECT_TASKS.__contains__, tasks):
        try:
            objects[task] = object_sources(wanted.data, run, maps=task == "segment")
        except DataError as error:
            faults.append(error)
    nothing = images is None and not objects and not wanted.transfer.sets
    if faults and (ALL not in wanted.task or nothing):
        raise faults[0]
    for fault in faults:
        logger.info("left out: %s", fault)
    return images, objects


def _judge_images(
    judged: EvaluatedBackbone,
    images: Images,
    wanted: EvaluateConfig,
    path: Path | None,
    progress: TaskProgress,
) -> Iterator[tuple[str, dict[str, Any]]]:
    subject, about = judged.subject(images, wanted, progress)
    for name, item in run_tasks(subject, wanted):
        yield name, {**item, **about}
    if LOOK in chosen_tasks(wanted.task):
        with skip_on_error(LOOK, wanted):
            yield LOOK, {**_look(judged, subject, wanted, path), **about}


def _look(
    judged: EvaluatedBackbone, subject: EvaluationContext, wanted: EvaluateConfig, path: Path | None
) -> dict[str, Any]:
    begin = time.perf_counter()
    views = judged.config.views if judged.config is not None else None
    word = "-random-init" if wanted.random_init else ""
    seen = look(
        subject,
        wanted.features,
        None if path is None else path.with_name(f"features{word}"),
        side=judged.about["size"],
        policies=(views.policies if views is not None else None) or POLICIES,
        fill=(views.fill if views is not None else None) or 0,
        seed=wanted.seed,
    )
    if path is not None:
        seen["folder"] = f"features{word}"
    return {**seen, "seconds": round(time.perf_counter() - begin, 2)}


def _judge_objects(
    task: str,
    judged: EvaluatedBackbone,
    parts: Objects,
    wanted: EvaluateConfig,
    path: Path | None,
    progress: TaskProgress,
) -> dict[str, Any]:
    (train, test), left_out = parts, 0
    if wanted.data.on_error == "skip":
        (train, broken), (test, more) = map(_without_broken, parts)
        left_out = broken + more
        if left_out:
            logger.warning("%d broken images are left out", left_out)
    outcome = run_object_task(
        task,
        judged.network,
        train,
        test,
        wanted,
        normalization=judged.normalization,
        device=judged.device,
        progress=progress,
    )
    figures = dict(outcome.figures)
    if outcome.picture is not None and path is not None:
        word = "-random-init" if wanted.random_init else ""
        figures["picture"] = f"{task}{word}.png"
        save_picture(outcome.picture, path.with_name(figures["picture"]))
    return {**figures, **judged.provenance(wanted, train, test, held_out=False, left_out=left_out)}


def _without_broken(source: ObjectSource) -> tuple[ObjectSource, int]:
    kept, broken = drop_broken(source)
    assert isinstance(kept, Subset)
    return (ObjectSubset(source, kept.indices) if broken else source), broken


def judge(subject: EvaluationContext, config: EvaluateConfig) -> dict[str, dict[str, Any]]:
    """Carry out those tasks of a configuration that are about images as a whole.

    Args:
        subject: the backbone and its images; every choice, such as a probe's regularisation, is made on
            the images to learn from alone.
        config: ``task``, and what the tasks are set by.

    Returns:
        For each outcome its figures in percent (``acc1``, ``acc5``, ``mean_per_class``, ``per_class``), what
        was chosen, and the ``seconds`` it took.

    Raises:
        ConfigError: if a task is unknown.
    """
    return dict(run_tasks(subject, config))


def run_tasks(
    subject: EvaluationContext, config: EvaluateConfig
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each outcome of ``judge`` as it comes; of ``all`` tasks one that fails costs itself alone."""
    for task in filter(TASKS.__contains__, chosen_tasks(config.task)):
        begin = time.perf_counter()
        with skip_on_error(task, config):
            for name, scores, chosen in TASKS[task].run(subject, config):
                metrics = classification_metrics(
                    scores.cpu(),
                    subject.test_features.labels,
                    class_names=subject.train.class_names,
                )
                seconds = round(time.perf_counter() - begin, 2)
                yield name, {**metrics, **chosen, "seconds": seconds}
                begin = time.perf_counter()


def chosen_tasks(tasks: Iterable[str]) -> list[str]:
    """The tasks by name, ``all`` written out; refuses one that does not exist."""
    chosen: dict[str, None] = {}
    known = [*TASKS, LOOK, TRANSFER, *OBJECT_TASKS]
    for task in tasks:
        if task not in (ALL, *known):
            raise ConfigError(f"unknown task {task!r}: {suggest(task, [ALL, *known])} (--task)")
        chosen |= dict.fromkeys(known if task == ALL else [task])
    return list(chosen)
