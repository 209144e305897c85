"""Which views are compared with which."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from massrl.errors import ConfigError
from massrl.views.layouts import ViewSpec


def policies_of(views: Sequence[ViewSpec]) -> list[str]:
    """Return the distinct policies of views, in the order of the views.

    Raises:
        ConfigError: if the layout samples a policy for each view.
    """
    policies = [view.policy for view in views if view.policy is not None]
    if len(policies) < len(views):
        raise ConfigError(
            "--model.predictor.per_policy needs views of fixed policies, but this layout samples a policy "
            "for each view"
        )
    return list(dict.fromkeys(policies))


def pair_mask(views: Sequence[ViewSpec], pairs: str) -> Tensor:
    """Return which ordered pairs (i, j) are compared: view i of the online network, j of the target.

    Args:
        views: one per view of the layout.
        pairs: ``all`` i ≠ j; ``cross-policy``, ``within-policy``: of different or of equal policies;
            ``cross-crop``: of different crops; ``paired``: views 1↔2, 3↔4, …; ``directional``: from
            every other policy to the first policy's view of the same crop, and among the first
            policy's own views (DSSL, CVPR 2022).

    Returns:
        bool ``(N, N)``.

    Raises:
        ConfigError: if the layout has no such pair, or a view that no pair uses.
    """
    _check_layout(views, pairs)
    count = len(views)
    mask = torch.zeros(count, count, dtype=torch.bool)
    for i, j in itertools.permutations(range(count), 2):
        has_roles = views[i].role != "target" and views[j].role != "online"
        mask[i, j] = has_roles and _is_pair(views, i, j, pairs)
    if not mask.any():
        raise ConfigError(f"no pair of views is {pairs!r} among: {_names(views)} (--method.pairs)")
    used = mask.any(0) | mask.any(1)
    unused = [view for view, is_used in zip(views, used, strict=True) if not is_used]
    if unused:
        raise ConfigError(
            f"views that no pair uses with --method.pairs {pairs!r}: {_names(unused)} "
            f"(--views.local_crops, --views.target_policy)"
        )
    return mask


def _check_layout(views: Sequence[ViewSpec], pairs: str) -> None:
    by_policy = pairs in ("cross-policy", "within-policy", "directional")
    if by_policy and any(view.policy is None for view in views):
        raise ConfigError(
            f"--method.pairs is {pairs!r}, but this layout samples a policy for each view: "
            f"use all, cross-crop or paired"
        )
    if len(views) < 2:
        raise ConfigError(
            "a layout of one view has no pair to compare: raise --views.num_crops, or add "
            "--views.policies"
        )
    if pairs == "paired" and len(views) % 2:
        raise ConfigError(
            f"--method.pairs is 'paired', but the number of views is {len(views)}, which is odd "
            f"(--views.policies)"
        )


def _is_pair(views: Sequence[ViewSpec], i: int, j: int, pairs: str) -> bool:
    one, other, first_policy = views[i], views[j], views[0].policy
    standard = next((view.policy for view in views if view.role == "target"), first_policy)
    same_crop, same_policy = one.crop == other.crop, one.policy == other.policy
    return {
        "all": True,
        "cross-policy": not same_policy,
        "within-policy": same_policy,
        "cross-crop": not same_crop,
        "paired": i // 2 == j // 2,
        "directional": other.policy == standard and (same_crop or one.policy == first_policy),
    }[pairs]


def _names(views: Sequence[ViewSpec]) -> str:
    return ", ".join(f"{view.policy} on crop {view.crop}" for view in views)
