"""Judges a backbone by labelled images: every task on the same ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from torch import Tensor

from massrl.data.sources import Source, with_classes
from massrl.errors import ConfigError, DataError, MassrlError, suggest
from massrl.evaluate_options import EvaluateConfig
from massrl.evaluation.finetune import FinetuneResult, Goal, tune_and_predict
from massrl.evaluation.judge_objects import OBJECT_TASKS
from massrl.evaluation.knn import knn_predict
from massrl.evaluation.linear import linear_probe
from massrl.evaluation.linear_sgd import linear_sgd
from massrl.evaluation.metrics import classification_metrics
from massrl.evaluation.semi import semi_supervised
from massrl.evaluation.subject import Subject

logger = logging.getLogger("massrl")

ALL, LOOK, TRANSFER = "all", "look", "transfer"
# The published measure of these sets is the mean over the classes.
MEAN_PER_CLASS = frozenset(("fgvc_aircraft", "oxfordiiitpet", "caltech101", "flowers102"))
# What figures are called, the one that a task is known by before the others.
FIGURES = {
    "acc1": "Acc@1",
    "acc5": "Acc@5",
    "mean_per_class": "mean per class",
    "map11": "11-point mAP",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "mask_ap": "mask AP",
    "mask_ap50": "mask AP50",
    "mask_ap75": "mask AP75",
    "miou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
}


TUNED = "-finetuned"  # ends the name of such an outcome


class Outcome(NamedTuple):
    """What a task came to.

    Attributes:
        name: of the figures, such as ``semi-10`` of the task ``semi``.
        scores: ``(n, num_classes)`` of the test images, higher is better.
        chosen: settings in use, and how they were chosen.
    """

    name: str
    scores: Tensor
    chosen: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A way to judge.

    Attributes:
        title: what a person calls it.
        run: gives one outcome or several.
    """

    title: str
    run: Callable[[Subject, EvaluateConfig], Iterator[Outcome]]


def judge(subject: Subject, config: EvaluateConfig) -> dict[str, dict[str, Any]]:
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
    return dict(judge_each(subject, config))


