from __future__ import annotations

import numpy as np
import pytest

from massrl.data.splits import balanced_subset, holdout
from massrl.errors import ConfigError

LABELS = np.repeat(np.arange(5), 20)


def test_balanced_subset_gives_every_class_equally_many_when_classes_are_equal():
    """Guards a subset drawn without regard to class."""
    chosen = balanced_subset(LABELS, 25, seed=0)
    assert np.bincount(LABELS[chosen]).tolist() == [5, 5, 5, 5, 5]
    assert np.all(np.diff(chosen) > 0)


def test_balanced_subset_keeps_proportions_when_classes_differ():
    """Guards the amounts not adding up after rounding, and shares off by more than one."""
    labels = np.repeat([0, 1, 2], [70, 20, 13])
    for count in range(1, 104):
        taken = np.bincount(labels[balanced_subset(labels, count, seed=3)], minlength=3)
        assert taken.sum() == count
        assert np.all(np.abs(taken - np.array([70, 20, 13]) * count / 103) < 1)


def test_balanced_subset_does_not_depend_on_the_order_of_classes_in_the_file():
    """Guards a subset that is only the head of each class."""
    shuffled = np.random.default_rng(0).permutation(LABELS)
    chosen = balanced_subset(shuffled, 25, seed=0)
    assert np.bincount(shuffled[chosen]).tolist() == [5] * 5
    assert chosen.max() > 60


def test_balanced_subset_repeats_for_a_seed_and_changes_with_it():
    """Guards global random state."""
    one, two = (balanced_subset(LABELS, 0.25, seed=1) for _ in range(2))
    assert one.tolist() == two.tolist()
    assert one.tolist() != balanced_subset(LABELS, 0.25, seed=2).tolist()


def test_balanced_subset_is_uniform_when_there_are_no_labels():
    """Guards unlabelled folders."""
    chosen = balanced_subset(None, 1000, seed=0, total=4000)
    assert len(np.unique(chosen)) == 1000
    assert 1900 < chosen.mean() < 2100


def test_balanced_subset_takes_everything_when_all_are_asked_for():
    """Guards the ends of the range, for counts and for shares."""
    assert balanced_subset(LABELS, 100, seed=0).tolist() == list(range(100))
    assert balanced_subset(LABELS, 1.0, seed=0).tolist() == list(range(100))
    assert len(balanced_subset(LABELS, 1, seed=0)) == 1


@pytest.mark.parametrize("amount", [0, -1, 101, 0.0, 1.5])
def test_balanced_subset_raises_when_the_amount_is_impossible(amount):
    """Guards a silent shortage."""
    with pytest.raises(ConfigError, match=r"--data\.limit"):
        balanced_subset(LABELS, amount, seed=0)


def test_holdout_divides_every_class_and_loses_no_image():
    """Guards overlap between the parts, and a class that only one of them has."""
    kept, held = holdout(LABELS, 0.1, seed=0)
    assert sorted([*kept, *held]) == list(range(100))
    assert np.bincount(LABELS[held]).tolist() == [2] * 5


def test_holdout_leaves_neither_part_empty_when_there_are_few_images():
    """Guards a regularisation chosen on nothing."""
    for fraction in (0.01, 0.99):
        kept, held = holdout(np.array([0, 1, 1]), fraction, seed=0)
        assert len(kept) >= 1
        assert len(held) >= 1


def test_holdout_differs_from_the_subset_of_the_same_seed():
    """Guards one stream of numbers used for two choices."""
    held = holdout(None, 0.25, seed=0, total=400)[1]
    assert held.tolist() != balanced_subset(None, 0.25, seed=0, total=400).tolist()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_holdout_raises_when_the_fraction_is_no_fraction(fraction):
    """Guards an empty part."""
    with pytest.raises(ConfigError, match="between 0 and 1"):
        holdout(LABELS, fraction, seed=0)


def test_splits_raise_when_there_is_neither_a_label_nor_a_total():
    """Guards a programming mistake."""
    with pytest.raises(ValueError, match="total"):
        balanced_subset(None, 3, seed=0)
    with pytest.raises(ConfigError, match="at least 2"):
        holdout(np.array([0]), 0.5, seed=0)
