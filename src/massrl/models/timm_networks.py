"""Networks of timm, with random weights, for images of any size that they can be given."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import nn

from massrl.errors import ConfigError, suggest
from massrl.models.names import PREFIX
from massrl.models.torchvision_import import import_torchvision


def build_timm(
    name: str, *, image_side: int, any_size: bool = True, others: Iterable[str] = ()
) -> nn.Module:
    """Build a network of timm with random weights from torch's global generator.

    A network with a fixed input size, such as a ViT by its position embedding, is built for
    ``image_side``. Where timm can, it also takes other sizes then, multiples of its patch, for which the
    position embedding is interpolated: the keys and shapes of its state, and its features at
    ``image_side``, are the same.

    Args:
        name: timm's name, without a prefix.
        image_side: side of the images it will be given, pixels.
        any_size: whether to accept other sizes too, where timm can.
        others: further known names, for the error.

    Raises:
        ConfigError: if timm has no such network, or cannot build it for images of this size.
    """
    timm = _timm()
    if not is_timm(name):
        hint = suggest(name, {*others, *timm.list_models()})
        if hint.startswith("known"):  # timm alone has more than a thousand names
            hint = f"known: {', '.join(others)}, any timm name"
        raise ConfigError(
            f"unknown backbone {name!r} (--model.backbone; module:function of your own is "
            f"accepted too): {hint}"
        )
    options: dict[str, Any] = {}
    if has_fixed_size(name):
        options["img_size"] = image_side
        # Files of sides that are no multiple, whose last pixels a patch embedding drops, stay readable.
        if any_size and takes_any_size(name) and image_side % timm_patch(name) == 0:
            options["dynamic_img_size"] = True
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **options)
    except Exception as error:  # timm's models assert, or raise whatever they like
        text = str(error).strip().split("\n")[0] or type(error).__name__
        raise ConfigError(
            f"backbone {name!r} cannot be built for images of {image_side} px: {text} "
            "(--model.backbone, --views.size)"
        ) from error
    return model


def with_fixed_size(network: nn.Module, name: str, *, image_side: int) -> nn.Module:
    """Return a network of timm without the option to take other sizes, with the same weights.

    An exporter would write the interpolation of the position embedding into the file too.

    Args:
        network: of any kind; all others are returned as they are.
        name: of the backbone.
        image_side: side of the images it was built for, pixels.
    """
    if not getattr(network, "dynamic_img_size", False) or ":" in name.removeprefix(PREFIX):
        return network
    with torch.random.fork_rng(devices=[]):
        fixed = build_timm(name.removeprefix(PREFIX), image_side=image_side, any_size=False)
    fixed.load_state_dict(network.state_dict())
    return fixed.train(network.training)


def is_timm(name: str) -> bool:
    """Return whether timm has a network of this name, without a prefix."""
    return bool(name) and _timm().is_model(name)


def has_fixed_size(name: str) -> bool:
    """Return whether a network of timm is built for one size of images."""
    return bool(getattr(_timm().models.get_pretrained_cfg(name), "fixed_input_size", False))


def timm_side(name: str) -> int | None:
    """Return the size of images that timm's weights of a network with a fixed size are for, pixels."""
    name = name.removeprefix(PREFIX)
    if ":" in name or not is_timm(name) or not has_fixed_size(name):
        return None
    return int(_timm().models.get_pretrained_cfg(name).input_size[-1])


@cache
def takes_any_size(name: str) -> bool:
    """Return whether timm's network has the option to take images of several sizes."""
    return _blank(name, dynamic_img_size=True) is not None


@cache
def timm_patch(name: str) -> int:
    """Return the side of the patches that a network of timm cuts images into, pixels; 1 for none."""
    network = _blank(name)
    patches = None if network is None else patch_layer(network)
    return 1 if patches is None else patches.stride[0]


def patch_layer(network: nn.Module) -> nn.Conv2d | None:
    """Return the first convolution of a network, if it cuts images into patches.

    Its stride is its kernel size, so that each pixel is seen once; without padding, rows and columns
    beyond the last whole patch are not seen at all.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == 3:
            cuts = layer.kernel_size == layer.stride and not any(map(bool, layer.padding))
            return layer if cuts and layer.stride[0] > 1 else None
    return None


def _timm() -> Any:
    """Import timm, which takes a second, where it is needed."""
    import_torchvision()
    return importlib.import_module("timm")


def _blank(name: str, **options: Any) -> nn.Module | None:
    """Return the network without memory for its weights; ``None`` if it cannot be built so."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network: nn.Module = _timm().create_model(
                name, pretrained=False, num_classes=0, **options
            )
    except Exception:  # an option that its class does not have, or whatever else it raises
        return None
    return network
