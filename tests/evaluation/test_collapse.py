"""Measures of collapse on features for which they are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from massrl.evaluation.collapse import effective_rank, embedding_std


def _gaussian(count: int, width: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


def test_std_of_a_gaussian_is_one() -> None:
    """A scale that depends on the width, so that no threshold means the same for two backbones."""
    for width in (16, 256):
        assert embedding_std(_gaussian(4000, width)) == pytest.approx(1.0, abs=0.01)


def test_std_does_not_depend_on_norms() -> None:
    """Features that shrink mistaken for features that collapse."""
    features = _gaussian(100, 8)
    lengths = torch.linspace(0.1, 9.0, 100)[:, None]
    assert embedding_std(features * lengths) == pytest.approx(embedding_std(features))


def test_std_of_one_direction_is_zero() -> None:
    """A collapse that is missed: equal features, and equal but for their norm."""
    row = _gaussian(1, 8)
    assert embedding_std(row.repeat(50, 1)) == pytest.approx(0.0, abs=1e-7)
    lengths = torch.linspace(0.1, 9.0, 50)[:, None]
    assert embedding_std(row * lengths) == pytest.approx(0.0, abs=1e-6)
    assert embedding_std(torch.zeros(50, 8)) == 0.0


def test_std_of_four_points_is_worked_out_by_hand() -> None:
    """A mean over the wrong axis, or a variance instead of a deviation."""
    points = torch.tensor([[2.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    # each dimension holds 1, -1, 0, 0: deviation √½, times √2
    assert embedding_std(points) == pytest.approx(1.0)


def test_rank_of_an_isotropic_gaussian_is_its_width() -> None:
    """Squared singular values, or a logarithm of another base."""
    assert effective_rank(_gaussian(8000, 32)) == pytest.approx(32, rel=0.01)


def test_rank_of_one_direction_is_one_and_of_zeros_zero() -> None:
    """Rounding that counts as a dimension; 0/0."""
    row = _gaussian(1, 64)
    assert effective_rank(row * torch.linspace(-1, 1, 40)[:, None]) == pytest.approx(1.0, abs=1e-3)
    assert effective_rank(torch.zeros(10, 4)) == 0.0


def test_rank_equals_the_formula() -> None:
    """RankMe's formula, in NumPy on singular values that are known because they were put there."""
    values = np.array([5.0, 3.0, 1.0, 0.5])
    left, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 4)))
    right, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
    shares = values / values.sum()
    wanted = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(torch.tensor(left @ np.diag(values) @ right)) == pytest.approx(wanted)


def test_measure_of_too_few_features_is_refused() -> None:
    """One image, whose deviation is 0 like a collapse's."""
    with pytest.raises(ValueError, match="n > 1"):
        embedding_std(torch.ones(1, 8))
    with pytest.raises(ValueError, match="wanted"):
        effective_rank(torch.ones(8))
