"""Make the view maker that a configuration asks for."""

from __future__ import annotations

from massrl.config.sections import ViewsConfig
from massrl.views.layouts import resolve_layout
from massrl.views.view_maker import ViewMaker


def make_view_maker(views: ViewsConfig, *, size: int, seed: int) -> ViewMaker:
    """The view maker of a configuration, with the executor that it names."""
    layout = resolve_layout(views)
    if views.executor == "device":
        from massrl.views.device_view_maker import DeviceViewMaker

        return DeviceViewMaker(layout, size=size, seed=seed)
    return ViewMaker(layout, size=size, seed=seed)
