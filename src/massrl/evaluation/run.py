"""Run evaluation tasks: each on the images that it needs, results as they come."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from massrl.config.evaluation import ALL, EvaluateConfig
from massrl.errors import ConfigError, DataError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.data import SETS, open_images, short_names, transfer_images
from massrl.evaluation.results import METRICS
from massrl.evaluation.task import Task, TaskResult, build_tasks, skip_on_error

logger = logging.getLogger("massrl")


def run_tasks(context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
    """Yield the results of each task as it finishes; with ``--task all``, a failing task is skipped.

    All images but those of other data sets are opened before anything is computed.

    Args:
        context: the backbone. Where it has images already, all tasks are run on these.
        config: the tasks and their settings.

    Raises:
        ConfigError: if a task is unknown, or does not fit the backbone.
        DataError: if a task has no images.
    """
    tasks = build_tasks(config.task)
    if ALL not in config.task:
        for task in tasks:
            task.check(context.network)
    opened = _open_needs(tasks, context, config)
    for number, task in enumerate(tasks, start=1):
        if task.needs in opened:
            with skip_on_error(task.name, config):
                yield from _timed(task, opened[task.needs], config)
            if all(later.needs != task.needs for later in tasks[number:]):
                del opened[task.needs]  # with the features, which may take gigabytes
        elif task.needs == SETS:
            yield from _run_on_sets(task, context, config)


def _open_needs(
    tasks: Sequence[Task], context: EvaluationContext, config: EvaluateConfig
) -> dict[str, EvaluationContext]:
    """Return the backbone with the images of each need; of ``all`` tasks, needs may lack images."""
    needs = dict.fromkeys(task.needs for task in tasks)
    if context.data is not None:
        return dict.fromkeys(needs, context)
    opened: dict[str, EvaluationContext] = {}
    faults: list[DataError] = []
    for need in needs:
        if need == SETS:
            continue
        try:
            opened[need] = context.on(open_images(need, config.data, context.run))
        except DataError as error:
            faults.append(error)
    has_sets = SETS in needs and bool(config.transfer.sets)
    if ALL not in config.task:
        if faults:
            raise faults[0]
        if SETS in needs and not has_sets:
            name = next(task.name for task in tasks if task.needs == SETS)
            raise ConfigError(
                f"--task {name} needs data sets: --transfer.sets takes names such as food101, and "
                f"folders"
            )
    elif faults and not opened and not has_sets:
        raise faults[0]
    for fault in faults:
        logger.info("skipped: %s", fault)
    return opened


def _run_on_sets(
    task: Task, context: EvaluationContext, config: EvaluateConfig
) -> Iterator[TaskResult]:
    for name, spec in short_names(config.transfer.sets).items():
        with skip_on_error(f"{task.name}-{name}", config):
            data = transfer_images(spec, config.data, name=name)
            yield from _timed(task, context.on(data), config)


def _timed(task: Task, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
    """Yield the results of a task with their images and the seconds that each of them took.

    Metrics that only the task knows are named in the result, so that pages show them without the task.
    """
    own = [] if set(task.headline) <= set(METRICS) else list(task.headline)
    begin = time.perf_counter()
    for result in task.run(context, config):
        metrics = dict(result.metrics)
        metrics.setdefault("num_images", len(context.test))
        if own:
            metrics["headline"] = own
        seconds = round(time.perf_counter() - begin, 2)
        yield replace(result, metrics=metrics, context=context, seconds=seconds)
        begin = time.perf_counter()
