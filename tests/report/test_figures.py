"""Charts and tables of results: every metric in its place, no task known by its name."""

from __future__ import annotations

import pytest
from tests.conftest import Plugin
from tests.report.conftest import result

from massrl.report.figures import (
    accuracy_bars,
    are_results,
    confusion_matrices,
    describe_test_images,
    invariance_tables,
    main_results,
    metric_tables,
    per_class_tables,
    result_sections,
)

DETECTED = {"ap": 12.5, "ap50": 30.0, "acc1": None, "metric": "ap"}


def other_images(name: str) -> dict[str, object]:
    data = result()["data"]
    return {"data": {**data, "val": {**data["val"], "name": name, "fingerprint": name}}}


def test_results_without_provenance_are_not_taken_for_results() -> None:
    """Guards a page against a results.json of something else, such as the demonstration's."""
    assert are_results({"knn": result()})
    assert not are_results({})
    assert not are_results(None)
    assert not are_results({"knn": {"acc1": 75.0}})


def test_results_of_the_trained_weights_are_preferred() -> None:
    """Guards the facts of a page against the baseline's numbers."""
    trained, random_init = {"knn": result()}, {"knn": result(acc1=20.0)}
    assert main_results({"random init": random_init, "trained": trained}) == trained
    assert main_results({"random init": random_init}) == random_init
    assert main_results({"trained": {"features": result(acc1=None, mean_per_class=None)}}) == {}


def test_bars_have_a_group_for_each_result_and_a_bar_for_each_backbone() -> None:
    """Guards the chart: a number under another task or backbone would be believed."""
    results = {"knn": result(), "linear": result(acc1=80.0)}
    (bars,) = accuracy_bars({"random init": {"knn": result(acc1=20.0)}, "trained": results})
    assert bars.title == "Accuracy on the test images"
    assert list(bars.groups) == ["k-NN", "linear probe"]
    assert bars.series == [("random init", [20.0, None]), ("trained", [75.0, 80.0])]
    assert bars.chance == 50.0
    assert bars.note == "12 images of pets/val, top-1 percent."


def test_images_that_the_backbone_may_know_are_called_so() -> None:
    """Guards a number on images of the pre-training against looking like one on new images."""
    data = {**result()["data"], "held_out": True}
    assert describe_test_images(result(data=data)).endswith("but not from pre-training")
    (bars,) = accuracy_bars({"a": {"knn": result(data=data)}})
    assert bars.title.endswith("but not from pre-training")


def test_bars_of_different_images_have_no_line_of_chance() -> None:
    """Guards a chart against the chance level and the name of one task's images alone."""
    results = {"knn": result(), "linear": result(**other_images("zoo"))}
    (bars,) = accuracy_bars({"a": results})
    assert (bars.title, bars.chance) == ("Accuracy", None)
    assert "different test images" in bars.note


def test_metrics_of_other_kinds_have_charts_of_their_own() -> None:
    """Guards average precision against standing beside accuracy as if they were comparable."""
    results = {
        "knn": result(),
        "detect": result(**DETECTED),
        "transfer-flowers102": result(metric="mean_per_class"),
    }
    bars = {item.title: item for item in accuracy_bars({"a": results})}
    assert next(iter(bars["Objects in images"].groups)).endswith(", AP")
    assert bars["Objects in images"].series == [("a", [12.5])]
    sets = bars["Other data sets, each by its own metric"]
    assert list(sets.groups) == ["flowers102, linear, mean per class"]
    assert sets.series == [("a", [70.0])]
    assert len(bars) == 3


def test_metric_table_has_every_metric_that_any_result_has() -> None:
    """Guards the numbers that no chart shows."""
    table = metric_tables({"knn": result(), "linear": result(acc5=99.0, labelled_images=120)})[0]
    assert list(table.header) == [
        "task",
        "Acc@1",
        "Acc@5",
        "mean per class",
        "training images",
        "seconds",
    ]
    assert table.rows[0] == ["k-NN", "75.0 %", "–", "70.0 %", "1,200", "1.2"]
    assert table.rows[1] == ["linear probe", "75.0 %", "99.0 %", "70.0 %", "120", "1.2"]


