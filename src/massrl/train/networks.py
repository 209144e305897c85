"""The objective of a run with its networks."""

from __future__ import annotations

from massrl.config import Config
from massrl.methods.base import Method
from massrl.methods.build import build_method
from massrl.methods.pairs import ViewLabel
from massrl.views.layouts import resolve_layout


def make_method(config: Config) -> Method:
    """The objective of a resolved configuration, with its networks as the run starts with them."""
    layout = resolve_layout(config.views)
    return build_method(
        config.method,
        config.model,
        views=[ViewLabel(policy, crop) for crop, policy in layout.cells()],
        image_side=config.view_size,
        seed=config.train.seed,
        memory=config.train.memory or "joint",
    )
