"""What the tensors of a vision transformer tell of it, and what they do not.

The number of heads is in no shape, nor is what is made of the tokens: a name is needed, the project's or
the user's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from massrl.errors import CheckpointError
from massrl.models.names import PREFIX, is_users_code
from massrl.models.timm_networks import is_timm, timm_patch, timm_side
from massrl.weights.key_names import Naming, prefixes
from massrl.weights.origins import Origin

_SIZES = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1536: "giant"}
_PATCHES = "patch_embed.proj.weight"
_POSITIONS = "pos_embed"
_REGISTERS = "register_tokens"


def vit_name(weights: Mapping[str, Tensor], names: Sequence[Naming], origin: Origin) -> str | None:
    """Return timm's name of a ViT of a known project, ``None`` where there is none."""
    for naming in names if origin.vit else ():
        for prefix in prefixes(naming.keys, _PATCHES):
            kernel = weights[naming.keys[prefix + _PATCHES]].shape
            size = _SIZES.get(kernel[0]) if len(kernel) == 4 else None
            if size is None:
                continue
            registers = any(prefix + key in naming.keys for key in ("reg_token", _REGISTERS))
            name = origin.vit.format(size=size, patch=kernel[-1], reg="_reg4" if registers else "")
            if is_timm(name):
                return name
    return None


def vit_side(weights: Mapping[str, Tensor], names: Sequence[Naming], backbone: str) -> int | None:
    """Return the side of the images that a ViT's position embedding is for, pixels.

    ``None`` for any other network.
    """
    own = timm_side(backbone)
    if own is None:
        return None
    patch = timm_patch(backbone.removeprefix(PREFIX))
    for naming in names:
        for prefix in prefixes(naming.keys, _POSITIONS):
            shape = weights[naming.keys[prefix + _POSITIONS]].shape
            tokens = shape[1] if len(shape) == 3 else 0
            # With the class token, without it, and with that of distillation too.
            sides = (math.isqrt(tokens - others) for others in (0, 1, 2) if tokens > others)
            for side in sides:
                if tokens - side * side in (0, 1, 2) and side:
                    return side * patch
    return own


def check_heads(backbone: str, origin: Origin, *, where: str) -> None:
    """Refuse a ViT whose project gives it another number of heads than timm does.

    Raises:
        CheckpointError: for MoCo v3's smaller ones, whose features would be others.
    """
    if is_users_code(backbone):
        return
    wrong = [size for size in origin.other_heads if f"vit_{size}_" in backbone]
    if wrong:
        raise CheckpointError(
            f"{where} is of {origin.name}, whose ViTs of this size have another number of heads than "
            f"{backbone}: name a module:function of your own that builds it (--model.backbone)"
        )


def register_tokens_added(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return DINOv2's weights with registers as timm stores them; any others as they are.

    timm gives the class token no position, but adds it to the token.
    """
    found = [key for key in weights if key.endswith(_REGISTERS)]
    changed: dict[str, Tensor] = {}
    for key in found:
        prefix = key.removesuffix(_REGISTERS)
        token, positions = prefix + "cls_token", prefix + _POSITIONS
        if token in weights and positions in weights and weights[positions].dim() == 3:
            changed[token] = weights[token] + weights[positions][:, :1]
            changed[positions] = weights[positions][:, 1:].to(torch.float32)
    return {**weights, **changed} if changed else weights
