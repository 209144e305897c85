"""How other projects name the tensors of networks that are known here: their keys, by our names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WRAPPERS = r"\b(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
"""Written into keys by DDP, ``torch.compile``, FSDP and activation checkpointing."""

# DINOv2: blocks in chunks, whose inner number goes on; registers; the two matrices of SwiGLU.
_DINOV2 = (
    (r"\bblocks\.\d+\.(\d+)\.", r"blocks.\1."),
    (r"\bregister_tokens$", "reg_token"),
    (r"\bmlp\.w12\.", "mlp.fc1."),
    (r"\bmlp\.w3\.", "mlp.fc2."),
)


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A way to read the keys of a file.

    Attributes:
        keys: our names, each with the prefix that it has in the file -> keys in the file.
        small_stem: the stem, if it is small, that a network so named has; ``None`` if names do not tell.
        is_small: whether no other stem can be named so.
    """

    keys: Mapping[str, str]
    small_stem: str | None = None
    is_small: bool = False


def namings(keys: Iterable[str]) -> list[Naming]:
    """Return every way to read a file's keys, the plainest first."""
    plain = {key: key for key in keys}
    unwrapped = _renamed(plain, (WRAPPERS, "")) or plain
    found = [Naming(keys=plain)]
    if unwrapped is not plain:
        found.append(Naming(keys=unwrapped))
    if vit := _renamed(unwrapped, *_DINOV2):
        found.append(Naming(keys=vit))
    # `shortcut`: the CIFAR ResNets of lightly's ResNetGenerator and of SupContrast, which pad by 1.
    if shortcut := _renamed(unwrapped, (r"\.shortcut\.", ".downsample.")):
        found.append(Naming(keys=shortcut, small_stem="small", is_small=True))
    return [*found, *_numbered(shortcut or unwrapped)]


def prefixes(keys: Iterable[str], end: str) -> list[str]:
    """Return what stands before a key of a network, in all keys that end in it."""
    starts = (key.removesuffix(end) for key in keys if key.endswith(end))
    return [prefix for prefix in starts if not prefix or prefix[-1] in "./"]


def _renamed(keys: Mapping[str, str], *rules: tuple[str, str]) -> dict[str, str] | None:
    """Return the keys under other names; ``None`` where all stay, or two would be one."""
    result = {}
    for name, key in keys.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = key
    return result if result.keys() != keys.keys() and len(result) == len(keys) else None


def _numbered(keys: Mapping[str, str]) -> list[Naming]:
    """Read ResNets whose children were put into an ``nn.Sequential``, which numbers them.

    The first stage has number 4 where ReLU and pooling come before it; 3 where the pooling was left out;
    2 where the ReLU is missing as well, since the network has no module for it (lightly's
    ResNetGenerator): the network that was trained then has none there.
    """
    found = []
    for first, small_stem in ((4, None), (3, None), (2, "small-no-relu")):
        names = {0: "conv1", 1: "bn1"} | {first + i: f"layer{i + 1}" for i in range(4)}
        renamed = {}
        for prefix in prefixes(keys, f"{first}.0.conv1.weight"):
            for key, own in keys.items():
                number, _, rest = key.removeprefix(prefix).partition(".")
                if key.startswith(prefix) and number.isdigit() and int(number) in names:
                    renamed[f"{prefix}{names[int(number)]}.{rest}"] = own
        if renamed:
            found.append(Naming(keys=renamed, small_stem=small_stem, is_small=first < 4))
    return found
