"""``massrl demo``: its files, its numbers, and the folders that it leaves alone."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from massrl.commands import demo
from massrl.commands.demo import DemoConfig, run_demo
from massrl.commands.demo_page import RUNS
from massrl.commands.pretrain import pretrain
from massrl.config.files import read_layers
from massrl.config.parser import make_config
from massrl.config.pretrain import Config
from massrl.errors import ConfigError
from massrl.evaluation.features import extract_features
from massrl.evaluation.tasks.knn import knn_predict
from massrl.train.session import PretrainResult
from massrl.weights.load import load_backbone


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pre-train for two steps on a few shapes, and evaluate on a few others."""

    def short(name: str, config: DemoConfig, folder: Path, **options: Any) -> PretrainResult:
        changes = {
            "out": str(folder / name),
            "data": {"train": "shapes(count=80)", "batch_size": 40, "workers": 0},
            "train": {"max_steps": 2, "accelerator": "cpu", "probe_every": 0},
        }
        settings = make_config(read_layers(f"shapes-{name}"), changes)
        return pretrain(settings, console=options["console"], title=name)

    monkeypatch.setattr(demo, "_pretrain", short)
    monkeypatch.setattr(demo, "_DATA", "shapes(count=60)")
    monkeypatch.setattr("massrl.train.timing.seconds_per_step", lambda *_, **__: 0.1)


@pytest.mark.usefixtures("few_steps")
def test_results_report_and_sheet_are_written_again_and_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the names that others rely on, and a second demonstration in the same folder."""
    for _ in range(2):
        folder = run_demo(
            DemoConfig(out=str(tmp_path / "demo"), seconds=5.0), console=Console(width=200)
        )
    said = capsys.readouterr().out
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for task in ("knn", "linear"):
        assert list(results[task]) == ["random_init", "simclr", "massrl"]
        for name, value in results[task].items():
            assert value == round(results["details"][name][task]["acc1"], 2)
            assert f"{value:.1f}" in said
    assert results["steps"] == {"simclr": 2, "massrl": 2}
    assert {"seconds", "training_seconds", "software", "hardware", "commit"} <= set(results)
    page = (folder / "report.html").read_text(encoding="utf-8")
    logged = (folder / "simclr" / "log.txt").read_text(encoding="utf-8")
    remarks = results["remarks"]
    short = "four policies made 2 steps; its figures say something from about 700 on"
    assert any(short in one for one in remarks)
    for remark in remarks:
        assert remark in said
        assert remark in html.unescape(page)
        assert remark in logged
    for words in (
        "k-NN, random init",
        "Nearest neighbours, four policies",
        "linear probe",
        "two by one policy (2 steps",
        "four by four policies (2 steps",
    ):
        assert words in page
    for name in ("report.html", "views.png", "results.json"):
        assert (folder / name).stat().st_size > 500
        assert str(folder / name) in said


def test_runs_differ_in_their_views_alone(tmp_path: Path) -> None:
    """Guards the comparison: whatever else differs would be taken for the effect of the policies.

    The kind: objective, network, optimiser, images, batch, crops, seed, and what is chosen on its own.
    """
    one, four = (
        demo._run_config(name, DemoConfig(seed=3), tmp_path, steps=50).to_dict() for name in RUNS
    )
    layouts = [part["views"].pop("layout") for part in (one, four)]
    policies = [part["views"].pop("policies") for part in (one, four)]
    assert layouts == ["simclr", "massrl-4"]
    assert [len(names) for names in policies] == [1, 4]
    assert policies[0][0] == policies[1][0]
    for part in (one, four):
        del part["recipe"], part["out"]
    assert one == four
    assert (one["train"]["time_budget"], one["train"]["max_steps"]) == (None, 50)


@pytest.mark.usefixtures("few_steps")
def test_both_runs_start_from_the_same_random_weights(tmp_path: Path) -> None:
    """Guards random init, which stands for both runs, and the seed of each."""
    console = Console(quiet=True)
    folders = [
        demo._pretrain(name, DemoConfig(), tmp_path, steps=2, console=console).folder
        for name in RUNS
    ]
    one, four = (load_backbone(folder, random_init=True).state_dict() for folder in folders)
    assert one.keys() == four.keys()
    assert all(torch.equal(one[key], four[key]) for key in one)


def test_earlier_demonstration_is_replaced_whichever_methods_it_ran(tmp_path: Path) -> None:
    """Guards ``make demo`` after an update: version 0.1.0 left a run of BYOL in the folder, for good."""
    changes = {
        "out": str(tmp_path / "byol"),
        "data": {"train": "shapes(count=80)", "batch_size": 40, "workers": 0},
        "train": {"max_steps": 1, "accelerator": "cpu", "probe_every": 0},
    }
    pretrain(make_config(read_layers("shapes-byol"), changes), console=Console(quiet=True))
    for _ in range(2):
        demo._empty_folder(tmp_path, overwrite=False)
        assert not (tmp_path / "byol").exists()


@pytest.mark.usefixtures("few_steps")
def test_networks_are_evaluated_on_images_they_were_not_trained_on(tmp_path: Path) -> None:
    """Guards the comparison: three different networks, the same images, the run's normalisation."""
    console = Console(quiet=True)
    run = demo._pretrain("massrl", DemoConfig(), tmp_path, steps=2, console=console).folder
    random = demo._evaluate("random_init", run, console)
    trained = demo._evaluate("massrl", run, console)
    assert random.context.network.state_dict().keys() == trained.context.network.state_dict().keys()
    weights = [item.context.network.state_dict()["conv1.weight"] for item in (random, trained)]
    assert (weights[0] != weights[1]).any()
    context = trained.context
    assert context.train.fingerprint() != context.test.fingerprint()
    train, test = (
        extract_features(context.network, source, side=32)
        for source in (context.train, context.test)
    )
    scores = knn_predict(train.values, train.labels, test.values, num_classes=10, k=20)
    wanted = 100 * float((scores.argmax(1) == test.labels).float().mean())
    assert trained.metrics["knn"]["acc1"] == pytest.approx(wanted)


