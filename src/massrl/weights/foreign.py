"""Find the backbone in another project's weights, and account for every other tensor.

A backbone is wherever all tensors of a known network share one key prefix, each with its shape, under
any of the names that projects give them (:mod:`massrl.weights.key_names`). What shapes do not tell is
decided by the project that the file is of (:mod:`massrl.weights.origins`), else asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from massrl.errors import CheckpointError, suggest
from massrl.models.backbones import build_backbone
from massrl.models.names import RESNETS
from massrl.weights.account import ImportedBackbone, Part
from massrl.weights.key_names import Naming, namings, prefixes
from massrl.weights.origins import Origin, origin_of
from massrl.weights.vits import check_heads, register_tokens_added, vit_name, vit_side

_COUNTER = "num_batches_tracked"  # of batch norm: old files have none, and no forward pass reads it
_STEM_CHOICES = (
    "small (it pads by 1), small-pad2 (by 2, as solo-learn's) or small-no-relu (by 1, with no ReLU before "
    "the first block)"
)
# Parts of a network that continue after what is known of it, where another network is meant.
_CONTINUED = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "blocks", "stages", "layers")
_TOKENS = ("cls_token", "reg_token", "dist_token", "pos_embed", "norm_pre")

Shapes = dict[str, torch.Size]


def take_backbone(
    weights: Mapping[str, Tensor],
    *,
    where: str,
    backbone: str | None = None,
    stem: str | None = None,
    part: str | None = None,
    image_side: int | None = None,
) -> ImportedBackbone:
    """Extract the backbone from a file's weights.

    Of several, the one is taken that the file's project evaluates: the trained network, or the moving
    average of it for DINO.

    Args:
        weights: every tensor of the file by its key.
        where: name of the file, for errors.
        backbone: name of its network; found by tensor shapes when left out.
        stem: its first layers; found likewise, where no other fits.
        part: the prefix to take, where there are several networks.
        image_side: side of the images it will be given, pixels; some networks depend on it. Found in the
            weights, else 224, when left out.

    Raises:
        CheckpointError: if no network is complete, the file has no such part, or its weights fit more
            than one network.
    """
    origin, weights = origin_of(weights), register_tokens_added(weights)
    names = namings(weights)
    kinds = _kinds(weights, names, origin, backbone=backbone, stem=stem)
    parts = _find_parts(weights, names, kinds, image_side=image_side)
    if not parts:
        raise CheckpointError(_nothing_found(weights, names, where=where, backbone=backbone))
    best = _select(parts, part, origin, where=where)
    check_heads(best.backbone, origin, where=where)
    surplus = _surplus(best)
    if surplus:
        raise CheckpointError(
            f"{where} has a network that begins as {best.backbone} and continues with {surplus[0]} and "
            f"{len(surplus) - 1} more: name it with --model.backbone (a timm name or module:function)"
        )
    used = set(best.keys.values())
    state, missing = _state(weights, best)
    return ImportedBackbone(
        part=replace(best, stem=stem or _stem_of(best, origin, where=where)),
        state=state,
        others=tuple(item for item in parts if item is not best),
        unused=_by_prefix(weights, [key for key in weights if key not in used]),
        missing_counters=missing,
        origin=origin,
    )


def _kinds(
    weights: Mapping[str, Tensor],
    names: Sequence[Naming],
    origin: Origin,
    *,
    backbone: str | None,
    stem: str | None,
) -> list[tuple[str, str]]:
    """Return names and stems of the networks to look for; ``small`` for any small stem."""
    known = None if backbone else vit_name(weights, names, origin)
    return [
        (name, chosen)
        for name in ([backbone] if backbone else [*RESNETS, *([known] if known else [])])
        for chosen in (
            [stem] if stem else ["standard", "small"] if name in RESNETS else ["standard"]
        )
    ]


def _stem_of(part: Part, origin: Origin, *, where: str) -> str:
    """Return the stem of a network by its names and its project.

    Raises:
        CheckpointError: if neither tells how a small one pads.
    """
    if part.stem == "standard":
        return part.stem
    stem = part.naming.small_stem or origin.small_stem
    if stem is None:
        raise CheckpointError(
            f"{where} has a {part.backbone} that begins with a 3×3 convolution, and its weights do not "
            f"tell what follows: name it with --model.stem {_STEM_CHOICES}"
        )
    return stem


def _select(parts: Sequence[Part], part: str | None, origin: Origin, *, where: str) -> Part:
    """Return the part that was asked for, else the one that its project evaluates."""
    if part is None:
        return min(parts, key=lambda item: _rank(item, origin))
    for item in parts:
        if part in (item.name, item.prefix, f"{item.name}."):
            return item
    hint = suggest(part, [item.name for item in parts])
    raise CheckpointError(f"{where} has no backbone {part!r}: {hint} (--model.part)")


def _rank(part: Part, origin: Origin) -> tuple[bool, bool, int]:
    wanted = origin.is_teacher if origin.takes_teacher else origin.is_student
    return not wanted(part.prefix), origin.is_teacher(part.prefix), len(part.prefix)


@cache
def shapes_of(backbone: str, stem: str, *, image_side: int) -> Shapes:
    """Return the shape of every tensor of a network by its key, without allocating any."""
    with torch.device("meta"):
        network = build_backbone(backbone, stem=stem, image_side=image_side)
    return {key: item.shape for key, item in network.state_dict().items()}


def _find_parts(
    weights: Mapping[str, Tensor],
    names: Sequence[Naming],
    kinds: Sequence[tuple[str, str]],
    *,
    image_side: int | None,
) -> list[Part]:
    found: dict[str, Part] = {}
    for name, stem in kinds:
        known = name in RESNETS  # of any size
        side = image_side or (None if known else vit_side(weights, names, name)) or 224
        wanted = shapes_of(name, stem, image_side=side)
        anchor = next(key for key, shape in wanted.items() if len(shape) > 1)
        for naming in names:
            if naming.is_small and stem == "standard":
                continue
            for prefix in prefixes(naming.keys, anchor):
                own = {
                    key: naming.keys[prefix + key] for key in wanted if prefix + key in naming.keys
                }
                if not _is_complete(weights, own, shapes=wanted):
                    continue
                # A larger ResNet contains every tensor of a smaller one: the larger one is meant.
                begin = own[anchor]
                if begin not in found or len(own) > len(found[begin].keys):
                    found[begin] = Part(
                        prefix=prefix,
                        backbone=name,
                        stem=stem,
                        image_side=side,
                        keys=own,
                        naming=naming,
                    )
    return list(found.values())


def _surplus(part: Part) -> list[str]:
    """Return keys of a part that its network lacks, such as those of further blocks."""
    tops = {key.partition(".")[0] for key in part.keys}
    continued = {*(tops & set(_CONTINUED)), *_TOKENS}
    names = (name for name in part.naming.keys if name.startswith(part.prefix))
    return [
        part.naming.keys[name]
        for name in names
        for rest in [name.removeprefix(part.prefix)]
        if rest not in part.keys and rest.partition(".")[0] in continued
    ]


def _is_complete(weights: Mapping[str, Tensor], keys: Mapping[str, str], *, shapes: Shapes) -> bool:
    return all(
        key in keys and weights[keys[key]].shape == shape
        for key, shape in shapes.items()
        if not key.endswith(_COUNTER)
    )


def _state(weights: Mapping[str, Tensor], part: Part) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    wanted = shapes_of(part.backbone, part.stem, image_side=part.image_side)
    missing = tuple(key for key in wanted if key not in part.keys)
    state = {
        key: torch.zeros((), dtype=torch.int64) if key in missing else weights[part.keys[key]]
        for key in wanted
    }
    return {
        key: item.float() if item.is_floating_point() else item for key, item in state.items()
    }, missing


def _by_prefix(weights: Mapping[str, Tensor], keys: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Count tensors and their values by the first words of their keys, which name the module."""
    groups: dict[str, tuple[int, int]] = {}
    for key in keys:
        *path, own = key.split("/")
        words = own.split(".")
        depth = 2 if words[0] in ("module", "model") else 1
        name = "/".join([*path, ".".join(words[:depth])])
        tensors, values = groups.get(name, (0, 0))
        groups[name] = tensors + 1, values + math.prod(weights[key].shape)
    return groups


def _nothing_found(
    weights: Mapping[str, Tensor], names: Sequence[Naming], *, where: str, backbone: str | None
) -> str:
    begin = ", ".join(list(_by_prefix(weights, list(weights)))[:6])
    if backbone:
        return (
            f"{where} does not have all tensors of {backbone} under any prefix; its keys begin with "
            f"{begin} (--model.backbone, --model.stem)"
        )
    return (
        f"{where} has no known ResNet; its keys begin with {begin}: name its network with "
        f"--model.backbone (a timm name or module:function)"
    )
