"""The verbs of the command line: a table, and what each does with the words after it.

What a verb needs is imported when it runs, so that ``massrl --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from massrl.cli.words import first, none_left, take
from massrl.errors import ConfigError

if TYPE_CHECKING:
    from massrl.config import Config


@dataclass(frozen=True)
class Verb:
    """One thing to do.

    Attributes:
        summary: one line.
        run: takes the arguments after the verb, returns the exit code.
        usage: arguments that stand before the flags.
        kind: dataclass that the flags come from, with its module; ``None`` for none.
        own_flags: flags of the command line itself, with their help.
    """

    summary: str
    run: Callable[[list[str]], int]
    usage: str = ""
    kind: str | None = None
    own_flags: tuple[tuple[str, str], ...] = ()


def _pretrain(words: list[str]) -> int:
    run = take(words, "--resume")
    if run is not None:
        if any(take(words, flag) for flag in ("--recipe", "--config", "--init-from")):
            raise ConfigError(
                "--resume goes on with a run as it was started: no --recipe, --config or --init-from"
            )
        return _resume(run, words)
    config = _asked(words)
    from massrl.api import pretrain

    return _after_training(pretrain(config))


def _asked(words: list[str]) -> Config:
    """The configuration of a new run: flags over a file or a recipe, or over the default recipe."""
    from massrl.config_files import read_layers
    from massrl.configure import make_config
    from massrl.recipes import DEFAULT_RECIPE

    recipe, file, weights = (take(words, flag) for flag in ("--recipe", "--config", "--init-from"))
    if file is None:
        content = read_layers(recipe or DEFAULT_RECIPE)
    else:
        content = read_layers(Path(file), recipe=recipe)
    if weights is not None:
        words += ["--model.init_from", weights]
    return make_config(content, arguments=words)


def _resume(run: str, words: list[str]) -> int:
    from massrl.config_files import load_config
    from massrl.configure import make_config
    from massrl.run_folder import RunFolder

    content = load_config(RunFolder.existing(run, flag="--resume").config).to_dict()
    config = make_config(content, arguments=words)
    from massrl.api import resume

    return _after_training(resume(run, config))


def _after_training(result: Any) -> int:
    sitting, folder = result.sitting, result.folder
    if not result.leads:
        return 0
    if sitting.skipped:
        print(
            f"{len(sitting.skipped)} broken images were skipped; log.txt names them",
            file=sys.stderr,
        )
    if sitting.stopped_by is not None:
        print(f"stopped by {sitting.stopped_by} after step {sitting.step} and saved; go on with:")
        print(f"  massrl pretrain --resume {quote(str(folder))}")
        return 0
    print(f"done: {sitting.step} steps, {sitting.seconds:.0f} seconds")
    print(f"  backbone  {folder / 'backbone.safetensors'}")
    print(f"  report    {folder / 'report.html'}")
    print(
        f"judge it with: massrl evaluate {quote(str(folder))} --task knn,linear "
        f"--data.train DIR --data.val DIR"
    )
    return 0


def _evaluate(words: list[str]) -> int:
    backbone = first(words, "the run folder, file or name to judge")
    from massrl.configure import make
    from massrl.evaluate_options import EvaluateConfig

    config = make(EvaluateConfig, arguments=words)
    from massrl.api import evaluate
    from massrl.evaluating import results_path
    from massrl.evaluation.judge import FIGURES, figures_of

    tasks = evaluate(backbone, config)["tasks"]
    width = max(map(len, tasks))
    for name, outcome in tasks.items():
        figures = [f"{FIGURES[key]} {value:6.2f} %" for key, value in figures_of(outcome).items()]
        print("   ".join([f"{name:<{width}}", *figures, f"{outcome['num_images']:,} images"]))
    path = results_path(backbone, config)
    print(path)
    print(path.with_name("report.html"))
    return 0


def _compare(words: list[str]) -> int:
    from massrl.configure import make
    from massrl.evaluate_options import CompareConfig

    folders = []
    while words and not words[0].startswith("--"):
        folders.append(words.pop(0))
    config = make(CompareConfig, {"folders": folders}, arguments=words)
    from massrl.api import compare

    page, comparison = compare(config)
    for line in comparison.lines():
        print(line)
    print(page)
    return 0


def _import(words: list[str]) -> int:
    checkpoint = first(words, "the file to take a backbone out of")
    from massrl.configure import make
    from massrl.options import ImportConfig

    config = make(ImportConfig, {"checkpoint": checkpoint}, arguments=words)
    from massrl.api import import_backbone

    file, lines = import_backbone(config)
    for line in lines:
        print(line)
    print(file)
    return 0


def _export(words: list[str]) -> int:
    backbone = first(words, "the run folder, file or name to export")
    from massrl.configure import make
    from massrl.options import ExportConfig

    config = make(ExportConfig, {"backbone": backbone}, arguments=words)
    from massrl.api import export_backbone

    for path in export_backbone(config):
        print(path)
    return 0


def _views(words: list[str]) -> int:
    from massrl.configure import make
    from massrl.options import SheetConfig

    replayed = any(word.partition("=")[0] == "--replay" for word in words)
    given = not replayed or (words and not words[0].startswith("--"))
    images = first(words, "the images to show: a folder, a list or a name") if given else ""
    config = make(SheetConfig, {"images": images}, arguments=words)
    from massrl.api import draw_views

    print(draw_views(config))
    return 0


def _demo(words: list[str]) -> int:
    from massrl.configure import make
    from massrl.options import DemoConfig

    config = make(DemoConfig, arguments=words)
    from massrl.demo import run_demo

    run_demo(config)
    return 0


def _recipes(words: list[str]) -> int:
    from massrl.recipes import about_recipe, recipe_names

    if words:
        from massrl.config_files import config_text, read_layers
        from massrl.configure import make_config

        name = first(words, "the recipe")
        none_left(words)
        about = about_recipe(name)
        for key in ("summary", "source", "hardware", "cost", "expect"):
            print(f"# {key}: {getattr(about, key)}")
        print(config_text(make_config(read_layers(name))), end="")
        return 0
    width = max(map(len, recipe_names()))
    for name in recipe_names():
        print(f"{name:<{width}}  {about_recipe(name).summary}")
    print("\nmassrl recipes NAME shows one whole: source, hardware, cost, the figure to expect")
    return 0


def _policies(words: list[str]) -> int:
    if words:
        from massrl.configure import make
        from massrl.options import StrengthsConfig

        policy = first(words, "the strategy to draw")
        config = make(StrengthsConfig, {"policy": policy}, arguments=words)
        from massrl.api import draw_policy

        print(draw_policy(config))
        return 0
    from massrl.views.layouts import LAYOUTS
    from massrl.views.strategies import STRATEGIES

    strategies, layouts = list(STRATEGIES.values()), list(LAYOUTS.values())
    width = max(len(item.signature) for item in strategies)
    print("strategies (--views.policies takes any number of them, or a .yaml file of your own)")
    for strategy in strategies:
        print(f"  {strategy.signature:<{width}}  {strategy.summary}")
    print("\nlayouts (--views.layout)")
    for layout in layouts:
        print(f"  {layout.name:<{width}}  {layout.summary}")
    return 0


def _check(words: list[str]) -> int:
    from massrl.configure import make
    from massrl.options import CheckConfig

    images = first(words, "the images to check: a folder, a list or a name")
    config = make(CheckConfig, {"images": images}, arguments=words)
    from massrl.api import check_data

    report = check_data(config)
    for line in report.lines():
        print(line)
    return 0 if report.ok else 1


def _bench_views(words: list[str]) -> int:
    from massrl.configure import make
    from massrl.options import ViewCostConfig

    images = first(words, "the images to measure with: a folder, a list or a name")
    config = make(ViewCostConfig, {"images": images}, arguments=words)
    from massrl.api import measure_views

    cost = measure_views(config)
    print(f"{images}: {cost.num_images} images, {cost.views}, one thread")
    for line in cost.lines():
        print(line)
    speed = config.images_per_second
    if speed is not None:
        print(f"\nA step of {speed:,.0f} images/s needs --data.workers {cost.workers(speed)}")
    return 0


def _bench_step(words: list[str]) -> int:
    config = _asked(words)
    from massrl.api import measure_step

    cost = measure_step(config)
    views = f"{cost.num_views} view{'s' * (cost.num_views > 1)}"
    print(f"a step of {cost.batch_size} images, {views} of each")
    for line in cost.lines():
        print(line)
    return 0


def _pack(words: list[str]) -> int:
    from massrl.configure import make
    from massrl.options import PackConfig

    images = first(words, "the images to pack: a folder, a list or a name")
    out = first(words, "where to: a folder and the beginning of a name, such as packed/photos")
    config = make(PackConfig, {"images": images, "out": out}, arguments=words)
    from massrl.api import pack_data

    packed, left_out = pack_data(config)
    broken = f", {left_out} broken ones left out" if left_out else ""
    print(f"{packed} images packed{broken}; learn from them with:")
    print(f"  massrl pretrain --data.train {quote(out + '-*.tar')}")
    return 0


_STARTS = (
    ("--recipe NAME", "start from this recipe: see massrl recipes"),
    ("--config FILE", "start from this file, such as another run's config.yaml"),
    ("--init-from RUN", "start anew from the weights of a run, or of a .safetensors file"),
)

VERBS: dict[str, Verb] = {
    "demo": Verb(
        "pre-train, judge, compare and draw in minutes, with no download",
        _demo,
        kind="massrl.options.DemoConfig",
    ),
    "views": Verb(
        "draw what each strategy does to your images; no training",
        _views,
        usage="IMAGES",
        kind="massrl.options.SheetConfig",
    ),
    "pretrain": Verb(
        "pre-train a backbone on images without labels",
        _pretrain,
        kind="massrl.config.Config",
        own_flags=(
            *_STARTS,
            (
                "--resume RUN",
                "go on with a run, as if it had never stopped; beside it stand flags that do not "
                "change its meaning, such as --data.train where the images have moved",
            ),
        ),
    ),
    "evaluate": Verb(
        "judge a backbone, wherever it was trained, on labelled images",
        _evaluate,
        usage="BACKBONE",
        kind="massrl.evaluate_options.EvaluateConfig",
    ),
    "compare": Verb(
        "put the figures of several backbones side by side, in a table and a page",
        _compare,
        usage="FOLDER FOLDER …",
        kind="massrl.evaluate_options.CompareConfig",
    ),
    "export": Verb(
        "write a backbone for torchvision, timm or ONNX Runtime, with a model card",
        _export,
        usage="BACKBONE",
        kind="massrl.options.ExportConfig",
    ),
    "import": Verb(
        "take the backbone out of another project's checkpoint, accounting for every weight",
        _import,
        usage="CHECKPOINT",
        kind="massrl.options.ImportConfig",
    ),
    "recipes": Verb("list the recipes, or show one: massrl recipes NAME", _recipes, usage="[NAME]"),
    "policies": Verb(
        "list the strategies and layouts, or draw one strategy: massrl policies NAME",
        _policies,
        usage="[NAME]",
        kind="massrl.options.StrengthsConfig",
    ),
    "bench views": Verb(
        "measure what views cost on this machine, of your own images",
        _bench_views,
        usage="IMAGES",
        kind="massrl.options.ViewCostConfig",
    ),
    "bench step": Verb(
        "measure what a training step costs on this machine, stage by stage",
        _bench_step,
        kind="massrl.config.Config",
        own_flags=_STARTS[:2],
    ),
    "data check": Verb(
        "decode every image once and list what is broken",
        _check,
        usage="IMAGES",
        kind="massrl.options.CheckConfig",
    ),
    "data pack": Verb(
        "pack images into tar files, whole or made smaller, to read them faster",
        _pack,
        usage="IMAGES OUT",
        kind="massrl.options.PackConfig",
    ),
}
