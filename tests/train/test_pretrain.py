"""What a step means: batch, learning rate, target momentum, accumulation, broken images."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tests.conftest import photos
from tests.reference import losses as reference
from tests.train.conftest import quiet, run, tiny

from massrl.commands.pretrain import pretrain, resume
from massrl.commands.views import draw_views
from massrl.config.files import read_config_file, read_layers
from massrl.config.parser import make_config
from massrl.data.source import IMAGENET_NORMALIZATION, Normalization
from massrl.errors import ConfigError, ImageError, NonFiniteError, TrainingError
from massrl.methods.base import MethodOutput
from massrl.methods.byol import BYOL
from massrl.optim.schedules import Schedule
from massrl.runs.metrics import read_metrics
from massrl.train.callbacks.collapse import CollapseMonitor
from massrl.train.checkpoint import load_checkpoint
from massrl.train.resolve import make_schedule
from massrl.train.step import TrainingStep
from massrl.views.view_maker import ViewMaker


def column(folder: Path, name: str) -> list[float]:
    return [float(row[name]) for row in read_metrics(folder / "metrics.csv")]


def test_lr_and_tau_are_the_same_with_and_without_accumulation(tmp_path: Path) -> None:
    """Guards §3: schedules counted in batches instead of optimiser steps."""
    whole = run(tmp_path / "whole").folder
    parts = run(tmp_path / "parts", train={"accumulate": 4}).folder
    for name in ("step", "lr", "tau"):
        assert column(whole, name) == column(parts, name)
    # Batch norm sees smaller batches, so the losses differ a little; a sum would be four times it.
    assert column(parts, "loss")[0] == pytest.approx(column(whole, "loss")[0], rel=0.3)


def test_rate_in_use_follows_the_schedule(tmp_path: Path) -> None:
    """Guards a schedule that is planned, printed and never given to the optimiser."""
    folder = run(tmp_path / "run").folder
    cosine = [0.0625 * (1 + math.cos(math.pi * step / 9)) / 2 for step in range(9)]
    assert column(folder, "lr") == pytest.approx([0.0625, *cosine], rel=1e-4)  # 1 step of warm-up


def test_target_moves_once_per_optimiser_step_and_right_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards §3 against the released code: a target moved inside an accumulation window."""
    seen: list[tuple[float, bool]] = []
    original = BYOL.update_target

    def watched(self: BYOL, tau: float) -> None:
        before = [parameter.clone() for parameter in self.target_projector.parameters()]
        online = [parameter.detach().clone() for parameter in self.projector.parameters()]
        original(self, tau)
        moved = zip(before, online, self.target_projector.parameters(), strict=True)
        seen.append(
            (tau, all(torch.allclose(tau * b + (1 - tau) * o, t, atol=1e-6) for b, o, t in moved))
        )

    monkeypatch.setattr(BYOL, "update_target", watched)
    folder = run(tmp_path / "run", train={"accumulate": 2}).folder
    assert len(seen) == 10
    assert [tau for tau, _ in seen] == pytest.approx(column(folder, "tau"), rel=1e-5)
    assert all(right for _, right in seen)


def test_learning_rate_is_scaled_by_the_global_batch_and_saved(tmp_path: Path) -> None:
    """Guards §3: ``lr × batch_size / 256``, of unique images, whatever the accumulation."""
    config = make_config(
        tiny(tmp_path, data={"batch_size": 64}, optim={"lr": 0.2}, train={"accumulate": 4})
    )
    assert config.scaled_lr == pytest.approx(0.05)
    assert config.device_batch_size == 16
    folder = run(tmp_path / "run", optim={"warmup_epochs": 0}).folder
    assert column(folder, "lr")[0] == pytest.approx(2.0 * 8 / 256)
    assert "0.0625 = 2 × 8 / 256" in (folder / "log.txt").read_text(encoding="utf-8")


