"""The façade for Lightning: names alone; ``tests/train/test_lightning_module.py`` tests what they do."""

from __future__ import annotations

import lightning

import massrl.lightning


def test_facade_offers_a_module_and_a_data_module_of_lightning() -> None:
    """Guards the import of the README, and a Trainer's own checks of what it is given."""
    assert massrl.lightning.__all__ == ["PretrainModule", "ViewsDataModule"]
    assert issubclass(massrl.lightning.PretrainModule, lightning.LightningModule)
    assert issubclass(massrl.lightning.ViewsDataModule, lightning.LightningDataModule)
