"""AutoAugment and Fast AutoAugment: policies that were searched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, get_args

from massrl.errors import ConfigError, suggest
from massrl.randomness import Stream
from massrl.views.operations.base import Step, operations
from massrl.views.policies.base import make_step
from massrl.views.policies.randaugment import step_at_strength
from massrl.views.policies.tables import NAMES, policy_table

Dataset = Literal["imagenet", "cifar10", "svhn"]

_SEARCHED = "searched **with labels** of the data set they are named after"


@dataclass(frozen=True)
class AutoAugment:
    """One sub-policy of two operations, drawn uniformly; each applied with its own probability.

    Attributes:
        notice: licence and origin of the table.
        dataset: which data set the policy was searched on.

    Raises:
        ConfigError: for another data set.

    Source: arXiv 1805.09501; table and ranges as in torchvision's ``AutoAugment`` (10 bins).
    """

    notice: ClassVar[str] = (
        f"AutoAugment's tables: BSD 3-Clause, © Soumith Chintala 2016 (torchvision); {_SEARCHED}"
    )
    dataset: Dataset = "imagenet"

    def __post_init__(self) -> None:
        _check_dataset(self.dataset)

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw up to two steps."""
        sub_policies = _autoaugment_table(self.dataset)
        return tuple(
            step_at_strength(name, strength, stream)
            for name, prob, strength in sub_policies[stream.integer(len(sub_policies))]
            if stream.chance(prob)
        )


@dataclass(frozen=True)
class FastAutoAugment:
    """One sub-policy of two operations, drawn uniformly; each applied with its own probability.

    The value is ``low + level · (high - low)`` of the operation's range; a geometric one is
    mirrored in sign with probability ½.

    Attributes:
        notice: licence and origin of the table.
        dataset: which data set the policy was searched on.

    Raises:
        ConfigError: for another data set.

    Source: arXiv 1905.00397, kakaobrain/fast-autoaugment.
    """

    notice: ClassVar[str] = f"Fast AutoAugment's tables: MIT, © 2019 Ildoo Kim; {_SEARCHED}"
    dataset: Dataset = "imagenet"

    def __post_init__(self) -> None:
        _check_dataset(self.dataset)

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw up to two steps."""
        sub_policies = _fast_autoaugment_table(self.dataset)
        steps = []
        for name, prob, value in sub_policies[stream.integer(len(sub_policies))]:
            if stream.chance(prob):
                mirrored = operations[name].kind == "geometric" and stream.chance(0.5)
                steps.append(make_step(name, -value if mirrored else value, stream))
        return tuple(steps)


SubPolicies = list[list[tuple[str, float, float]]]


@cache
def _autoaugment_table(dataset: Dataset) -> SubPolicies:
    """Return AutoAugment's operations with their probability and strength, 0 to 1."""
    return [
        [(NAMES[name], prob, (bin_index or 0) / 9) for name, prob, bin_index in sub_policy]
        for sub_policy in policy_table("autoaugment.json")["policies"][dataset]
    ]


@cache
def _fast_autoaugment_table(dataset: Dataset) -> SubPolicies:
    """Return Fast AutoAugment's operations with their probability and value."""
    table = policy_table("fast_autoaugment.json")
    ranges = table["ranges"]

    def value(name: str, level: float) -> float:
        low, high = ranges[name]
        return float(low + level * (high - low))

    return [
        [(NAMES[name], prob, value(name, level)) for name, prob, level in sub_policy]
        for sub_policy in table["policies"][dataset]
    ]


def _check_dataset(dataset: str) -> None:
    known = get_args(Dataset)
    if dataset not in known:
        raise ConfigError(
            f"no policy table for {dataset!r}: {suggest(dataset, known)} (--views.policies)"
        )
