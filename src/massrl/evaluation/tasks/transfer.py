"""Judges a backbone by other data sets, each by the measure that is its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from massrl.config.evaluation import EvaluateConfig, EvaluationDataConfig
from massrl.data.annotated import ObjectSource
from massrl.data.catalogue import multilabel_specs, without_prefix
from massrl.data.source import Source, Subset
from massrl.data.splits import balanced_subset
from massrl.errors import ConfigError
from massrl.evaluation.context import EvaluatedBackbone, EvaluationContext
from massrl.evaluation.data import align_labels, evaluation_sources, object_sources
from massrl.evaluation.finetune import (
    FinetuneResult,
    TuningTarget,
    finetune_and_predict,
    tuned_settings,
)
from massrl.evaluation.metrics import classification_metrics
from massrl.evaluation.multilabel import (
    mean_precision,
    multilabel_probe,
    multilabel_target,
    precisions,
)
from massrl.evaluation.task import TRANSFER, TUNED, TaskResult, skip_on_error
from massrl.evaluation.tasks.linear import _linear
from massrl.runs.log import TaskProgress


def run_transfer(
    judged: EvaluatedBackbone, wanted: EvaluateConfig, progress: TaskProgress
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Judge by one set after the other; a set in Pascal VOC's layout has several classes an image.

    Yields:
        What an outcome is called, such as ``transfer-food101``, and its figures.

    Raises:
        ConfigError: if no set is named.
    """
    if not wanted.transfer.sets:
        raise ConfigError(
            "--task transfer needs data sets: --transfer.sets takes names such as food101, and folders"
        )
    for name, spec in _named_sets(wanted.transfer.sets).items():
        with skip_on_error(f"{TRANSFER}-{name}", wanted):
            yield from _judge_set(judged, spec, wanted, progress, name=name)


def _judge_set(
    judged: EvaluatedBackbone,
    spec: str,
    wanted: EvaluateConfig,
    progress: TaskProgress,
    *,
    name: str,
) -> Iterator[tuple[str, dict[str, Any]]]:
    data = replace(wanted.data, train=spec, val=None)
    specs = multilabel_specs(spec, root=data.root, download=data.download)
    if specs is not None:
        data = replace(data, train=specs[0], val=specs[1])
        yield from _judge_multilabel(judged, data, wanted, progress, name=name)
        return
    train, test, held_out = evaluation_sources(data, None)
    images = train, align_labels(train, test), held_out
    subject, about = judged.subject(images, wanted, progress)
    for outcome, item in transfer(subject, wanted, name=name):
        yield outcome, {**item, **about}


def _named_sets(specs: Sequence[str]) -> dict[str, str]:
    """The sets by short names; where two would be called alike, by all that was said of them."""
    short = [Path(without_prefix(spec).partition(":")[0]).name for spec in specs]
    return {
        spec if short.count(name) > 1 else name: spec
        for name, spec in zip(short, specs, strict=True)
    }


def _judge_multilabel(
    judged: EvaluatedBackbone,
    data: EvaluationDataConfig,
    wanted: EvaluateConfig,
    progress: TaskProgress,
    *,
    name: str,
) -> Iterator[tuple[str, dict[str, Any]]]:
    begin = time.perf_counter()
    train, test = object_sources(replace(data, limit=None), None, maps=False)
    names, count = train.object_names, min(data.limit or len(train), len(train))
    part = Subset(train, balanced_subset(None, count, seed=0, total=len(train)))
    subject, about = judged.subject((part, test, False), wanted, progress)
    truth, asked = _image_labels(subject.train), _image_labels(subject.test)
    result = multilabel_probe(
        subject.train_features.values,
        truth,
        subject.test_features.values,
        asked,
        class_names=names,
        seed=wanted.seed,
    )
    common = {"metric": "map11", "num_images": len(subject.test), **about}
    yield (
        f"{TRANSFER}-{name}",
        {
            "map11": result.map11,
            "per_class": result.per_class,
            "C": result.strength,
            "holdout_map": {f"{key:g}": value for key, value in result.holdout_map.items()},
            "seconds": round(time.perf_counter() - begin, 2),
            **common,
        },
    )
    if wanted.transfer.finetune:
        begin = time.perf_counter()
        tuned = transfer_tuned(subject, wanted, name=name, goal=multilabel_target(truth))
        each = precisions(tuned.scores.numpy(), asked)
        yield (
            f"{TRANSFER}-{name}{TUNED}",
            {
                "map11": mean_precision(each),
                "per_class": dict(zip(names, each, strict=True)),
                **tuned_settings(tuned),
                "seconds": round(time.perf_counter() - begin, 2),
                **common,
            },
        )


def _image_labels(source: Source) -> np.ndarray:
    """Return ``ObjectSource.image_labels`` of a source with objects, or of a part of one."""
    if isinstance(source, Subset):
        return np.asarray(_image_labels(source.source)[source.indices])
    assert isinstance(source, ObjectSource)
    return source.image_labels()


# The published measure of these sets is the mean over the classes.
MEAN_PER_CLASS = frozenset(("fgvc_aircraft", "oxfordiiitpet", "caltech101", "flowers102"))


def transfer(
    subject: EvaluationContext, config: EvaluateConfig, *, name: str
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
            scores.cpu(), subject.test_features.labels, class_names=subject.train.class_names
        )
        seconds = round(time.perf_counter() - begin, 2)
        yield outcome, {"metric": metric, **metrics, **chosen, "seconds": seconds}
        begin = time.perf_counter()


def _transferred(
    subject: EvaluationContext, config: EvaluateConfig, name: str
) -> Iterator[TaskResult]:
    (linear,) = _linear(subject, config)
    yield linear._replace(name=f"{TRANSFER}-{name}")
    if config.transfer.finetune:
        tuned = transfer_tuned(subject, config, name=name)
        yield TaskResult(f"{TRANSFER}-{name}{TUNED}", tuned.scores, tuned_settings(tuned))


def transfer_tuned(
    subject: EvaluationContext,
    config: EvaluateConfig,
    *,
    name: str,
    goal: TuningTarget | None = None,
) -> FinetuneResult:
    """Fine-tune on another data set as ``config.transfer`` says; see ``finetune_and_predict``."""
    return finetune_and_predict(
        subject,
        subject.train,
        goal=goal,
        rates=config.transfer.lrs,
        epochs=config.transfer.epochs,
        most=config.transfer.batch_size,
        seed=config.seed,
        name=name,
    )
