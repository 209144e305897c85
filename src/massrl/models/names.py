"""Names of backbones, checked before torch and timm, which take seconds, are imported."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

from massrl.errors import ConfigError, suggest

PREFIX = "timm:"
LIBRARIES = ("torchvision", "timm")
"""Libraries whose published weights are loaded as ``LIBRARY:NAME``."""
NARROW_RESNETS = {"resnet10-narrow": (32, 64, 128, 256), "resnet10-tiny": (16, 32, 64, 128)}
TORCHVISION_RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)
RESNETS = (*NARROW_RESNETS, *TORCHVISION_RESNETS)
"""Our own and torchvision's; they take images of any size."""

_MODEL = re.compile(r"@register_model\s+def (\w+)")


def is_users_code(name: str) -> bool:
    """Return whether a name is ``module:function``: user code, which must be trusted to be imported."""
    return ":" in name.removeprefix(PREFIX)


def is_library_name(name: str) -> bool:
    """Return whether a text such as ``timm:vit_small_patch16_224`` names a library's network."""
    library, colon, _ = name.partition(":")
    return bool(colon) and library in LIBRARIES


def check_backbone_name(name: str, *, flag: str = "--model.backbone") -> None:
    """Refuse the name of a network that neither massrl nor torchvision nor timm has.

    A module of the user's own is imported later: here it is only looked for.

    Raises:
        ConfigError: with the most similar names.
    """
    if is_users_code(name):
        _check_users_module(name, flag=flag)
    elif name not in RESNETS:
        check_timm_name(name.removeprefix(PREFIX), others=RESNETS, flag=flag)


def check_library_name(name: str, *, flag: str = "BACKBONE") -> None:
    """Refuse ``LIBRARY:NAME.WEIGHTS`` if the library has no such network; the weights are not checked.

    Raises:
        ConfigError: with the most similar names.
    """
    library, _, rest = name.partition(":")
    model = rest.partition(".")[0]
    if library == "timm":
        check_timm_name(model, flag=flag)
    elif model not in TORCHVISION_RESNETS:
        hint = suggest(model, TORCHVISION_RESNETS)
        raise ConfigError(f"torchvision has no ResNet {model!r}: {hint} ({flag})")


def check_timm_name(name: str, *, others: tuple[str, ...] = (), flag: str) -> None:
    """Refuse a name that stands nowhere in the source of timm's networks.

    timm itself decides once it is imported, and may know further names of the user's: then nothing is done
    here.

    Args:
        name: timm's name, without a prefix.
        others: further known names, for the error.
        flag: where the user gave the name, for the error.

    Raises:
        ConfigError: with the most similar names.
    """
    if "timm" in sys.modules:
        return
    source = _timm_source()
    if not source or re.search(rf"\b{re.escape(name)}\b", source):
        return
    hint = suggest(name, {*others, *_MODEL.findall(source)})
    if hint.startswith("known"):  # timm alone has more than a thousand names
        hint = f"known: {', '.join([*others, 'any timm name'])}"
    raise ConfigError(
        f"unknown backbone {name!r} ({flag}; module:function of your own is accepted too): {hint}"
        if others
        else f"timm has no model {name!r}: {hint} ({flag})"
    )


def _timm_source() -> str:
    """Return the source of timm's networks; empty where it cannot be read, as in a zip file."""
    spec = importlib.util.find_spec("timm")
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in Path(folder, "models").glob("*.py")]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _check_users_module(name: str, *, flag: str) -> None:
    package = name.partition(":")[0].partition(".")[0]
    here = Path(package).is_dir() or Path(f"{package}.py").is_file()
    if not here and package not in sys.modules and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"backbone {name!r}: cannot import {package!r}: there is no module of this name here or "
            f"installed ({flag})"
        )