def test_schedule_of_known_steps_has_known_values() -> None:
    """Literal values: warm-up of 2 of 10 steps, then a cosine; τ 0.9 → 1."""
    schedule = Schedule(peak_lr=1.0, warmup_steps=2, total_steps=10, target_momentum=0.9)
    assert schedule.lr(0) == pytest.approx(0.5)
    assert schedule.lr(6) == pytest.approx(0.5)
    assert schedule.tau(0) == pytest.approx(0.9)
    assert schedule.tau(5) == pytest.approx(0.95)
    assert schedule.tau(10) == pytest.approx(1.0)


def test_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    """Guards the identity batch = per device × devices × accumulate."""
    with pytest.raises(ConfigError, match=r"--data.batch_size is 8.*= 3"):
        make_config(tiny(tmp_path, train={"accumulate": 3}))


def test_variant_d_over_two_epochs_has_the_loss_of_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight views at batch 2: every step's loss against NumPy on the same projections."""
    expected: list[float] = []

    def forward_backward(self: BYOL, views: Any, backward: Any) -> Any:
        y = [self.backbone(view) for view in views]
        p = np.stack([self.predictor(self.projector(item)).detach().numpy() for item in y])
        z = np.stack([self.target_projector(self.target_backbone(view)).numpy() for view in views])
        assert p.shape[:2] == (8, 2)
        expected.append(2 * reference.released_massrl(p, z) / 56)
        return unpatched(self, views, backward)

    unpatched = BYOL.forward_backward
    monkeypatch.setattr(BYOL, "forward_backward", forward_backward)
    data = {"train": "shapes(count=8,size=16)", "batch_size": 2}
    folder = run(
        tmp_path / "run", data=data, views={"layout": "massrl"}, train={"max_steps": 8}
    ).folder
    assert column(folder, "loss") == pytest.approx(expected, abs=2e-5)
    assert [float(row["epoch"]) for row in read_metrics(folder / "metrics.csv")][-1] == 2.0


def test_views_are_normalised_whatever_made_them(tmp_path: Path) -> None:
    """Guards §3 against the released code: two of four policies were never normalised."""
    config = make_config(tiny(tmp_path))
    schedule = Schedule(peak_lr=1.0, warmup_steps=0, total_steps=1, target_momentum=0.9)
    step = TrainingStep(
        SimpleMethod(),  # type: ignore[arg-type]
        config=config,
        schedule=schedule,
        normalization=IMAGENET_NORMALIZATION,
    )
    views = torch.randint(0, 256, (4, 2, 5, 6, 3), dtype=torch.uint8)
    ours = step.normalize(views)
    expected = (views.double().numpy() / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert len(ours) == 4
    assert np.abs(torch.stack(list(ours)).numpy() - expected.transpose(0, 1, 4, 2, 3)).max() < 1e-5
    assert ours[0].is_contiguous(memory_format=torch.channels_last)


def test_non_finite_loss_stops_the_run_and_keeps_what_it_was_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against hours of NaN: step and images are named, the views kept and shown again."""
    original = BYOL.forward_backward

    def broken(self: BYOL, *arguments: Any) -> Any:
        output = original(self, *arguments)
        broken.calls += 1  # type: ignore[attr-defined]
        return output._replace(loss=output.loss * math.nan) if broken.calls == 6 else output  # type: ignore[attr-defined]

    broken.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(BYOL, "forward_backward", broken)
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=r"nan at step 5, on the images of indices \[\d+"):
        run(folder, train={"checkpoint_every": 2})
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["step"] == 4
    kept = json.loads((folder / "non_finite.json").read_text(encoding="utf-8"))
    assert (kept["step"], kept["epoch"], kept["loss"]) == (5, 1, "nan")
    assert len(kept["indices"]) == len(kept["plans"]) == 8
    maker = ViewMaker("massrl-4", size=16, seed=0)
    for index, content in zip(kept["indices"], kept["plans"], strict=True):
        assert content.pop("image").endswith(f"[{index}]")
        plan = maker.plan(epoch=1, index=index, height=16, width=16)
        assert content == plan.to_json()
    page = tmp_path / "page.html"
    draw_views({"replay": str(folder), "step": 5, "index": kept["indices"][0], "out": str(page)})
    assert "step 5" in page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="has made steps 0 to 5"):
        draw_views({"replay": str(folder), "step": 6, "out": str(page)})


def test_gradient_that_is_not_finite_stops_the_run_before_it_ruins_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the images that are named: they are this step's, and the weights are those before it."""
    original = BYOL.forward_backward

    def broken(self: BYOL, *arguments: Any) -> Any:
        output = original(self, *arguments)
        broken.calls += 1  # type: ignore[attr-defined]
        if broken.calls == 8:  # type: ignore[attr-defined]
            self.backbone.conv1.weight.grad[0] = math.inf  # type: ignore[union-attr, index]
        return output

    broken.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(BYOL, "forward_backward", broken)
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteError, match="the gradient is inf at step 3") as caught:
        run(folder, train={"checkpoint_every": 3, "accumulate": 2})
    assert len(caught.value.indices) == 8  # of both parts
    kept = json.loads((folder / "non_finite.json").read_text(encoding="utf-8"))
    assert (kept["step"], kept["loss"]) == (3, "inf")
    assert "--resume" in (folder / "log.txt").read_text(encoding="utf-8").splitlines()[-1]
    resume(folder, console=quiet())
    assert len(read_metrics(folder / "metrics.csv")) == 10


