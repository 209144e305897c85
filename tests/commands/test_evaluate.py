"""``massrl evaluate``: what is run, where results are written, which ones stay, and what is printed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tests.conftest import ABOUT, photos
from tests.data.conftest import voc

import massrl
from massrl.cli import main
from massrl.commands.evaluate import results_path
from massrl.commands.import_backbone import import_backbone
from massrl.config.evaluation import EvaluateConfig
from massrl.errors import CheckpointError, ConfigError, DataError, ImageError, TrainingError
from massrl.evaluation.results import headline_metrics
from massrl.weights.backbone_file import save_backbone
from massrl.weights.load import load_backbone, random_backbone

SHAPES = {"train": "shapes(count=60)", "val": "shapes(count=40)"}
QUICK = {
    "sgd": {"epochs": 1, "batch_size": 20, "lrs": [0.1]},
    "semi": {"fractions": [0.5], "lrs": [0.1], "epochs": [1]},
    "features": {"points": 20, "rows": 2, "invariance_images": 8},
    "detect": {"epochs": 0.2, "size": 32, "width": 8, "regions": 8, "pictures": 1},
    "segment": {"epochs": 0.2, "size": 32, "pictures": 1},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASSRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def backbone(path: Path, *, seed: int = 0) -> Path:
    about = {**ABOUT, "seed": seed}
    save_backbone(path, random_backbone(about).state_dict(), about=about)
    return path


def evaluate(path: str | Path, **config: Any) -> dict[str, Any]:
    return massrl.evaluate(path, {"data": SHAPES, **QUICK, **config}, console=Console(quiet=True))


def test_all_tasks_have_metrics_and_a_part_of_the_page(tmp_path: Path) -> None:
    """Guards ``--task all`` on the embedded data, and what a reader of results.json relies on."""
    results = evaluate(backbone(tmp_path / "a.safetensors"), task=["all"])
    wanted = ["knn", "linear", "linear-sgd", "semi-supervised-50", "features", "detect", "segment"]
    assert list(results["tasks"]) == wanted
    folder = tmp_path / "a-results"
    assert json.loads((folder / "results.json").read_text(encoding="utf-8")) == results
    for name, result in results["tasks"].items():
        assert {"config", "data", "software", "hardware", "commit", "seconds"} <= set(result)
        assert result["num_images"] == 40
        if name not in ("features", "detect", "segment"):
            assert {"acc1", "acc5", "mean_per_class", "per_class", "confusion"} <= set(result)
    assert {"ap", "ap50", "ap75", "mask_ap"} <= set(results["tasks"]["detect"])
    assert {"miou", "per_class"} <= set(results["tasks"]["segment"])
    assert (folder / "detect.png").is_file()
    assert (folder / "segment.png").is_file()
    page = (folder / "report.html").read_text(encoding="utf-8")
    for words in (
        "k-NN",
        "linear probe",
        "linear, trained on crops",
        "fine-tuned on 50 %",
        "Confusion matrix",
        "mean IoU",
        "mask AP",
    ):
        assert words in page


def test_all_skips_tasks_that_the_images_do_not_allow(
    tmp_path: Path,
) -> None:
    """Guards ``--task all`` on a plain folder, and a task that is asked for against being skipped."""
    path = backbone(tmp_path / "a.safetensors")
    photos(tmp_path / "photos", "x", "y", count=10)
    data = {"train": str(tmp_path / "photos"), "val": None}
    results = evaluate(path, task=["all"], data=data)
    assert list(results["tasks"]) == [
        "knn",
        "linear",
        "linear-sgd",
        "semi-supervised-50",
        "features",
    ]
    with pytest.raises(DataError, match="has no objects"):
        evaluate(path, task=["knn", "detect"], data=data)


def test_transfer_reports_each_set_by_its_own_metric(tmp_path: Path) -> None:
    """Guards one table over data sets of different kinds: a name, a folder, several classes an image."""
    path = backbone(tmp_path / "a.safetensors")
    photos(tmp_path / "flowers102", "x", "y", count=10)  # a folder of that name has its metric
    root = voc(tmp_path / "cells")
    lists = root / "ImageSets" / "Main"
    (lists / "train.txt").write_text("i0\ni1\ni2\n")
    (lists / "test.txt").write_text("i3\ni4\n")
    for number in range(5):
        name = "cell" if number % 3 else "plate"
        text = (root / "Annotations" / f"i{number}.xml").read_text()
        (root / "Annotations" / f"i{number}.xml").write_text(text.replace("cell", name, 1))
    sets = ["shapes(count=60)", str(tmp_path / "flowers102"), str(root)]
    transfer = {"sets": sets, "finetune": True, "lrs": [0.1], "epochs": [1]}
    tasks = evaluate(path, task=["transfer"], data={}, transfer=transfer)["tasks"]
    assert list(tasks) == [
        "transfer-shapes(count=60)",
        "transfer-shapes(count=60)-finetuned",
        "transfer-flowers102",
        "transfer-flowers102-finetuned",
        "transfer-cells",
        "transfer-cells-finetuned",
    ]
    metrics = [next(iter(headline_metrics(item))) for item in tasks.values()]
    assert metrics == ["acc1", "acc1", "mean_per_class", "mean_per_class", "map11", "map11"]
    assert tasks["transfer-cells"]["num_images"] == 2
    few = {"sets": [str(root)]}
    cells = evaluate(path, task=["transfer"], data={"limit": 2}, transfer=few)["tasks"]
    assert cells["transfer-cells"]["data"]["train"]["num_images"] == 2
    shutil.copytree(root, tmp_path / "VOCdevkit" / "VOC2007")
    lists = tmp_path / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
    (lists / "train.txt").rename(lists / "trainval.txt")
    named = {"sets": ["voc2007"]}
    by_name = evaluate(path, task=["transfer"], data={"root": str(tmp_path)}, transfer=named)
    assert by_name["tasks"]["transfer-voc2007"]["num_images"] == 2
    for number in (2, 4):
        (root / "JPEGImages" / f"i{number}.png").write_bytes(b"broken")
    skip = {"on_error": "skip", "limit": 3}
    cells = evaluate(path, task=["transfer"], data=skip, transfer=few)["tasks"]["transfer-cells"]
    assert (cells["data"]["train"]["num_images"], cells["num_images"]) == (2, 1)
    assert cells["data"]["left_out"] == 2
    with pytest.raises(ImageError, match="--data.on_error skip"):
        evaluate(path, task=["transfer"], data={}, transfer=few, cache=False)
    page = (tmp_path / "a-results" / "report.html").read_text(encoding="utf-8")
    for words in ("Other data sets", "flowers102, fine-tuned", "11-point mAP"):
        assert words in page
    with pytest.raises(ConfigError, match="--transfer.sets"):
        evaluate(path, task=["transfer"])


def test_results_are_merged_with_earlier_ones_of_the_same_weights(tmp_path: Path) -> None:
    """Guards hours of results against the next command, and results of other weights against staying."""
    path = backbone(tmp_path / "a.safetensors")
    knn = evaluate(path, task=["knn"])["tasks"]["knn"]
    both = evaluate(path, task=["linear"])["tasks"]
    assert list(both) == ["knn", "linear"]
    assert both["knn"] == knn
    backbone(path, seed=1)
    assert list(evaluate(path, task=["linear"])["tasks"]) == ["linear"]


def test_features_are_extracted_once_and_then_read_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards "extracted once, shared by the tasks", over commands and within one."""
    from massrl.evaluation import context

    path, made = backbone(tmp_path / "a.safetensors"), []
    real = context.extract_features
    monkeypatch.setattr(
        context, "extract_features", lambda *a, **o: made.append(1) or real(*a, **o)
    )
    evaluate(path, task=["knn", "linear"])
    assert len(made) == 2
    evaluate(path, task=["knn", "linear-sgd"])
    assert len(made) == 2
    evaluate(path, task=["knn"], cache=False)
    assert len(made) == 4


