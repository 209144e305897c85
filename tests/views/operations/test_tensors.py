"""Blocks of the device forms, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from massrl.views.operations.tensors import column, look_up, round_half_up, truncate


def test_levels_are_rounded_half_up_or_cut_off_and_clamped() -> None:
    """Guards both roundings: one level of difference in every other pixel."""
    levels = torch.tensor([-3.0, -0.4, 0.5, 1.49, 1.5, 254.5, 255.4, 300.0])
    assert round_half_up(levels.clone()).tolist() == [0, 0, 1, 1, 2, 255, 255, 255]
    assert truncate(levels.clone()).tolist() == [0, 0, 0, 1, 1, 254, 255, 255]
    assert truncate(levels.clone()).dtype == torch.uint8


def test_column_is_one_number_for_each_view() -> None:
    """Guards numbers that would be broadcast along another axis."""
    values = torch.arange(6.0).view(2, 3)
    assert column(values, 2).shape == (2, 1, 1, 1)
    assert column(values, 2).flatten().tolist() == [2.0, 5.0]


@pytest.mark.parametrize("channels", [1, 3])
def test_look_up_takes_each_view_through_its_own_table(channels: int) -> None:
    """Guards tables of neighbours in the batch, or of other channels."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (4, 5, 5, 3), dtype=np.uint8)
    tables = generator.integers(0, 256, (4, channels, 256), dtype=np.uint8)
    made = look_up(torch.from_numpy(images), torch.from_numpy(tables.reshape(4, -1)).float())
    for view in range(4):
        for channel in range(3):
            wanted = tables[view, channel % channels][images[view, :, :, channel]]
            assert np.array_equal(made[view, :, :, channel].numpy(), wanted)