def test_matrix_is_a_mean_over_the_last_steps(tmp_path: Path) -> None:
    """Guards the picture against one batch's noise."""
    monitor = CollapseMonitor(["a", "b"], tmp_path / "matrix.json")
    step = SimpleNamespace(step=1, is_last=False)
    for value in (1.0, 2.0):
        features = torch.randn(4, 3)
        step.output = MethodOutput(torch.zeros(()), torch.full((2, 2), value), features, features)
        monitor.after_step(step)  # type: ignore[arg-type]
    assert monitor.matrix is not None
    assert torch.allclose(monitor.matrix, torch.full((2, 2), 1.02))


def test_gradient_norm_is_that_of_the_whole_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the column against the gradient of a part of a step, or of what is left after it."""
    seen: list[float] = []
    original = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, **arguments: Any) -> Any:
        grads = [item.grad for group in self.param_groups for item in group["params"]]
        seen.append(float(torch.cat([item.flatten() for item in grads]).double().norm()))
        return original(self, **arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    optim = {"name": "sgd", "lr": 0.1}
    folder = run(tmp_path / "run", optim=optim, train={"accumulate": 2}).folder
    assert len(seen) == 10
    assert column(folder, "gradient_norm") == pytest.approx(seen, rel=1e-4)


def folder_with_a_broken_image(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number in range(9):
        image = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_broken_image_stops_the_run_with_its_name(tmp_path: Path) -> None:
    """Guards ``--data.on_error stop``: one clear line that names the file."""
    photos = folder_with_a_broken_image(tmp_path / "photos")
    data = {"train": str(photos), "batch_size": 5}
    with pytest.raises(ImageError, match=r"broken\.png.*--data.on_error skip"):
        run(tmp_path / "run", data=data, train={"max_steps": 2})


def test_broken_image_is_skipped_and_counted_when_asked(tmp_path: Path) -> None:
    """Guards ``--data.on_error skip``: never a black image, never silence. Labels are not needed."""
    photos = folder_with_a_broken_image(tmp_path / "photos")
    data = {"train": str(photos), "batch_size": 5, "on_error": "skip", "workers": 1}
    result = run(tmp_path / "run", data=data, train={"max_steps": 2})
    assert [Path(name).name for name in result.session.skipped] == ["broken.png"]


def test_limit_beyond_the_images_is_said(tmp_path: Path) -> None:
    """Guards against a run that learns from fewer images than its configuration says."""
    run(tmp_path / "run", data={"limit": 5000}, train={"max_steps": 1})
    assert "all 40 images: --data.limit 5,000 is more" in (tmp_path / "run" / "log.txt").read_text()


def test_broken_labelled_image_is_skipped_by_the_probe_and_by_evaluation_too(
    tmp_path: Path,
) -> None:
    """Guards ``skip`` beyond training itself: the first k-NN probe must not end the run."""
    from massrl.commands.evaluate import evaluate

    for kind in ("a", "b"):
        folder_with_a_broken_image(tmp_path / "photos" / kind)
    data = {"train": str(tmp_path / "photos"), "batch_size": 10, "on_error": "skip"}
    result = run(tmp_path / "run", data=data, train={"max_steps": 2, "probe_every": 1})
    assert "broken.png" in (result.folder / "log.txt").read_text(encoding="utf-8")
    assert [row["knn"] != "" for row in read_metrics(result.folder / "metrics.csv")] == [
        False,
        True,
    ]
    with pytest.raises(ImageError):
        evaluate(result.folder, {"task": ["knn"], "k": 3}, console=quiet())
    wanted = {"task": ["knn"], "k": 3, "data": {"on_error": "skip"}}
    assert evaluate(result.folder, wanted, console=quiet())["tasks"]["knn"]["data"]["left_out"] == 2


def test_single_image_at_a_time_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """Guards batch norm, which needs two images, against an accumulation that leaves one."""
    with pytest.raises(
        ConfigError, match=r"--data.batch_size is 4: in 4 parts .* 1 image at a time"
    ):
        run(tmp_path / "run", data={"batch_size": 4}, train={"accumulate": 4})
    assert not (tmp_path / "run").exists()


def test_open_choices_are_made_said_and_saved(tmp_path: Path) -> None:
    """Guards ``None`` in a configuration: chosen once, visible, and repeatable."""
    sections: dict[str, dict[str, Any]] = {
        "data": {"batch_size": None},
        "views": {"size": None, "layout": "massrl-paired"},
        "model": {"backbone": None},
    }
    folder = run(tmp_path / "run", **sections, train={"max_steps": 1}).folder
    saved = read_config_file(folder / "config.yaml")
    assert saved["data"]["batch_size"] == 8  # a quarter of 40 images, as a power of two
    assert saved["views"]["size"] == 16
    assert saved["model"]["backbone"] == "resnet10-narrow"
    assert saved["method"]["pairs"] == "paired"
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert all(
        flag in log for flag in ("--data.batch_size 8", "--views.size 16", "--model.backbone")
    )


def test_health_is_written_however_rarely_rows_are(tmp_path: Path) -> None:
    """Guards the curves of spread and rank against ``--train.log_every 10``."""
    train = {"max_steps": 30, "log_every": 10}
    rows = read_metrics(run(tmp_path / "run", train=train).folder / "metrics.csv")
    assert [row["step"] for row in rows] == ["0", "10", "20", "24", "29"]
    for column in ("embedding_std", "feature_std", "effective_rank"):
        assert [row["step"] for row in rows if row[column]] == ["24", "29"]


def test_seconds_become_steps_that_are_saved(tmp_path: Path) -> None:
    """Guards ``--train.time_budget``: a run planned by time must be repeatable by its configuration."""
    result = run(tmp_path / "run", train={"time_budget": 2.0, "max_steps": None})
    saved = read_config_file(result.folder / "config.yaml")
    assert saved["train"]["max_steps"] == result.session.step > 0


def test_probe_reports_knn_where_labels_exist(tmp_path: Path) -> None:
    """Guards the probe's rows: every epoch and at the end."""
    folder = run(tmp_path / "run", train={"probe_every": 1}).folder
    probed = {
        row["step"]: float(row["knn"]) for row in read_metrics(folder / "metrics.csv") if row["knn"]
    }
    assert list(probed) == ["4", "9"]
    assert all(0 <= accuracy <= 100 for accuracy in probed.values())