def test_invariance_has_a_row_for_each_transform_of_any_backbone() -> None:
    """Guards transforms that only one of two runs was trained with."""
    measured = {
        "a": {"features": result(invariance={"crop": 0.5, "flip": None})},
        "b": {"features": result(invariance={"crop": 0.25, "simclr": 0.125})},
        "c": {"knn": result()},
    }
    (table,) = invariance_tables(measured)
    assert list(table.header) == ["transform", "a", "b"]
    assert table.rows == [
        ["crop", "0.50", "0.25"],
        ["flip", "–", "–"],
        ["simclr", "–", "0.12"],
    ]
    assert invariance_tables({"c": {"knn": result()}}) == []


def test_classes_are_listed_hardest_first_and_not_by_the_hundred() -> None:
    """Guards the classes that need attention against the end of a table of a thousand rows."""
    (table,) = per_class_tables({"knn": result()})
    assert table.title == "Accuracy by class, hardest first"
    assert table.rows == [["cat", "50.0 %"], ["dog", "90.0 %"]]
    classes: dict[str, float | None] = {str(number): 100.0 - number for number in range(40)}
    (table,) = per_class_tables({"knn": result(per_class={**classes, "none": None})})
    assert table.title == "Accuracy by class, the 30 hardest first"
    assert [row[0] for row in table.rows] == [str(number) for number in range(39, 9, -1)]


def test_confusion_is_of_the_most_accurate_result_in_percent_of_each_class() -> None:
    """Guards rows of counts, which rare classes make unreadable."""
    better = result(acc1=80.0, confusion=[[2, 0], [0, 0]])
    (matrix,) = confusion_matrices({"knn": result(), "linear": better})
    assert matrix.title == "Confusion matrix, linear probe"
    assert matrix.rows == [[100.0, 0.0], [0.0, 0.0]]
    assert list(matrix.names) == ["cat", "dog"]


@pytest.mark.parametrize(
    "changes",
    [
        {"confusion": None},
        {
            "per_class": {str(number): 1.0 for number in range(31)},
            "confusion": [[1] * 31 for _ in range(31)],
        },
    ],
)
def test_confusion_that_is_missing_or_too_large_is_left_out(changes: dict[str, object]) -> None:
    """Guards the page against a matrix of a thousand classes."""
    assert confusion_matrices({"knn": result(**changes)}) == []


def test_tables_continue_the_section_of_the_charts_or_begin_it() -> None:
    """Guards the heading: once, whether there are charts or tables alone."""
    tables = list(metric_tables({"knn": result()}))
    with_bars = result_sections({"a": {"knn": result()}}, tables)
    assert [section.title for section in with_bars] == ["Results", ""]
    assert not with_bars[0].columns
    without = result_sections({}, tables)
    assert [(section.title, len(section.blocks)) for section in without if section.blocks] == [
        ("Results", 1)
    ]


TASK = '''
from massrl.evaluation.task import Task


class Counting(Task):
    """Counts things."""

    title = "counting"
    headline = ("exactness",)

    def run(self, context, config):
        yield from ()
'''


def test_results_of_another_packages_task_are_shown_by_its_own_title_and_metric(
    plugin: Plugin,
) -> None:
    """Guards third-party tasks: the report knows no task by its name."""
    plugin(TASK, {"massrl.tasks": {"counting": "my_plugin:Counting"}})
    counted = result(acc1=None, mean_per_class=None, exactness=33.5, metric="exactness")
    (bars,) = accuracy_bars({"a": {"counting": counted}})
    assert list(bars.groups) == ["counting, exactness"]
    assert bars.series == [("a", [33.5])]
    table = metric_tables({"counting": counted})[0]
    assert table.rows[0][:2] == ["counting", "33.5 %"]


def test_metric_that_is_null_has_a_word_in_the_table_and_no_bar() -> None:
    """Guards a result where there was nothing to find against being left out, or drawn as 0."""
    nothing = result(**{**DETECTED, "ap": None, "ap50": None, "mean_per_class": None})
    backbones = {"trained": {"detect": nothing, "knn": result()}}
    shown = main_results(backbones)
    assert list(shown) == ["detect", "knn"]
    tables = {table.title: table for table in metric_tables(shown)}
    objects = tables["All metrics of objects"]
    cells = dict(zip(objects.header, objects.rows[0], strict=True))
    assert (cells["AP"], cells["AP50"]) == ("nothing to find", "nothing to find")
    assert [bars.title for bars in accuracy_bars(backbones)] == ["Accuracy on the test images"]
    other = {**backbones, "random init": {"detect": result(**DETECTED)}}
    assert accuracy_bars(other)
