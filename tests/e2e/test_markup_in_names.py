"""Names are text on every page: no element of a page comes from data."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from massrl.cli import main

NAME = "<img src=x onerror=alert(1)>\"'&amp;<b>"
TRAINING = [
    *("--data.batch_size=8", "--data.workers=0", "--views.size=16", "--train.max_steps=1"),
    *("--model.backbone=resnet10-tiny", "--train.accelerator=cpu", "--train.probe_every=0"),
    *("--model.projector.hidden=16", "--model.projector.out=8"),
]


class Elements(HTMLParser):
    """Collects the elements, their attributes, and the text of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


def photos(folder: Path, words: str) -> Path:
    """Two classes of images, whose names and files have the words."""
    random = np.random.default_rng(0)
    for number in range(2):
        for image in range(10):
            path = folder / f"{number}{words}" / f"{image}{words}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (16, 16, 3), np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Every page, of names with markup and of plain ones."""
    made = {}
    for words in (NAME, "plain"):
        here = tmp_path_factory.mktemp("pages")
        images, run = photos(here / f"set{words}", words), here / f"run{words}"
        assert main(["pretrain", f"--data.train={images}", *TRAINING, f"--out={run}"]) == 0
        data = [f"--data.train={images}", "--cache=false"]
        assert main(["evaluate", str(run), *data, "--task=knn,features"]) == 0
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        task = results["tasks"]["features"]
        task["invariance"] = {f"{key}{words}": value for key, value in task["invariance"].items()}
        results["tasks"][f"spread{words}"] = {
            **results["tasks"]["knn"],
            **{"headline": [f"spread{words}"], f"spread{words}": 3.0},
        }
        (run / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
        matrix = json.loads((run / "loss_matrix.json").read_text(encoding="utf-8"))
        matrix["views"] = [f"{name}{words}" for name in matrix["views"]]
        (run / "loss_matrix.json").write_text(json.dumps(matrix), encoding="utf-8")
        assert main(["evaluate", str(run), *data, "--task=knn"]) == 0
        shutil.copytree(run, here / f"twin{words}")
        out = here / "comparison"
        assert main(["compare", str(run), str(here / f"twin{words}"), f"--out={out}"]) == 0
        sheet = here / "sheet.html"
        assert main(["views", str(images), "--count=2", f"--out={sheet}"]) == 0
        made[words] = {"run": run / "report.html", "compare": out / "report.html", "views": sheet}
    return made


@pytest.mark.parametrize("page", ["run", "compare", "views"])
def test_names_with_markup_stay_text_on_every_page(
    page: str, pages: dict[str, dict[str, Path]]
) -> None:
    """Guards whoever opens a page of somebody else's run.

    The kind: names of folders, runs, classes, files, tasks, metrics, policies and views, on every page. The
    page has the very elements and attributes that it has with plain names, and the names as text.
    """
    hostile, plain = Elements(pages[NAME][page]), Elements(pages["plain"][page])
    assert hostile.elements == plain.elements
    assert hostile.attributes == plain.attributes
    assert not any(name.startswith("on") for name in hostile.attributes)
    assert all(source.startswith("data:image/") for source in hostile.sources)
    assert NAME in hostile.text
