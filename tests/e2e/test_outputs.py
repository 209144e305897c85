"""No command replaces a file that is not its own: every output of every command, over whatever is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from massrl.cli import main

IMAGES = "shapes(count=24,size=16)"
TRAINING = [
    *(f"--data.train={IMAGES}", "--data.batch_size=8", "--data.workers=0", "--views.size=16"),
    *("--model.backbone=resnet10-tiny", "--train.max_steps=1", "--train.accelerator=cpu"),
    *("--train.probe_every=0", "--model.projector.hidden=16", "--model.projector.out=8"),
]
EVALUATION = [
    f"--data.train={IMAGES}",
    f"--data.val={IMAGES}",
    "--task=knn,features",
    "--cache=false",
]


@dataclass(frozen=True)
class Verb:
    """A command.

    Attributes:
        words: its arguments; ``HERE`` stands for the folder.
        outputs: what it writes, in the folder.
        inputs: what it reads there, and the outputs that can be called so: an argument by its replacement.
        refuses_own: whether even an earlier output of its own is kept, as a finished run is.
    """

    words: tuple[str, ...]
    outputs: tuple[str, ...]
    reads: tuple[str, tuple[str, str]] | None = None
    refuses_own: bool = False


VERBS = {
    "views": Verb(
        ("views", "HERE/images", "--count=2", "--out=HERE/sheet.png"),
        ("sheet.png",),
        ("images/1.png", ("--out=HERE/sheet.png", "--out=HERE/images/1.png")),
    ),
    "views page": Verb(("views", IMAGES, "--count=2", "--out=HERE/sheet.html"), ("sheet.html",)),
    "views jpeg": Verb(("views", IMAGES, "--count=2", "--out=HERE/sheet.jpg"), ("sheet.jpg",)),
    "views webp": Verb(("views", IMAGES, "--count=2", "--out=HERE/sheet.webp"), ("sheet.webp",)),
    "policies": Verb(
        ("policies", "simclr", "--image=HERE/images/1.png", "--out=HERE/chart.png"),
        ("chart.png",),
        ("images/1.png", ("--out=HERE/chart.png", "--out=HERE/images/1.png")),
    ),
    "pretrain": Verb(
        ("pretrain", *TRAINING, "--out=HERE/new"),
        (
            *("new/config.yaml", "new/data.json", "new/metrics.csv", "new/views.png"),
            *("new/report.html", "new/log.txt", "new/backbone.safetensors", "new/loss_matrix.json"),
            *("new/loss_matrix.png", "new/checkpoints/last.ckpt"),
        ),
        refuses_own=True,
    ),
    "evaluate": Verb(
        ("evaluate", "HERE/run", *EVALUATION, "--out=HERE/results"),
        (
            *("results/results.json", "results/report.html", "results/features/features.json"),
            *("results/features/map.jpg", "results/features/neighbours.jpg"),
        ),
    ),
    "compare": Verb(
        ("compare", "HERE/run", "HERE/twin", "--out=HERE/comparison"),
        ("comparison/report.html", "comparison/comparison.json"),
    ),
    "export": Verb(
        ("export", "HERE/run", "--out=HERE/notes.safetensors"),
        ("notes.safetensors", "notes.md"),
        (
            "run/backbone.safetensors",
            ("--out=HERE/notes.safetensors", "--out=HERE/run/backbone.safetensors"),
        ),
    ),
    "export for torchvision": Verb(
        ("export", "HERE/resnet18.safetensors", "--format=torchvision", "--out=HERE/a.pth"),
        ("a.pth", "a.md"),
    ),
    "import": Verb(
        ("import", "HERE/foreign.pth", "--model.size=32", "--out=HERE/imported.safetensors"),
        ("imported.safetensors",),
        ("foreign.pth", ("--out=HERE/imported.safetensors", "--out=HERE/foreign.pth")),
    ),
    "data pack": Verb(
        ("data", "pack", "HERE/images", "HERE/packed"),
        ("packed-00000.tar", "packed-index.safetensors"),
        refuses_own=True,
    ),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the commands read, and what each of them writes in ``done``."""
    import torchvision

    here = tmp_path_factory.mktemp("here")
    (here / "images").mkdir()
    for number in range(3):
        pixels = np.full((32, 32, 3), 60 * number, np.uint8)
        Image.fromarray(pixels).save(here / "images" / f"{number}.png")
    assert main(["pretrain", *TRAINING, f"--out={here / 'run'}"]) == 0
    assert main(["evaluate", str(here / "run"), *EVALUATION]) == 0
    shutil.copytree(here / "run", here / "twin")
    network = torchvision.models.resnet18(weights=None)
    torch.save(network.state_dict(), here / "foreign.pth")
    foreign, out = str(here / "foreign.pth"), str(here / "resnet18.safetensors")
    assert main(["import", foreign, "--model.size=32", f"--out={out}"]) == 0
    shutil.copytree(here, here.parent / "done")
    for verb in VERBS.values():
        assert run(verb, here.parent / "done") == 0
        for name in verb.outputs:
            assert (here.parent / "done" / name).is_file(), name
    return here


