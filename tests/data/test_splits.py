"""Seeded subsets and hold-outs in the proportions of the classes."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from massrl.data.splits import balanced_subset, holdout, seeded_part
from massrl.errors import ConfigError

LABELS = np.repeat(np.arange(5), 20)


def test_balanced_subset_of_equal_classes_has_equally_many_of_each() -> None:
    """Guards a subset drawn without regard to class."""
    drawn = balanced_subset(LABELS, 25, seed=0)
    assert np.bincount(LABELS[drawn]).tolist() == [5, 5, 5, 5, 5]
    assert np.all(np.diff(drawn) > 0)


def test_balanced_subset_of_unequal_classes_has_their_proportions() -> None:
    """Guards numbers that do not add up after rounding, and classes off by more than one image."""
    labels = np.repeat([0, 1, 2], [70, 20, 13])
    for count in range(1, 104):
        taken = np.bincount(labels[balanced_subset(labels, count, seed=3)], minlength=3)
        assert taken.sum() == count
        assert np.all(np.abs(taken - np.array([70, 20, 13]) * count / 103) < 1)


def test_balanced_subset_is_drawn_from_all_of_each_class() -> None:
    """Guards a subset that is only the head of each class."""
    shuffled = np.random.default_rng(0).permutation(LABELS)
    drawn = balanced_subset(shuffled, 25, seed=0)
    assert np.bincount(shuffled[drawn]).tolist() == [5] * 5
    assert drawn.max() > 60


def test_balanced_subset_is_a_function_of_the_seed() -> None:
    """Guards global random state."""
    one, two = (balanced_subset(LABELS, 0.25, seed=1) for _ in range(2))
    assert one.tolist() == two.tolist()
    assert one.tolist() != balanced_subset(LABELS, 0.25, seed=2).tolist()


def test_balanced_subset_without_labels_is_uniform() -> None:
    """Guards unlabelled folders."""
    drawn = balanced_subset(None, 1000, seed=0, total=4000)
    assert len(np.unique(drawn)) == 1000
    assert 1900 < drawn.mean() < 2100


def test_balanced_subset_of_all_images_is_all_of_them() -> None:
    """Guards the ends of the range, for counts and for fractions."""
    assert balanced_subset(LABELS, 100, seed=0).tolist() == list(range(100))
    assert balanced_subset(LABELS, 1.0, seed=0).tolist() == list(range(100))
    assert len(balanced_subset(LABELS, 1, seed=0)) == 1


@pytest.mark.parametrize("amount", [0, -1, 101, 0.0, 1.5])
def test_balanced_subset_of_an_impossible_amount_is_refused(amount: float) -> None:
    """Guards a silent shortage."""
    with pytest.raises(ConfigError, match=r"--data\.limit"):
        balanced_subset(LABELS, amount, seed=0)


def test_holdout_splits_every_class_and_loses_no_image() -> None:
    """Guards overlap between the parts, and a class that only one of them has."""
    kept, held = holdout(LABELS, 0.1, seed=0)
    assert sorted([*kept, *held]) == list(range(100))
    assert np.bincount(LABELS[held]).tolist() == [2] * 5


def test_holdout_of_few_images_leaves_neither_part_empty() -> None:
    """Guards a regularisation drawn on nothing."""
    for fraction in (0.01, 0.99):
        kept, held = holdout(np.array([0, 1, 1]), fraction, seed=0)
        assert len(kept) >= 1
        assert len(held) >= 1


def test_holdout_and_subset_of_one_seed_are_independent() -> None:
    """Guards one stream of random numbers used for two draws."""
    held = holdout(None, 0.25, seed=0, total=400)[1]
    assert held.tolist() != balanced_subset(None, 0.25, seed=0, total=400).tolist()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_holdout_of_no_fraction_is_refused(fraction: float) -> None:
    """Guards an empty part."""
    with pytest.raises(ConfigError, match="between 0 and 1"):
        holdout(LABELS, fraction, seed=0)


def test_split_without_labels_or_total_is_refused() -> None:
    """Guards a programming mistake."""
    with pytest.raises(ValueError, match="total"):
        balanced_subset(None, 3, seed=0)
    with pytest.raises(ConfigError, match="at least 2"):
        holdout(np.array([0]), 0.5, seed=0)


def test_smaller_subset_is_within_a_larger_one_of_the_same_seed() -> None:
    """Guards learning curves over fractions of labels, whose sets must be nested."""
    subsets = [set(balanced_subset(LABELS, count, seed=4).tolist()) for count in (5, 10, 50)]
    assert subsets[0] < subsets[1] < subsets[2]


def test_parts_that_are_drawn_are_disjoint_and_always_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Guards sets without lists: a detector is never evaluated on what any command has trained on."""
    with caplog.at_level(logging.WARNING):
        train, val = (seeded_part(50, split, name="cells") for split in ("train", "val"))
    assert sorted([*train, *val]) == list(range(50))
    assert (len(train), len(val)) == (40, 10)
    assert seeded_part(50, "val", name="cells").tolist() == val.tolist()
    assert val.tolist() != list(range(40, 50))
    first, second = (record.getMessage() for record in caplog.records[:2])
    assert first == (
        "cells has no parts of its own: 40 of its 50 images are drawn for training (seed 0)"
    )
    assert "10 of its 50 images are drawn for validation (seed 0)" in second
