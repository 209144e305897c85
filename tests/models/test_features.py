"""What a backbone returns: which outputs are features, and what is said of all others."""

from __future__ import annotations

import pytest
import torch

from massrl.models.features import cause_of, features_fault


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        (torch.zeros(2, 5), None),
        (torch.zeros(5, 2).T, None),  # not contiguous
        (torch.zeros(2, 5, 1, 1), r"gives (2, 5, 1, 1), but pooled features (2, D) are wanted"),
        (torch.zeros(5), "gives (5,), but"),
        (torch.zeros(1, 5), "gives (1, 5), but"),
        (torch.zeros(2, 0), "gives (2, 0), but"),
        (torch.zeros(2, 5).double(), "gives features of torch.float64, but torch.float32"),
        (torch.zeros(2, 5).half(), "gives features of torch.float16"),
        (torch.zeros(2, 5).long(), "gives features of torch.int64"),
        ((torch.zeros(2, 5), None), "gives a tuple of 2, but a tensor"),
        ({"features": torch.zeros(2, 5)}, "gives a dict with the keys 'features'"),
        (None, "gives a NoneType, but a tensor"),
    ],
)
def test_output_that_is_no_features_is_described(output: object, fault: str | None) -> None:
    """Guards a shape error within a projector; the kind: shape, width, type, container, nothing at all."""
    told = features_fault(output, count=2)
    assert (told is None) == (fault is None)
    assert fault is None or fault in str(told)


def test_width_that_is_known_is_wanted_again() -> None:
    """Guards a network whose features are of another width for smaller images."""
    assert features_fault(torch.zeros(2, 4), count=2, width=4) is None
    told = features_fault(torch.zeros(2, 4), count=2, width=5)
    assert told == "gives (2, 4), but pooled features (2, 5) are wanted"


def test_cause_is_one_line_with_the_type() -> None:
    """Guards errors whose text has many lines, or none."""
    assert cause_of(RuntimeError("first\nsecond"), "resnet18") == "RuntimeError: first"
    assert cause_of(AssertionError(), "resnet18") == "AssertionError"
