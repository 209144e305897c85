"""Contact sheets, pages and replays, as a user asks for them."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.conftest import photos
from tests.train.conftest import run

from massrl.cli import main
from massrl.commands.views import draw_views
from massrl.errors import CheckpointError, ConfigError
from massrl.train.step import TrainingStep
from massrl.views.view_maker import ViewMaker


def views_of(page: Path) -> list[np.ndarray]:
    """The views of a page, in order, as pixels."""
    found = re.findall(
        r'<img src="data:image/png;base64,([^"]+)"', page.read_text(encoding="utf-8")
    )
    images = [np.frombuffer(base64.b64decode(item), np.uint8) for item in found]
    return [cv2.cvtColor(cv2.imdecode(item, 1), cv2.COLOR_BGR2RGB) for item in images]


def test_replay_shows_the_very_views_of_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards "replayable": the pixels of the page are those that the step was given."""
    seen: dict[int, Any] = {}
    original = TrainingStep._add_gradients

    def watched(self: TrainingStep, batch: Any, part: int) -> None:
        seen[self.step] = (batch.indices.tolist(), batch.views.numpy().copy())
        original(self, batch, part)

    monkeypatch.setattr(TrainingStep, "_add_gradients", watched)
    folder = run(tmp_path / "run").folder
    indices, views = seen[7]  # in the second epoch
    page = tmp_path / "page.html"
    options = {"replay": str(folder), "step": 7, "index": indices[3], "out": str(page)}
    assert draw_views(options) == page
    shown = views_of(page)
    assert len(shown) == 4
    assert all(np.array_equal(one, other) for one, other in zip(shown, views[:, 3], strict=True))
    draw_views({"replay": str(folder), "step": 7, "count": 99, "out": str(page)})
    assert len(views_of(page)) == 4 * len(indices)
    missing = next(index for index in range(40) if index not in indices)
    with pytest.raises(ConfigError, match=f"image {missing} is not one of step 7"):
        draw_views({**options, "index": missing})
    with pytest.raises(ConfigError, match="the run has made steps 0 to 9"):
        draw_views({**options, "step": 10})
    with pytest.raises(ConfigError, match="--step and --epoch cannot be given together"):
        draw_views({**options, "epoch": 1})


def test_replay_of_other_images_is_refused_and_of_moved_ones_not(tmp_path: Path) -> None:
    """Guards a replay against views of images that the run has never seen."""
    images = photos(tmp_path / "photos", "a", count=16)
    data = {"train": str(images), "batch_size": 8}
    folder = run(tmp_path / "run", data=data, train={"max_steps": 2}).folder
    images.rename(tmp_path / "moved")
    out = str(tmp_path / "sheet.png")
    options = {"replay": str(folder), "step": 1, "out": out}
    draw_views({**options, "images": str(tmp_path / "moved")})
    other = photos(tmp_path / "other", "a", count=9)
    with pytest.raises(CheckpointError, match="was not trained on other"):
        draw_views({**options, "images": str(other)})


class Tags(HTMLParser):
    """Counts tags and sees that each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.seen.append(tag)
        self.links += [str(v) for k, v in attributes if k in ("src", "href")]
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """An element without content."""
        self.seen.append(tag)
        self.links += [str(v) for k, v in attributes if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        assert self.open.pop() == tag


def test_page_is_one_file_with_everything_in_it(tmp_path: Path) -> None:
    """Guards a page that is sent by mail, and file names that are HTML."""
    images = photos(tmp_path / "photos", "a", count=3)
    (images / "a" / "1.png").rename(images / "a" / "<b>&.png")
    page = tmp_path / "new" / "page.html"
    draw_views({"images": str(images), "out": str(page), "views": {"layout": "massrl"}})
    tags = Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    assert tags.open == []
    assert tags.seen.count("img") == 3 * 8
    assert tags.seen.count("svg") == 3
    assert tags.seen.count("b") == 3 * 8  # the badges, and no file's name
    assert all(link.startswith("data:image/png;base64,") for link in tags.links)
    text = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;.png" in text
    assert "randaugment<wbr>(2,9)" in text


def test_page_says_what_was_planned(tmp_path: Path) -> None:
    """Guards the page's frames and numbers: each crop where it was cut, each operation with its amount."""
    images = photos(tmp_path / "photos", "a", count=2)
    page = tmp_path / "page.html"
    draw_views({"images": str(images), "out": str(page), "views": {"layout": "massrl", "size": 24}})
    text = page.read_text(encoding="utf-8")
    rows = re.findall(r'<section class="row">.*?</section>', text)
    maker = ViewMaker("massrl", size=24, seed=0)
    for row, file in zip(rows, sorted((images / "a").iterdir()), strict=True):
        height, width = cv2.imread(str(file)).shape[:2]
        plan = maker.plan(index=rows.index(row), height=height, width=width)
        rects = re.findall(
            r'<rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)" fill="none"', row
        )
        frames = {tuple(map(int, item)) for item in rects}
        assert frames == {
            (view.box.left, view.box.top, view.box.width, view.box.height) for view in plan.views
        }
        figures = re.findall(r"<figure><img .*?</figure>", row)
        for view, figure in zip(plan.views, figures, strict=True):
            shown = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", figure)
            wanted = [("flip", "")] if view.flip else []
            words = [step.words() for step in view.steps]
            wanted += [(name, " ".join(amount)) for name, *amount in words]
            assert shown == (wanted or [("crop alone", "")])