@pytest.fixture
def here(stored: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the folder, without what the commands write."""
    shutil.copytree(stored, tmp_path / "here", copy_function=lambda a, b: Path(b).hardlink_to(a))
    yield tmp_path / "here"
    shutil.rmtree(tmp_path / "here")


def run(verb: Verb, here: Path, *more: str, replace: tuple[str, str] = ("", "")) -> int:
    words = [replace[1] if word == replace[0] else word for word in verb.words]
    return main([*(word.replace("HERE", str(here)) for word in words), *more])


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def users_file(path: Path, done: Path) -> None:
    path.write_text("MINE: 1\n")


def of_another_command(path: Path, done: Path) -> None:
    others = {".png": "policies" if path.name == "sheet.png" else "views", ".html": "compare"}
    others |= {
        ".jpg": "evaluate" if path.name == "sheet.jpg" else "views jpeg",
        ".json": "compare",
        ".safetensors": "pretrain",
        ".md": "views page",
    }
    name = others.get(path.suffix, "evaluate")
    if path.parent.name == "comparison":
        name = "evaluate"
    found = [item for item in VERBS[name].outputs if item.endswith(path.suffix)]
    shutil.copyfile(done / (found or VERBS[name].outputs)[0], path)


def folder(path: Path, done: Path) -> None:
    path.mkdir()


def symbolic_link(path: Path, done: Path) -> None:
    target = path.parent / "my own"
    target.write_text("MINE: 1\n")
    path.symlink_to(target)


def dangling_link(path: Path, done: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


STATES = [users_file, of_another_command, folder, symbolic_link, dangling_link]
OUTPUTS = [(name, output) for name, verb in VERBS.items() for output in verb.outputs]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize(("name", "output"), OUTPUTS)
def test_output_replaces_nothing_that_is_not_its_own(
    name: str,
    output: str,
    state: Callable[[Path, Path], None],
    here: Path,
    stored: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards files of the user's: a card over notes.md, a run in a folder of theirs, a sheet over an image.

    To the kind belong: every output of every command, files of another command of massrl, folders, and
    links, whose targets would be lost too. It is refused in one line, and nothing in the folder is changed.
    """
    path = here / output
    path.parent.mkdir(exist_ok=True, parents=True)
    state(path, stored.parent / "done")
    before = snapshot(here)
    assert run(VERBS[name], here) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "--overwrite" in message or "choose another" in message
    assert snapshot(here) == before
    assert path.is_symlink() == (state in (symbolic_link, dangling_link))


@pytest.mark.parametrize("name", VERBS)
def test_own_output_is_replaced(name: str, here: Path, stored: Path) -> None:
    """Guards against asking for ``--overwrite`` each time; a run and a packing that are done are kept."""
    verb, done = VERBS[name], stored.parent / "done"
    for output in verb.outputs:
        (here / output).parent.mkdir(exist_ok=True, parents=True)
        shutil.copyfile(done / output, here / output)
    assert run(verb, here) == (2 if verb.refuses_own else 0)


@pytest.mark.parametrize("name", VERBS)
def test_overwrite_replaces_a_users_file_but_not_what_a_link_points_to(
    name: str, here: Path, stored: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Guards the way out that the refusal names, and the target of a link against it."""
    verb = VERBS[name]
    for output in verb.outputs:
        (here / output).parent.mkdir(exist_ok=True, parents=True)
        users_file(here / output, stored)
    (here / verb.outputs[0]).unlink()
    symbolic_link(here / verb.outputs[0], stored)
    assert run(verb, here, "--overwrite") == 0
    for output in verb.outputs:
        assert not (here / output).is_symlink()
        assert b"MINE" not in (here / output).read_bytes()
    assert ((here / verb.outputs[0]).parent / "my own").read_text() == "MINE: 1\n"


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if verb.reads])
@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_input_is_never_an_output(name: str, more: tuple[str, ...], here: Path) -> None:
    """Guards what is read, with ``--overwrite`` too."""
    verb = VERBS[name]
    assert verb.reads is not None
    before = snapshot(here)
    assert run(verb, here, *more, replace=verb.reads[1]) == 2
    assert snapshot(here) == before


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "HERE/resnet18.safetensors", *EVALUATION, "--out=HERE/run"),
        ("compare", "HERE/run", "HERE/twin", "--out=HERE/run"),
        ("views", IMAGES, "--out=HERE/run/views.png"),
        ("export", "HERE/run", "--out=HERE/twin/backbone.safetensors"),
        ("import", "HERE/foreign.pth", "--model.size=32", "--out=HERE/run/backbone.safetensors"),
        ("pretrain", *TRAINING, "--out=HERE/run"),
        ("demo", "--out=HERE/run"),
        ("demo", "--out=HERE"),
        ("demo", "--out=HERE/images/1.png"),
        ("data", "pack", "HERE/images", "HERE/run/views.png/packed"),
    ],
)
def test_another_runs_files_are_kept(
    words: tuple[str, ...], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards a run against what other commands write: its page, its results, its weights."""
    before = snapshot(here)
    assert main([word.replace("HERE", str(here)) for word in words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert snapshot(here) == before


def test_results_of_other_weights_are_kept(here: Path) -> None:
    """Guards results in a folder of their own; those of the same backbone, trained further, are replaced."""
    words = [*EVALUATION[:2], "--task=knn", "--cache=false", f"--out={here / 'results'}"]
    assert main(["evaluate", str(here / "run"), *words]) == 0
    before = snapshot(here)
    assert main(["evaluate", str(here / "resnet18.safetensors"), *words]) == 2
    assert snapshot(here) == before
    assert main(["evaluate", str(here / "run"), *words]) == 0


def test_run_that_ended_before_its_first_checkpoint_is_begun_anew(here: Path) -> None:
    """Guards the same command after a first attempt that failed, whatever it left behind."""
    verb = VERBS["pretrain"]
    assert run(verb, here) == 0
    for name in ("checkpoints/last.ckpt", "backbone.safetensors", "report.html"):
        (here / "new" / name).unlink()
    assert run(verb, here) == 0
