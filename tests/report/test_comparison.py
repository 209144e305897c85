"""Comparisons: a row for each backbone, and what else differs between their results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Plugin
from tests.report.conftest import Page, result

from massrl.config.evaluation import CompareConfig
from massrl.errors import DataError
from massrl.report.comparison import Comparison, compare_folders


def written(folder: Path, tasks: Mapping[str, Any], *, random_init: bool = False) -> str:
    """Write results into a folder as ``massrl evaluate`` does."""
    folder.mkdir(exist_ok=True, parents=True)
    name = "results-random-init.json" if random_init else "results.json"
    content = {"backbone": {"random_init": random_init}, "run": None, "tasks": tasks}
    (folder / name).write_text(json.dumps(content))
    return str(folder)


def compared(tmp_path: Path, *folders: str) -> Comparison:
    return compare_folders(CompareConfig(folders=folders, out=str(tmp_path / "out")))[1]


def test_rows_have_the_metric_of_each_result_of_each_backbone(tmp_path: Path) -> None:
    """Guards the table: a number under another task or backbone would be believed."""
    one = written(tmp_path / "one", {"knn": result(), "linear": result(acc1=80.0)})
    two = written(tmp_path / "two", {"knn": result(acc1=70.0, acc5=95.0)})
    comparison = compared(tmp_path, one, two)
    assert comparison.result_names == ["knn", "linear"]
    assert comparison.rows("acc5") == [["one", "–", "–"], ["two", "95.00", "–"]]
    assert comparison.headline_rows() == [["one", "75.00", "80.00"], ["two", "70.00", "–"]]
    assert comparison.lines() == [
        "percent    knn  linear",
        "one      75.00   80.00",
        "two      70.00       –",
    ]
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    for words in ("Comparison", "Acc@1", "k-NN", "75.00", "70.0 %"):
        assert words in page.text
    content = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert content["differences"] == []
    assert content["tasks"]["two"]["knn"]["acc5"] == 95.0


def test_random_weights_in_a_folder_are_a_backbone_of_their_own(tmp_path: Path) -> None:
    """Guards the baseline of a run, which is compared without a flag."""
    folder = written(tmp_path / "a", {"knn": result(acc1=20.0)}, random_init=True)
    written(tmp_path / "a", {"knn": result()})
    other = written(tmp_path / "b", {"knn": result()})
    assert [row[0] for row in compared(tmp_path, folder, other).rows("acc1")] == [
        "a, random init",
        "a",
        "b",
    ]


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    """Guards two columns of one name."""
    folders = [written(tmp_path / place / "run", {"knn": result()}) for place in "xy"]
    assert [row[0] for row in compared(tmp_path, *folders).rows("acc1")] == ["x/run", "y/run"]


@pytest.mark.parametrize(
    ("name", "change", "difference"),
    [
        ("knn", {"config": {"k": 5, "temperature": 0.07}}, "settings of k-NN"),
        ("linear", {"config": {"k": 5, "temperature": 0.07, "seed": 0}}, None),
        ("knn", {"config": {"k": 20, "temperature": 0.07, "seed": 3}}, None),
        ("linear", {"config": {"seed": 3}}, "settings of linear probe"),
        ("somebody-elses", {"config": {"task": ["x"], "data": {}, "out": "o"}}, None),
        ("somebody-elses", {"config": {"width": 3}}, "settings of somebody-elses"),
    ],
)
def test_settings_that_a_result_depends_on_are_compared_and_no_others(
    name: str, change: dict[str, Any], difference: str | None, tmp_path: Path
) -> None:
    """Guards results that look comparable and are not; each task says what its results depend on."""
    own = {"config": {}} if name == "somebody-elses" else {}
    one = written(tmp_path / "one", {name: result(**own)})
    two = written(tmp_path / "two", {name: result(**change)})
    comparison = compared(tmp_path, one, two)
    assert comparison.differences == ([difference] if difference else [])
    assert len(comparison.lines()) == 3 + bool(difference)


@pytest.mark.parametrize(("part", "images"), [("train", "training"), ("val", "test")])
def test_other_images_are_a_difference(part: str, images: str, tmp_path: Path) -> None:
    """Guards accuracies on different images against being compared."""
    data = result()["data"]
    other = {**data, part: {**data[part], "fingerprint": "another"}}
    one = written(tmp_path / "one", {"knn": result()})
    two = written(tmp_path / "two", {"knn": result(data=other)})
    comparison = compared(tmp_path, one, two)
    assert comparison.differences == [f"{images} images of k-NN"]
    assert comparison.lines()[-1] == f"different: {images} images of k-NN"
    assert f"different {images} images" in (tmp_path / "out" / "report.html").read_text()


def test_lists_of_what_is_evaluated_are_no_difference(tmp_path: Path) -> None:
    """Guards a result against counting as different because more was evaluated beside it."""
    semi = {"seed": 0, "semi": {"fractions": [0.1], "lists": [], "lrs": [0.1]}}
    more = {"seed": 0, "semi": {"fractions": [0.1, 0.5], "lists": ["x"], "lrs": [0.1]}}
    one = written(tmp_path / "one", {"semi-supervised-10": result(config=semi)})
    two = written(tmp_path / "two", {"semi-supervised-10": result(config=more)})
    assert compared(tmp_path, one, two).differences == []


def test_settings_of_another_packages_task_are_those_that_it_names(
    plugin: Plugin, tmp_path: Path
) -> None:
    """Guards third-party tasks: comparing them must not use the settings of one of massrl's."""
    source = (
        "from massrl.evaluation.task import Task\n"
        "class Counting(Task):\n"
        "    title, settings = 'counting', ('temperature',)\n"
        "    def run(self, context, config):\n"
        "        yield from ()\n"
    )
    plugin(source, {"massrl.tasks": {"counting": "my_plugin:Counting"}})
    one = written(tmp_path / "one", {"counting": result()})
    same = written(tmp_path / "two", {"counting": result(config={"temperature": 0.07, "k": 3})})
    other = written(tmp_path / "three", {"counting": result(config={"temperature": 1, "k": 20})})
    assert compared(tmp_path, one, same).differences == []
    assert compared(tmp_path, one, other).differences == ["settings of counting"]


