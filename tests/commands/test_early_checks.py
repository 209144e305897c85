"""Refusals before torch, timm and the like are imported: no timing, the modules that are loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.test_startup import DRAWING, LEARNING

from massrl.commands import COMMANDS

CASES = """
pretrian
pretrain
pretrain --data.trian=x
pretrain --data.train=no/such
pretrain --data.train=cifar11
pretrain --data.train=empty
pretrain --data.train=notes.txt
pretrain --data.train=shapes(cuont=3)
pretrain --data.train=shapes --data.val=no/such
pretrain --data.train=shapes --views.policies=simclr,weka
pretrain --data.train=shapes --views.policies=no/such.yaml
pretrain --data.train=shapes --views.policies=randaugment(k=3)
pretrain --data.train=shapes --views.layout=masrl
pretrain --data.train=shapes --views.target_policy=weka
pretrain --data.train=shapes --views.num_crops=0
pretrain --data.train=shapes --views.crop_scale=2,3
pretrain --data.train=shapes --model.backbone=resnet81
pretrain --data.train=shapes --model.backbone=timm:resnet81
pretrain --data.train=shapes --model.backbone=no_such_module:network
pretrain --data.train=shapes --method.name=byool
pretrain --data.train=shapes --optim.name=adamx
pretrain --data.train=shapes --train.loggers=tensorbord
pretrain --data.train=shapes --train.loggers=wandb(a=3)
pretrain --data.train=shapes --init-from=no/such
pretrain --data.train=shapes --init-from=notes.txt
pretrain --data.train=shapes --init-from=photos
pretrain --data.train=shapes --out=notes.txt
pretrain --data.train=photos --out=photos/run
pretrain --recipe=no-such
pretrain --config=no/such.yaml
pretrain --resume=no/such
pretrain --resume=photos
evaluate
evaluate no/such
evaluate photos
evaluate notes.txt
evaluate timm:resnet81
evaluate torchvision:resnet81
evaluate torchvision:resnet18
evaluate torchvision:resnet18 --tsk=knn
evaluate torchvision:resnet18 --task=kn
evaluate torchvision:resnet18 --data.train=no/such
evaluate torchvision:resnet18 --data.train=shapes --data.val=no/such
evaluate torchvision:resnet18 --data.train=shapes --out=notes.txt
evaluate torchvision:resnet18 --task=transfer
evaluate torchvision:resnet18 --task=transfer --transfer.sets=no/such
compare one
compare no/such photos
compare photos photos --oot=x
export no/such
export photos
export notes.txt
export timm:resnet81
export no/such --format=onxx
export no/such --fromat=onnx
import
import no/such
import notes.txt
import notes.txt --model.stem=tiny
import notes.txt --model.backbone=resnet81
recipes no-such
recipes default more
policies weka
policies no/such.yaml
policies simclr --sze=3
policies simclr --image=no/such.png
policies simclr --image=notes.txt
parts more
bench views
bench views no/such
bench views shapes --views.layout=masrl
bench views shapes --views.policies=weka
bench views shapes --rounds=0
bench step
bench step --out=x
bench step --data.train=no/such
bench step --data.train=shapes --model.backbone=resnet81
bench step --data.train=shapes --views.policies=weka
data check
data check no/such
data check shapes --val=no/such
data check notes.txt
data check photos --rot=1
data pack
data pack no/such out/x
data pack photos out/
data pack photos out/x --on_error=ask
views
views no/such
views photos --views.layout=masrl
views photos --views.policies=weka
views photos --step=3
views --replay=no/such
views --replay=photos
demo --secnds=3
demo --seconds=0
demo --out=notes.txt
demo --out=photos
""".strip().splitlines()

_CODE = """
import contextlib, io, json, sys
from massrl.cli import main

ends = []
for words in json.loads(sys.argv[1]):
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    loaded = sorted({name.partition(".")[0] for name in sys.modules})
    ends.append((code, errors.getvalue(), loaded))
print(json.dumps(ends))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images, an empty folder and a file that holds no weights and no paths."""
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "empty").mkdir()
    (folder / "photos").mkdir()
    cv2.imwrite(str(folder / "photos" / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (folder / "notes.txt").write_text("some notes\n")
    return folder


def ends_of(folder: Path, cases: list[str]) -> list[tuple[int, str, set[str]]]:
    """Run commands one after another in a fresh process.

    Returns:
        Of each: the exit code, what it printed on stderr, and all packages that are loaded by then.
    """
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    command = [sys.executable, "-c", _CODE, json.dumps([case.split(" ") for case in cases])]
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [(code, line, set(loaded)) for code, line, loaded in json.loads(done.stdout)]


def test_mistake_is_refused_before_anything_heavy_is_imported(folder: Path) -> None:
    """Guards a refusal that comes at once: torch and timm alone take 2 to 4 s, and 19 s on a busy machine.

    The kind: unknown flags, wrong values, paths that do not exist or hold something else, and unknown names
    of every part, for every command. Left to torch: arguments of objectives, optimisers and tasks, which are
    those of their code, the suffix of an export, the GPU, and what only a whole file or network tells.
    """
    for case, (code, line, loaded) in zip(CASES, ends_of(folder, CASES), strict=True):
        assert code == 2, f"{case}: {line}"
        assert line.startswith("massrl: "), case
        assert line.count("\n") == 1, f"{case}: {line}"
        assert not loaded & (LEARNING | DRAWING), case
    assert sorted(item.name for item in folder.iterdir()) == ["empty", "notes.txt", "photos"]


def test_every_command_has_a_case() -> None:
    """Guards the test above against a command that is new."""
    assert all(any(case.startswith(f"{name} ") for case in CASES) for name in COMMANDS)


def test_heavy_packages_are_seen(folder: Path) -> None:
    """Guards the test above: what is loaded in the same process, by a case that is right, is found."""
    (end,) = ends_of(folder, ["bench views photos --count=1 --rounds=1 --views.executor=cpu"])
    assert end[0] == 0
    assert "torch" in end[2]
