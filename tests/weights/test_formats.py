"""Export formats: each file is loaded by the code of its card, strictly, and gives the same features."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import Plugin
from tests.weights.conftest import trained

from massrl.errors import CheckpointError, ConfigError
from massrl.evaluation.features import evaluation_view
from massrl.registry import FORMATS
from massrl.weights import formats
from massrl.weights.formats import Format, write_backbone
from massrl.weights.load import load_backbone

CASES = [
    ("resnet18", "standard", "torchvision"),
    ("resnet18", "small", "torchvision"),
    ("resnet18", "small-pad2", "torchvision"),
    ("resnet18", "small-no-relu", "torchvision"),
    ("resnet18", "small-no-relu", "timm"),
    ("resnet18", "standard", "timm"),
    ("resnet18", "small", "timm"),
    ("timm:vit_tiny_patch16_224", "standard", "timm"),
    ("vit_tiny_patch16_224", "standard", "onnx"),
    ("resnet10-narrow", "small", "safetensors"),
    ("resnet10-narrow", "small", "onnx"),
    ("resnet18", "small-pad2", "onnx"),
]


def exported(path: Path, name: str) -> Path:
    network: Any = load_backbone(path)
    file = path.parent / f"exported{FORMATS.load(name).suffix}"
    write_backbone(file, network, about=network.about, name=name)
    return file


def needs_onnx() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)


@pytest.mark.filterwarnings("default")  # of the exporter's own packages
@pytest.mark.parametrize(("backbone", "stem", "name"), CASES)
def test_file_is_loaded_by_its_own_program(
    backbone: str, stem: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards "gives files that the other tool loads strictly", and the code that says how."""
    if name == "onnx":
        needs_onnx()
    path = trained(tmp_path, backbone, stem)
    network: Any = load_backbone(path)
    file = exported(path, name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with torch.inference_mode():
        exec(
            FORMATS.load(name).program(network.about, file.name), names
        )  # as a user would paste it
        expected = network(names["images"])
        features = torch.as_tensor(names["features"])
    assert features.shape == (8, expected.shape[1])
    tolerance = 1e-4 * float(expected.abs().max())
    torch.testing.assert_close(features, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_network_that_the_tool_lacks_is_refused_with_the_formats_that_hold_it(
    name: str, tmp_path: Path
) -> None:
    """Guards a file that nothing can load."""
    path = trained(tmp_path, "resnet10-tiny", "small")
    with pytest.raises(
        ConfigError, match=f"--format {name} cannot hold resnet10-tiny, but safetensors, onnx can"
    ):
        exported(path, name)
    assert [item.name for item in tmp_path.iterdir()] == ["backbone.safetensors"]


def test_onnx_file_with_other_features_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the comparison with ONNX Runtime: it must be able to fail."""
    needs_onnx()
    monkeypatch.setattr(formats, "_ONNX_TOLERANCE", 0.0)
    with pytest.raises(CheckpointError, match="features differ"):
        exported(trained(tmp_path, "resnet10-tiny", "small"), "onnx")
    assert [item.name for item in tmp_path.iterdir()] == ["backbone.safetensors"]


@pytest.mark.parametrize(
    ("extra", "hint"),
    [("onnx", r"pip install 'massrl\[onnx\]'"), ("", "pip install no_such_a no_such_b")],
)
def test_format_without_its_packages_says_what_to_install(
    extra: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against an ImportError from deep within, and against a half-written file."""
    lacking = Format(
        suffix=".x",
        write=lambda *_: pytest.fail("written without its packages"),
        program=lambda *_: "",
        packages=("no_such_a", "no_such_b", "json"),
        extra=extra,
    )
    monkeypatch.setitem(FORMATS.parts, "onnx", lacking)
    with pytest.raises(ConfigError, match=f"--format onnx needs no_such_a, no_such_b: {hint}"):
        exported(trained(tmp_path, "resnet10-tiny", "small"), "onnx")


def test_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    """Guards Python callers, whom no command line checks."""
    with pytest.raises(ConfigError, match="unknown format 'onxx': did you mean 'onnx'"):
        write_backbone(tmp_path / "x", torch.nn.Identity(), about={}, name="onxx")


NPZ = '''
"""Weights as NumPy arrays."""

import numpy as np

from massrl.weights.formats import Format


def write(path, network, about):
    arrays = {name: item.cpu().numpy() for name, item in network.state_dict().items()}
    np.savez(path, **arrays)


def program(about, file):
    return f'import numpy\\nweights = numpy.load("{file}")  # {about["num_features"]} features'


FORMAT = Format(suffix=".npz", write=write, program=program, summary="arrays of NumPy")
'''


def test_format_of_another_package_exports_by_the_command_line(
    plugin: Plugin, tmp_path: Path
) -> None:
    """Guards "a further format is a package's entry point": no file of massrl names it."""
    plugin(NPZ, {"massrl.formats": {"numpy": "my_plugin:FORMAT"}})
    assert FORMATS.summary("numpy") == "arrays of NumPy"
    path = trained(tmp_path, "resnet10-tiny", "small")
    command = [sys.executable, "-m", "massrl", "export", str(path), "--format", "numpy"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file, card = map(Path, done.stdout.split())
    assert file == tmp_path / "backbone-numpy.npz"
    names: dict[str, Any] = {}
    text = card.read_text(encoding="utf-8")
    program = text.split("```python\n")[1].split("\n```")[0]
    assert "| format | numpy |" in text
    assert program.endswith("# 128 features")
    exec(program.replace(file.name, str(file)), names)
    state = load_backbone(path).state_dict()
    assert set(names["weights"]) == set(state)
    assert all(torch.equal(torch.as_tensor(names["weights"][key]), state[key]) for key in state)
    names["weights"].close()


def test_broken_format_of_another_package_does_not_hide_what_can_be_done(
    plugin: Plugin, tmp_path: Path
) -> None:
    """Guards the hint of formats that fit against a package that cannot be imported."""
    plugin("raise ImportError('gone')", {"massrl.formats": {"broken": "my_plugin:FORMAT"}})
    path = trained(tmp_path, "resnet10-tiny", "small")
    with pytest.raises(ConfigError, match="but safetensors, onnx can"):
        exported(path, "timm")
    with pytest.raises(ConfigError, match="'broken' of package my_plugin cannot be loaded"):
        exported(path, "broken")


@pytest.mark.filterwarnings("default")  # of the exporter's own packages
def test_network_that_torch_cannot_export_is_refused_in_one_line(tmp_path: Path) -> None:
    """Guards a traceback of a hundred lines for a forward pass that depends on the pixels."""
    needs_onnx()

    class Branches(torch.nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = super().forward(images.mean((2, 3)))
            return features if float(images.sum()) > 0 else -features

    about = {"backbone": "mine:net", "stem": "standard", "size": 8}
    with pytest.raises(CheckpointError) as caught:
        write_backbone(tmp_path / "net.onnx", Branches(3, 4), about=about, name="onnx")
    assert str(caught.value).startswith("torch cannot export mine:net to ONNX: ")
    assert "safetensors can hold it" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("default")  # of the exporter's own packages
def test_onnx_file_says_how_its_images_are_prepared(tmp_path: Path) -> None:
    """Guards a file that needs its card: ONNX Runtime itself reads size, mean, std and the feature.

    Features that are computed from these values alone must equal those of the run's own backbone.
    """
    needs_onnx()
    import onnxruntime

    path = trained(tmp_path, "resnet10-narrow", "small")
    session = onnxruntime.InferenceSession(str(exported(path, "onnx")))
    told = session.get_modelmeta().custom_metadata_map
    size, mean, std, feature = (json.loads(told[key]) for key in ("size", "mean", "std", "feature"))
    images = np.random.default_rng(0).random((3, 3, size, size), dtype=np.float32)
    normalised = (images - np.float32(mean)[:, None, None]) / np.float32(std)[:, None, None]
    (features,) = session.run([feature], {"images": normalised})

    network: Any = load_backbone(path)
    about = network.about
    mean, std = (torch.tensor(about[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = network((torch.from_numpy(images) - mean) / std).numpy()
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert json.loads(told["num_features"]) == features.shape[1]
    assert json.loads(told["interpolation"]) == {"shrink": "area", "enlarge": "bicubic"}


def test_interpolation_that_an_export_names_is_that_of_the_evaluation() -> None:
    """Guards a name that the pixels do not bear out: torch shrinks and enlarges to the same ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for side, start in ((32, 64), (32, 16)):
        image = np.ascontiguousarray(pixels[:start, :start])
        name = formats._INTERPOLATION["shrink" if start > side else "enlarge"]
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        resized = torch.nn.functional.interpolate(tensor, (side, side), mode=name)
        expected = resized.clamp(0, 255)[0].permute(1, 2, 0).numpy()
        assert np.abs(evaluation_view(image, side) - expected).max() <= 1