@pytest.mark.parametrize(
    ("name", "config", "wanted"),
    [
        ("run", {}, "run/results.json"),
        ("run", {"random_init": True}, "run/results-random-init.json"),
        ("x/a.safetensors", {}, "x/a-results/results.json"),
        ("x/a.ckpt", {"out": "there"}, "there/results.json"),
        ("timm:resnet18.a1_in1k", {}, "runs/timm-resnet18.a1_in1k/results.json"),
    ],
)
def test_results_are_written_beside_their_backbone(
    name: str, config: dict[str, Any], wanted: str, tmp_path: Path
) -> None:
    """Guards the results of one backbone against those of another."""
    (tmp_path / "run").mkdir()
    assert results_path(name, EvaluateConfig(**config)) == Path(wanted)


def test_checkpoint_of_another_project_is_evaluated_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards "what people use even for backbones they trained elsewhere"."""
    network = random_backbone({**ABOUT, "seed": 3})
    weights = {f"backbone.{name}": item for name, item in network.state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "theirs.ckpt")
    results = evaluate(tmp_path / "theirs.ckpt", task=["knn"], model={"stem": ABOUT["stem"]})
    assert results["backbone"]["backbone"] == "resnet10-tiny"
    assert results["backbone"]["source"] == "theirs.ckpt"
    assert (
        "was not written by massrl: its images are prepared as for ImageNet, 32 px" in caplog.text
    )
    assert (tmp_path / "theirs-results" / "results.json").is_file()


def test_failing_task_keeps_earlier_results_and_is_skipped_by_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards hours of results against the last task's error."""
    path = backbone(tmp_path / "a.safetensors")
    broken = {"fractions": [0.5], "lrs": [1e6], "epochs": [3]}
    with pytest.raises(TrainingError):
        evaluate(path, task=["knn", "semi-supervised"], semi=broken)
    results = json.loads((tmp_path / "a-results" / "results.json").read_text(encoding="utf-8"))
    assert list(results["tasks"]) == ["knn"]
    page = tmp_path / "a-results" / "report.html"
    assert "k-NN" in page.read_text(encoding="utf-8")
    tasks = evaluate(path, task=["all"], semi=broken)["tasks"]
    assert list(tasks) == ["knn", "linear", "linear-sgd", "features", "detect", "segment"]
    assert "semi-supervised is skipped" in caplog.text
    lost = {"sets": ["shapes(count=60)"], "finetune": True, "lrs": [1e6], "epochs": [3]}
    with pytest.raises(TrainingError):
        evaluate(path, task=["transfer"], transfer=lost)
    results = json.loads((tmp_path / "a-results" / "results.json").read_text(encoding="utf-8"))
    assert "transfer-shapes(count=60)" in results["tasks"]  # its probe came before