def judge_each(subject: Subject, config: EvaluateConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each outcome of ``judge`` as it comes; of ``all`` tasks one that fails costs itself alone."""
    for task in filter(TASKS.__contains__, chosen_tasks(config.task)):
        begin = time.perf_counter()
        with may_fail(task, config):
            for name, scores, chosen in TASKS[task].run(subject, config):
                metrics = classification_metrics(
                    scores.cpu(), subject.asked.labels, class_names=subject.train.class_names
                )
                seconds = round(time.perf_counter() - begin, 2)
                yield name, {**metrics, **chosen, "seconds": seconds}
                begin = time.perf_counter()


@contextmanager
def may_fail(name: str, config: EvaluateConfig) -> Iterator[None]:
    """Where ``all`` tasks are asked for, one that fails is left out with a word; else it ends all."""
    try:
        yield
    except MassrlError as error:
        if ALL not in config.task:
            raise
        logger.warning("%s is left out: %s", name, error)


def transfer(
    subject: Subject, config: EvaluateConfig, *, name: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Judge by another data set: a linear probe, and fine-tuning where it is asked for.

    Args:
        subject: the backbone with the images of that set.
        config: ``transfer`` and ``seed``.
        name: of the set; it says which measure is its own.
    """
    metric = "mean_per_class" if name in MEAN_PER_CLASS else "acc1"
    begin = time.perf_counter()
    for outcome, scores, chosen in _transferred(subject, config, name):
        metrics = classification_metrics(
            scores.cpu(), subject.asked.labels, class_names=subject.train.class_names
        )
        seconds = round(time.perf_counter() - begin, 2)
        yield outcome, {"metric": metric, **metrics, **chosen, "seconds": seconds}
        begin = time.perf_counter()


def _transferred(subject: Subject, config: EvaluateConfig, name: str) -> Iterator[Outcome]:
    (linear,) = _linear(subject, config)
    yield linear._replace(name=f"{TRANSFER}-{name}")
    if config.transfer.finetune:
        tuned = transfer_tuned(subject, config, name=name)
        yield Outcome(f"{TRANSFER}-{name}{TUNED}", tuned.scores, tuned_settings(tuned))


def transfer_tuned(
    subject: Subject, config: EvaluateConfig, *, name: str, goal: Goal | None = None
) -> FinetuneResult:
    """Fine-tune on another data set as ``config.transfer`` says; see ``tune_and_predict``."""
    return tune_and_predict(
        subject,
        subject.train,
        goal=goal,
        rates=config.transfer.rates,
        epochs=config.transfer.epochs,
        most=config.transfer.batch_size,
        seed=config.seed,
        name=name,
    )


def chosen_tasks(tasks: Iterable[str]) -> list[str]:
    """The tasks by name, ``all`` written out; refuses one that does not exist."""
    chosen: dict[str, None] = {}
    known = [*TASKS, LOOK, TRANSFER, *OBJECT_TASKS]
    for task in tasks:
        if task not in (ALL, *known):
            raise ConfigError(f"unknown task {task!r}: {suggest(task, [ALL, *known])} (--task)")
        chosen |= dict.fromkeys(known if task == ALL else [task])
    return list(chosen)


def figures_of(outcome: dict[str, Any]) -> dict[str, float]:
    """The figures of an outcome in percent, that which it is known by first."""
    order = sorted(FIGURES, key=lambda key: key != outcome.get("metric"))
    return {key: outcome[key] for key in order if isinstance(outcome.get(key), float | int)}


def title_of(outcome: str) -> str:
    """What a person calls an outcome: ``k-NN``, ``fine-tuned on 10 % of the labels``."""
    if outcome in TASKS:
        return TASKS[outcome].title
    if outcome in OBJECT_TASKS:
        return OBJECT_TASKS[outcome]
    if outcome == LOOK:
        return "what moves the features"
    task, _, which = outcome.partition("-")
    if task == TRANSFER:
        name, tuned = which.removesuffix(TUNED), which.endswith(TUNED)
        return f"{name}, {'fine-tuned' if tuned else 'linear'}"
    if task not in TASKS:
        return outcome
    is_share = which.replace(".", "").isdigit()
    return f"{TASKS[task].title} {f'{which} % of the labels' if is_share else f'the list {which}'}"


def in_same_classes(train: Source, test: Source) -> Source:
    """The images to predict, their labels counted as those to learn from; they may lack some classes.

    Raises:
        DataError: if a set has no labels, or the images to predict have a class of their own.
    """
    for source, flag in ((train, "--data.train"), (test, "--data.val")):
        if source.labels is None:
            raise DataError(
                f"{source.name} has no labels to judge by: a folder with one sub-folder per class, "
                f"or the name of a data set, is wanted ({flag})"
            )
    unknown = sorted(set(test.class_names) - set(train.class_names))
    if unknown:
        raise DataError(
            f"{test.name} has classes that {train.name} has not, such as {unknown[:3]} (--data.val)"
        )
    return test if test.class_names == train.class_names else with_classes(test, train.class_names)


def _knn(subject: Subject, config: EvaluateConfig) -> Iterator[Outcome]:
    known = subject.known
    k = min(config.k, len(known))
    scores = knn_predict(
        known.values.to(subject.device),
        known.labels.to(subject.device),
        subject.asked.values.to(subject.device),
        num_classes=subject.num_classes,
        k=k,
        temperature=config.temperature,
    )
    yield Outcome("knn", scores, {"k": k, "temperature": config.temperature})


def _linear(subject: Subject, config: EvaluateConfig) -> Iterator[Outcome]:
    result = linear_probe(
        subject.known, subject.asked, num_classes=subject.num_classes, seed=config.seed
    )
    chosen = {
        "strength": result.strength,
        "converged": result.converged,
        "holdout_accuracy": _by_text(result.holdout_accuracy),
    }
    yield Outcome("linear", result.scores, chosen)


def _linear_sgd(subject: Subject, config: EvaluateConfig) -> Iterator[Outcome]:
    result = linear_sgd(subject, config.sgd, seed=config.seed)
    chosen = {
        "rate": result.rate,
        "epochs": config.sgd.epochs,
        "batch_size": result.batch_size,
        "holdout_accuracy": _by_text(result.holdout_accuracy),
    }
    yield Outcome("linear-sgd", result.scores, chosen)


def _semi(subject: Subject, config: EvaluateConfig) -> Iterator[Outcome]:
    shares = semi_supervised(subject, config.semi, seed=config.seed, download=config.data.download)
    for name, source, result in shares:
        yield Outcome(
            name, result.scores, {**tuned_settings(result), "labelled_images": len(source)}
        )


def tuned_settings(result: FinetuneResult) -> dict[str, Any]:
    """What was chosen, as ``results.json`` has it."""
    return {
        **asdict(result.setting),
        "batch_size": result.batch_size,
        "holdout_accuracy": {
            f"rate {item.rate:g}, {item.epochs} epochs": value
            for item, value in result.holdout_accuracy.items()
        },
    }


def _by_text(accuracy: dict[float, float]) -> dict[str, float]:
    return {f"{key:g}": value for key, value in accuracy.items()}


TASKS: dict[str, Task] = {
    "knn": Task("k-NN", _knn),
    "linear": Task("linear probe", _linear),
    "linear-sgd": Task("linear, trained on crops", _linear_sgd),
    "semi": Task("fine-tuned on", _semi),
}
