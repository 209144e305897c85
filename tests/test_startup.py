"""What a command does not need is not imported: no timing, the names of the modules that are loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from massrl.commands import COMMANDS

# Packages that take a noticeable part of a second to import, each or together.
ARRAYS = {"numpy", "cv2", "PIL", "safetensors"}
DRAWING = {"matplotlib", "scipy", "pandas"}
LEARNING = {
    *("torch", "torchvision", "timm", "torchmetrics", "sklearn"),
    *("lightning", "lightning_fabric", "pytorch_lightning"),
}
SHAPES = "shapes(count=4,size=16)"

_CODE = """
import contextlib, io, json, logging, os, sys
words, first_line = json.loads(sys.argv[1]), sys.argv[2]

def show():
    loaded = sorted({name.partition(".")[0] for name in sys.modules} | set(sys.modules))
    print(json.dumps(loaded), file=sys.__stdout__, flush=True)

class AtFirstLine(logging.Handler):
    def emit(self, record):
        if first_line and record.getMessage().startswith(first_line):
            show()
            os._exit(0)

logging.getLogger("massrl").addHandler(AtFirstLine())
from massrl.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    code = main(words)
assert code == 0, code
show()
"""


def loaded_by(folder: Path, *words: str, first_line: str = "") -> set[str]:
    """Every module, and its package, that a fresh process has loaded after a command.

    Args:
        folder: where it runs.
        words: the command with its arguments.
        first_line: stop at the first line of the log that begins so.
    """
    command = [sys.executable, "-c", _CODE, json.dumps(words), first_line]
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_heavy_packages_are_installed(tmp_path: Path) -> None:
    """Guards the tests below: a name that is misspelt, or not installed, is never loaded."""
    found = {"torch", "torchvision", "timm", "torchmetrics", "sklearn", "lightning_fabric"}
    code = f"import {', '.join(sorted({*ARRAYS, 'matplotlib', 'scipy', *found}))}"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {*ARRAYS, "matplotlib", "scipy", *found} <= ARRAYS | DRAWING | LEARNING


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str, tmp_path: Path) -> None:
    """Guards ``--help`` in a fraction of a second: one import at the top of a module ruins it."""
    loaded = loaded_by(tmp_path, *command.split(), "--help")
    assert "massrl.cli" in loaded
    assert not loaded & (ARRAYS | DRAWING | LEARNING)


@pytest.mark.parametrize("words", [["recipes"], ["recipes", "shapes-byol"], ["parts"]])
def test_list_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    """Guards lists, which are read from tables and files of text."""
    assert not loaded_by(tmp_path, *words) & (ARRAYS | DRAWING | LEARNING)


@pytest.mark.parametrize(
    "words",
    [
        ["policies"],
        ["policies", "simclr", "--size=32"],
        ["views", SHAPES],
        ["data", "check", SHAPES],
        ["data", "pack", SHAPES, "packed/shapes"],
    ],
    ids=" ".join,
)
def test_work_on_images_loads_nothing_to_train_or_plot_with(
    words: list[str], tmp_path: Path
) -> None:
    """Guards commands that take milliseconds of work against seconds of torch."""
    assert not loaded_by(tmp_path, *words) & (DRAWING | LEARNING)


RUN = [
    *(
        "pretrain",
        "--data.train=shapes(count=8,size=16)",
        "--data.batch_size=4",
        "--data.workers=0",
    ),
    *("--views.size=16", "--train.max_steps=1", "--train.accelerator=cpu", "--out=run"),
]
UNUSED = {"sklearn", "torchmetrics", "timm", "lightning", "pytorch_lightning", *DRAWING}
LATER = {
    *("lightning_fabric", "massrl.report.run_page", "torch.utils.flop_counter"),
    *("torch._dynamo", "torch._inductor", "sympy", "triton"),  # torch's compiler
}
"""What a run needs after the first line of its log, or a measurement alone."""


def test_run_loads_only_what_it_trains_with(tmp_path: Path) -> None:
    """Guards the start of a run, up to the first line of its log, against what it does not use."""
    words = [*RUN, "--model.backbone=resnet10-tiny"]
    loaded = loaded_by(tmp_path, *words, first_line="recipe ")
    assert {"torch", "massrl.train.step"} <= loaded
    assert not loaded & {*UNUSED, *LATER}
    unused = ("detection", "segmentation", "linear", "linear_sgd", "transfer", "semi")
    assert not loaded & {f"massrl.evaluation.tasks.{name}" for name in unused}
    unused = ("voc", "coco", "packed", "torchvision_sets")
    assert not loaded & {f"massrl.data.sources.{name}" for name in unused}


def test_whole_run_loads_nothing_to_plot_with(tmp_path: Path) -> None:
    """Guards the end of a run: its page and its pictures are written without a library for charts."""
    loaded = loaded_by(tmp_path, *RUN, "--model.backbone=resnet10-tiny")
    assert "massrl.report.run_page" in loaded
    assert not loaded & UNUSED
    assert (tmp_path / "run" / "loss_matrix.png").is_file()


def test_measuring_views_loads_no_training(tmp_path: Path) -> None:
    """Guards ``massrl bench views``, which shares the default size of the views with a run."""
    words = ["bench", "views", SHAPES, "--count=2", "--rounds=1", "--views.executor=cpu"]
    loaded = loaded_by(tmp_path, *words)
    assert "massrl.views.timing" in loaded
    assert not {name for name in loaded if name.startswith("massrl.train")}
    assert not loaded & {*UNUSED, *LATER}


def test_evaluation_loads_only_what_its_task_needs(tmp_path: Path) -> None:
    """Guards k-NN against the packages of linear probes, of detection and of training."""
    network = Path(__file__).parent / "fixtures" / "version-0.1.0" / "simclr-done"
    (tmp_path / "run").mkdir()
    for name in ("backbone.safetensors", "config.yaml"):
        (tmp_path / "run" / name).write_bytes((network / name).read_bytes())
    words = ["--data.train=shapes(count=20,size=32)", "--data.val=shapes(count=10,size=32)"]
    loaded = loaded_by(tmp_path, "evaluate", "run", "--task=knn", "--cache=false", *words)
    assert {"torch", "massrl.evaluation.tasks.knn"} <= loaded
    assert not loaded & {*UNUSED, *LATER} - {"massrl.report.run_page"}
    own = {"train", "methods", "optim"}
    assert not {name for name in loaded if name.startswith("massrl.") and name.split(".")[1] in own}