def test_skipped_tasks_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Guards ``--task all`` against ending at the first set that is not there, or skipping tasks silently."""
    caplog.set_level("INFO")
    path = backbone(tmp_path / "a.safetensors")
    sets = {"sets": ["food101", "shapes(count=60)"]}
    data = {"train": "shapes(count=60)", "val": "nothing", "root": str(tmp_path), "download": False}
    tasks = evaluate(path, task=["all"], transfer=sets, data=data)["tasks"]
    assert list(tasks) == ["transfer-shapes(count=60)"]
    assert "transfer-food101 is skipped: food101 is not there" in caplog.text
    assert "skipped: 'nothing' is neither a path that exists" in caplog.text
    lacking = {"train": str(voc(tmp_path / "set"))}
    vit = {"task": ["all"], "data": lacking, "random_init": True}
    with pytest.raises(ConfigError, match="no task could be run"):
        evaluate("timm:vit_tiny_patch16_224", **vit)


def test_results_on_images_of_another_size_do_not_stay(tmp_path: Path) -> None:
    """Guards one table against metrics at different sizes."""
    path = backbone(tmp_path / "a.safetensors")
    evaluate(path, task=["knn"])
    about = {**ABOUT, "seed": 0, "size": 16}
    save_backbone(path, random_backbone({**about, "size": 32}).state_dict(), about=about)
    assert list(evaluate(path, task=["linear"])["tasks"]) == ["linear"]


def test_broken_images_of_objects_are_counted(tmp_path: Path) -> None:
    """Guards ``--data.on_error skip`` against metrics on fewer images than it says."""
    root = voc(tmp_path / "set")
    (root / "ImageSets" / "Main" / "train.txt").write_text("i0\ni1\ni3\n")
    (root / "JPEGImages" / "i1.png").write_bytes(b"broken")
    data = {"train": str(root), "on_error": "skip"}
    detected = evaluate(backbone(tmp_path / "a.safetensors"), task=["detect"], data=data)
    assert detected["tasks"]["detect"]["data"]["left_out"] == 1
    assert detected["tasks"]["detect"]["data"]["train"]["num_images"] == 2


def test_missing_image_is_reported_with_the_cache_too(tmp_path: Path) -> None:
    """Guards the message of a dangling link, which the cache looks at first."""
    folder = photos(tmp_path / "photos", "x", "y", count=10)
    (folder / "x" / "gone.png").symlink_to(tmp_path / "nothing.png")
    data = {"train": str(folder), "val": None}
    with pytest.raises(ImageError, match="--data.on_error skip"):
        evaluate(backbone(tmp_path / "a.safetensors"), task=["knn"], data=data)


def test_data_sets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Guards the first of two folders of one name against being lost silently."""
    for number, place in enumerate("xy"):
        photos(tmp_path / place / "set", "a", "b", count=10, seed=number)
    sets = [str(tmp_path / place / "set") for place in "xy"]
    path = backbone(tmp_path / "a.safetensors")
    tasks = evaluate(path, task=["transfer"], data={}, transfer={"sets": sets})["tasks"]
    assert list(tasks) == [f"transfer-{spec}" for spec in sets]


