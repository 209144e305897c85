"""AutoAugment and Fast AutoAugment: policies that were searched."""

from __future__ import annotations

from dataclasses import dataclass

from massrl.randomness import Stream
from massrl.views.operations import OPERATIONS, Step
from massrl.views.policies.base import make_step
from massrl.views.policies.randaugment import _SPACE, strength_step
from massrl.views.policies.tables import NAMES, policy_table


@dataclass(frozen=True, kw_only=True)
class AutoAugment:
    """One sub-policy of two operations drawn uniformly; each applied with its own probability.

    Source: arXiv 1805.09501; table and ranges as in torchvision's ``AutoAugment`` (10 bins).
    """

    dataset: str = "imagenet"

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw up to two steps."""
        sub_policies = policy_table("autoaugment.json")["policies"][self.dataset]
        steps = []
        for name, prob, bin_index in sub_policies[stream.integer(len(sub_policies))]:
            if stream.chance(prob):
                ours = NAMES[name]
                full = _SPACE[ours][0] if ours in _SPACE else 0.0
                steps.append(strength_step(ours, full, (bin_index or 0) / 9, stream))
        return tuple(steps)


@dataclass(frozen=True, kw_only=True)
class FastAutoAugment:
    """One sub-policy of two operations drawn uniformly; each applied with its own probability.

    The value is ``low + level · (high - low)`` of the operation's range; a geometric one is
    mirrored in sign with probability ½. Source: arXiv 1905.00397, kakaobrain/fast-autoaugment.
    """

    dataset: str = "imagenet"

    def draw(self, stream: Stream, side: int) -> tuple[Step, ...]:
        """Draw up to two steps."""
        table = policy_table("fast_autoaugment.json")
        sub_policies = table["policies"][self.dataset]
        steps = []
        for name, prob, level in sub_policies[stream.integer(len(sub_policies))]:
            if stream.chance(prob):
                low, high = table["ranges"][name]
                value = low + level * (high - low)
                if OPERATIONS[NAMES[name]].kind == "geometric" and stream.chance(0.5):
                    value = -value
                steps.append(make_step(NAMES[name], value, stream))
        return tuple(steps)
