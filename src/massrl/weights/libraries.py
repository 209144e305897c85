"""Pre-trained backbones of torchvision and timm, by the names that these libraries give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.error import URLError

import torch
from torch import nn

from massrl.errors import CheckpointError, ConfigError, suggest
from massrl.models.backbones import build_backbone
from massrl.models.names import TORCHVISION_RESNETS

T = TypeVar("T")

# Classes of ImageNet-1k, of ImageNet-12k, and of the versions of ImageNet-21k. Other numbers are no proof
# of labels: CLIP's is the width of its embedding.
_CLASSES = (1000, 11821, 10450, 11221, 21841, 21843)
# Begins of the names of timm's weights from methods without labels, whose networks have no classifier.
_UNLABELLED = ("dino", "lvd142m", "lvd1689m", "mae", "fcmae")


@dataclass(frozen=True, kw_only=True)
class LibraryBackbone:
    """A backbone of another library.

    Attributes:
        network: from normalised images to pooled features.
        about: how it is built and its images are prepared, as in a backbone file.
    """

    network: nn.Module
    about: dict[str, Any]


def load_library_backbone(
    name: str, *, random_init: bool = False, seed: int = 0
) -> LibraryBackbone:
    """Load a network of torchvision or timm with its published weights.

    Args:
        name: ``torchvision:resnet50``, ``torchvision:resnet50.IMAGENET1K_V1``, ``timm:resnet50.a1_in1k``;
            without a weights' name the library's default ones.
        random_init: use random weights and download nothing.
        seed: of the random weights.

    Raises:
        ConfigError: if the library has no such network or weights.
        CheckpointError: if the weights cannot be downloaded.
    """
    library, _, rest = name.partition(":")
    model, _, tag = rest.partition(".")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loaded = _LOADERS[library](model, tag, random_init=random_init)
    about = {
        "backbone": library_network(name),
        "stem": "standard",
        "seed": seed,
        "recipe": "",
        "step": None,
        "source": name,
        **loaded.about,
    }
    return LibraryBackbone(network=loaded.network, about=about)


def _torchvision(model: str, tag: str, *, random_init: bool) -> LibraryBackbone:
    from torchvision.models import get_model_weights

    if model not in TORCHVISION_RESNETS:
        hint = suggest(model, TORCHVISION_RESNETS)
        raise ConfigError(f"torchvision has no ResNet {model!r}: {hint} (BACKBONE)")
    choices = get_model_weights(model)
    known = [item.name for item in choices]
    if tag and tag not in known:
        raise ConfigError(f"torchvision's {model} has no weights {tag!r}: {suggest(tag, known)}")
    weights = choices[tag] if tag else choices.DEFAULT
    network = build_backbone(model, stem="standard")
    if not random_init:
        state = _download(lambda: weights.get_state_dict(check_hash=True), f"torchvision:{model}")
        network.load_state_dict({key: item for key, item in state.items() if key[:3] != "fc."})
    transforms = weights.transforms()
    return LibraryBackbone(
        network=network,
        about={
            "size": int(transforms.crop_size[0]),
            "mean": list(transforms.mean),
            "std": list(transforms.std),
            "weights": None if random_init else weights.name,
            # All are classifiers of ImageNet's; torchvision states no licence of weights.
            "labels": None if random_init else "used",
            "licence": None,
        },
    )


def _timm(model: str, tag: str, *, random_init: bool) -> LibraryBackbone:
    import timm
    from timm.data.config import resolve_model_data_config

    if not timm.is_model(model):
        hint = suggest(model, timm.list_models())
        hint = "see timm.list_models()" if hint.startswith("known") else hint
        raise ConfigError(f"timm has no model {model!r}: {hint}")
    name = f"{model}.{tag}" if tag else model
    known = [item.partition(".")[2] for item in timm.list_pretrained(f"{model}.*")]
    if not random_init and (not known or (tag and tag not in known)):
        hint = suggest(tag, known) if known else "it has none; --random_init takes random ones"
        raise ConfigError(f"timm's {model} has no weights {tag!r}: {hint}")
    theirs: Any = _download(
        lambda: timm.create_model(name, pretrained=not random_init, num_classes=0), f"timm:{name}"
    )
    config = resolve_model_data_config(theirs)  # type: ignore[no-untyped-call]
    side = int(config["input_size"][1])
    network = build_backbone(f"timm:{model}", stem="standard", image_side=side)
    network.load_state_dict(theirs.state_dict())
    return LibraryBackbone(
        network=network,
        about={
            "size": side,
            "mean": list(config["mean"]),
            "std": list(config["std"]),
            "weights": None if random_init else str(theirs.pretrained_cfg.get("tag", "")),
            "labels": None if random_init else _labels(theirs.pretrained_cfg),
            "licence": None if random_init else theirs.pretrained_cfg.get("license"),
        },
    )


def _labels(weights: Mapping[str, Any]) -> str | None:
    """Return whether timm's weights were trained with labels, where their description tells."""
    if weights.get("num_classes") in _CLASSES:
        return "used"
    tag = str(weights.get("tag", ""))
    return "not-used" if tag.startswith(_UNLABELLED) else None


def library_network(name: str) -> str:
    """Return the name of the backbone of a library's network, without its library's weights' name.

    Example:
        >>> library_network("timm:vit_tiny_patch16_224.augreg_in21k")
        'timm:vit_tiny_patch16_224'
    """
    library, _, rest = name.partition(":")
    model = rest.partition(".")[0]
    return f"timm:{model}" if library == "timm" else model


_LOADERS: dict[str, Callable[..., LibraryBackbone]] = {"torchvision": _torchvision, "timm": _timm}


def _download(load: Callable[[], T], name: str) -> T:
    """Call a library's loader, with its many errors as one."""
    try:
        return load()
    except (URLError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"the weights of {name} cannot be downloaded: {reason}; --random_init does without"
        ) from None
