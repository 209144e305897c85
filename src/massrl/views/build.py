"""Build the view maker of a configuration."""

from __future__ import annotations

from massrl.config.sections import ViewsConfig
from massrl.views.layouts import resolve_layout
from massrl.views.view_maker import ViewMaker


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