@pytest.mark.parametrize("content", ["thesis.txt", "massrl/thesis.txt"])
def test_folder_that_holds_something_else_is_refused_and_left_alone(
    tmp_path: Path, content: str
) -> None:
    """Guards a folder of one's own that has the name of one of the demonstration's runs."""
    file = tmp_path / "work" / content
    file.parent.mkdir(parents=True)
    file.write_text("years")
    with pytest.raises(ConfigError, match="something else"):
        run_demo(DemoConfig(out=str(tmp_path / "work")), console=Console(quiet=True))
    assert file.read_text() == "years"


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """Guards against an error from the middle of a library."""
    (tmp_path / "demo").write_text("")
    with pytest.raises(ConfigError, match="is no folder to write to"):
        run_demo(DemoConfig(out=str(tmp_path / "demo")), console=Console(quiet=True))


def test_duration_must_be_a_second_or_more() -> None:
    """Guards a demonstration without a single step."""
    with pytest.raises(ConfigError, match="--seconds is 0.5"):
        DemoConfig(seconds=0.5)


@pytest.mark.parametrize(
    ("step", "seconds", "said"),
    [
        (0.06, 90.0, "1 min 30 s each"),
        (0.1, 90.0, "1 min 30 s each"),
        (0.3, 210.0, "3 min 30 s each"),  # 700 × 0.3
        (2.0, 1400.0, "23 min 20 s each"),
    ],
)
def test_demonstration_is_planned_for_steps_that_say_something(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: float,
    seconds: float,
    said: str,
) -> None:
    """Guards slow machines: a fifth of the speed gave 310 steps, and figures that convince nobody.

    The kind: how long it takes is said before it starts, a duration that the user sets is kept, and both
    runs are planned for the same seconds, though one of the three timings was disturbed.
    """

    class Planned(Exception):  # noqa: N818 (not an error)
        pass

    def stop(*_: Any, **__: Any) -> PretrainResult:
        raise Planned

    def timed(run: Config, **_: Any) -> float:
        turns.append(str(run.recipe))
        usual = step if run.recipe == "shapes-massrl" else step / 2
        return 9 * usual if len(turns) == 3 else usual

    turns: list[str] = []
    monkeypatch.setattr("massrl.train.timing.seconds_per_step", timed)
    for given in (None, 7.0):
        turns.clear()
        config = DemoConfig(out=str(tmp_path / "demo"), seconds=given)
        planned, steps = demo._plan(config, tmp_path, Console(quiet=True))
        assert planned == pytest.approx(given or seconds)
        assert steps["massrl"] == round(planned / step)
        assert steps["simclr"] == round(planned / (step / 2))
        assert turns == ["shapes-simclr", "shapes-massrl"] * 3
    monkeypatch.setattr(demo, "_pretrain", stop)
    turns.clear()
    with pytest.raises(Planned):
        run_demo(DemoConfig(out=str(tmp_path / "demo")), console=Console(width=200))
    shown = capsys.readouterr().out
    assert said in shown
    assert (f"a step takes {step:.2f} s" in shown) == (seconds > 90)
