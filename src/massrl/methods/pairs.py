"""Which views are compared with which."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from massrl.errors import ConfigError
from massrl.views.layouts import ViewSpec


def policies_of(views: Sequence[ViewSpec]) -> list[str]:
    """The strategies of some views, each once, in the order of the views.

    Raises:
        ConfigError: if the layout draws each view's strategy anew.
    """
    policies = [view.policy for view in views if view.policy is not None]
    if len(policies) < len(views):
        raise ConfigError(
            "--model.predictor.per_policy needs to know each view's policy, but this layout draws it anew"
        )
    return list(dict.fromkeys(policies))


def pair_mask(views: Sequence[ViewSpec], pairs: str) -> Tensor:
    """The ordered pairs (i, j) in use: view i of the online network with view j of the target.

    Args:
        views: one per view of the layout.
        pairs: ``all`` i ≠ j; ``cross-policy``, ``within-policy``: of different or of equal strategies;
            ``cross-crop``: of different crops; ``paired``: views 1↔2, 3↔4, …; ``directional``: from
            every other strategy to the first one's view of the same crop, and the first one's views
            among each other (DSSL, CVPR 2022).

    Returns:
        bool ``(N, N)``.

    Raises:
        ConfigError: if the layout has no such pair.
    """
    if pairs in ("cross-policy", "within-policy", "directional") and None in [
        v.policy for v in views
    ]:
        raise ConfigError(
            f"--method.pairs is {pairs!r}, but this layout draws each view's policy anew: all, "
            f"cross-crop or paired fit it"
        )
    count = len(views)
    if count < 2:
        raise ConfigError(
            "a layout of one view has nothing to compare: a higher --views.num_crops, or more "
            "--views.policies"
        )
    if pairs == "paired" and count % 2:
        raise ConfigError(
            f"--method.pairs is 'paired', but {count} views are not an even number (--views.policies)"
        )
    mask = torch.zeros(count, count, dtype=torch.bool)
    first_policy = views[0].policy
    standard = next((view.policy for view in views if view.role == "target"), first_policy)
    for i, first in enumerate(views):
        for j, second in enumerate(views):
            same_policy = first.policy == second.policy
            mask[i, j] = (
                i != j
                and first.role != "target"
                and second.role != "online"
                and {
                    "all": True,
                    "cross-policy": not same_policy,
                    "within-policy": same_policy,
                    "cross-crop": first.crop != second.crop,
                    "paired": i // 2 == j // 2,
                    "directional": second.policy == standard
                    and (first.crop == second.crop or first.policy == first_policy),
                }[pairs]
            )
    if not mask.any():
        names = ", ".join(f"{view.policy} on crop {view.crop}" for view in views)
        raise ConfigError(f"no pair of views is {pairs!r} among: {names} (--method.pairs)")
    unused = [
        number
        for number, view in enumerate(views)
        if not (mask[number].any() or (mask[:, number].any() and view.role != "online"))
    ]
    if unused:
        names = ", ".join(
            f"{views[number].policy} on crop {views[number].crop}" for number in unused
        )
        raise ConfigError(
            f"some views would be made and compared with none, for pairs that are {pairs!r}: {names} "
            f"(--method.pairs, --views.local_crops, --views.target_policy)"
        )
    return mask
