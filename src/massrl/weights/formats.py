"""File formats of ``massrl export``: how each is written, and the Python code that loads it.

A further format is a ``Format`` of another package, registered as an entry point of ``massrl.formats``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from massrl.errors import CheckpointError, ConfigError
from massrl.files import marked, write_atomically
from massrl.models.names import NARROW_RESNETS, TORCHVISION_RESNETS, is_users_code
from massrl.models.timm_networks import with_fixed_size
from massrl.registry import FORMATS
from massrl.weights.backbone_file import save_backbone

About = Mapping[str, Any]

_ONNX_TOLERANCE = 1e-4  # relative to the largest feature
_INTERPOLATION = {"shrink": "area", "enlarge": "bicubic"}  # of massrl's evaluation
_PREPARATION = ("backbone", "num_features", "size", "mean", "std")


def _any_backbone(about: About) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format of ``massrl export``.

    Attributes:
        suffix: of the file's name, such as ``.onnx``.
        write: write the file, given its path, the network in eval mode (from normalised float
            ``(B, 3, S, S)`` to features ``(B, D)``) and its ``about``.
        program: return Python code that loads the file and computes features, for the model card,
            given ``about`` and the file's name.
        supports: whether the tool that reads the file has such a network, given ``about``; any network
            by default.
        packages: modules that must be importable, beyond massrl's own requirements.
        extra: massrl's extra that installs them; empty for a format of another package.
        summary: one line for ``massrl parts``; massrl's own stand in ``massrl.registry.FORMATS``.
    """

    suffix: str
    write: Callable[[Path, nn.Module, About], None]
    program: Callable[[About, str], str]
    supports: Callable[[About], bool] = _any_backbone
    packages: tuple[str, ...] = ()
    extra: str = ""
    summary: str = ""


def write_backbone(path: Path, network: nn.Module, *, about: About, name: str) -> None:
    """Write a backbone in a format of the table.

    Args:
        path: the file.
        network: from normalised float ``(B, 3, S, S)`` to features ``(B, D)``, in eval mode.
        about: how the network is built and its images are prepared: ``load_backbone(…).about``.
        name: of the format.

    Raises:
        ConfigError: if the format is unknown, has no such network, or needs packages that are missing.
        CheckpointError: if the written file does not give the same features.
    """
    kind: Format = FORMATS.load(name)
    if not kind.supports(about):
        others = ", ".join(_formats_for(about))
        raise ConfigError(f"--format {name} cannot hold {about['backbone']}, but {others} can")
    missing = [item for item in kind.packages if importlib.util.find_spec(item) is None]
    if missing:
        wanted = f"'massrl[{kind.extra}]'" if kind.extra else " ".join(missing)
        raise ConfigError(f"--format {name} needs {', '.join(missing)}: pip install {wanted}")
    kind.write(path, network, about)


def _formats_for(about: About) -> list[str]:
    """Names of the formats that can hold a network."""
    names = []
    for name in FORMATS:
        with contextlib.suppress(ConfigError):  # a broken package is not the subject here
            if FORMATS.load(name).supports(about):
                names.append(name)
    return names


_PREPARE_IMAGES = (
    "images = torch.rand(8, 3, {size}, {size})  # yours: RGB in [0, 1], resized and cropped\n"
    "mean, std = torch.tensor({mean}), torch.tensor({std})\n"
    "images = (images - mean[:, None, None]) / std[:, None, None]"
)
_COMPUTE_FEATURES = "features = model.eval()(images)  # (8, {num_features})"


def _torch_program(about: About, *load: str) -> str:
    """Code that loads a PyTorch ``model`` and computes features with it."""
    return "\n".join([*load, _PREPARE_IMAGES.format(**about), _COMPUTE_FEATURES.format(**about)])


def _small_stem(about: About, *, relu: str) -> list[str]:
    """Lines that replace the stem of a published ResNet by a small one."""
    if about["stem"] == "standard":
        return []
    padding = 2 if about["stem"] == "small-pad2" else 1
    no_relu = [f"model.{relu} = torch.nn.Identity()"] if about["stem"] == "small-no-relu" else []
    return [
        f"model.conv1 = torch.nn.Conv2d(3, 64, 3, padding={padding}, bias=False)",
        "model.maxpool = torch.nn.Identity()",
        *no_relu,
    ]


def _write_safetensors(path: Path, network: nn.Module, about: About) -> None:
    save_backbone(path, network.state_dict(), about=about, command="export")


def _safetensors_program(about: About, file: str) -> str:
    load = f'model = massrl.load_backbone("{file}")'
    return _torch_program(about, "import massrl, torch", load)


