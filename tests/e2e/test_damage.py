"""What can be drawn again never stops a run, and a file of a run never leads out of its folder."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from massrl.cli import main
from massrl.train.callbacks import checkpoints

IMAGES = "shapes(count=24,size=16)"
RUN = [
    *("pretrain", f"--data.train={IMAGES}", "--data.batch_size=8", "--data.workers=0"),
    *("--views.size=16", "--model.backbone=resnet10-tiny", "--train.max_steps=3"),
    *("--train.accelerator=cpu", "--train.probe_every=0", "--train.checkpoint_every=1"),
    *("--train.log_every=1", "--model.projector.hidden=16", "--model.projector.out=8"),
]
EVALUATE = [f"--data.train={IMAGES}", f"--data.val={IMAGES}", "--cache=false"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``whole``, a run with evaluations, and ``stopped``, what it left behind at its second step."""
    here = tmp_path_factory.mktemp("runs")
    save = checkpoints.save_checkpoint

    def save_and_copy(path: Path, content: dict[str, Any]) -> None:
        save(path, content)
        if content["step"] == 2:
            shutil.copytree(path.parents[1], here / "stopped")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "save_checkpoint", save_and_copy)
        assert main([*RUN, f"--out={here / 'whole'}"]) == 0
    assert main(["evaluate", str(here / "whole"), *EVALUATE, "--task=knn,features"]) == 0
    for name in ("results.json", "report.html", "loss_matrix.json", "loss_matrix.png"):
        shutil.copy(here / "whole" / name, here / "stopped")
    shutil.copytree(here / "whole" / "features", here / "stopped" / "features")
    (here / "stopped" / "loggers.json").write_text("{}")
    return here


def empty(content: bytes) -> bytes:
    return b""


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def noise(content: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(content))


def texts_for_numbers(content: bytes) -> bytes:
    def worse(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: worse(value) for key, value in item.items()}
        if isinstance(item, list):
            return [worse(value) for value in item]
        return "many" if isinstance(item, int | float) else item

    try:
        return json.dumps(worse(json.loads(content))).encode()
    except ValueError:
        return content.replace(b"1", b"one")


def not_a_number(content: bytes) -> bytes:
    try:
        text = json.dumps(json.loads(content))
    except ValueError:
        return content.replace(b"1", b"nan")
    return text.replace("1", "NaN").replace("2", "Infinity").encode()


DRAWN = (
    *("views.png", "metrics.csv", "results.json", "report.html", "loss_matrix.json"),
    *("loss_matrix.png", "features/features.json", "features/map.jpg", "features/neighbours.jpg"),
    "loggers.json",
)


@pytest.mark.parametrize("damage", [empty, cut, noise, texts_for_numbers, not_a_number])
def test_damaged_drawings_do_not_stop_a_run_and_do_not_change_it(
    damage: Callable[[bytes], bytes], runs: Path, tmp_path: Path
) -> None:
    """Guards a run of weeks against half a picture. The kind: pictures, tables, results, features, curves.

    All of them at once, each in the same way; the weights are those of a run that never stopped.
    """
    shutil.copytree(runs / "stopped", tmp_path / "run")
    for name in DRAWN:
        path = tmp_path / "run" / name
        path.write_bytes(damage(path.read_bytes()))
    assert main(["pretrain", "--resume", str(tmp_path / "run")]) == 0
    expected = load_file(runs / "whole" / "backbone.safetensors")
    got = load_file(tmp_path / "run" / "backbone.safetensors")
    assert all(np.array_equal(got[name], expected[name]) for name in expected)
    with Image.open(tmp_path / "run" / "views.png") as sheet:
        sheet.load()
    assert (tmp_path / "run" / "report.html").read_text().rstrip().endswith("</html>")


@pytest.mark.parametrize("name", DRAWN[:-1])
def test_damaged_drawing_is_named_or_drawn_again(
    name: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards against a page that has lost something without a word."""
    shutil.copytree(runs / "stopped", tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_bytes(cut(path.read_bytes())[:-3])
    before = path.read_bytes()
    assert main(["pretrain", "--resume", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert path.name in said or path.parent.name in said or path.read_bytes() != before


def secret(path: Path) -> bytes:
    """Write a picture that no page may show, and return what it would show of it."""
    Image.fromarray(np.full((9, 9, 3), 77, np.uint8)).save(path)
    return base64.b64encode(path.read_bytes())


def names(folder: Path, changes: dict[str, object]) -> None:
    path = folder / "results.json"
    content = json.loads(path.read_text())
    for item in content["tasks"].values():
        item.update(changes)
    path.write_text(json.dumps(content, indent=2))


def link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    "way",
    [
        lambda run: names(run, {"picture": "../secret.png"}),
        lambda run: names(run, {"picture": str(run.parent / "secret.png")}),
        lambda run: names(run, {"picture": "features/../../secret.png"}),
        lambda run: (
            link(run / "inner.png", run.parent / "secret.png"),
            names(run, {"picture": "inner.png"}),
        ),
        lambda run: link(run / "views.png", run.parent / "secret.png"),
        lambda run: link(run / "features" / "map.jpg", run.parent / "secret.png"),
        lambda run: link(run / "features" / "neighbours.jpg", run.parent / "secret.png"),
        lambda run: names(run, {"folder": ".."}),
        lambda run: names(run, {"picture": None, "folder": 7}),
        lambda run: names(run, {"picture": "a\0b", "folder": ["features"]}),
        lambda run: names(run, {"picture": "/dev/zero", "folder": "/proc/self"}),
    ],
)
def test_path_in_a_file_of_a_run_does_not_leave_its_folder(
    way: Callable[[Path], object], runs: Path, tmp_path: Path
) -> None:
    """Guards what lies beside a run from being shown on its page, which may be sent to others.

    The kind: ``..``, absolute paths, links to files, names that are none; in results and in features.
    """
    hidden = secret(tmp_path / "secret.png")
    shutil.copyfile(tmp_path / "secret.png", tmp_path / "map.jpg")
    shutil.copyfile(tmp_path / "secret.png", tmp_path / "neighbours.jpg")
    shutil.copytree(runs / "whole", tmp_path / "run")
    shutil.copyfile(tmp_path / "run" / "features" / "features.json", tmp_path / "features.json")
    way(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "twin", symlinks=True)
    evaluation = ["evaluate", str(tmp_path / "run"), *EVALUATE, "--task=knn"]
    assert main(evaluation) == 0
    out = tmp_path / "comparison"
    assert main(["compare", str(tmp_path / "run"), str(tmp_path / "twin"), f"--out={out}"]) in (
        0,
        2,
    )
    assert main(["export", str(tmp_path / "run"), f"--out={out / 'a.safetensors'}"]) == 0
    for page in (tmp_path / "run" / "report.html", *out.glob("*.html"), *out.glob("*.md")):
        assert hidden not in page.read_bytes()
