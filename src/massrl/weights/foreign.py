"""Find the backbone in another project's weights, and account for every other tensor.

No project's layout is hard-coded: a backbone is wherever all tensors of a known network share one key
prefix, each with its shape. That covers the files of MASSRL, BYOL, solo-learn and MoCo (``backbone.``,
``encoder.``, ``module.encoder_q.`` …), of DINO (``teacher/backbone.``), plain ResNets, and networks
flattened into an ``nn.Sequential``, as in lightly's tutorials (``backbone.0.weight``,
``backbone.4.0.conv1 …``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from massrl.errors import CheckpointError, counted, suggest
from massrl.models.backbones import NARROW_RESNETS, TORCHVISION_RESNETS, build_backbone

_COUNTER = "num_batches_tracked"  # of batch norm: old files have none, and no forward pass reads it
# Words in the prefix of a moving-average copy of the trained network.
_AVERAGED = ("momentum", "encoder_k", "target", "teacher", "ema")
# Children of a ResNet as nn.Sequential(*list(resnet.children())[:-1]) numbers them.
_SEQUENTIAL_NAMES = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}

Shapes = dict[str, torch.Size]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A backbone found in a file.

    Attributes:
        prefix: of its keys, such as ``backbone.``; may be empty.
        backbone: name of the network.
        stem: ``standard`` or ``small``.
        keys: the network's own keys -> keys in the file.
    """

    prefix: str
    backbone: str
    stem: str
    keys: Mapping[str, str]

    @property
    def name(self) -> str:
        """The prefix as ``--part`` takes it; ``.`` for none."""
        return self.prefix.rstrip("./") or "."

    @property
    def is_averaged(self) -> bool:
        """Whether it is a moving average of another network, as a target or a teacher is."""
        return any(word in self.prefix.lower() for word in _AVERAGED)


@dataclass(frozen=True, kw_only=True)
class ImportedBackbone:
    """A backbone extracted from a file, and what was not extracted.

    Attributes:
        part: where it was found.
        state: the network's complete ``state_dict``, float32.
        others: further backbones in the file.
        unused: key prefix -> (number of tensors, number of values) that were not extracted.
        missing_counters: keys of batch-norm counters that the file lacks; set to 0.
    """

    part: Part
    state: dict[str, Tensor]
    others: tuple[Part, ...]
    unused: dict[str, tuple[int, int]]
    missing_counters: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the account for the user, line by line."""
        count = sum(item.numel() for item in self.state.values())
        rows = [
            f"imported  {self.part.name}: {self.part.backbone}, {self.part.stem} stem, "
            f"{counted(len(self.state), 'tensor')}, {count:,} values"
        ]
        if self.missing_counters:
            rows.append(
                f"          {len(self.missing_counters)} batch-norm counters, which the file lacks, "
                "are set to 0"
            )
        rows += [
            f"unused    {name}: {counted(tensors, 'tensor')}, {values:,} values"
            for name, (tensors, values) in self.unused.items()
        ]
        rows += [f"other     --part {part.name} is a backbone too" for part in self.others]
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
    """Extract the backbone from a file's weights.

    Of several, a trained network is preferred to its moving average, except for DINO, whose authors
    evaluate the teacher.

    Args:
        weights: every tensor of the file by its key.
        where: name of the file, for errors.
        backbone: name of its network; found by tensor shapes among the ResNets when left out.
        stem: its first layers; found likewise, except for the padding of a small one.
        part: the prefix to take, where there are several networks.
        image_side: side of the images it will be given, pixels; some networks depend on it.

    Raises:
        CheckpointError: if no network is complete, or the file has no such part.
    """
    resnets = (*TORCHVISION_RESNETS, *NARROW_RESNETS)
    kinds = [
        (name, chosen)
        for name in ([backbone] if backbone else resnets)
        for chosen in (
            [stem] if stem else ["standard", "small"] if name in resnets else ["standard"]
        )
    ]
    parts = _find_parts(weights, kinds, image_side=image_side)
    if not parts:
        raise CheckpointError(_nothing_found(weights, where=where, backbone=backbone))
    best = _select(parts, part, where=where)
    surplus = _surplus(weights, best)
    if surplus:
        raise CheckpointError(
            f"{where} has a network that begins as {best.backbone} and continues with {surplus[0]} and "
            f"{len(surplus) - 1} more: name it with --backbone (a timm name or module:function)"
        )
    state, missing = _state(weights, best, image_side=image_side)
    used = set(best.keys.values())
    return ImportedBackbone(
        part=best,
        state=state,
        others=tuple(item for item in parts if item is not best),
        unused=_by_prefix(weights, [key for key in weights if key not in used]),
        missing_counters=missing,
    )


def _select(parts: Sequence[Part], part: str | None, *, where: str) -> Part:
    """Return the part that was asked for, else the one that is most likely meant."""
    if part is None:
        return min(parts, key=_rank)
    for item in parts:
        if part in (item.name, item.prefix, f"{item.name}."):
            return item
    hint = suggest(part, [item.name for item in parts])
    raise CheckpointError(f"{where} has no backbone {part!r}: {hint} (--part)")


@cache
def shapes_of(backbone: str, stem: str, *, image_side: int) -> Shapes:
    """Return the shape of every tensor of a network by its key, without allocating any."""
    with torch.device("meta"):
        network = build_backbone(backbone, stem=stem, image_side=image_side)
    return {key: item.shape for key, item in network.state_dict().items()}


def _find_parts(
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
                own = {key: _file_key(keys, place) for key, place in places.items()}
                if not _is_complete(weights, own, shapes=wanted):
                    continue
                # A larger ResNet contains every tensor of a smaller one: the larger one is meant.
                if prefix not in found or len(own) > len(found[prefix].keys):
                    found[prefix] = Part(prefix=prefix, backbone=name, stem=stem, keys=own)
    return list(found.values())


def _surplus(weights: Mapping[str, Tensor], part: Part) -> list[str]:
    """Return keys in a ResNet's stages that its network lacks, such as those of further blocks."""
    own = set(part.keys.values())
    begins = tuple(
        f"{part.prefix}{name}"
        for name in (*_SEQUENTIAL_NAMES.values(), *map(str, _SEQUENTIAL_NAMES))
    )
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


