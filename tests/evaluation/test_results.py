"""What ``results.json`` holds, under the names of every version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from massrl.evaluation.results import (
    METRICS,
    UNDEFINED,
    earlier_results,
    headline_keys,
    headline_metrics,
    metric_keys,
    metric_label,
    metric_text,
    read_results,
    results_name,
    same_weights,
    task_title,
)

BACKBONE = {
    "fingerprint": "f",
    "size": 32,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
    "random_init": False,
}


@pytest.mark.parametrize(
    ("result", "title"),
    [
        ("knn", "k-NN"),
        ("linear-sgd", "linear, trained on crops"),
        ("semi-supervised-1", "fine-tuned on 1 % of the labels"),
        ("semi-supervised-0.5", "fine-tuned on 0.5 % of the labels"),
        ("semi-supervised-1percent", "fine-tuned on the list 1percent"),
        ("transfer-food101", "food101, linear"),
        ("transfer-my-set-finetuned", "my-set, fine-tuned"),
        ("features", "invariance of the features"),
        ("detect", "object detection"),
        ("own", "own"),
    ],
)
def test_result_has_a_title_for_people(result: str, title: str) -> None:
    """Guards the headings of pages."""
    assert task_title(result) == title


def test_headline_is_the_results_own_and_well_known_metrics_follow() -> None:
    """Guards transfer, whose metric depends on the data set, and tasks of other packages."""
    accuracy = {"acc1": 1.0, "acc5": None, "mean_per_class": 2.0, "per_class": {}, "k": 20}
    assert headline_metrics(accuracy) == {"acc1": 1.0, "mean_per_class": 2.0}
    assert (
        next(iter(headline_metrics({**accuracy, "metric": "mean_per_class"}))) == "mean_per_class"
    )
    own = {"score": 3, "spread": 4.5, "acc1": 1.0, "headline": ["score", "spread"]}
    assert headline_metrics(own) == {"score": 3, "spread": 4.5, "acc1": 1.0}
    assert headline_metrics({"invariance": {}}) == {}


def test_metrics_of_several_results_come_once_with_labels() -> None:
    """Guards the columns of a table that tasks of several kinds share."""
    results = [{"miou": 1.0}, {"my_score": 2.0, "headline": ["my_score"]}, {"acc1": 1.0}]
    assert metric_keys(results) == ["acc1", "miou", "my_score"]
    assert [metric_label(key) for key in metric_keys(results)] == ["Acc@1", "mean IoU", "my score"]
    assert metric_keys([]) == []
    assert next(iter(METRICS)) == "acc1"


def write(folder: Path, name: str, **content: Any) -> None:
    (folder / name).write_text(json.dumps(content))


def test_results_of_the_same_weights_are_kept_and_others_are_not(tmp_path: Path) -> None:
    """Guards a table against metrics of weights that are no longer there."""
    tasks = {"knn": {"acc1": 1.0}}
    write(tmp_path, "results.json", backbone=BACKBONE, tasks=tasks)
    assert earlier_results(tmp_path, BACKBONE) == tasks
    for change in ({"fingerprint": "g"}, {"size": 64}, {"std": [0.2, 0.2, 0.3]}):
        assert earlier_results(tmp_path, {**BACKBONE, **change}) == {}
    assert same_weights(BACKBONE, "f", {**BACKBONE, "mean": (0.5, 0.5, 0.5)})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"backbone": 3, "tasks": {}}', "{"])
def test_file_that_is_no_result_counts_as_none(tmp_path: Path, content: str) -> None:
    """Guards an evaluation against what another program left."""
    (tmp_path / "results.json").write_text(content)
    assert earlier_results(tmp_path, BACKBONE) == {}


def test_results_of_random_weights_have_a_file_of_their_own(tmp_path: Path) -> None:
    """Guards the trained weights' results against those of a baseline, in both versions' names."""
    write(tmp_path, "results.json", backbone=BACKBONE, tasks={"knn": {}})
    with pytest.raises(FileNotFoundError):
        read_results(tmp_path, random_init=True)
    write(tmp_path, "results-untrained.json", backbone={"untrained": True}, tasks={"semi-1": {}})
    assert list(read_results(tmp_path, random_init=True)["tasks"]) == ["semi-supervised-1"]
    write(tmp_path, results_name(random_init=True), backbone=BACKBONE, tasks={"linear": {}})
    assert list(read_results(tmp_path, random_init=True)["tasks"]) == ["linear"]
    assert list(read_results(tmp_path)["tasks"]) == ["knn"]


def test_old_results_are_read_under_the_present_names(tmp_path: Path) -> None:
    """Guards tables of version 0.1.0: tasks, keys, settings and the backbone's description."""
    config = {"task": ["look"], "untrained": False, "semi": {"shares": [0.1], "rates": [0.2]}}
    tasks = {
        "look": {"moved": {"crop": 0.5}, "config": {**config, "look": {"points": 5}}},
        "semi-10": {"acc1": 1.0, "config": config},
        "linear": {"strength": 0.1, "config": config},
    }
    write(tmp_path, "results.json", backbone={**BACKBONE, "untrained": False}, tasks=tasks)
    file = json.loads((tmp_path / "results.json").read_text())
    del file["backbone"]["random_init"]
    write(tmp_path, "results.json", **file)
    results = read_results(tmp_path)
    assert results["backbone"]["random_init"] is False
    assert list(results["tasks"]) == ["features", "semi-supervised-10", "linear"]
    assert results["tasks"]["linear"]["C"] == 0.1
    features = results["tasks"]["features"]
    assert (features["invariance"], features["folder"]) == ({"crop": 0.5}, "look")
    assert features["config"]["features"] == {"points": 5}
    assert features["config"]["semi"] == {"fractions": [0.1], "lrs": [0.2]}
    assert earlier_results(tmp_path, BACKBONE) == results["tasks"]


