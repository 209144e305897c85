"""Build the view maker of a configuration."""

from __future__ import annotations

from massrl.config.sections import ViewsConfig
from massrl.views.layouts import resolve_layout
from massrl.views.view_maker import ViewMaker

_SMALL_IMAGE = 64  # pixels; up to this a view is as large as the image


def is_small(typical_side: int) -> bool:
    """Return whether images of this side, pixels, are small: used whole, and by small networks."""
    return typical_side <= _SMALL_IMAGE


def fitting_size(typical_side: int, *, gpu: bool) -> int:
    """Return the default side of the views, pixels.

    Args:
        typical_side: of the images, pixels.
        gpu: whether a GPU is used.
    """
    return typical_side if is_small(typical_side) else 224 if gpu else 96


def make_view_maker(views: ViewsConfig, *, size: int, seed: int) -> ViewMaker:
    """Build the view maker of a configuration, for the executor that it names.

    Args:
        views: the configuration.
        size: side of every view, pixels.
        seed: seed of the run.

    Raises:
        ConfigError: if a name is unknown or the parts do not fit.
    """
    layout = resolve_layout(views)
    if views.executor == "device":
        from massrl.views.device_view_maker import DeviceViewMaker

        return DeviceViewMaker(layout, size=size, seed=seed)
    return ViewMaker(layout, size=size, seed=seed)
