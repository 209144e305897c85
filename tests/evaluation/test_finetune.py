"""Fine-tuning: the whole network is trained, in a copy, at the best of several settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluation.conftest import colours, context_of

from massrl.data.source import Subset
from massrl.errors import ConfigError, TrainingError
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.finetune import (
    Setting,
    Sweep,
    fine_tune,
    finetune_and_predict,
    tuned_settings,
)
from massrl.evaluation.multilabel import mean_precision, multilabel_target, precisions


def sweep(lrs: tuple[float, ...] = (0.1,), epochs: tuple[int, ...] = (1,)) -> Sweep:
    """Return settings to select from, for small batches."""
    return Sweep(lrs=lrs, epochs=epochs, max_batch_size=16, seed=0, name="tuned")


def test_weights_and_statistics_of_the_whole_network_change_in_a_copy(
    context: EvaluationContext,
) -> None:
    """Guards against the published code's fault: fine-tuning that left the backbone frozen."""
    before = {name: item.clone() for name, item in context.network.state_dict().items()}
    setting = Setting(lr=0.1, epochs=2)
    network = fine_tune(context, context.train, setting, sweep())
    after = network[0].state_dict()  # type: ignore[index]
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert all(
        torch.equal(before[name], item) for name, item in context.network.state_dict().items()
    )


def test_fine_tuned_network_separates_what_the_frozen_one_cannot(
    context: EvaluationContext,
) -> None:
    """Guards the gradients of the whole network."""
    result = finetune_and_predict(context, context.train, sweep((0.3,), (20,)))
    right = (result.scores.argmax(1) == context.test_features.labels).float().mean()
    assert float(right) > 0.9
    assert result.holdout_accuracy == {}


def test_selected_setting_is_the_best_on_held_out_images(context: EvaluationContext) -> None:
    """Guards the sweep: a learning rate of nothing must lose, and all of them must be tried."""
    result = finetune_and_predict(context, context.train, sweep((1e-9, 0.3), (1, 20)))
    assert result.setting == Setting(lr=0.3, epochs=20)
    assert len(result.holdout_accuracy) == 4
    assert result.holdout_accuracy[result.setting] == max(result.holdout_accuracy.values())


def test_several_classes_per_image_are_trained_where_they_count() -> None:
    """Guards fine-tuning on VOC: one output per class, and no loss where a class does not count."""
    train, test = colours(80, seed=0), colours(40, seed=1)
    context = context_of(train, test)
    truth, test_truth = (
        np.stack([part.labels < 2, part.labels % 2, part.labels == 3], axis=1).astype(np.int64)  # type: ignore[operator]
        for part in (train, test)
    )
    truth[:, 2] = -1
    target = multilabel_target(truth)
    logits = torch.tensor([[2.0, -1.0, 50.0], [0.0, 0.0, -9.0]])
    counted = torch.tensor([[1, 0, -1], [0, 1, -1]])
    wanted = [np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log(2), np.log(2)]
    assert float(target.loss(logits, counted)) == pytest.approx(np.mean(wanted))
    result = finetune_and_predict(
        context,
        train,
        sweep((1e-6, 0.3), (20,)),
        target=target,
    )
    assert result.setting.lr == 0.3
    assert result.scores.shape == (40, 3)
    assert torch.equal(result.scores[:, 2], torch.zeros(40))  # as it was initialised
    before, after = (
        mean_precision(precisions(scores, test_truth[:, :2]))
        for scores in (np.zeros((40, 2)), result.scores[:, :2].numpy())
    )
    assert after > before + 20


def test_learning_rate_at_which_training_diverges_is_not_selected(
    context: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a sweep against ending at its first rate that is too high."""

    def diverge_above_one(*arguments: Any, **named: Any) -> Any:
        if arguments[2].lr > 1:
            raise TrainingError("the loss is not finite")
        return fine_tune(*arguments, **named)

    monkeypatch.setattr("massrl.evaluation.finetune.fine_tune", diverge_above_one)
    result = finetune_and_predict(context, context.train, sweep((9.0, 0.1), (4,)))
    assert result.setting.lr == 0.1
    assert result.holdout_accuracy[Setting(lr=9.0, epochs=4)] == 0.0


def test_few_images_are_not_split(context: EvaluationContext) -> None:
    """Guards 1 % of a small set: of four images none can be held out."""
    few = Subset(context.train, [0, 1, 2])
    result = finetune_and_predict(context, few, sweep((0.1, 0.2), (1,)))
    assert result.setting.lr == 0.1
    assert result.holdout_accuracy == {}


def test_single_image_is_refused(context: EvaluationContext) -> None:
    """Guards batch norm, which has no statistics of one image."""
    with pytest.raises(ConfigError, match="tuned: 1 image is too few"):
        fine_tune(context, Subset(context.train, [0]), Setting(lr=0.1, epochs=1), sweep())


@pytest.mark.parametrize(
    ("num_images", "batch_size"), [(8, 8), (100, 16), (1200, 100), (9999, 200)]
)
def test_batch_size_leaves_a_dozen_steps_per_epoch(num_images: int, batch_size: int) -> None:
    """Guards few labels against epochs of a single step, and many against more than was asked for."""
    settings = Sweep(lrs=(0.1,), epochs=(1,), max_batch_size=200, seed=0, name="x")
    assert settings.batch_size(num_images) == batch_size


def test_settings_are_stored_under_the_names_of_results(context: EvaluationContext) -> None:
    """Guards ``results.json``, whose keys are public."""
    result = finetune_and_predict(context, context.train, sweep((0.1, 0.3)))
    stored = tuned_settings(result)
    assert list(stored) == ["lr", "epochs", "batch_size", "holdout_accuracy"]
    assert list(stored["holdout_accuracy"]) == ["lr 0.1, 1 epochs", "lr 0.3, 1 epochs"]
    assert stored["lr"] in (0.1, 0.3)
