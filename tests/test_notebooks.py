"""Notebooks run from the first cell to the last."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards a first look that ends in an error; outputs are not saved in the file."""
    from matplotlib import pyplot as plt

    mpl.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", plt.close)
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        assert cell["outputs"] == []
        exec(compile("".join(cell["source"]), str(path), "exec"), names)
    assert {"views.png", "mine.png", "randaugment.png"} <= {
        item.name for item in tmp_path.iterdir()
    }
    assert "images/s a core" in capsys.readouterr().out


def test_there_is_a_notebook() -> None:
    """Guards the test above: no notebook at all would pass."""
    assert [path.stem for path in FOLDER.glob("*.ipynb")] == ["see_your_augmentations"]
