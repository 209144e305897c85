"""Base class of evaluation tasks, their results, and how tasks are made from what the user asks for."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from massrl.config.evaluation import ALL, EvaluateConfig
from massrl.errors import ConfigError, MassrlError, suggest
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.data import NEEDS
from massrl.evaluation.metrics import classification_metrics
from massrl.registry import TASKS
from massrl.registry.calls import parse_call

logger = logging.getLogger("massrl")


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What a task measured, under one name.

    Attributes:
        name: the task's own name, or one that begins with it, such as ``semi-supervised-10``.
        metrics: metrics in percent and what they consist of; ``num_images`` of the test set by default.
        settings: settings in use, those that were selected among them; nothing of the test images.
        scores: ``(n, num_classes)`` of the test images, higher is better; ``None`` where there are none.
        context: the backbone and the images that the metrics were measured with.
        seconds: time it took.
    """

    name: str
    metrics: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    scores: Tensor | None = None
    context: EvaluationContext | None = None
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return metrics, settings and seconds, as ``results.json`` stores them."""
        return {**self.metrics, **self.settings, "seconds": self.seconds}


class Task(ABC):
    """One way to evaluate a backbone.

    A task of another package derives from this class and is registered under the entry-point group
    ``massrl.tasks``. Arguments of its constructor are its own settings: ``--task "mytask(alpha=2)"``.

    Attributes:
        name: what the user asked for: the registered name, with arguments where there are any.
        title: name for people.
        needs: what it is evaluated on: ``images`` with labels, ``objects`` with boxes, ``maps`` with a
            class per pixel, or ``sets``, each data set of ``--transfer.sets`` in turn.
        settings: fields of ``EvaluateConfig`` that its metrics depend on; two results are comparable
            where these are equal.
        headline: keys of its main metrics, the most important one first.
        frozen: whether the weights of the backbone stay as they are.
        caption: of its picture, if it draws one.
        files: that it writes: endings of ``EvaluationContext.output``'s names.
    """

    name: str = ""
    title: str
    needs: str = "images"
    settings: tuple[str, ...] = ("seed",)
    headline: tuple[str, ...] = ("acc1",)
    frozen: bool = True
    caption: str = ""
    files: tuple[str, ...] = ()

    def check(self, network: nn.Module) -> None:  # noqa: B027 (most tasks take any backbone)
        """Refuse a backbone that the task cannot evaluate, before anything is computed.

        Raises:
            ConfigError: if it is of the wrong kind.
        """

    @abstractmethod
    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Yield results as they are measured.

        Everything is selected on ``context.train`` alone; ``context.test`` is only predicted.
        """

    @classmethod
    def result_title(cls, detail: str) -> str:
        """Return the name for people of a result.

        Args:
            detail: what follows the task's name in the result's, without the hyphen; may be empty.
        """
        return f"{cls.title} {detail}".strip()


def classification_result(
    context: EvaluationContext, name: str, scores: Tensor, settings: Mapping[str, Any]
) -> TaskResult:
    """Return the accuracies of class scores.

    Args:
        context: the images that were classified.
        name: of the result.
        scores: ``(n, num_classes)`` of the test images, higher is better.
        settings: settings in use.
    """
    metrics = classification_metrics(
        scores.cpu(), context.test_features.labels, class_names=context.train.class_names
    )
    return TaskResult(name=name, metrics=metrics, settings=settings, scores=scores)


def text_keys(accuracy: Mapping[float, float]) -> dict[str, float]:
    """Return a mapping by numbers as one by texts, as JSON wants it."""
    return {f"{key:g}": value for key, value in accuracy.items()}


def build_tasks(texts: Iterable[str]) -> list[Task]:
    """Make the tasks that a user asks for, each of them once.

    Args:
        texts: names, with arguments in brackets; ``all`` for every task of the table that can be made
            without arguments.

    Raises:
        ConfigError: if a task is unknown or cannot be used.
    """
    tasks: list[Task] = []
    for text in texts:
        if text != ALL:
            tasks.append(_build_task(text))
            continue
        for name in TASKS:
            try:
                tasks.append(_build_task(name))
            except ConfigError as error:  # in another package
                logger.warning("%s is skipped: %s", name, error)
    return list({task.name: task for task in tasks}.values())


def _build_task(text: str) -> Task:
    task = TASKS.build(text)
    call = parse_call(text, flag=TASKS.flag)
    if not isinstance(task, Task):
        package = TASKS[call.name].package
        raise ConfigError(
            f"task {call.name!r} of package {package} is no massrl.evaluation.task.Task"
        )
    if task.needs not in NEEDS:
        raise ConfigError(f"task {call.name!r} needs {task.needs!r}: {suggest(task.needs, NEEDS)}")
    has_arguments = call.arguments or call.keywords
    task.name = "".join(text.split()) if has_arguments else call.name
    return task


def task_of(result: str) -> tuple[str, type[Task]] | None:
    """Return name and class of the task that a result comes from.

    Args:
        result: the result's name, which begins with that of its task.

    Returns:
        ``None`` for a task that is not installed here.
    """
    names = [
        name for name in TASKS if result == name or result.startswith((f"{name}-", f"{name}("))
    ]
    with suppress(ConfigError):  # a package that cannot be imported
        name = max(names, key=len, default="")
        task = TASKS.load(name) if name else None
        if isinstance(task, type) and issubclass(task, Task):
            return name, task
    return None


@contextmanager
def skip_on_error(name: str, config: EvaluateConfig) -> Iterator[None]:
    """Skip what fails, with a warning, where ``all`` tasks are asked for; otherwise raise."""
    try:
        yield
    except MassrlError as error:
        if ALL not in config.task:
            raise
        logger.warning("%s is skipped: %s", name, error)
