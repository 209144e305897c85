"""Transfer to other data sets, each evaluated by its own metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from massrl.config.evaluation import EvaluateConfig
from massrl.data.annotated import ObjectSource
from massrl.data.source import Source, Subset, whole
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.data import SETS
from massrl.evaluation.finetune import (
    FinetuneResult,
    Sweep,
    TuningTarget,
    finetune_and_predict,
    tuned_settings,
)
from massrl.evaluation.multilabel import (
    mean_precision,
    multilabel_probe,
    multilabel_target,
    precisions,
)
from massrl.evaluation.task import Task, TaskResult, classification_result, text_keys
from massrl.evaluation.tasks.linear import linear_result

_FINETUNED = "-finetuned"  # ends the name of such a result
# Data sets whose published metric is the mean over the classes.
MEAN_PER_CLASS = frozenset(("fgvc_aircraft", "oxfordiiitpet", "caltech101", "flowers102"))


class Transfer(Task):
    """A linear probe on other data sets and, where asked for, fine-tuning on them."""

    title = "transfer"
    needs = SETS
    settings = ("transfer", "seed")
    headline = ("acc1", "mean_per_class", "map11")
    frozen = False

    def run(self, context: EvaluationContext, config: EvaluateConfig) -> Iterator[TaskResult]:
        """Evaluate on one data set, whose images have a class each or, with objects, several."""
        assert context.data is not None
        name = f"{self.name}-{context.data.name}"
        single = context.train.labels is not None
        yield from (_single_label if single else _multilabel)(context, config, name)

    @classmethod
    def result_title(cls, detail: str) -> str:
        """Return ``food101, linear`` or ``food101, fine-tuned``."""
        name = detail.removesuffix(_FINETUNED)
        return f"{name}, {'linear' if name == detail else 'fine-tuned'}"


def _single_label(
    context: EvaluationContext, config: EvaluateConfig, name: str
) -> Iterator[TaskResult]:
    assert context.data is not None
    metric = "mean_per_class" if context.data.name in MEAN_PER_CLASS else "acc1"
    yield _by_metric(linear_result(context, seed=config.seed, name=name), metric)
    if config.transfer.finetune:
        tuned = _finetuned(context, config)
        result = classification_result(
            context, f"{name}{_FINETUNED}", tuned.scores, tuned_settings(tuned)
        )
        yield _by_metric(result, metric)


def _by_metric(result: TaskResult, metric: str) -> TaskResult:
    """Return the result with the name of its headline metric."""
    return replace(result, metrics={"metric": metric, **result.metrics})


def _multilabel(
    context: EvaluationContext, config: EvaluateConfig, name: str
) -> Iterator[TaskResult]:
    train_truth, test_truth = _image_labels(context.train), _image_labels(context.test)
    classes = _with_objects(context.train).object_names
    result = multilabel_probe(
        context.train_features.values,
        train_truth,
        context.test_features.values,
        test_truth,
        class_names=classes,
        seed=config.seed,
    )
    yield _precision_result(
        context,
        name,
        result.per_class,
        {"C": result.c, "holdout_map": text_keys(result.holdout_map)},
    )
    if config.transfer.finetune:
        tuned = _finetuned(context, config, target=multilabel_target(train_truth))
        each = precisions(tuned.scores.numpy(), test_truth)
        per_class = dict(zip(classes, each, strict=True))
        yield _precision_result(context, f"{name}{_FINETUNED}", per_class, tuned_settings(tuned))


def _precision_result(
    context: EvaluationContext,
    name: str,
    per_class: Mapping[str, float | None],
    settings: Mapping[str, Any],
) -> TaskResult:
    """Return the 11-point mAP of images with several classes each."""
    metrics = {
        "metric": "map11",
        "map11": mean_precision(list(per_class.values())),
        "per_class": per_class,
        "num_images": len(context.test),
    }
    return TaskResult(name=name, metrics=metrics, settings=settings)


def _with_objects(source: Source) -> ObjectSource:
    everything = whole(source)
    assert isinstance(everything, ObjectSource)
    return everything


def _image_labels(source: Source) -> np.ndarray:
    """Return ``ObjectSource.image_labels`` of a source with objects, or of a subset of one."""
    if isinstance(source, Subset):
        return np.asarray(_image_labels(source.source)[source.indices])
    return _with_objects(source).image_labels()


def _finetuned(
    context: EvaluationContext, config: EvaluateConfig, *, target: TuningTarget | None = None
) -> FinetuneResult:
    """Fine-tune on the data set as ``config.transfer`` asks for."""
    assert context.data is not None
    sweep = Sweep(
        lrs=config.transfer.lrs,
        epochs=config.transfer.epochs,
        max_batch_size=config.transfer.batch_size,
        seed=config.seed,
        name=context.data.name,
    )
    return finetune_and_predict(context, context.train, sweep, target=target)