SAFETENSORS = Format(suffix=".safetensors", write=_write_safetensors, program=_safetensors_program)


def _write_torchvision(path: Path, network: nn.Module, about: About) -> None:
    def contiguous(tensor: Tensor) -> Tensor:
        return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)

    whole = io.BytesIO()
    torch.save({key: contiguous(item) for key, item in network.state_dict().items()}, whole)
    content = marked(whole.getvalue(), "export")
    write_atomically(path, lambda file: file.write(content))


def _torchvision_program(about: About, file: str) -> str:
    return _torch_program(
        about,
        "import torch, torchvision",
        f"model = torchvision.models.{about['backbone']}()",
        *_small_stem(about, relu="relu"),
        "model.fc = torch.nn.Identity()",
        f'model.load_state_dict(torch.load("{file}", weights_only=True), strict=True)',
    )


TORCHVISION = Format(
    suffix=".pth",
    write=_write_torchvision,
    program=_torchvision_program,
    supports=lambda about: about["backbone"] in TORCHVISION_RESNETS,
)


def _timm_supports(about: About) -> bool:
    return not (about["backbone"] in NARROW_RESNETS or is_users_code(about["backbone"]))


def _timm_program(about: About, file: str) -> str:
    import timm

    name, small = str(about["backbone"]).removeprefix("timm:"), _small_stem(about, relu="act1")
    sized = getattr(timm.models.get_pretrained_cfg(name), "fixed_input_size", False)
    size = f"img_size={about['size']}, " if sized else ""
    if small:
        load = [
            "from safetensors.torch import load_file",
            f'model = timm.create_model("{name}", num_classes=0)',
            *small,
            f'model.load_state_dict(load_file("{file}"), strict=True)',
        ]
    else:
        options = f'num_classes=0, {size}checkpoint_path="{file}"'
        load = [f'model = timm.create_model("{name}", {options})']
    return _torch_program(about, "import torch, timm", *load)


TIMM = Format(
    suffix=".safetensors",
    write=_write_safetensors,
    program=_timm_program,
    supports=_timm_supports,
)


def _write_onnx(path: Path, network: nn.Module, about: About) -> None:
    """Write an ONNX file, after ONNX Runtime has computed the same features from it."""
    import onnxruntime

    side = about["size"]
    network = with_fixed_size(network.cpu().eval(), about["backbone"], image_side=side)
    network = network.to(memory_format=torch.contiguous_format)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "backbone.onnx"
        try:
            torch.onnx.export(
                network,
                (images,),
                str(exported),
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # its many reasons, in texts of many lines
            others = ", ".join(other for other in _formats_for(about) if other != "onnx")
            raise CheckpointError(
                f"torch cannot export {about['backbone']} to ONNX: {_first_cause(error)}; {others} can hold "
                "it (--format)"
            ) from error
        content = marked(_with_metadata(exported.read_bytes(), about), "export")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    more = torch.cat([images, images[:1]])  # another number of images than it was traced with
    (features,) = session.run(None, {"images": more.numpy()})
    with torch.inference_mode():
        expected = network(more).numpy()
    largest = max(float(np.abs(expected).max()), 1e-12)
    difference = float(np.abs(features - expected).max()) / largest
    if not difference <= _ONNX_TOLERANCE:
        raise CheckpointError(
            f"ONNX Runtime's features differ by {difference:.2g} of the largest: {path} is not written"
        )
    write_atomically(path, lambda file: file.write(content))


def _with_metadata(content: bytes, about: About) -> bytes:
    """Return an ONNX model whose ``metadata_props`` say, in JSON, how images are prepared for it."""
    import onnx

    model = onnx.load_from_string(content)
    for key in _PREPARATION:
        if key in about:
            model.metadata_props.add(key=key, value=json.dumps(about[key]))
    model.metadata_props.add(key="interpolation", value=json.dumps(_INTERPOLATION))
    model.metadata_props.add(key="feature", value=json.dumps(model.graph.output[0].name))
    return bytes(model.SerializeToString())


def _first_cause(error: BaseException) -> str:
    """Return type and first line of the error that all others were raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _onnx_program(about: About, file: str) -> str:
    return "\n".join(
        [
            "import onnxruntime, torch",
            f'session = onnxruntime.InferenceSession("{file}")',
            _PREPARE_IMAGES.format(**about),
            '(features,) = session.run(None, {"images": images.numpy()})'
            f"  # (8, {about['num_features']})",
        ]
    )


ONNX = Format(
    suffix=".onnx",
    write=_write_onnx,
    program=_onnx_program,
    packages=("onnx", "onnxscript", "onnxruntime"),
    extra="onnx",
)