def test_collapse_is_said_in_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Guards the warning: a representation that is one point must not look like a good loss."""
    monitor = CollapseMonitor(["a", "b"], tmp_path / "matrix.json")
    same = torch.ones(16, 8) + 1e-4 * torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    method = MethodOutput(torch.zeros(()), torch.zeros(2, 2), same, same)
    step = SimpleNamespace(output=method, step=50, is_last=False)
    with caplog.at_level(logging.WARNING, logger="massrl"):
        monitor.after_step(step)  # type: ignore[arg-type]
    assert "collapsing" in caplog.text
    assert "--method.target_momentum" in caplog.text


def test_training_without_images_says_which_flag_is_missing() -> None:
    """Guards the first mistake of every user."""
    with pytest.raises(ConfigError, match="--data.train"):
        pretrain({"recipe": "default"}, console=quiet())


def test_shapes_recipe_learns_outlines_in_a_few_steps(tmp_path: Path) -> None:
    """Guards the whole: views, objective, optimiser and schedule that teach nothing together."""
    from massrl.commands.evaluate import evaluate

    settings: dict[str, Any] = {
        "out": str(tmp_path / "run"),
        "data": {"train": "shapes(count=1500)", "workers": 0},
        "train": {"max_steps": 200, "probe_every": 0, "accelerator": "cpu"},
    }
    result = pretrain(make_config(read_layers("shapes-massrl"), settings), console=quiet())
    linear = {
        untrained: evaluate(
            result.folder,
            {"task": ["linear"], "untrained": untrained, "data": {"val": "shapes(count=500)"}},
            console=quiet(),
        )["tasks"]["linear"]["acc1"]
        for untrained in (True, False)
    }
    assert linear[False] > linear[True] + 10  # percent


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    """Guards the last good checkpoint, and a run whose only step ruins the weights."""
    ruin = {"name": "sgd", "lr": 1e42}
    with pytest.raises(TrainingError, match="no longer finite after step 0.*--optim.lr"):
        run(tmp_path / "one", optim=ruin, train={"max_steps": 1})
    with pytest.raises(TrainingError, match="not finite|no longer finite|loss is"):
        run(tmp_path / "more", optim=ruin, train={"max_steps": 4, "checkpoint_every": 1})
    for name in ("one", "more"):
        assert not (tmp_path / name / "checkpoints" / "last.ckpt").exists()
        assert not (tmp_path / name / "backbone.safetensors").exists()


def plain_network() -> torch.nn.Module:
    """A backbone without batch norm, whose gradients do not depend on how a batch is cut."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 12))
    network.num_features = 12  # type: ignore[assignment]
    return network


