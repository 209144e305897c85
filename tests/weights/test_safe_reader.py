"""Weights out of any file, and no code."""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.fuzz.checkpoints import crash_of_numpy

from massrl.errors import CheckpointError
from massrl.weights.safe_reader import read_content, read_weights


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_nested_weights_are_named_by_their_place(tmp_path: Path, zipped: bool) -> None:
    """Guards DINO's files, whose students and teachers have equal keys, and files of before 2020."""
    content = {
        "teacher": {"a.weight": torch.ones(2)},
        "student": {"a.weight": torch.zeros(2)},
        "optimizer": {"state": {0: {"exp_avg": torch.ones(9)}}},
        "epoch": 3,
        "queue": torch.ones(1),
    }
    path = saved(tmp_path / "x.pth", content, _use_new_zipfile_serialization=zipped)
    weights = read_weights(path)
    named = {"teacher/a.weight", "student/a.weight", "queue", "optimizer/state/0/exp_avg"}
    assert set(weights) == named
    assert float(weights["teacher/a.weight"].sum()) == 2


def test_settings_beside_weights_are_no_reason_to_refuse_them(tmp_path: Path) -> None:
    """Guards Lightning's checkpoints, whose hyper-parameters are objects, such as the published ones."""
    content = {
        "state_dict": {"a.weight": torch.ones(2)},
        "hyper_parameters": argparse.Namespace(lr=0.3, out=pathlib.PurePosixPath("runs")),
        "callbacks": collections.defaultdict(list, x=[1]),
        "deep": {"nested": argparse.Namespace(inner=argparse.Namespace(x=1))},
    }
    weights = read_weights(saved(tmp_path / "x.ckpt", content))
    assert list(weights) == ["state_dict/a.weight"]


class Runs:
    """What a file must not do."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {}",)),
        (subprocess.check_call, (["touch", "{}"],)),
        (eval, ("open('{}', 'w').close()",)),
    ],
)
def test_file_that_would_run_code_is_refused_and_nothing_is_run(
    tmp_path: Path, function: Any, arguments: Any
) -> None:
    """Guards "loading never runs code from a file"."""
    mark = tmp_path / "mark"
    told = [
        [word.format(mark) for word in item] if isinstance(item, list) else item.format(mark)
        for item in arguments
    ]
    content = {"state_dict": {"a": torch.ones(2)}, "x": Runs(function, *told)}
    path = saved(tmp_path / "x.ckpt", content)
    with pytest.raises(CheckpointError, match=f"reading it would run .*{function.__name__}"):
        read_weights(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the trap is a trap
    assert mark.exists()


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    """Guards against tracebacks of torch's and safetensors' own."""
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    saved(tmp_path / "none.pth", {"epoch": 3})
    save_file({"a": torch.ones(2)}, tmp_path / "good.safetensors")
    cut = (tmp_path / "good.safetensors").read_bytes()[:-3]
    (tmp_path / "cut.safetensors").write_bytes(cut)
    assert list(read_weights(tmp_path / "good.safetensors")) == ["a"]
    for name in ("text.pth", "text.safetensors", "none.pth", "cut.safetensors", "nothing.pth"):
        with pytest.raises(CheckpointError) as caught:
            read_weights(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_arrays_and_lists_are_accounted_for_too(tmp_path: Path) -> None:
    """Guards "never silently drops a weight": what has a number for a name, what NumPy holds."""
    content = {"models": [{"a": torch.ones(1)}, {"a": torch.ones(2)}], 0: {"b": np.ones(3)}}
    weights = read_weights(saved(tmp_path / "x.pth", content))
    assert set(weights) == {"models/0/a", "models/1/a", "0/b"}


def test_files_made_to_hang_or_to_burst_do_neither(tmp_path: Path) -> None:
    """Guards a reader against references that multiply, go in circles, or unpack to gigabytes."""
    laughs: list[Any] = [torch.ones(1)]
    for _ in range(60):
        laughs = [laughs, laughs]
    circle: dict[str, Any] = {"a": torch.ones(1)}
    circle["self"] = circle
    assert len(read_weights(saved(tmp_path / "laughs.pth", laughs))) == 1
    assert list(read_weights(saved(tmp_path / "circle.pth", circle))) == ["a"]
    plain = saved(tmp_path / "plain.pth", {"a": torch.zeros(1 << 20)})
    with (
        zipfile.ZipFile(plain) as old,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
    with pytest.raises(CheckpointError, match="unpacks to"):
        read_weights(tmp_path / "bomb.pth")


def test_content_is_what_was_saved(tmp_path: Path) -> None:
    """Guards resume: types of keys and numbers, tuples, shared lists; mappings become dictionaries."""
    shared = [1, 2.5]
    content = {
        "step": 7,
        "state": {0: {"momentum": torch.ones(2)}, None: "ab", 1.5: True},
        "tuples": ((), (1, "é", None), shared),
        "shared": shared,
        "ordered": collections.OrderedDict(a=1),
        "large": 1 << 70,
    }
    found = read_content(saved(tmp_path / "x.ckpt", content))
    momentum = found["state"][0].pop("momentum")
    content["state"][0].pop("momentum")
    assert found == content
    assert found["shared"] is found["tuples"][2]
    assert torch.equal(momentum, torch.ones(2))
    assert type(found["state"][1.5]) is bool


@pytest.mark.parametrize("unusual", [argparse.Namespace(a=1), {(1, 2): 3}, {1, 2}, np.array(["a"])])
def test_content_with_objects_in_it_is_refused(tmp_path: Path, unusual: Any) -> None:
    """Guards a run from a checkpoint that another program has written, and from losing a part of it."""
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        read_content(saved(tmp_path / "x.ckpt", {"a": unusual}))


def test_content_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    """Guards the stack of the interpreter."""
    deep: list[Any] = []
    circle: dict[str, Any] = {}
    circle["self"] = circle
    for _ in range(200):
        deep = [deep]
    for content in (deep, circle):
        with pytest.raises(CheckpointError, match="nested over 100 deep"):
            read_content(saved(tmp_path / "x.ckpt", content))


def test_names_of_endless_length_are_refused(tmp_path: Path) -> None:
    """Guards memory: a long key over each level of a deep tree makes a name of gigabytes.

    Also of this kind: trees deeper than any file of weights, and messages that quote a name of the file.
    """
    long: Any = {"a" * 20_000: torch.ones(1)}
    deep: Any = torch.ones(1)
    for _ in range(300):
        deep = {"x" * 90: deep}
    for content in (long, deep):
        with pytest.raises(CheckpointError) as caught:
            read_weights(saved(tmp_path / "x.pth", {"a": content}))
        assert len(str(caught.value)) < 500


def test_dtype_of_one_object_is_refused_by_name(tmp_path: Path) -> None:
    """Guards against memory of a file's choice: NumPy takes this file's eight bytes for a pointer.

    ``test_arrays`` has the rest of this kind; ``tests/fuzz/checkpoints.py`` thousands of relatives.
    """
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as file:
        file.writestr("x/data.pkl", crash_of_numpy())
    with pytest.raises(CheckpointError, match="refused: reading it would run numpy.dtype 'f8'"):
        read_weights(tmp_path / "x.ckpt")
