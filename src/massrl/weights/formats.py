"""Backbones written as other tools read them, and the lines of Python that read them there."""

from __future__ import annotations

import importlib.util
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from massrl.errors import CheckpointError, ConfigError
from massrl.files import write_atomically
from massrl.models.backbones import NARROW_RESNETS, TORCHVISION_RESNETS, is_users_code
from massrl.weights.backbone_file import save_backbone

_ANY_NETWORK = "--format safetensors and onnx take any network"
_ONNX_TOLERANCE = 1e-4  # of the largest feature


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: of its name.
        write: writes the backbone, with what is known of it.
        program: Python that loads the file and makes features; ``{file}`` stands for its path.
    """

    suffix: str
    write: Callable[[Path, nn.Module, dict[str, Any]], None]
    program: Callable[[dict[str, Any]], str]


def write_backbone(path: Path, network: nn.Module, about: dict[str, Any], *, kind: str) -> None:
    """Write a backbone for another tool; what ONNX Runtime makes of it is compared first.

    Args:
        path: the file.
        network: from normalised float ``(B, 3, S, S)`` to features ``(B, D)``, in eval mode.
        about: of ``load_backbone``.
        kind: one of ``FORMATS``.

    Raises:
        ConfigError: if the tool has no such network, or a package is missing.
        CheckpointError: if what was written does not give the same features.
    """
    FORMATS[kind].write(path, network, about)


def _write_safetensors(path: Path, network: nn.Module, about: dict[str, Any]) -> None:
    save_backbone(path, network.state_dict(), about)


def _write_torchvision(path: Path, network: nn.Module, about: dict[str, Any]) -> None:
    if about["backbone"] not in TORCHVISION_RESNETS:
        raise ConfigError(f"torchvision has no {about['backbone']}: {_ANY_NETWORK}")
    state = {key: _plain(item) for key, item in network.state_dict().items()}
    whole = io.BytesIO()
    torch.save(state, whole)
    write_atomically(path, lambda file: file.write(whole.getbuffer()))


def _write_timm(path: Path, network: nn.Module, about: dict[str, Any]) -> None:
    if about["backbone"] in NARROW_RESNETS or is_users_code(about["backbone"]):
        raise ConfigError(f"timm has no {about['backbone']}: {_ANY_NETWORK}")
    save_backbone(path, network.state_dict(), about)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def timm_name(about: dict[str, Any]) -> str:
    """What timm calls the network."""
    return str(about["backbone"]).removeprefix("timm:")


def _write_onnx(path: Path, network: nn.Module, about: dict[str, Any]) -> None:
    missing = [
        name
        for name in ("onnx", "onnxscript", "onnxruntime")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ConfigError(f"--format onnx needs {', '.join(missing)}: pip install 'massrl[onnx]'")
    import onnxruntime

    side = about["size"]
    network = network.cpu().eval().to(memory_format=torch.contiguous_format)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "backbone.onnx"
        torch.onnx.export(
            network,
            (images,),
            str(file),
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        content = file.read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    more = torch.cat([images, images[:1]])  # another number of images than it was traced with
    (given,) = session.run(None, {"images": more.numpy()})
    with torch.inference_mode():
        wanted = network(more).numpy()
    apart = float(np.abs(given - wanted).max() / max(float(np.abs(wanted).max()), 1e-12))
    if not apart <= _ONNX_TOLERANCE:
        raise CheckpointError(f"ONNX Runtime's features differ by {apart:.2g} of the largest")
    write_atomically(path, lambda file: file.write(content))


_PREPARED = (
    "images = torch.rand(8, 3, {size}, {size})  # yours: RGB in [0, 1], resized and cropped\n"
    "mean, std = torch.tensor({mean}), torch.tensor({std})\n"
    "images = (images - mean[:, None, None]) / std[:, None, None]"
)
_FEATURES = "features = model.eval()(images)  # (8, {dim})"


def _small_stem(about: dict[str, Any]) -> list[str]:
    if about["stem"] == "standard":
        return []
    padding = 2 if about["stem"] == "small-pad2" else 1
    return [
        f"model.conv1 = torch.nn.Conv2d(3, 64, 3, padding={padding}, bias=False)",
        "model.maxpool = torch.nn.Identity()",
    ]


def _torchvision_program(about: dict[str, Any]) -> str:
    return "\n".join(
        [
            "import torch, torchvision",
            f"model = torchvision.models.{about['backbone']}()",
            *_small_stem(about),
            "model.fc = torch.nn.Identity()",
            'model.load_state_dict(torch.load("{file}", weights_only=True), strict=True)',
            _PREPARED.format(**about),
            _FEATURES.format(dim=about["num_features"]),
        ]
    )


def _timm_program(about: dict[str, Any]) -> str:
    import timm

    name, small = timm_name(about), _small_stem(about)
    sized = getattr(timm.models.get_pretrained_cfg(name), "fixed_input_size", False)
    size = f"img_size={about['size']}, " if sized else ""
    if small:
        lines = [
            "from safetensors.torch import load_file",
            f'model = timm.create_model("{name}", num_classes=0)',
            *small,
            'model.load_state_dict(load_file("{file}"), strict=True)',
        ]
    else:
        options = f'num_classes=0, {size}checkpoint_path="{{file}}"'
        lines = [f'model = timm.create_model("{name}", {options})']
    features = _FEATURES.format(dim=about["num_features"])
    return "\n".join(["import torch, timm", *lines, _PREPARED.format(**about), features])


def _own_program(about: dict[str, Any]) -> str:
    return "\n".join(
        [
            "import massrl, torch",
            'model = massrl.load_backbone("{file}")',
            _PREPARED.format(**about),
            _FEATURES.format(dim=about["num_features"]),
        ]
    )


def _onnx_program(about: dict[str, Any]) -> str:
    return "\n".join(
        [
            "import onnxruntime, torch",
            'session = onnxruntime.InferenceSession("{file}")',
            _PREPARED.format(**about),
            '(features,) = session.run(None, {"images": images.numpy()})'
            f"  # (8, {about['num_features']})",
        ]
    )


FORMATS: dict[str, Format] = {
    "safetensors": Format(suffix=".safetensors", write=_write_safetensors, program=_own_program),
    "torchvision": Format(suffix=".pth", write=_write_torchvision, program=_torchvision_program),
    "timm": Format(suffix=".safetensors", write=_write_timm, program=_timm_program),
    "onnx": Format(suffix=".onnx", write=_write_onnx, program=_onnx_program),
}
