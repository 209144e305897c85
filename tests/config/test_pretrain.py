"""The configuration of a run: what it refuses and what it derives."""

from __future__ import annotations

from typing import Any

import pytest

from massrl.config.pretrain import Config, TrainConfig
from massrl.config.sections import DataConfig, OptimConfig, ViewsConfig
from massrl.errors import ConfigError


def test_batch_size_that_does_not_divide_by_accumulation_is_refused() -> None:
    """Guards §3: batch_size = per device × devices × accumulate, checked."""
    with pytest.raises(ConfigError, match="--data.batch_size is 10.*--train.accumulate = 4"):
        Config(data=DataConfig(batch_size=10), train=TrainConfig(accumulate=4))


def test_derived_values_follow_their_formulas() -> None:
    """Guards §3: the batch is global, and the rate is lr × batch_size / 256 and nothing else."""
    config = Config(
        data=DataConfig(batch_size=512),
        optim=OptimConfig(lr=0.3),
        train=TrainConfig(accumulate=4, devices=2),
    )
    assert config.batch_size == 512
    assert config.device_batch_size == 64
    assert config.scaled_lr == pytest.approx(0.6)


def test_batch_size_before_it_is_chosen_is_an_error_not_a_guess() -> None:
    """Guards against a learning rate computed from a default that nobody chose."""
    with pytest.raises(ConfigError, match="--data.batch_size has not been chosen"):
        _ = Config().scaled_lr


def test_config_as_nested_mappings_holds_plain_types_only() -> None:
    """Guards the YAML of a run folder: a tuple would be written as a Python object."""

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        if isinstance(value, list):
            return all(map(plain, value))
        return value is None or type(value) in (str, int, float, bool)

    assert plain(Config(views=ViewsConfig(policies=("weak",), crop_scale=(0.1, 1.0))).to_dict())


@pytest.mark.parametrize(("devices", "nodes", "wanted"), [(None, None, 1), (2, None, 2), (2, 3, 6)])
def test_number_of_devices_is_that_of_all_machines(
    devices: int | None, nodes: int | None, wanted: int
) -> None:
    """Guards the split of a batch against devices of one machine only."""
    assert TrainConfig(devices=devices, nodes=nodes).num_devices == wanted
