"""What tests of several policies start from."""

from __future__ import annotations

import collections
import math

from massrl.randomness import Stream
from massrl.views.operations.base import Step
from massrl.views.policies.base import Policy
from massrl.views.policies.catalogue import parse_policy

SIDE = 224

GEOMETRIC = {"shear_x", "shear_y", "translate_x", "translate_y", "rotate"}

FACTORS = {"brightness", "contrast", "saturation", "sharpness"}

DATASETS = ("imagenet", "cifar10", "svhn")


def sequences(policy: Policy | str, count: int, side: int = SIDE) -> list[tuple[Step, ...]]:
    """What a policy draws for ``count`` images."""
    policy = parse_policy(policy) if isinstance(policy, str) else policy
    streams = (Stream(11, epoch=0, index=i, number=0) for i in range(count))
    return [policy.draw(stream, side) for stream in streams]


def values_by_operation(drawn: list[tuple[Step, ...]]) -> dict[str, list[float]]:
    """The values of every operation that was drawn; NaN for one without a value."""
    found: dict[str, list[float]] = collections.defaultdict(list)
    for step in (step for steps in drawn for step in steps):
        found[step.operation].append(step.values[0] if step.values else math.nan)
    return found