@pytest.mark.parametrize("optim", [{"name": "sgd", "lr": 1.0}, {"name": "lars", "lr": 2.0}])
def test_accumulated_batches_make_the_update_of_the_whole_batch(
    optim: dict[str, Any], tmp_path: Path
) -> None:
    """Guards §3: gradients that are summed instead of averaged, and a target moved k times a step."""
    linear = {"layers": 1, "hidden": 8, "out": 8}
    model = {
        "backbone": f"{__name__}:plain_network",
        "projector": linear,
        "predictor": {"layers": 1, "hidden": 8},
    }
    states = []
    for accumulate in (1, 2, 4):
        out = tmp_path / str(accumulate)
        run(out, model=model, optim=optim, train={"accumulate": accumulate, "max_steps": 6})
        states.append(load_checkpoint(out / "checkpoints" / "last.ckpt")["method"])
    for other in states[1:]:
        for name, tensor in states[0].items():
            torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-6)


def test_settings_of_the_optimiser_reach_it(tmp_path: Path) -> None:
    """Guards flags that are parsed and ignored."""
    settings = {
        "lars": {"momentum": 0.7, "trust_coefficient": 0.03, "clip": True},
        "adamw": {"betas": (0.8, 0.95)},
        "sgd": {"momentum": 0.6},
    }
    for name, values in settings.items():
        config = make_config(
            tiny(tmp_path, optim={"name": name, "lr": 0.5, "weight_decay": 0.125, **values})
        )
        step = TrainingStep(
            SimpleMethod(),  # type: ignore[arg-type]
            config=config,
            schedule=make_schedule(config, 5),
            normalization=IMAGENET_NORMALIZATION,
        )
        group = step.optimizer.param_groups[0]
        assert {key: group[key] for key in values} == values
        assert (group["weight_decay"], group["lr"]) == (0.125, config.scaled_lr)


