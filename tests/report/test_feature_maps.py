"""The feature report on a run's page: maps, gallery and the program that shows thumbnails."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.conftest import ABOUT
from tests.evaluation.conftest import colours, context_of

import massrl
from massrl.config.evaluation import FeaturesConfig
from massrl.evaluation.tasks.feature_maps import write_feature_report
from massrl.report.content import ReportContent
from massrl.report.feature_maps import load_feature_report
from massrl.report.page import render_report
from massrl.weights.backbone_file import save_backbone
from massrl.weights.load import random_backbone


@pytest.mark.parametrize("name", ["features.json", "look.json"])
def test_report_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    """Guards maps and gallery on the way over the disk, in the files of version 0.1.0 too."""
    context = context_of(colours(80, seed=0), colours(40, seed=1))
    config = FeaturesConfig(points=40, rows=3)
    write_feature_report(context, config, tmp_path / "features", seed=0)
    (tmp_path / "features" / "features.json").rename(tmp_path / "features" / name)
    content = json.loads((tmp_path / "features" / name).read_text(encoding="utf-8"))
    maps, galleries = load_feature_report(tmp_path / "features", "trained")
    assert [item.title for item in maps] == [
        f"{name} of the features, trained" for name in content["maps"]
    ]
    assert all(len(item.points) == len(item.texts) == 40 for item in maps)
    ((query, near), *_) = galleries[0].rows
    assert isinstance(query.image, np.ndarray)
    assert query.image.shape == (96, 96, 3)
    assert [right for _, right in near] == [
        label == content["rows"][0]["label"] for label in content["rows"][0]["near"]
    ]
    assert load_feature_report(tmp_path / "nothing", "trained") == ([], [])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a backbone that was evaluated by all tasks."""
    folder = tmp_path_factory.mktemp("page")
    save_backbone(folder / "a.safetensors", random_backbone(ABOUT).state_dict(), about=ABOUT)
    massrl.evaluate(
        folder / "a.safetensors",
        {
            "task": ["all"],
            "data": {"train": "shapes(count=60)", "val": "shapes(count=40)"},
            "sgd": {"epochs": 1, "batch_size": 20, "lrs": [0.1]},
            "semi": {"fractions": [0.5], "lrs": [0.1], "epochs": [1]},
            "detect": {"epochs": 0.2, "size": 32, "width": 8, "regions": 8, "pictures": 1},
            "segment": {"epochs": 0.2, "size": 32, "pictures": 1},
            "features": {"points": 30, "rows": 2, "invariance_images": 8},
            "cache": False,
        },
        console=Console(quiet=True),
    )
    return folder / "a-results" / "report.html"


def test_page_is_one_file_with_maps_gallery_and_table(page: Path) -> None:
    """Guards a page that can be sent to a colleague."""
    text = page.read_text(encoding="utf-8")
    features_json = (page.parent / "features" / "features.json").read_text(encoding="utf-8")
    assert text.count("<circle") == 30 * len(json.loads(features_json)["maps"])
    for words in (
        "PCA of the features",
        "t-SNE",
        "Invariance of the features",
        "Nearest training images",
    ):
        assert words in text
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert text.count("background-image:url(data:image/jpeg") == 1  # all maps show the same sheet


def test_page_without_maps_has_no_script() -> None:
    """Guards the plain page against what it does not need."""
    assert "<script" not in render_report(ReportContent(title="x"))


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_page_runs_in_a_browser_and_shows_the_image_that_is_pointed_at(
    page: Path, tmp_path: Path, width: int
) -> None:
    """Guards the script on the page, and its width on a phone."""
    probe = """<script>window.onerror = function (what) { parent.postMessage('error: ' + what, '*'); };
    </script>"""
    then = """<script>
    var point = document.querySelectorAll('circle[data-i]')[7];
    point.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));
    var tip = document.querySelector('.tip');
    parent.postMessage([tip.hidden, tip.textContent, point.getAttribute('aria-label'), window.innerWidth,
      document.documentElement.scrollWidth, document.documentElement.clientWidth].join('|'), '*');
    </script>"""
    text = page.read_text(encoding="utf-8").replace("<head>", "<head>" + probe)
    (tmp_path / "probe.html").write_text(
        text.replace("</body>", then + "</body>"), encoding="utf-8"
    )
    # A window of its own cannot be as narrow as a telephone; a frame can.
    (tmp_path / "frame.html").write_text(
        "<script>onmessage = function (said) { document.title = said.data; };</script>"
        f"<iframe src=probe.html width={width} height=900></iframe>"
    )
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=1400,1000",
            "--virtual-time-budget=5000",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            (tmp_path / "frame.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    hidden, tip, label, inner, wide, shown = title[1].split("|")
    assert hidden == "false"
    assert tip == label
    assert int(inner) == width
    assert int(wide) <= int(shown)
