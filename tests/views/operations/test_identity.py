"""The operation that changes nothing."""

from __future__ import annotations

import numpy as np
from tests.views.conftest import photograph, run

from massrl.views.crops import Box
from massrl.views.operations.base import Step
from massrl.views.plan import ViewPlan
from massrl.views.program import compile_view


def test_identity_costs_no_instruction_and_divides_no_fused_neighbours() -> None:
    """Guards speed: two rotations with an identity between them are still one warp."""
    steps = (Step("rotate", (10.0,)), Step("identity"), Step("rotate", (5.0,)))
    view = ViewPlan("test", 0, Box(0, 0, 16, 16), False, steps)
    assert len(compile_view(view, height=16, width=16, fill=0)) == 1
    image = photograph()
    assert np.array_equal(run(image, Step("identity")), image)