class SimpleMethod(torch.nn.Module):
    """Just enough of a method to be optimised."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def trainable(self) -> list[torch.nn.Module]:
        """Everything."""
        return [self.layer]


def test_normalisation_that_is_configured_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ``--data.mean`` and ``--data.std``, in training, at the probe and at the judge's."""
    from massrl.commands import pretrain as api
    from massrl.evaluation import context as judged
    from massrl.evaluation import data as judging

    wanted = Normalization(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    seen: list[Normalization] = []
    original = judging.extract_features

    def watched(*arguments: Any, **settings: Any) -> Any:
        seen.append(arguments[1].normalization)
        return original(*arguments, **settings)

    for module in (judging, judged):
        monkeypatch.setattr(module, "extract_features", watched)
    built: list[torch.Tensor] = []
    original_call = TrainingStep.__call__

    def recording(self: TrainingStep, *arguments: Any) -> None:
        built[:] = [self._mean, self._std]
        original_call(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", recording)
    data = {"mean": wanted.mean, "std": wanted.std}
    folder = run(tmp_path / "run", data=data, train={"probe_every": 1, "max_steps": 5}).folder
    assert [tuple((item / 255).tolist()) for item in built] == [
        pytest.approx(wanted.mean),
        pytest.approx(wanted.std),
    ]
    probed = len(seen)
    api.evaluate(folder, {"task": "knn", "k": 3}, console=quiet())
    assert probed >= 2
    assert len(seen) == probed + 2
    assert set(seen) == {wanted}


def test_run_that_was_stopped_is_judged_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards figures against weights of a few steps that pass for those of a whole run."""
    from massrl.commands.evaluate import evaluate

    original = TrainingStep.__call__

    def signalling(self: TrainingStep, *arguments: Any) -> Any:
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", signalling)
    folder = run(tmp_path / "run").folder
    results = evaluate(folder, {"task": ["knn"], "k": 3}, console=quiet())
    assert results["backbone"]["step"] == 3
    assert "after step 3 of 10 are judged" in caplog.text


def test_loaded_backbone_can_be_judged_itself(tmp_path: Path) -> None:
    """Guards ``massrl.evaluate(massrl.load_backbone(run))``, and modules that say nothing."""
    from massrl.commands.evaluate import evaluate
    from massrl.weights.load import load_backbone

    folder = run(tmp_path / "run", train={"max_steps": 2}).folder
    data = {"train": "shapes(count=40,size=16)"}
    wanted = {"task": ["knn"], "k": 3, "data": data}
    direct = evaluate(folder, wanted, console=quiet())
    loaded = evaluate(load_backbone(folder), wanted, console=quiet())
    assert loaded["tasks"]["knn"]["acc1"] == direct["tasks"]["knn"]["acc1"]
    with pytest.raises(ConfigError, match="load_backbone"):
        evaluate(torch.nn.Identity(), wanted, console=quiet())


def test_run_folder_among_the_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a resume that finds the run's own contact sheet among the images."""
    monkeypatch.chdir(photos(tmp_path / "photos", "a"))
    for out in ("", "mine"):
        with pytest.raises(ConfigError, match="--out"):
            pretrain({"data": {"train": "."}, "out": out})
