"""The objective of a run with its networks."""

from __future__ import annotations

from massrl.config import Config
from massrl.errors import ConfigError
from massrl.methods.base import Method
from massrl.methods.build import build_method
from massrl.methods.pairs import ViewLabel
from massrl.views.layouts import resolve_layout


def make_method(config: Config) -> Method:
    """The objective of a resolved configuration, with its networks as the run starts with them."""
    layout = resolve_layout(config.views)
    if layout.local_crops and config.method.batch_norm == "joint":
        raise ConfigError(
            "--views.local_crops makes views of another size, which --method.batch_norm joint cannot take "
            "together with the others: per-view fits it"
        )
    return build_method(
        config.method,
        config.model,
        views=[ViewLabel(cell.policy, cell.crop, cell.role) for cell in layout.cells()],
        image_side=config.view_size,
        seed=config.train.seed,
        memory=config.train.memory or "joint",
    )
