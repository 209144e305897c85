"""Charts of a policy's operations."""

from __future__ import annotations

import numpy as np
import pytest

from massrl.views.drawing.policy_chart import draw_policy_chart, operation_ranges
from massrl.views.policies.base import Draw, Group
from massrl.views.policies.randaugment import RandAugment


def test_ranges_of_a_policy_are_what_it_draws() -> None:
    """Guards the chart: how often, over which numbers, and that rare operations are not left out."""
    policy = Group(
        members=(
            Draw(operation="rotate", prob=0.5, low=-30.0, high=60.0),
            Draw(operation="posterize", prob=1.0, low=2.0, high=4.99),
            Draw(operation="invert", prob=0.02),
        )
    )
    found = {item.operation: item for item in operation_ranges(policy, side=32, columns=5)}
    assert list(found) == ["posterize", "rotate", "invert"]
    assert found["posterize"].values == (2.0, 3.0, 4.0)
    assert found["rotate"].values == pytest.approx((-30, -7.5, 15, 37.5, 60), abs=0.1)
    assert found["rotate"].share == pytest.approx(0.5, abs=0.02)
    assert found["invert"].values == ()
    assert found["invert"].share == pytest.approx(0.02, abs=0.01)


def test_chart_shows_each_operation_at_its_numbers() -> None:
    """Guards the pictures: the first tile is the least number, and the image is not written to."""
    image = np.full((32, 32, 3), 100, np.uint8)
    found = operation_ranges(Draw(operation="brightness", low=0.5, high=2.0), side=32, columns=4)
    chart = draw_policy_chart(image, found, title="mine", tile=128)
    levels = {level for level in range(1, 255) if (chart == level).all(axis=2).sum() > 128 * 100}
    assert len(levels) == 4
    assert {round(level / 50) * 50 for level in levels} == {50, 100, 150, 200}
    assert (image == 100).all()


def test_randaugment_is_shown_at_all_its_magnitudes() -> None:
    """Guards "weak to strong": at one magnitude there are two numbers, of either sign."""
    found = {item.operation: item for item in operation_ranges(RandAugment(magnitude=9), side=32)}
    assert found["rotate"].values == pytest.approx((-30, -20, -10, 0, 10, 20, 30))
    assert found["solarize"].values[0] == 0
    assert found["posterize"].values == (4, 5, 6, 7, 8)
    assert found["rotate"].share == pytest.approx(1 - (13 / 14) ** 2, abs=0.02)