def test_present_results_are_not_translated(tmp_path: Path) -> None:
    """Guards a metric of another package that is called as an old key was."""
    write(tmp_path, "results.json", backbone=BACKBONE, tasks={"mine": {"strength": 1.0}})
    assert read_results(tmp_path)["tasks"] == {"mine": {"strength": 1.0}}


def test_title_of_a_task_of_another_package_is_its_own(plugin: Callable[..., Path]) -> None:
    """Guards a page's headings against names that only massrl's tasks have."""
    plugin(
        "from massrl.evaluation.tasks.knn import KNearestNeighbours\n"
        "class Own(KNearestNeighbours):\n    title = 'own k-NN'\n",
        {"massrl.tasks": {"own": "my_plugin:Own"}},
    )
    assert task_title("own") == "own k-NN"


def test_metric_that_is_null_is_said_in_words() -> None:
    """Guards figures where there is nothing to find: AP 0.00 looked like a network that finds nothing.

    To the kind belong every metric of objects and pixels, that of several labels, and those of tasks of
    other packages. Acc@5 of few classes is null since it does not apply, and is not mentioned.
    """
    nothing = {"ap": None, "ap50": None, "mask_ap": 12.0, "acc5": None}
    assert headline_metrics(nothing) == {"mask_ap": 12.0}
    assert headline_keys(nothing) == metric_keys([nothing]) == ["ap", "ap50", "mask_ap"]
    assert metric_text(nothing, "ap", "{:.1f} %") == metric_text(nothing, None, "{}") == UNDEFINED
    assert metric_text(nothing, "mask_ap", "{:.1f} %") == "12.0 %"
    assert metric_text(nothing, "acc5", "{}") == metric_text(nothing, "miou", "{}") == "–"
    assert metric_text({}, None, "{}") == "–"
    assert headline_keys({"score": None, "headline": ["score"]}) == ["score"]
    assert headline_keys({"map11": None, "metric": "map11"}) == ["map11"]
    assert headline_keys({"acc1": 3.0, "acc5": None}) == ["acc1"]
