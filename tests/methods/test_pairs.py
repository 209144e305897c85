"""Which pairs of views each mode uses, against lists written by hand."""

from __future__ import annotations

import pytest

from massrl.config.choices import PAIRS
from massrl.errors import ConfigError
from massrl.methods.pairs import pair_mask, policies_of
from massrl.views.layouts import ViewSpec

SHARED = [ViewSpec("s", 0), ViewSpec("r", 0), ViewSpec("s", 1), ViewSpec("r", 1)]


def pairs_of(views: list[ViewSpec], mode: str) -> list[tuple[int, int]]:
    return [(int(i), int(j)) for i, j in pair_mask(views, mode).nonzero()]


EXPECTED = {
    "all": [(i, j) for i in range(4) for j in range(4) if i != j],
    "cross-policy": [(0, 1), (0, 3), (1, 0), (1, 2), (2, 1), (2, 3), (3, 0), (3, 2)],
    "within-policy": [(0, 2), (1, 3), (2, 0), (3, 1)],
    "cross-crop": [(0, 2), (0, 3), (1, 2), (1, 3), (2, 0), (2, 1), (3, 0), (3, 1)],
    "paired": [(0, 1), (1, 0), (2, 3), (3, 2)],
    # among the standard views s, and from each r to the s of its own crop, never back
    "directional": [(0, 2), (1, 0), (2, 0), (3, 2)],
}


@pytest.mark.parametrize("mode", PAIRS)
def test_pairs_of_two_policies_on_two_crops_are_as_listed(mode: str) -> None:
    """Guards each mode's meaning and its direction."""
    assert pairs_of(SHARED, mode) == EXPECTED[mode]


@pytest.mark.parametrize(
    ("views", "mode"),
    [([ViewSpec("s", 0)], "all"), ([ViewSpec("s", 0), ViewSpec("r", 1)], "within-policy")],
)
def test_layout_without_such_a_pair_is_refused(views: list[ViewSpec], mode: str) -> None:
    """Guards against a mean over nothing, which is NaN and not an error."""
    with pytest.raises(ConfigError, match="--method.pairs|no pair to compare"):
        pair_mask(views, mode)


@pytest.mark.parametrize("mode", ["within-policy", "cross-policy", "directional"])
def test_pairs_by_policy_are_refused_for_sampled_policies(mode: str) -> None:
    """Guards a layout with sampled policies against meaning ``all``."""
    with pytest.raises(ConfigError, match="samples a policy for each view"):
        pair_mask([ViewSpec(None, 0), ViewSpec(None, 1)], mode)


@pytest.mark.parametrize("count", [3, 5])
def test_paired_views_must_be_even(count: int) -> None:
    """Guards against a view that is computed and compared with nothing."""
    with pytest.raises(ConfigError, match="is odd"):
        pair_mask([ViewSpec(str(index), index) for index in range(count)], "paired")


def test_directional_pairs_use_the_target_views_of_the_layout() -> None:
    """Guards weak target views with DSSL's pairs: each strong view to the weak one of its own crop."""
    views = [
        *(ViewSpec(name, crop, "online") for crop in (0, 1) for name in ("standard", "strong")),
        *(ViewSpec("weak", crop, "target") for crop in (0, 1)),
    ]
    mask = pair_mask(views, "directional")
    assert [row.nonzero().flatten().tolist() for row in mask] == [[4, 5], [4], [4, 5], [5], [], []]


def test_view_without_a_pair_is_refused_by_name() -> None:
    """Guards against views that are computed and never trained on."""
    views = [ViewSpec("a", 0), ViewSpec("b", 0), ViewSpec("b", 1, "online")]
    with pytest.raises(ConfigError, match="no pair uses.* b on crop 1"):
        pair_mask(views, "directional")


def test_policies_are_listed_once_in_the_order_of_the_views() -> None:
    """Guards predictors per policy, whose order must not change between sessions."""
    assert policies_of([ViewSpec(name, 0) for name in "bab"]) == ["b", "a"]
    with pytest.raises(ConfigError, match="--model.predictor.per_policy"):
        policies_of([ViewSpec("a", 0), ViewSpec(None, 1)])
