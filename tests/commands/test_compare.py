"""``massrl compare``: a row for each backbone, and a warning where metrics are not comparable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.weights.conftest import trained

import massrl
from massrl.cli import main
from massrl.commands.compare import compare
from massrl.errors import DataError

SHAPES = {"train": "shapes(count=60)", "val": "shapes(count=40)"}


def evaluated(folder: Path, *, seed: int = 0, **config: Any) -> str:
    """Evaluate a small backbone by k-NN and a linear probe; return the folder of its results."""
    folder.mkdir(exist_ok=True)
    path = trained(folder, "resnet10-tiny", "small", seed=seed)
    options = {"task": ["knn", "linear"], "data": SHAPES, "out": str(folder), **config}
    massrl.evaluate(path, options, console=Console(quiet=True))
    return str(folder)


def test_each_backbone_has_a_row_and_differences_are_named(tmp_path: Path) -> None:
    """Guards metrics that look comparable and are not."""
    folders = [evaluated(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    options = {"folders": folders, "out": str(tmp_path / "both")}
    page, comparison = compare(options)
    assert [row[0] for row in comparison.rows("acc1")] == ["a", "b"]
    assert comparison.result_names == ["knn", "linear"]
    assert comparison.differences == []
    assert page == tmp_path / "both" / "report.html"
    for number, folder in enumerate(folders):
        tasks = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))["tasks"]
        assert f"{tasks['knn']['acc1']:.2f}" in comparison.lines()[1 + number]
    evaluated(tmp_path / "b", seed=1, task=["knn"], k=3)
    evaluated(tmp_path / "b", seed=1, task=["linear"], data={**SHAPES, "val": "shapes(count=30)"})
    differences = compare(options)[1].differences
    assert differences == ["settings of k-NN", "test images of linear probe"]


def test_folder_without_results_or_beside_itself_is_refused(tmp_path: Path) -> None:
    """Guards an empty column, and a folder compared with itself."""
    folder = evaluated(tmp_path / "a", task=["knn"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="massrl evaluate"):
        compare({"folders": [folder, str(tmp_path / "empty")]})
    with pytest.raises(DataError, match="itself"):
        compare({"folders": [folder, folder]})


def test_command_prints_the_table_and_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the folders before the flags, and the path of the page as the last line."""
    folders = [
        evaluated(tmp_path / name, seed=seed, task=["knn"]) for seed, name in enumerate("ab")
    ]
    assert main(["compare", *folders, "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["percent", "knn"]
    assert [line.split()[0] for line in lines[1:3]] == ["a", "b"]
    assert lines[-1] == str(tmp_path / "out" / "report.html")
    assert main(["compare", folders[0]]) == 2
    assert "two or more folders" in capsys.readouterr().err
