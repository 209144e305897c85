"""Finds the backbone in the weights of another project, and accounts for every tensor beside it.

No project's layout is written down here: a backbone is wherever all tensors of a known network lie under
one prefix, each of its shape. That covers the files of MASSRL, BYOL, solo-learn and MoCo (``backbone.``,
``encoder.``, ``module.encoder_q.`` …), of DINO (``teacher/backbone.``), plain ResNets, and networks that
were taken apart into a list, as lightly's tutorials do (``backbone.0.weight``, ``backbone.4.0.conv1 …``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from massrl.errors import CheckpointError, suggest
from massrl.models.backbones import NARROW_RESNETS, TORCHVISION_RESNETS, build_backbone

_COUNTER = "num_batches_tracked"  # of batch norm: old files have none, and no forward pass reads it
# Where a network's copy that follows it slowly is kept.
_FOLLOWERS = ("momentum", "encoder_k", "target", "teacher", "ema")
# Children of a ResNet in order: nn.Sequential(*list(resnet.children())[:-1]) names them by number.
_IN_ORDER = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}

Shapes = dict[str, torch.Size]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A backbone within a file.

    Attributes:
        prefix: what stands before its keys, such as ``backbone.``; empty where nothing does.
        backbone: name of the network.
        stem: ``standard`` or ``small``.
        keys: its keys in the file, by the network's own.
    """

    prefix: str
    backbone: str
    stem: str
    keys: Mapping[str, str]

    @property
    def name(self) -> str:
        """The prefix as a person writes it."""
        return self.prefix.rstrip("./") or "."

    @property
    def follows(self) -> bool:
        """Whether it is a copy that follows another network, as a target or a teacher does."""
        return any(word in self.prefix.lower() for word in _FOLLOWERS)


@dataclass(frozen=True, kw_only=True)
class ImportedBackbone:
    """A backbone taken out of a file, and what stayed there.

    Attributes:
        part: where it was.
        state: the network's whole state, float32.
        others: further backbones in the file.
        left: tensors and numbers in them, by what their keys begin with.
        made_up: keys of the state that the file lacks, which are batch norm's counters.
    """

    part: Part
    state: dict[str, Tensor]
    others: tuple[Part, ...]
    left: dict[str, tuple[int, int]]
    made_up: tuple[str, ...]

    def lines(self) -> list[str]:
        """The account for a person, line by line."""
        count = sum(item.numel() for item in self.state.values())
        rows = [
            f"taken  {self.part.name}: {self.part.backbone}, {self.part.stem} stem, "
            f"{len(self.state)} tensors of {count:,} numbers"
        ]
        if self.made_up:
            rows.append(
                f"       {len(self.made_up)} counters of batch norm are set to 0: it has none"
            )
        rows += [
            f"left   {name}: {tensors} tensor{'s' * (tensors != 1)} of {numbers:,} numbers"
            for name, (tensors, numbers) in self.left.items()
        ]
        rows += [f"other  --part {part.name} is a backbone too" for part in self.others]
        return rows


def take_backbone(
    weights: Mapping[str, Tensor],
    *,
    where: str,
    backbone: str | None = None,
    stem: str | None = None,
    part: str | None = None,
    image_side: int = 224,
) -> ImportedBackbone:
    """Take the backbone out of a file's weights.

    Of several, a network that was trained goes before a copy that follows it, but for DINO's teacher,
    which is what its authors judge.

    Args:
        weights: every tensor of the file by its key.
        where: what the file is called in errors.
        backbone: its network; found by its shapes among the ResNets when left out.
        stem: its first layers; found likewise, but for the padding of a small one.
        part: the prefix to take, where there are several.
        image_side: side of the images it will be given, pixels; some networks depend on it.

    Raises:
        CheckpointError: if no network's tensors are all there, or the part is none of those there are.
    """
    resnets = (*TORCHVISION_RESNETS, *NARROW_RESNETS)
    kinds = [
        (name, chosen)
        for name in ([backbone] if backbone else resnets)
        for chosen in (
            [stem] if stem else ["standard", "small"] if name in resnets else ["standard"]
        )
    ]
    parts = _parts(weights, kinds, image_side=image_side)
    if not parts:
        raise CheckpointError(_nothing_found(weights, where=where, backbone=backbone))
    if part is not None:
        chosen = [item for item in parts if part in (item.name, item.prefix, f"{item.name}.")]
        if not chosen:
            hint = suggest(part, [item.name for item in parts])
            raise CheckpointError(f"{where} has no backbone {part!r}: {hint} (--part)")
    else:
        chosen = sorted(parts, key=_rank)
    best = chosen[0]
    rest = _unused(weights, best)
    if rest:
        raise CheckpointError(
            f"{where} holds a network that begins as {best.backbone} and goes on with {rest[0]} and "
            f"{len(rest) - 1} more: --backbone names it, a timm name or module:function of your own"
        )
    state, made_up = _state(weights, best, image_side=image_side)
    taken = set(best.keys.values())
    left = [key for key in weights if key not in taken]
    return ImportedBackbone(
        part=best,
        state=state,
        others=tuple(item for item in parts if item is not best),
        left=_by_beginning(weights, left),
        made_up=made_up,
    )


