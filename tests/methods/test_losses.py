"""Losses against NumPy transcriptions that share no line with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.reference import losses as reference

from massrl.methods.losses import (
    contrastive_matrix,
    mean_target_losses,
    pair_weight,
    reduce_pairs,
    regression_matrix,
)


def random_views(num_views: int, batch: int = 5, width: int = 7, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_views, batch, width, generator=generator) * 3


def off_diagonal(count: int) -> torch.Tensor:
    return ~torch.eye(count, dtype=torch.bool)


def test_two_views_with_mean_reduction_are_deepmind_byol() -> None:
    """Guards the factor 2: a plain mean over pairs is half of DeepMind's loss."""
    p, z = random_views(2, seed=1), random_views(2, seed=2)
    ours = reduce_pairs(regression_matrix(p, z), off_diagonal(2), pair_weight(2, "mean"))
    theirs = reference.deepmind_byol(*p.numpy(), *z.numpy())
    assert float(ours) == pytest.approx(theirs, abs=1e-6)


def test_eight_views_with_sum_reduction_are_the_released_code() -> None:
    """Guards ``sum``: 56 pairs, each once, and no view with itself."""
    p, z = random_views(8, batch=2, seed=1), random_views(8, batch=2, seed=2)
    ours = reduce_pairs(regression_matrix(p, z), off_diagonal(8), pair_weight(56, "sum"))
    assert float(ours) == pytest.approx(reference.released_massrl(p.numpy(), z.numpy()), rel=1e-6)


def test_regression_matrix_entry_is_prediction_of_row_against_target_of_column() -> None:
    """Guards the orientation: a transposed matrix trains directional pairs backwards."""
    p, z = random_views(3, seed=1), random_views(3, seed=2)
    matrix = regression_matrix(p, z)
    for i in range(3):
        for j in range(3):
            expected = reference.byol_pair(p[i].numpy(), z[j].numpy())
            assert float(matrix[i, j]) == pytest.approx(expected, abs=1e-6)


def test_sum_over_pairs_equals_one_product_per_view() -> None:
    """The identity of DESIGN §3: Σ_ij p_i · z_j = Σ_i p_i · (Σ_j z_j - z_i)."""
    p = torch.nn.functional.normalize(random_views(4, seed=1).double(), dim=-1)
    z = torch.nn.functional.normalize(random_views(4, seed=2).double(), dim=-1)
    short = sum((2 * 3 - 2 * (p[i] * (z.sum(0) - z[i])).sum(-1)).mean() for i in range(4))
    ours = reduce_pairs(regression_matrix(p, z), off_diagonal(4), pair_weight(12, "sum"))
    assert float(ours) == pytest.approx(float(short), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_contrastive_loss_of_two_views_is_ntxent(temperature: float) -> None:
    """Guards the set of negatives: one too few or too many changes the denominator."""
    z = random_views(2)
    ours = contrastive_matrix(z, temperature)[off_diagonal(2)].mean()
    assert float(ours) == pytest.approx(
        reference.ntxent(z[0].numpy(), z[1].numpy(), temperature), rel=1e-5
    )


def test_contrastive_matrix_of_four_views_equals_loops() -> None:
    """Guards N > 2: an image's further views must be neither positive nor negative."""
    z = random_views(4, batch=3)
    matrix = contrastive_matrix(z, 0.2)
    for i in range(4):
        for j in range(4):
            if i != j:
                expected = reference.infonce_pair(z.numpy(), i, j, 0.2)
                assert float(matrix[i, j]) == pytest.approx(expected, rel=1e-5)


def test_contrastive_loss_at_hand_placed_points_is_known() -> None:
    """Two images, opposite directions, equal views: -log(e / (e + 2/e)) at temperature 1."""
    z = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]] * 2)
    expected = -np.log(np.e / (np.e + 2 / np.e))
    assert float(contrastive_matrix(z, 1.0)[0, 1]) == pytest.approx(expected, rel=1e-6)


def test_contrastive_matrix_of_a_part_of_the_batch_is_those_rows_of_the_whole() -> None:
    """Guards several processes: each sets its own images against those of all."""
    z = random_views(3, batch=5)
    whole = np.stack([[contrastive_by_image(z, i, j) for j in range(3)] for i in range(3)])
    for start, stop in ((0, 2), (2, 5)):
        part = contrastive_matrix(z[:, start:stop], 0.2, others=z, start=start).numpy()
        expected = whole[:, :, start:stop].mean(2)
        assert part[off_diagonal(3)] == pytest.approx(expected[off_diagonal(3)], rel=1e-5)


def contrastive_by_image(z: torch.Tensor, i: int, j: int) -> list[float]:
    """Loss of view i against view j of each image, at temperature 0.2."""
    unit = z.double().numpy() / np.linalg.norm(z.double().numpy(), axis=2, keepdims=True)
    losses = []
    for b in range(z.shape[1]):
        positive = np.exp(unit[i, b] @ unit[j, b] / 0.2)
        negatives = np.exp(np.delete(unit, b, axis=1) @ unit[i, b] / 0.2).sum()
        losses.append(-np.log(positive / (positive + negatives)))
    return losses


def test_mean_target_is_the_normalised_mean_of_the_paired_unit_vectors() -> None:
    """Guards against a mean of raw vectors, or one over targets that are not paired."""
    targets = torch.tensor([[[2.0, 0.0]], [[0.0, 5.0]], [[-7.0, 0.0]]])  # 3 views of one image
    predictions = torch.tensor([[[3.0, 3.0]], [[0.0, 1.0]]])
    mask = torch.tensor([[True, True, False], [False, False, True]])
    losses = mean_target_losses(predictions, targets, mask)
    assert losses.tolist() == pytest.approx([0.0, 2.0], abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_half_precision_inputs_are_float32(dtype: torch.dtype) -> None:
    """Guards §3's numerics: cosines in half precision round away small differences."""
    p, z = random_views(2, seed=1).to(dtype), random_views(2, seed=2).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        regression, contrastive = regression_matrix(p, z), contrastive_matrix(z, 0.1)
    exact = reference.byol_pair(p[0].float().numpy(), z[1].float().numpy())
    assert regression.dtype == contrastive.dtype == torch.float32
    assert float(regression[0, 1]) == pytest.approx(exact, abs=1e-6)
    expected = reference.infonce_pair(z.float().numpy(), 0, 1, 0.1)
    assert float(contrastive[0, 1]) == pytest.approx(expected, rel=1e-5)
