"""The view maker of a configuration."""

from __future__ import annotations

import pytest

from massrl.config.sections import ViewsConfig
from massrl.errors import ConfigError
from massrl.views.build import fitting_size, make_view_maker
from massrl.views.device_view_maker import DeviceViewMaker
from massrl.views.view_maker import ViewMaker


@pytest.mark.parametrize(("executor", "kind"), [("cpu", ViewMaker), ("device", DeviceViewMaker)])
def test_maker_has_the_executor_layout_size_and_seed_that_are_configured(
    executor: str, kind: type
) -> None:
    """Guards against a field of the configuration that is read and forgotten."""
    views = ViewsConfig(layout="simclr", num_crops=3, executor=executor)
    maker = make_view_maker(views, size=24, seed=7)
    assert type(maker) is kind
    assert (maker.layout.num_views, maker.size, maker.seed) == (3, 24, 7)


def test_parts_that_do_not_fit_are_refused() -> None:
    """Guards the message where a device is to make local crops."""
    with pytest.raises(ConfigError, match=r"views\.local_crops"):
        make_view_maker(ViewsConfig(executor="device", local_crops=2), size=24, seed=7)


def test_default_size_of_the_views_is_that_of_small_images() -> None:
    """Guards runs and ``massrl bench views``, which use the same size."""
    assert [fitting_size(side, gpu=True) for side in (16, 64, 65, 500)] == [16, 64, 224, 224]
    assert [fitting_size(side, gpu=False) for side in (16, 64, 65, 500)] == [16, 64, 96, 96]
