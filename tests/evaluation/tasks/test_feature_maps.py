"""Looking at a backbone: maps, nearest images, what moves the features, and the page that shows them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tests.conftest import ABOUT
from tests.evaluation.conftest import colours, subject_of
from torch import Tensor, nn

import massrl
from massrl.config.evaluation import FeaturesConfig
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.embedding import flat_maps, nearest, relative_distance
from massrl.evaluation.tasks.feature_maps import invariance, look
from massrl.report.content import ReportContent
from massrl.report.feature_maps import load_feature_report
from massrl.report.page import render_report
from massrl.weights.backbone_file import save_backbone
from massrl.weights.load import random_backbone

CONFIG = FeaturesConfig(points=40, rows=3, invariance_images=24)


@pytest.fixture
def subject() -> EvaluationContext:
    """A backbone with 80 images to learn from and 40 to predict."""
    return subject_of(colours(80, seed=0), colours(40, seed=1))


def test_maps_keep_what_lies_together_together() -> None:
    """Guards the maps: clusters that are far apart in all dimensions must be so in two."""
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.eye(8)[:3]
    labels = torch.arange(90) % 3
    features = centres[labels] + 0.3 * torch.randn(90, 8, generator=generator)
    maps = flat_maps(features, seed=0)
    assert {"PCA", "t-SNE"} <= set(maps)
    for points in maps.values():
        assert points.shape == (90, 2)
        assert points.min() >= 0.0
        assert points.max() <= 1.0
        assert np.ptp(points, axis=0).max() == pytest.approx(1.0)
        middles = np.stack([points[labels == label].mean(axis=0) for label in range(3)])
        nearest_middle = ((points[:, None] - middles) ** 2).sum(axis=2).argmin(axis=1)
        assert (nearest_middle == labels.numpy()).mean() > 0.95
    assert flat_maps(features[:4], seed=0) == {}


def test_nearest_are_those_of_the_smallest_angle() -> None:
    """Guards the gallery against lengths of features."""
    bank = torch.tensor([[10.0, 1.0], [0.1, 0.0], [0.0, 5.0], [-1.0, 0.0]])
    assert nearest(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), bank, count=2).tolist() == [
        [1, 0],
        [2, 0],
    ]


def test_distance_is_measured_in_distances_between_images() -> None:
    """Guards the table's scale: 0 for the same features, 1 for those of any other image."""
    features = torch.eye(4)
    assert relative_distance(features, 7 * features) == pytest.approx(0.0)
    assert relative_distance(features, features.roll(1, 0)) == pytest.approx(1.0)
    # Half way between two directions: a cosine of the square root of a half.
    between = features + features.roll(1, 0)
    assert relative_distance(features, between) == pytest.approx(1 - 0.5**0.5)


def test_collapsed_features_have_no_map_and_no_distance() -> None:
    """Guards Python itself, which t-SNE of equal points brings down."""
    assert flat_maps(torch.ones(30, 8), seed=0) == {}
    assert relative_distance(torch.ones(5, 3), torch.ones(5, 3)) is None
    assert relative_distance(torch.ones(1, 3), torch.ones(1, 3)) is None


class Grey(nn.Module):
    """Sees lightness alone, place by place."""

    num_features = 16

    def forward(self, images: Tensor) -> Tensor:
        """From ``(B, 3, H, W)`` to 4 × 4 places."""
        rows = torch.tensor(
            [0.299 * 0.229, 0.587 * 0.224, 0.114 * 0.225]
        )  # undoes the normalisation
        grey = (images * rows[:, None, None]).sum(dim=1, keepdim=True)
        return nn.functional.adaptive_avg_pool2d(grey, 4).flatten(1) + 1.0


def test_what_a_backbone_cannot_see_does_not_move_its_features(subject: EvaluationContext) -> None:
    """Guards "which invariances the backbone learnt" on one whose blindness is known."""
    blind = replace(subject, network=Grey())
    plain = "simclr(strength=0,blur_prob=0"
    ways = (f"{plain},grayscale_prob=1)", f"{plain},grayscale_prob=0,solarize_prob=1)")
    moved = invariance(blind, CONFIG, side=8, policies=ways, fill=0, seed=0)
    assert set(moved) == {"crop", "flip", *ways}
    distances = {way: value for way, value in moved.items() if value is not None}
    grey, solarised = (distances[way] for way in ways)
    assert grey < 0.01
    assert solarised > 0.2
    assert distances["flip"] > 0.2


def test_flip_and_crop_are_told_from_strategies(subject: EvaluationContext) -> None:
    """Guards a strategy's figure against what its crop or flip would do."""
    moved = invariance(subject, CONFIG, side=8, policies=("weak",), fill=0, seed=0)
    assert moved["weak"] == pytest.approx(0.0, abs=1e-9)
    assert (moved["crop"] or 0) > 0.01
    assert (moved["flip"] or 0) > 0.001


def test_folder_holds_maps_and_neighbours_as_they_were(
    tmp_path: Path, subject: EvaluationContext
) -> None:
    """Guards the way over the disk: labels, places and pictures belong together."""
    figures = look(
        subject, CONFIG, tmp_path / "features", side=8, policies=("weak",), fill=0, seed=0
    )
    assert figures["num_images"] == 40
    content = json.loads((tmp_path / "features" / "features.json").read_text(encoding="utf-8"))
    assert content["labels"] == subject.test_features.labels.tolist()
    maps, galleries = load_feature_report(tmp_path / "features", "trained")
    assert [item.title for item in maps] == [
        f"{name} of the features, trained" for name in content["maps"]
    ]
    assert all(len(item.points) == len(item.texts) == 40 for item in maps)
    ((query, near), *_) = galleries[0].rows
    wanted = nearest(subject.test_features.values[:40], subject.train_features.values, count=5)
    shown = [row["near"] for row in content["rows"]]
    assert len(shown) == 3
    assert all(
        any(subject.train_features.labels[places].tolist() == row for places in wanted)
        for row in shown
    )
    assert isinstance(query.image, np.ndarray)
    assert query.image.shape == (96, 96, 3)
    assert len(near) == 5
    assert load_feature_report(tmp_path / "nothing", "trained") == ([], [])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a backbone that was judged and looked at."""
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
    look_json = (page.parent / "features" / "features.json").read_text(encoding="utf-8")
    assert text.count("<circle") == 30 * len(json.loads(look_json)["maps"])
    for words in (
        "PCA of the features",
        "t-SNE",
        "How far the features are moved",
        "Nearest images",
    ):
        assert words in text
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert text.count("background-image:url(data:image/jpeg") == 1  # all maps show the same sheet


def test_pages_without_maps_carry_no_program() -> None:
    """Guards the plain page against what it does not need."""
    assert "<script" not in render_report(ReportContent(title="x"))


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [390, 1280])
def test_page_runs_in_a_browser_and_shows_the_image_that_is_pointed_at(
    page: Path, tmp_path: Path, width: int
) -> None:
    """Guards the program on the page, and its width on a telephone."""
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


def test_look_goes_with_the_images_of_other_backbones(subject: EvaluationContext) -> None:
    """Guards a test set that is smaller than what is asked for."""
    small = subject_of(colours(6, seed=0), colours(4, seed=1))
    assert look(small, CONFIG, None, side=8, policies=("weak",), fill=0, seed=0)["num_images"] == 4
