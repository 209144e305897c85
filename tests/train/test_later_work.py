"""What later work adds to the views and to the objective, through whole runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from tests.train.conftest import quiet, run
from tests.train.test_pretrain import column
from tests.train.test_resume import (
    EVERY_THIRD,
    PowerCutError,
    assert_identical,
    cut_at,
    weights,
)

from massrl.commands.pretrain import resume
from massrl.config.files import load_config


@pytest.mark.parametrize(
    "sections",
    [
        {"views": {"layout": "massrl-directional"}},
        {"views": {"target_policy": "weak"}, "method": {"target_reduction": "mean"}},
        {
            "views": {"local_crops": 3, "local_size": 0.5},
            "model": {"predictor": {"per_policy": True}},
        },
        {"views": {"ramp_epochs": 2.0, "layout": "massrl-directional"}, "train": {"accumulate": 2}},
        {"views": {"local_crops": 2}, "method": {"name": "simclr"}},
    ],
)
def test_what_later_work_adds_is_trained_and_gone_on_with(
    tmp_path: Path, sections: dict[str, dict[str, Any]]
) -> None:
    """Guards each option's way from a flag to the step, the saved configuration and the resume."""
    train = {"max_steps": 7, **sections.get("train", {})}
    whole = run(tmp_path / "whole", **{**sections, "train": train})
    losses = column(whole.folder, "loss")
    assert len(losses) == 7
    assert all(map(math.isfinite, losses))
    kept = load_config(whole.folder / "config.yaml").to_dict()
    for section, fields in sections.items():
        for name, value in fields.items():
            saved = kept[section][name]
            assert saved == value or (isinstance(value, dict) and value.items() <= saved.items())
    usual = column(run(tmp_path / "usual", train=train).folder, "loss")
    assert losses[0] != usual[0]
    with pytest.MonkeyPatch.context() as patch:
        cut_at(patch, 5)
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", **{**sections, "train": {**train, **EVERY_THIRD}})
    resume(tmp_path / "cut", console=quiet())
    assert_identical(weights(whole.folder), weights(tmp_path / "cut"))
