"""The account of what was found in another project's file."""

from __future__ import annotations

import torch
from tests.weights.conftest import Weights, under, without_classifier

from massrl.weights.foreign import take_backbone


def test_account_names_both_networks_and_every_other_tensor(
    states: tuple[Weights, Weights],
) -> None:
    """Guards the user's only view of what was left out."""
    weights = {
        **under("module.encoder_q.", without_classifier(states[0])),
        **under("module.encoder_k.", without_classifier(states[1])),
        "module.queue": torch.zeros(8, 4),
    }
    lines = take_backbone(weights, where="file").lines()
    assert lines[0].startswith("imported  module.encoder_q: resnet18, standard stem, 120 tensors,")
    assert "origin    MoCo: the student, which is trained, is taken" in lines[1]
    assert "unused    module.queue: 1 tensor, 32 values" in lines
    assert lines[-1] == "other     --model.part module.encoder_k is a backbone too, the teacher"
