"""Transfer: each data set by its own metric, on one class per image or several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.conftest import voc
from tests.evaluation.conftest import colours, context_of

from massrl.config.evaluation import EvaluateConfig, EvaluationDataConfig, TransferConfig
from massrl.evaluation.data import EvaluationData, transfer_images
from massrl.evaluation.multilabel import multilabel_probe
from massrl.evaluation.results import headline_metrics
from massrl.evaluation.task import TaskResult, build_tasks
from massrl.evaluation.tasks.linear import linear_probe

TRANSFER = TransferConfig(finetune=True, lrs=(0.1,), epochs=(1,), batch_size=8)


def transferred(data: EvaluationData, **fields: Any) -> list[TaskResult]:
    (task,) = build_tasks(["transfer"])
    context = context_of(data.train, data.test)
    config = EvaluateConfig(transfer=replace(TRANSFER, **fields))
    return list(task.run(replace(context, data=data), config))


@pytest.mark.parametrize(("name", "metric"), [("cars", "acc1"), ("flowers102", "mean_per_class")])
def test_probe_and_fine_tuning_are_reported_by_the_metric_of_the_set(
    name: str, metric: str
) -> None:
    """Guards a table over data sets, each of which has its published metric."""
    data = EvaluationData(colours(40, seed=0), colours(20, seed=1), name=name)
    results = transferred(data)
    assert [item.name for item in results] == [f"transfer-{name}", f"transfer-{name}-finetuned"]
    for result in results:
        assert next(iter(headline_metrics(result.to_dict()))) == metric
        assert result.metrics["num_images"] == 20
    assert results[1].settings["lr"] == 0.1
    (probe,) = transferred(data, finetune=False)
    context = context_of(data.train, data.test)
    wanted = linear_probe(context.train_features, context.test_features, num_classes=4)
    assert probe.settings["C"] == wanted.c
    assert probe.scores is not None
    np.testing.assert_allclose(probe.scores, wanted.scores, rtol=1e-4, atol=1e-4)


def test_images_of_several_classes_are_evaluated_by_mean_precision(tmp_path: Path) -> None:
    """Guards VOC: labels of a subset, difficult objects, and the metric of its publication."""
    root = voc(tmp_path / "cells")
    lists = root / "ImageSets" / "Main"
    (lists / "train.txt").write_text("i0\ni1\ni2\n")
    (lists / "test.txt").write_text("i3\ni4\n")
    for number in range(5):
        name = "cell" if number % 3 else "plate"
        text = (root / "Annotations" / f"i{number}.xml").read_text()
        (root / "Annotations" / f"i{number}.xml").write_text(text.replace("cell", name, 1))
    data = transfer_images(str(root), EvaluationDataConfig(), name="cells")
    results = transferred(data)
    assert [item.name for item in results] == ["transfer-cells", "transfer-cells-finetuned"]
    for result in results:
        assert next(iter(headline_metrics(result.to_dict()))) == "map11"
        assert result.metrics["num_images"] == 2
        assert set(result.metrics["per_class"]) == {"cell", "plate"}
    context = context_of(data.train, data.test)
    # Images 0 and 3 show plates; in the others plates are difficult, and cells are what counts.
    truth = np.array([[0, 1], [1, -1], [1, -1]])
    wanted = multilabel_probe(
        context.train_features.values,
        truth,
        context.test_features.values,
        np.array([[0, 1], [1, -1]]),
        class_names=("cell", "plate"),
    )
    assert results[0].metrics["map11"] == pytest.approx(wanted.map11)
    assert results[0].settings["C"] == wanted.c
