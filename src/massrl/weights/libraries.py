"""Networks by the name that torchvision or timm knows them by, with the weights that these offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from massrl.errors import CheckpointError, ConfigError, suggest
from massrl.models.backbones import TORCHVISION_RESNETS, build_backbone

LIBRARIES = ("torchvision", "timm")


@dataclass(frozen=True, kw_only=True)
class LibraryBackbone:
    """A network of another library.

    Attributes:
        network: from normalised images to pooled features.
        about: how it is built, and how images are to be prepared for it; as in a backbone's file.
    """

    network: nn.Module
    about: dict[str, Any]


def is_library_name(name: str) -> bool:
    """Whether a text such as ``timm:vit_small_patch16_224`` asks for another library's network."""
    return name.partition(":")[0] in LIBRARIES and ":" in name


def load_library_backbone(
    name: str, *, random_init: bool = False, seed: int = 0
) -> LibraryBackbone:
    """A network of torchvision or timm, with its weights.

    Args:
        name: ``torchvision:resnet50``, ``torchvision:resnet50.IMAGENET1K_V1``, ``timm:resnet50.a1_in1k``;
            without the weights' own name those that the library takes first.
        random_init: random weights instead, and nothing is downloaded.
        seed: of the random ones.

    Raises:
        ConfigError: if the library has no such network or weights.
        CheckpointError: if the weights cannot be fetched.
    """
    library, _, rest = name.partition(":")
    model, _, tag = rest.partition(".")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        make = _torchvision if library == "torchvision" else _timm
        made = make(model, tag, random_init=random_init)
    backbone = f"timm:{model}" if library == "timm" else model
    about = {
        "backbone": backbone,
        "stem": "standard",
        "seed": seed,
        "recipe": "",
        "step": None,
        "source": name,
        **made.about,
    }
    return LibraryBackbone(network=made.network, about=about)


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
        state = _fetched(lambda: weights.get_state_dict(check_hash=True), f"torchvision:{model}")
        network.load_state_dict({key: item for key, item in state.items() if key[:3] != "fc."})
    shown = weights.transforms()
    return LibraryBackbone(
        network=network,
        about={
            "size": int(shown.crop_size[0]),
            "mean": list(shown.mean),
            "std": list(shown.std),
            "weights": None if random_init else weights.name,
        },
    )


def _timm(model: str, tag: str, *, random_init: bool) -> LibraryBackbone:
    import timm
    from timm.data.config import resolve_model_data_config

    if not timm.is_model(model):
        hint = suggest(model, timm.list_models())
        hint = "timm.list_models() names them" if hint.startswith("known") else hint
        raise ConfigError(f"timm has no model {model!r}: {hint}")
    name = f"{model}.{tag}" if tag else model
    known = [item.partition(".")[2] for item in timm.list_pretrained(f"{model}.*")]
    if not random_init and (not known or (tag and tag not in known)):
        hint = (
            suggest(tag, known) if known else "there are none: --random_init evaluates it as it is"
        )
        raise ConfigError(f"timm's {model} has no weights {tag!r}: {hint}")
    theirs = _fetched(
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
        },
    )


def _fetched(fetch: Any, name: str) -> Any:
    try:
        return fetch()
    except (URLError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"the weights of {name} cannot be fetched: {reason}; --random_init evaluates the network "
            f"without them"
        ) from None