def test_page_shows_maps_of_its_own_weights_alone(tmp_path: Path) -> None:
    """Guards the page against the maps that another backbone left in the folder."""
    out = str(tmp_path / "out")
    evaluate(backbone(tmp_path / "a.safetensors"), task=["features"], out=out)
    page = tmp_path / "out" / "report.html"
    assert "PCA of the features" in page.read_text(encoding="utf-8")
    evaluate(backbone(tmp_path / "b.safetensors", seed=1), task=["knn"], out=out, overwrite=True)
    assert "PCA of the features" not in page.read_text(encoding="utf-8")


PLUGIN = """
from massrl.evaluation.task import Task, TaskResult

class Spread(Task):
    title = "spread of the features"
    headline = ("spread", "least_spread")
    settings = ("seed",)

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def run(self, context, config):
        stds = context.test_features.values.std(0) * self.alpha
        metrics = {"spread": float(stds.mean()), "least_spread": float(stds.min())}
        yield TaskResult(name=self.name, metrics=metrics, settings={"alpha": self.alpha})
        yield TaskResult(name=f"{self.name}-guess", metrics={"acc1": 10.0, "num_images": 7})
"""


def test_task_of_another_package_runs_from_the_shell_to_the_page_and_the_comparison(
    tmp_path: Path, plugin: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the one way to add a task: a class, an entry point, and nothing in massrl."""
    plugin(PLUGIN, {"massrl.tasks": {"spread": "my_plugin:Spread"}})
    folders = []
    for seed, name in enumerate("ab"):
        path = backbone(tmp_path / f"{name}.safetensors", seed=seed)
        words = ["--data.train=shapes(count=60)", "--data.val=shapes(count=40)"]
        assert main(["evaluate", str(path), "--task", "spread,knn,spread(alpha=2)", *words]) == 0
        folders.append(str(tmp_path / f"{name}-results"))
    said = capsys.readouterr().out
    results = json.loads((tmp_path / "a-results" / "results.json").read_text(encoding="utf-8"))
    names = ["spread", "spread-guess", "knn", "spread(alpha=2)", "spread(alpha=2)-guess"]
    assert list(results["tasks"]) == names
    assert [item["num_images"] for item in results["tasks"].values()] == [40, 7, 40, 40, 7]
    once, twice = results["tasks"]["spread"], results["tasks"]["spread(alpha=2)"]
    assert twice["spread"] == pytest.approx(2 * once["spread"])
    assert twice["alpha"] == 2
    assert once["data"]["val"]["num_images"] == 40
    assert once["headline"] == ["spread", "least_spread"]
    assert f"least spread {once['least_spread']:6.2f} %" in said
    page = (tmp_path / "a-results" / "report.html").read_text(encoding="utf-8")
    for text in ("spread of the features (alpha=2)", "least spread", f"{once['spread']:.1f} %"):
        assert text in page
    assert main(["compare", *folders, "--out", str(tmp_path / "both")]) == 0
    said = capsys.readouterr().out
    assert f"{once['spread']:.2f}" in said
    assert "not the same" not in said
    page = (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    assert "spread of the features" in page
    assert main(["evaluate", "--help"]) == 0
    assert "`spread`" in capsys.readouterr().out


def test_metrics_are_printed_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards what a person sees: metrics, images, and where the files are."""
    path = backbone(tmp_path / "a.safetensors")
    words = ["--data.train", SHAPES["train"], "--data.val", SHAPES["val"], "--task", "knn,linear"]
    assert main(["evaluate", str(path), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    results = json.loads((tmp_path / "a-results" / "results.json").read_text(encoding="utf-8"))
    for line, name in zip(lines, ("knn", "linear"), strict=False):
        assert line.startswith(f"{name:<6}   Acc@1 {results['tasks'][name]['acc1']:6.2f} %")
        assert line.endswith("40 images")
    assert lines[2:] == [
        str(tmp_path / "a-results" / file) for file in ("results.json", "report.html")
    ]


def test_results_of_version_0_1_0_are_merged_and_rewritten(tmp_path: Path) -> None:
    """Guards results of hours that the version before wrote."""
    path = backbone(tmp_path / "a.safetensors")
    evaluate(path, task=["linear", "semi-supervised"], random_init=True)
    folder = tmp_path / "a-results"
    file = folder / "results-random-init.json"
    old = json.loads(file.read_text(encoding="utf-8"))
    old["backbone"]["untrained"] = old["backbone"].pop("random_init")
    linear = old["tasks"]["linear"]
    linear["strength"] = linear.pop("C")
    old["tasks"]["semi-50"] = old["tasks"].pop("semi-supervised-50")
    (folder / "results-untrained.json").write_text(json.dumps(old), encoding="utf-8")
    file.unlink()
    results = evaluate(path, task=["knn"], random_init=True)
    assert list(results["tasks"]) == ["linear", "semi-supervised-50", "knn"]
    assert "C" in results["tasks"]["linear"]
    assert json.loads(file.read_text(encoding="utf-8")) == results
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "fine-tuned on 50 % of the labels" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--untrained"], "flag --untrained is now --random_init"),
        (["--semi.shares=0.1"], "flag --semi.shares is now --semi.fractions"),
        (["--sgd.rates=0.1"], "flag --sgd.rates is now --sgd.lrs"),
        (["--look.points=9"], "flag --look.points is now --features.points"),
        (["--task=knn,semi"], "'semi' is now 'semi-supervised'"),
        (["--task=look"], "'look' is now 'features'"),
        (["--task=lineer"], "--task is 'lineer': did you mean 'linear'"),
    ],
)
def test_old_or_unknown_name_is_refused_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards scripts of version 0.1.0 against an answer that does not say what to write."""
    assert main(["evaluate", "run", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_module_that_does_not_tell_how_images_are_prepared_is_refused() -> None:
    """Guards features of images that are normalised as no one knows."""
    with pytest.raises(ConfigError, match="load_backbone"):
        massrl.evaluate(torch.nn.Identity(), {"data": SHAPES})


def test_loaded_network_is_evaluated_without_writing(tmp_path: Path) -> None:
    """Guards ``massrl.evaluate(massrl.load_backbone(file))``, whose results only the caller gets."""
    path = backbone(tmp_path / "a.safetensors")
    network = massrl.load_backbone(path)
    results = massrl.evaluate(network, {"data": SHAPES, "task": ["knn"], "cache": False})
    assert results["backbone"]["name"] is None
    assert list(tmp_path.iterdir()) == [path]
    direct = evaluate(path, task=["knn"])
    assert results["tasks"]["knn"]["acc1"] == direct["tasks"]["knn"]["acc1"]


def test_stem_is_asked_for_and_evaluated_as_it_is_named(tmp_path: Path) -> None:
    """Guards features of a network that is not the checkpoint's own, in ``evaluate`` and ``export``.

    A file of massrl's, a name of a library and a module tell it themselves.
    """
    state = random_backbone({**ABOUT, "stem": "small-pad2"}).state_dict()
    path = tmp_path / "theirs.pth"
    torch.save({"state_dict": {f"net.{key}": item for key, item in state.items()}}, path)
    data = {"train": "shapes(count=40,size=32)", "limit": 20}
    with pytest.raises(CheckpointError, match=r"--model\.stem small "):
        evaluate(path, task=("knn",), data=data)
    for stem in ("small", "small-pad2"):
        results = evaluate(path, task=("knn",), data=data, k=3, model={"stem": stem})
        assert results["backbone"]["stem"] == stem
    file, _ = import_backbone({"checkpoint": str(path), "model": {"stem": "small-pad2"}})
    for named in (file, load_backbone(file), "torchvision:resnet18"):
        with pytest.raises(ConfigError, match=r"no --model\.stem, which"):
            massrl.evaluate(named, {"model": {"stem": "small"}, "data": data})
