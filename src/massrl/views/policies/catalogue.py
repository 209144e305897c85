"""Which strategies exist: names as a user types them, and the policies behind them.

``parse_policy("randaugment(2,9)")`` gives a policy; ``POLICIES`` says what there is. A user's
own strategy is a YAML file::

    operations:
      - {operation: rotate, prob: 0.5, range: [-180, 180]}
      - {operation: gaussian_blur, prob: 0.3, range: [0.1, 1.5]}
      - choose: 1                       # one of these two; leave out for all
        shuffle: true                   # in a random order
        prob: 0.8
        operations:
          - {operation: brightness, range: [0.7, 1.3]}
          - {operation: contrast, range: [0.7, 1.3]}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from massrl.config.checks import is_policy_file
from massrl.errors import ConfigError, suggest
from massrl.registry import bind_call, parse_call
from massrl.views.operations import operation
from massrl.views.policies.autoaugment import AutoAugment, FastAutoAugment
from massrl.views.policies.base import Draw, Group, Policy
from massrl.views.policies.colour import colour_pipeline
from massrl.views.policies.randaugment import RandAugment, TrivialAugment

FLAG = "--views.policies"


_DATASETS = ("imagenet", "cifar10", "svhn")


@dataclass(frozen=True)
class PolicyEntry:
    """One line of ``massrl policies``: how it is asked for, what it is, where it comes from."""

    build: Callable[..., Policy]
    signature: str
    summary: str


def _simclr(
    strength: float = 1.0,
    grayscale_prob: float = 0.2,
    blur_prob: float = 1.0,
    solarize_prob: float = 0.0,
) -> Policy:
    return colour_pipeline(
        strength=strength,
        grayscale_prob=grayscale_prob,
        blur_prob=blur_prob,
        solarize_prob=solarize_prob,
    )


def _byol(blur_prob: float, solarize_prob: float) -> Callable[..., Policy]:
    return lambda: colour_pipeline(blur_prob=blur_prob, solarize_prob=solarize_prob)


def _weak() -> Policy:
    return Group(members=())


def _randaugment(n: int = 2, m: int = 9) -> Policy:
    return RandAugment(num_operations=n, magnitude=m)


def _randaugment_expanded(n: int = 2, m: int = 9) -> Policy:
    return RandAugment(num_operations=n, magnitude=m, expanded=True)


def _autoaugment(dataset: str = "imagenet") -> Policy:
    return AutoAugment(dataset=_known_dataset(dataset))


def _fast_autoaugment(dataset: str = "imagenet") -> Policy:
    return FastAutoAugment(dataset=_known_dataset(dataset))


def _known_dataset(dataset: str) -> str:
    if dataset not in _DATASETS:
        raise ConfigError(
            f"no policy table for {dataset!r}: {suggest(dataset, _DATASETS)} ({FLAG})"
        )
    return dataset


POLICIES: dict[str, PolicyEntry] = {
    "simclr": PolicyEntry(
        _simclr,
        "simclr(strength=1, grayscale_prob=0.2, blur_prob=1, solarize_prob=0)",
        "colour jitter 0.4/0.4/0.2/0.1 (p 0.8), grey, blur, as MASSRL uses it",
    ),
    "byol-1": PolicyEntry(_byol(1.0, 0.0), "byol-1", "BYOL's first view: always blurred"),
    "byol-2": PolicyEntry(
        _byol(0.1, 0.2), "byol-2", "BYOL's second view: blur p 0.1, solarise p 0.2"
    ),
    "weak": PolicyEntry(_weak, "weak", "crop and flip alone"),
    "randaugment": PolicyEntry(
        _randaugment,
        "randaugment(n=2, m=9)",
        "n of 14 operations at magnitude m of 30 (1909.13719)",
    ),
    "randaugment-expanded": PolicyEntry(
        _randaugment_expanded,
        "randaugment-expanded(n=2, m=9)",
        "RandAugment with SimCLR's jitter, hue, blur and grey among its operations",
    ),
    "autoaugment": PolicyEntry(
        _autoaugment,
        "autoaugment(imagenet|cifar10|svhn)",
        "25 learnt pairs of operations (1805.09501); searched with labels",
    ),
    "fast-autoaugment": PolicyEntry(
        _fast_autoaugment,
        "fast-autoaugment(imagenet|cifar10|svhn)",
        "493-498 learnt pairs of operations (1905.00397); searched with labels",
    ),
    "trivialaugment": PolicyEntry(
        TrivialAugment, "trivialaugment", "one operation at any strength (2103.10158), wide space"
    ),
}


def parse_policy(text: str) -> Policy:
    """Build the policy that a user asks for.

    Args:
        text: a name, a name with arguments, or the path of a YAML file.

    Raises:
        ConfigError: for an unknown name, arguments that do not fit, or a file that is no policy.
    """
    if is_policy_file(text):
        return read_policy_file(Path(text))
    call = parse_call(text, flag=FLAG)
    if call.name not in POLICIES:
        known = suggest(call.name, POLICIES)
        raise ConfigError(f"unknown policy {call.name!r}: {known} or a .yaml file ({FLAG})")
    policy: Policy = bind_call(call, POLICIES[call.name].build, flag=FLAG)
    return policy


def read_policy_file(path: Path) -> Policy:
    """Read a user's own strategy from a YAML file; the module's docstring shows the form."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read the policy file {path}: {reason} ({FLAG})") from None
    if isinstance(content, list):
        content = {"operations": content}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a list of operations ({FLAG})")
    return _group(content, where=str(path))


def _group(entry: dict[str, Any], *, where: str) -> Group:
    _known_keys(entry, ("operations", "prob", "shuffle", "choose"), where)
    operations = entry["operations"]
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        raise ConfigError(f"{where}: operations must be a list of mappings ({FLAG})")
    return Group(
        members=tuple(
            _group(item, where=where) if "operations" in item else _draw(item, where=where)
            for item in operations
        ),
        prob=_number(entry.get("prob", 1.0), "prob", where),
        shuffle=_truth(entry.get("shuffle", False), "shuffle", where),
        choose=_count(entry.get("choose"), "choose", where),
    )


def _draw(entry: dict[str, Any], *, where: str) -> Draw:
    _known_keys(entry, ("operation", "prob", "range"), where)
    name = str(entry.get("operation", ""))
    known = operation(name)
    ends = entry.get("range", [known.low, known.high] if not known.has_value else None)
    if not isinstance(ends, list) or len(ends) != 2:
        raise ConfigError(
            f"{where}: {name} needs range: [low, high] within "
            f"[{known.low:g}, {known.high:g}] ({FLAG})"
        )
    low, high = (_number(end, "range", where) for end in ends)
    prob = _number(entry.get("prob", 1.0), "prob", where)
    return Draw(operation=name, prob=prob, low=low, high=high)


def _known_keys(entry: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}: {suggest(str(key), known)} ({FLAG})")
    if known[0] not in entry:
        raise ConfigError(f"{where}: {known[0]!r} is missing ({FLAG})")


def _truth(value: object, what: str, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: {what} is {value!r}, but true or false is wanted ({FLAG})")
    return value


def _count(value: object, what: str, where: str) -> int | None:
    if value is not None and type(value) is not int:
        raise ConfigError(f"{where}: {what} is {value!r}, but a whole number is wanted ({FLAG})")
    return value


def _number(value: object, what: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where}: {what} is {value!r}, but a number is wanted ({FLAG})")
    return float(value)
