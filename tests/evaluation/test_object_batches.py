"""Training batches of images with objects."""

from __future__ import annotations

import pytest

from massrl.data.sources.shapes import ShapesSource
from massrl.evaluation.object_batches import fitting_side, flipped_batches, num_batches


def test_batches_of_an_epoch_have_every_image_once_and_half_of_them_flipped() -> None:
    """Guards training against images that are left out, and flips against a fixed pattern."""
    batches = list(flipped_batches(40, 8, total=10, seed=0))
    for epoch in (batches[:5], batches[5:]):
        assert sorted(index for batch in epoch for index, _ in batch) == list(range(40))
    assert [index for index, _ in batches[0]] != [index for index, _ in batches[5]]
    flips = [flipped for batch in batches for _, flipped in batch]
    assert 25 <= sum(flips) <= 55
    assert {len(batch) for batch in batches} == {8}


def test_batches_are_the_same_for_a_seed_alone() -> None:
    """Guards metrics that nobody could reproduce."""
    first, again, other = (list(flipped_batches(20, 4, total=6, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("count", "batch_size", "epochs", "wanted"),
    [(100, 16, 2.0, 12), (16, 16, 1.0, 1), (100, 16, 0.5, 3), (100, 16, 0.001, 1)],
)
def test_number_of_batches_counts_full_ones(
    count: int, batch_size: int, epochs: float, wanted: int
) -> None:
    """Guards the length of the training, of which there is a step at least."""
    assert num_batches(count, batch_size, epochs=epochs) == wanted


@pytest.mark.parametrize(("side", "wanted"), [(16, 64), (96, 192), (199, 398), (200, 800)])
def test_small_images_are_enlarged_twofold_and_others_to_the_usual_side(
    side: int, wanted: int
) -> None:
    """Guards small images against hours on pixels that are made up."""
    assert fitting_side(ShapesSource(1, side), default=800) == wanted