def test_title_says_what_was_changed(tmp_path: Path) -> None:
    """Guards a heading that names four policies over a sheet of one."""
    page = tmp_path / "page.html"
    options = {"images": "shapes(count=1)", "out": str(page), "views": {"policies": ["weak"]}}
    draw_views(options)
    text = page.read_text(encoding="utf-8")
    assert "massrl-4, changed: 1 view from weak" in text
    assert "4 policies" not in text


def test_replay_of_a_step_that_was_not_made_is_refused(tmp_path: Path) -> None:
    """Guards "the very views that it trained on": a run that was stopped has not reached it."""
    folder = run(tmp_path / "run").folder
    lines = (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()
    (folder / "metrics.csv").write_text("\n".join(lines[:5]) + "\n", encoding="utf-8")
    out = str(tmp_path / "sheet.png")
    draw_views({"replay": str(folder), "step": 3, "out": out})
    with pytest.raises(ConfigError, match="--step is 4, but the run has made steps 0 to 3"):
        draw_views({"replay": str(folder), "step": 4, "out": out})
    with pytest.raises(ConfigError, match="--epoch is 1, but the run has reached epoch 0"):
        draw_views({"replay": str(folder), "epoch": 1, "out": out})
    (folder / "non_finite.json").write_text("[]", encoding="utf-8")
    for name in ("non_finite.json", "data.json"):
        (folder / name).write_text("[]", encoding="utf-8")
        with pytest.raises(CheckpointError, match=f"{name} is damaged"):
            draw_views({"replay": str(folder), "step": 3, "out": out})


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.txt", "a"])
def test_picture_has_the_format_of_its_name(name: str, tmp_path: Path) -> None:
    """Guards PNG data under another name."""
    options = {"images": "shapes(count=2)", "out": str(tmp_path / name), "count": 1}
    if name in ("a.txt", "a"):
        with pytest.raises(ConfigError, match=r"\.png \.jpg .* are accepted \(--out\)"):
            draw_views(options)
        return
    draw_views(options)
    start = (tmp_path / name).read_bytes()[:12]
    assert start.startswith(b"\xff\xd8") if name == "a.jpg" else start.endswith(b"WEBP")


def test_no_images_at_all_is_refused() -> None:
    """Guards the current folder against being taken for an answer."""
    with pytest.raises(ConfigError, match="no images"):
        draw_views({})


def test_command_prints_the_path_of_the_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the argument before the flags, and the layout's flags."""
    out = tmp_path / "sheet.png"
    words = ["views", "shapes(count=2,size=16)", "--views.layout", "byol", "--out", str(out)]
    assert main(words) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert cv2.imread(str(out)) is not None


def test_single_image_is_shown_by_its_index(tmp_path: Path) -> None:
    """Guards ``--index`` of a sheet that is not a replay."""
    page = tmp_path / "page.html"
    views = {"layout": "byol", "size": 16}
    options = {"images": "shapes(count=3,size=16)", "out": str(page), "views": views}
    draw_views({**options, "index": 2})
    assert len(views_of(page)) == 2
    with pytest.raises(ConfigError, match="--index is 3, but the last image is 2"):
        draw_views({**options, "index": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "--count is 0"),
        ({"epoch": -1}, "--epoch is -1"),
        ({"step": 2}, "--step needs --replay RUN"),
        ({"replay": "a", "step": 2, "epoch": 1}, "--step and --epoch cannot be given together"),
        ({"replay": "a", "seed": 2}, "--views and --seed cannot be given with it"),
        (
            {"replay": "a", "views": {"layout": "byol"}},
            "--views and --seed cannot be given with it",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    """Guards a flag that would be read and ignored."""
    with pytest.raises(ConfigError, match=message):
        draw_views(changes)