def _is_complete(weights: Mapping[str, Tensor], keys: Mapping[str, str], *, shapes: Shapes) -> bool:
    return all(
        key in keys and weights[keys[key]].shape == shape
        for key, shape in shapes.items()
        if not key.endswith(_COUNTER)
    )


def _file_key(keys: Mapping[str, object], key: str) -> str:
    """Return the key in the file; that of a flattened network differs from the network's own."""
    found = keys[key]
    return found if isinstance(found, str) else key


def _numbered(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the keys of flattened ResNets by what the network itself calls them."""
    renamed = {}
    for prefix in _prefixes(weights, "4.0.conv1.weight"):
        for key in weights:
            if key.startswith(prefix):
                number, _, rest = key.removeprefix(prefix).partition(".")
                if number.isdigit() and int(number) in _SEQUENTIAL_NAMES:
                    renamed[f"{prefix}{_SEQUENTIAL_NAMES[int(number)]}.{rest}"] = key
    return renamed


def _rank(part: Part) -> tuple[bool, int]:
    is_dino = part.prefix.startswith("teacher")
    return part.is_averaged and not is_dino, 0 if is_dino else len(part.prefix)


def _state(
    weights: Mapping[str, Tensor], part: Part, *, image_side: int
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    wanted = shapes_of(part.backbone, part.stem, image_side=image_side)
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


def _nothing_found(weights: Mapping[str, Tensor], *, where: str, backbone: str | None) -> str:
    prefixes = ", ".join(list(_by_prefix(weights, list(weights)))[:6])
    if backbone:
        return (
            f"{where} does not have all tensors of {backbone} under any prefix; its keys begin with "
            f"{prefixes} (--backbone, --stem)"
        )
    return (
        f"{where} has no known ResNet; its keys begin with {prefixes}: name its network with "
        f"--backbone (a timm name or module:function)"
    )
