"""The page of a run: made from whatever files are in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.report.conftest import Page, result

from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.report.run_page import loss_matrices, metric_curves, report_run
from massrl.runs.folder import RunFolder, save_config
from massrl.runs.metrics import COLUMNS, MetricsFile, read_metrics


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run of 4 steps that has been stopped after two."""
    folder = RunFolder.new(tmp_path / "my run")
    save_config(folder, make_config(read_layers("shapes-massrl"), {"train": {"max_steps": 4}}))
    file = MetricsFile(folder.metrics, step=0)
    for step in range(2):
        file.row({"step": step, "epoch": 0.5, "loss": 3.25 - step, "seconds": 61.0, "skipped": 2})
    file.close()
    return folder


def page_of(folder: RunFolder) -> Page:
    path = report_run(folder)
    assert path == folder.report
    return Page(path.read_text(encoding="utf-8"))


def write_results(folder: RunFolder, tasks: Any, *, name: str = "results.json") -> None:
    folder.path.mkdir(exist_ok=True)
    content = {"backbone": {"random_init": "random" in name}, "tasks": tasks}
    (folder.path / name).write_text(json.dumps(content))


def test_page_of_a_run_shows_its_course_and_configuration(folder: RunFolder) -> None:
    """Guards the page that training writes, before anything is evaluated."""
    page = page_of(folder)
    for words in ("my run", "2 of 4 steps are done.", "1 min 01 s", "Training", "max_steps: 4"):
        assert words in page.text
    assert "broken images skipped2" in page.text
    assert "Results" not in page.text
    file = MetricsFile(folder.metrics, step=2)
    file.row({"step": 3, "epoch": 1, "seconds": 1})
    file.close()
    assert "Pre-training is complete." in page_of(folder).text


def test_page_of_a_backbone_without_a_run_shows_its_results_alone(tmp_path: Path) -> None:
    """Guards evaluations of backbones that were trained elsewhere."""
    folder = RunFolder(tmp_path / "theirs-results")
    write_results(folder, {"knn": result()})
    page = page_of(folder)
    lead = "k-NN classifies 75.0 % of the test images correctly, from frozen features."
    for words in (lead, "Results", "Confusion matrix, k-NN", "k-NN, top 175.0 %"):
        assert words in page.text
    assert "Training" not in page.text
    assert "Configuration" not in page.text


def test_lead_of_another_metric_names_it(folder: RunFolder) -> None:
    """Guards a page that would call average precision an accuracy."""
    write_results(folder, {"detect": result(acc1=None, ap=12.5, metric="ap")})
    assert ": AP 12.5 %." in page_of(folder).text


def test_random_weights_stand_beside_the_trained_ones(folder: RunFolder) -> None:
    """Guards the baseline: both are on the page, and the facts are of the trained weights."""
    write_results(folder, {"knn": result(acc1=20.0)}, name="results-random-init.json")
    write_results(folder, {"knn": result()})
    text = page_of(folder).text
    assert "random init20.0 %trained75.0 %" in text
    assert "k-NN, top 175.0 %" in text


@pytest.mark.parametrize("content", [{}, {"knn": {"acc1": 3.0}}, [1, 2], None])
def test_results_of_something_else_are_not_shown(folder: RunFolder, content: Any) -> None:
    """Guards a run's page against a results.json that another program wrote."""
    write_results(folder, content)
    assert "Results" not in page_of(folder).text


def test_pictures_of_tasks_have_their_captions(folder: RunFolder) -> None:
    """Guards detections that nobody can tell from the truth beside them; a lost file is no error."""
    cv2.imwrite(str(folder.path / "detect.png"), np.zeros((4, 4, 3), np.uint8))
    cv2.imwrite(str(folder.views), np.zeros((4, 4, 3), np.uint8))
    shown = result(acc1=None, ap=12.5, metric="ap", picture="detect.png")
    lost = result(acc1=None, miou=1.0, metric="miou", picture="segment.png")
    write_results(folder, {"detect": shown, "segment": lost})
    captions = [str(attributes["alt"]) for tag, attributes in page_of(folder).tags if tag == "img"]
    assert len(captions) == 2
    assert ", trained: the ground truth on the left" in captions[0]
    assert captions[1] == "Planned views of the first images"