def test_folder_without_results_or_given_twice_is_refused(tmp_path: Path) -> None:
    """Guards an empty row, and a traceback for a file of something else."""
    one = written(tmp_path / "one", {"knn": result()})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no results: massrl evaluate writes them"):
        compared(tmp_path, one, str(tmp_path / "empty"))
    with pytest.raises(DataError, match="compared with itself"):
        compared(tmp_path, one, one)
    for content in ("", "[]", "{}", '{"tasks": {"knn": {}}}', '{"tasks": 3}'):
        (tmp_path / "empty" / "results.json").write_text(content)
        with pytest.raises(DataError, match=r"results\.json has no results of massrl"):
            compared(tmp_path, one, str(tmp_path / "empty"))


def test_metric_that_is_null_is_compared_in_words(tmp_path: Path) -> None:
    """Guards a comparison with a backbone whose test images had nothing to find."""
    lacking = {"acc1": None, "mean_per_class": None, "acc5": None}
    one = written(tmp_path / "one", {"detect": result(**lacking, ap=None, ap50=None)})
    two = written(tmp_path / "two", {"detect": result(**lacking, ap=12.5, ap50=30.0)})
    comparison = compared(tmp_path, one, two)
    assert comparison.headline_rows() == [["one", "nothing to find"], ["two", "12.50"]]
    assert comparison.rows("ap50") == [["one", "nothing to find"], ["two", "30.00"]]
    three = written(tmp_path / "three", {"detect": result(**lacking, ap=None)})
    wanted = [["one", "nothing to find"], ["three", "nothing to find"]]
    assert compared(tmp_path, one, three).headline_rows() == wanted
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "nothing to find" in page.text


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("data", 3, "bad"),
        ("data", {"train": 3, "val": 3}, "bad"),
        ("data", {}, "bad"),
        ("config", [], "bad"),
        ("acc1", {"a": 1}, "good, bad"),  # each can be drawn by itself
    ],
)
def test_damaged_results_are_refused_with_their_folder(
    tmp_path: Path, key: str, value: Any, names: str
) -> None:
    """Guards against a traceback for a file that was edited, merged or cut, whatever is damaged in it."""
    good = written(tmp_path / "good", {"knn": result()})
    bad = written(tmp_path / "bad", {"knn": {**result(), key: value}})
    with pytest.raises(DataError, match=f"the results of {names} are damaged: [A-Z]"):
        compared(tmp_path, good, bad)
