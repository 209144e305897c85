"""The LightningModule and LightningDataModule for your own Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.train.conftest import column, run, tiny

from massrl.config.parser import make_config
from massrl.errors import ConfigError, ImageError
from massrl.train.lightning_module import PretrainModule, ViewsDataModule

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:lightning.*", "ignore:.*:FutureWarning"
)


class Losses(lightning.Callback):
    """Records the loss of each batch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        """Append the loss."""
        self.values.append(float(outputs["loss"]))


def fit(data: ViewsDataModule, **settings: Any) -> tuple[PretrainModule, Losses]:
    losses = Losses()
    module = PretrainModule(data.config)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[losses],
        **settings,
    )
    trainer.fit(module, data)
    return module, losses


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"method": {"name": "simclr"}, "optim": {"name": "adamw", "lr": 0.01}},
        {
            "method": {"target_reduction": "mean", "target_statistics": "online"},
            "optim": {"name": "sgd", "lr": 0.1},
        },
    ],
)
def test_trainer_over_two_epochs_has_the_losses_and_weights_of_pretrain(
    tmp_path: Path, sections: dict[str, Any]
) -> None:
    """Guards views, order, schedules and target updates against those of ``massrl.pretrain``."""
    # The Trainer back-propagates all views at once; streamed views differ by rounding, which grows.
    folder = run(tmp_path / "run", **sections, train={"memory": "joint"}).folder
    expected = column(folder, "loss")
    data = ViewsDataModule(make_config(tiny(tmp_path / "unused", **sections)))
    module, losses = fit(data, max_epochs=2)
    assert len(expected) == 10
    assert losses.values == pytest.approx(expected, abs=1e-5)
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["method"]
    for name, value in module.method.state_dict().items():
        assert torch.allclose(value, saved[name], atol=1e-6), name
    assert not (tmp_path / "unused").exists()


def test_accumulated_batches_have_the_losses_of_pretrain(tmp_path: Path) -> None:
    """Guards against a target and a schedule that change inside an accumulation window."""
    folder = run(tmp_path / "run", train={"accumulate": 2, "memory": "joint"}).folder
    expected = column(folder, "loss")
    data = ViewsDataModule(make_config(tiny(tmp_path / "unused")))
    _, losses = fit(data, max_epochs=2, accumulate_grad_batches=2)
    sums = [sum(losses.values[i : i + 2]) for i in range(0, 20, 2)]  # a Trainer reports parts
    assert sums == pytest.approx(expected, abs=1e-5)


def test_batch_size_that_is_not_divisible_is_refused(tmp_path: Path) -> None:
    """Guards the identity batch = per device × devices × accumulated."""
    data = ViewsDataModule(make_config(tiny(tmp_path)))
    with pytest.raises(ConfigError, match="batch_size is 8, which is not divisible.*3 accumulated"):
        fit(data, max_epochs=1, accumulate_grad_batches=3)


def test_configuration_that_is_not_resolved_is_refused(tmp_path: Path) -> None:
    """Guards against a module with the normalisation of other images."""
    with pytest.raises(ConfigError, match="not resolved"):
        PretrainModule(make_config(tiny(tmp_path)))


def test_broken_image_stops_or_is_skipped_as_configured(tmp_path: Path, write: Any) -> None:
    """Guards ``data.on_error``: an image that cannot be decoded must not vanish in silence."""
    for number in range(9):
        write(tmp_path / "photos" / f"{number}.png", seed=number)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    sections: dict[str, Any] = {
        "train": str(tmp_path / "photos"),
        "batch_size": 10,
        "cache": "none",
    }
    stop = ViewsDataModule(make_config(tiny(tmp_path, data=sections)))
    with pytest.raises(ImageError, match="broken.png"):
        fit(stop, max_epochs=1)
    skip = ViewsDataModule(make_config(tiny(tmp_path, data={**sections, "on_error": "skip"})))
    assert len(fit(skip, max_epochs=1)[1].values) == 1


def test_trainer_with_a_number_of_steps_has_the_schedule_of_that_many(tmp_path: Path) -> None:
    """Guards ``max_steps``, with which Lightning knows the length before it has loaded the data."""
    folder = run(tmp_path / "run", train={"memory": "joint", "max_steps": 7}).folder
    expected = column(folder, "loss")
    _, losses = fit(ViewsDataModule(make_config(tiny(tmp_path / "unused"))), max_steps=7)
    assert losses.values == pytest.approx(expected, abs=1e-5)


def test_trainer_without_an_end_is_refused(tmp_path: Path) -> None:
    """Guards against an OverflowError: schedules need a last step."""
    data = ViewsDataModule(make_config(tiny(tmp_path)))
    with pytest.raises(ConfigError, match="max_epochs or max_steps"):
        fit(data, max_epochs=-1, max_steps=-1, max_time="00:00:00:05")