def test_loss_matrix_is_shown(folder: RunFolder) -> None:
    """Guards the matrix on the page."""
    assert loss_matrices(folder) == []
    content = {"views": ["weak · crop 1", "simclr · crop 2"], "loss": [[None, 1.5], [2.5, None]]}
    folder.matrix.write_text(json.dumps(content))
    text = page_of(folder).text
    for words in ("weak · crop 1", "1.500", "2.500"):
        assert words in text


def test_curves_have_a_line_for_each_run_that_has_the_column(folder: RunFolder) -> None:
    """Guards comparisons: a column that only one run measured, and names in the legend."""
    rows = read_metrics(folder.metrics)
    measured = [{**row, "knn": "50"} for row in rows]
    curves = metric_curves([("a", rows), ("b", measured)])
    assert [(curve.title, [line[0] for line in curve.series]) for curve in curves] == [
        ("Loss", ["a", "b"]),
        ("k-NN accuracy while training", ["b"]),
    ]
    assert curves[0].series[0][1:] == ((0.0, 1.0), (3.25, 2.25))
    assert curves[0].y_label == "mean over the pairs of views"
    assert metric_curves([("", rows)])[0].series[0][0] == "Loss"
    assert (curves[0].smooth, curves[1].smooth) == (True, False)


def test_every_measured_column_has_a_chart() -> None:
    """Guards a column that is added and never seen; counts and clocks need no chart."""
    without = {"step", "epoch", "images_per_second", "views_per_second", "skipped", "seconds"}
    for column in COLUMNS:
        row = {**dict.fromkeys(COLUMNS, ""), "step": "1", column: "1"}
        assert len(metric_curves([("", [row])])) == (column not in without), column


def test_feature_report_of_other_weights_is_not_shown(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the page against maps that an earlier backbone left in the folder."""
    loaded: list[tuple[str, str]] = []

    def load(path: Path, title: str) -> tuple[list[Any], list[Any]]:
        loaded.append((path.name, title))
        return [], []

    monkeypatch.setattr("massrl.report.run_page.load_feature_report", load)
    write_results(folder, {"features": result(acc1=None, folder="features")})
    write_results(folder, {"knn": result()}, name="results-random-init.json")
    report_run(folder)
    assert loaded == [("features", "trained")]


def test_result_with_nothing_to_find_is_shown_in_words(tmp_path: Path) -> None:
    """Guards the page of a backbone whose only result is null."""
    lacking = {"acc1": None, "mean_per_class": None, "acc5": None}
    folder = RunFolder(tmp_path / "theirs-results")
    write_results(folder, {"segment": result(**lacking, miou=None, pixel_accuracy=None)})
    text = page_of(folder).text
    assert "semantic segmentation, mean IoUnothing to find" in text
    assert text.count("nothing to find") == 3
    write_results(folder, {"detect": result(**lacking, ap=None), "knn": result()})
    assert "k-NN classifies 75.0 %" in page_of(folder).text


def curve_of_loss(runs: Any) -> list[tuple[str, list[float]]]:
    (curve,) = [item for item in metric_curves(runs) if item.title == "Loss"]
    return [(name, list(ys)) for name, _, ys in curve.series]


def test_loss_of_guessing_is_drawn_beside_the_loss() -> None:
    """Guards the chart of one run, and of several: a common line where guessing is the same for all."""
    rows = [{"step": str(n), "loss": str(5 - n), "chance": "4"} for n in range(3)]
    plain = [{"step": "0", "loss": "1", "chance": ""}, {"step": "1", "loss": "1"}]
    other = [{**row, "chance": "9.7"} for row in rows]
    assert curve_of_loss([("", rows)]) == [("Loss", [5, 4, 3]), ("guessing", [4, 4, 4])]
    assert curve_of_loss([("", plain)]) == [("Loss", [1, 1])]
    names = [name for name, _ in curve_of_loss([("a", rows), ("b", rows[:2]), ("c", plain)])]
    assert names == ["a", "b", "c", "guessing"]
    assert curve_of_loss([("a", rows), ("b", other)])[2:] == [
        ("guessing, a", [4, 4, 4]),
        ("guessing, b", [9.7, 9.7, 9.7]),
    ]
