"""Which pairs of views each mode uses, against lists written by hand."""

from __future__ import annotations

import pytest

from massrl.config.choices import PAIRS
from massrl.errors import ConfigError
from massrl.methods.pairs import pair_mask
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
    # the standard views s among each other, and each r to the s of its own crop, never back
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
    with pytest.raises(ConfigError, match="--method.pairs|nothing to compare"):
        pair_mask(views, mode)


@pytest.mark.parametrize("mode", ["within-policy", "cross-policy", "directional"])
def test_pairs_by_policy_of_drawn_policies_are_refused(mode: str) -> None:
    """Guards a sampled layout, whose policies are not known beforehand, against meaning ``all``."""
    with pytest.raises(ConfigError, match="draws each view's policy anew"):
        pair_mask([ViewSpec(None, 0), ViewSpec(None, 1)], mode)


@pytest.mark.parametrize("count", [3, 5])
def test_paired_views_must_be_even(count: int) -> None:
    """Guards against a view that is made, paid for and compared with nothing."""
    with pytest.raises(ConfigError, match="not an even number"):
        pair_mask([ViewSpec(str(index), index) for index in range(count)], "paired")