@cache
def shapes_of(backbone: str, stem: str, *, image_side: int) -> Shapes:
    """Shape of every tensor of a network, by its key; no memory is taken for them."""
    with torch.device("meta"):
        network = build_backbone(backbone, stem=stem, image_side=image_side)
    return {key: item.shape for key, item in network.state_dict().items()}


def _parts(
    weights: Mapping[str, Tensor], kinds: Sequence[tuple[str, str]], *, image_side: int
) -> list[Part]:
    found: dict[str, Part] = {}
    numbered = _numbered(weights)
    for name, stem in kinds:
        wanted = shapes_of(name, stem, image_side=image_side)
        anchor = next(key for key, shape in wanted.items() if len(shape) > 1)
        for keys in (weights, numbered):
            for prefix in _prefixes(keys, anchor):
                places = {key: prefix + key for key in wanted if prefix + key in keys}
                if not _fits(weights, keys, places, wanted):
                    continue
                own = {key: _place(keys, at) for key, at in places.items()}
                # All of a smaller ResNet is in a larger one: the larger one is meant.
                if prefix not in found or len(own) > len(found[prefix].keys):
                    found[prefix] = Part(prefix=prefix, backbone=name, stem=stem, keys=own)
    return list(found.values())


def _unused(weights: Mapping[str, Tensor], part: Part) -> list[str]:
    """Tensors of a ResNet's stages that its network has no place for, such as further blocks."""
    own = set(part.keys.values())
    begins = tuple(f"{part.prefix}{name}" for name in (*_IN_ORDER.values(), *map(str, _IN_ORDER)))
    return [
        key
        for key in weights
        if key not in own
        and any(key.startswith(f"{begin}.") for begin in begins)
        and (part.backbone in TORCHVISION_RESNETS or part.backbone in NARROW_RESNETS)
    ]


def _prefixes(keys: Mapping[str, object], anchor: str) -> list[str]:
    ends = (key.removesuffix(anchor) for key in keys if key.endswith(anchor))
    return [prefix for prefix in ends if not prefix or prefix[-1] in "./"]


def _fits(
    weights: Mapping[str, Tensor],
    keys: Mapping[str, object],
    places: Mapping[str, str],
    wanted: Shapes,
) -> bool:
    return all(
        key in places and weights[_place(keys, places[key])].shape == shape
        for key, shape in wanted.items()
        if not key.endswith(_COUNTER)
    )


def _place(keys: Mapping[str, object], key: str) -> str:
    """A key of the file: those of a network that was taken apart stand under other names."""
    found = keys[key]
    return found if isinstance(found, str) else key


def _numbered(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Keys of ResNets that were taken apart, by what the whole network calls them."""
    renamed = {}
    for prefix in _prefixes(weights, "4.0.conv1.weight"):
        for key in weights:
            if key.startswith(prefix):
                number, _, rest = key.removeprefix(prefix).partition(".")
                if number.isdigit() and int(number) in _IN_ORDER:
                    renamed[f"{prefix}{_IN_ORDER[int(number)]}.{rest}"] = key
    return renamed


def _rank(part: Part) -> tuple[bool, int]:
    is_dino = part.prefix.startswith("teacher")
    return part.follows and not is_dino, 0 if is_dino else len(part.prefix)


def _state(
    weights: Mapping[str, Tensor], part: Part, *, image_side: int
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    wanted = shapes_of(part.backbone, part.stem, image_side=image_side)
    made_up = tuple(key for key in wanted if key not in part.keys)
    state = {
        key: torch.zeros((), dtype=torch.int64) if key in made_up else weights[part.keys[key]]
        for key in wanted
    }
    return {
        key: item.float() if item.is_floating_point() else item for key, item in state.items()
    }, made_up


def _by_beginning(weights: Mapping[str, Tensor], keys: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Tensors and numbers, by the first words of their keys that say what they belong to."""
    groups: dict[str, tuple[int, int]] = {}
    for key in keys:
        *path, own = key.split("/")
        words = own.split(".")
        depth = 2 if words[0] in ("module", "model") else 1
        name = "/".join([*path, ".".join(words[:depth])])
        tensors, numbers = groups.get(name, (0, 0))
        groups[name] = tensors + 1, numbers + math.prod(weights[key].shape)
    return groups


def _nothing_found(weights: Mapping[str, Tensor], *, where: str, backbone: str | None) -> str:
    begins = ", ".join(list(_by_beginning(weights, list(weights)))[:6])
    if backbone:
        return (
            f"{where} does not hold all tensors of {backbone} under any prefix; its keys begin with "
            f"{begins} (--backbone, --stem)"
        )
    return (
        f"{where} holds no ResNet that is known; its keys begin with {begins}: --backbone names its "
        f"network, a timm name or module:function of your own"
    )
