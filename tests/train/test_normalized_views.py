"""Views that are normalised when they are indexed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from massrl.train.normalized_views import NormalizedViews

MEAN, STD = torch.tensor([10.0, 20.0, 30.0]), torch.tensor([2.0, 4.0, 5.0])


def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 2, 6, 6, 3), dtype=torch.uint8, generator=generator)


def test_views_are_those_of_numpy_and_channels_last() -> None:
    """Guards §3 against the released code: two of four policies were never normalised."""
    views = NormalizedViews(pixels(), MEAN, STD)
    expected = (pixels().double().numpy() - MEAN.numpy()) / STD.numpy()
    assert len(views) == 3
    assert np.abs(torch.stack(list(views)).numpy() - expected.transpose(0, 1, 4, 2, 3)).max() < 1e-4
    assert views[0].dtype == torch.float32
    assert views[0].is_contiguous(memory_format=torch.channels_last)


def test_smaller_views_are_cut_from_the_upper_left_corner() -> None:
    """Guards local crops, whose padding must not be trained on."""
    views = NormalizedViews(pixels(), MEAN, STD, [6, 6, 4])
    assert [tuple(view.shape) for view in views] == [(2, 3, 6, 6), (2, 3, 6, 6), (2, 3, 4, 4)]
    whole = NormalizedViews(pixels(), MEAN, STD)
    assert torch.equal(views[2], whole[2][:, :, :4, :4])


def test_pixels_stay_as_they_are() -> None:
    """Guards the batch, which is normalised again when a view is recomputed."""
    batch = pixels()
    views = NormalizedViews(batch, MEAN, STD)
    assert torch.equal(views[1], views[1])
    assert torch.equal(batch, pixels())


@pytest.mark.parametrize("index", [3, -1])
def test_index_outside_the_views_is_an_error(index: int) -> None:
    """Guards iteration, which ends with it; and a last view by the name of the first."""
    with pytest.raises(IndexError):
        NormalizedViews(pixels(), MEAN, STD)[index]
