"""The command line: a table of verbs, each with the dataclass its flags are derived from.

Nothing heavy is imported until a verb runs, so that ``massrl --help`` answers at once. Only this
module prints and exits: 0 when done, or stopped by a signal and saved; 2 for a mistake, with one
line that says what is accepted; 1 for a fault of our own, or when broken images were found; 130 for
Ctrl-C where there was nothing to save.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from shlex import quote
from typing import Any

from massrl.errors import ConfigError, MassrlError, suggest
from massrl.words import first, none_left, take

_PROG = "massrl"
_POSITIONAL = ("--recipe", "--images")  # fields that are given otherwise than by their flag


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    # Torch's threads spin while they wait for each other. Beside loader processes, or on a shared
    # machine, they then burn the very cores that they wait for: a step can take six times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return _quietly(words)
    except MassrlError as error:
        if debug:
            raise
        print(f"{_PROG}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"{_PROG}: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        print(
            f"{_PROG}: unexpected {type(error).__name__}: {' '.join(str(error).split())} "
            f"(--debug shows where)",
            file=sys.stderr,
        )
        return 1


def _quietly(words: list[str]) -> int:
    try:
        return _dispatch(words)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stderr.close()
        return 0


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        from massrl import __version__

        print(f"{_PROG} {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name == "data":
        name, rest = f"data {rest[0] if rest else ''}".strip(), rest[1:]
    if name not in VERBS:
        raise ConfigError(f"unknown command {name!r}: {suggest(name, VERBS)}")
    if "-h" in rest or "--help" in rest:
        print(_help(name))
        return 0
    return VERBS[name].run(rest)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: massrl COMMAND [--flags]      massrl COMMAND --help",
            "",
            "Pre-train visual backbones without labels, on views of several strategies.",
            "",
            *lines,
            "",
            "  --debug on any command shows an error's whole traceback; --version the version.",
        ]
    )


def _help(name: str) -> str:
    verb = VERBS[name]
    lines = [f"usage: {_PROG} {name} {verb.usage} [--flags]".replace("  ", " "), "", verb.summary]
    if verb.own_flags:
        width = max(len(flag) for flag, _ in verb.own_flags)
        lines += ["", *(f"  {flag:<{width}}  {text}" for flag, text in verb.own_flags)]
    if verb.kind is not None:
        from massrl.configure import help_text, read_layers
        from massrl.recipes import DEFAULT_RECIPE

        module, _, kind = verb.kind.rpartition(".")
        defaults = read_layers(DEFAULT_RECIPE) if name == "pretrain" else {}
        text = help_text(getattr(import_module(module), kind), defaults, skip=_POSITIONAL)
        lines += ["", text, "", "In brackets: the value when nothing else is asked for."]
    return "\n".join(lines)


def _pretrain(words: list[str]) -> int:
    run, recipe, file = (take(words, flag) for flag in ("--resume", "--recipe", "--config"))
    if run is not None:
        on_error = take(words, "--data.on_error")
        if words or recipe or file:
            raise ConfigError(
                "--resume goes on with a run as it was started: only --data.on_error fits beside it"
            )
        from massrl.api import resume
        from massrl.config import DataConfig

        DataConfig(on_error=on_error or "stop")  # refuses what is neither stop nor skip
        return _after_training(resume(run, on_error=on_error))
    from massrl.configure import make_config, read_config_file, read_layers
    from massrl.recipes import DEFAULT_RECIPE

    layers = [read_layers(recipe or DEFAULT_RECIPE)]
    if file is not None:
        layers.append(read_layers(_path(file)))
        if recipe:
            own = read_config_file(_path(file))
            if own.get("recipe") not in (None, recipe):
                raise ConfigError(
                    f"{file} builds on the recipe {own['recipe']!r}: --recipe {recipe} cannot lie "
                    f"under it (leave out --recipe, or edit the file)"
                )
            layers[-1] = own
        if (_path(layers[-1].get("out") or file).resolve()) == _path(file).resolve().parent:
            layers.append({"out": ""})  # a run's own configuration: its repeat goes elsewhere
    config = make_config(*layers, arguments=words)
    from massrl.api import pretrain

    return _after_training(pretrain(config))


def _after_training(result: Any) -> int:
    sitting, folder = result.sitting, result.folder
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
    backbone = first(words, "the run folder or .safetensors file to judge")
    from massrl.configure import make
    from massrl.options import EvaluateConfig

    config = make(EvaluateConfig, arguments=words)
    from massrl.api import evaluate, results_path

    results = evaluate(backbone, config)
    for task in config.task:
        figures = results[task]
        fifth = "" if figures["acc5"] is None else f"   Acc@5 {figures['acc5']:6.2f} %"
        print(f"{task:<8} Acc@1 {figures['acc1']:6.2f} %{fifth}   {figures['num_images']:,} images")
    print(results_path(backbone, config))
    return 0


def _views(words: list[str]) -> int:
    from massrl.configure import make
    from massrl.options import SheetConfig

    images = first(words, "the images to show: a folder, a list or a name")
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
        from massrl.configure import config_text, make_config, read_layers

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
    none_left(words)
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


def _path(text: str) -> Any:
    from pathlib import Path

    return Path(text)


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
            ("--recipe NAME", "start from this recipe: see massrl recipes"),
            ("--config FILE", "start from this file, such as another run's config.yaml"),
            ("--resume RUN", "go on with a run, as if it had never stopped"),
        ),
    ),
    "evaluate": Verb(
        "judge a backbone on labelled images: k-NN and linear probe",
        _evaluate,
        usage="RUN",
        kind="massrl.options.EvaluateConfig",
    ),
    "recipes": Verb("list the recipes, or show one: massrl recipes NAME", _recipes, usage="[NAME]"),
    "policies": Verb("list the augmentation strategies and the view layouts", _policies),
    "data check": Verb(
        "decode every image once and list what is broken",
        _check,
        usage="IMAGES",
        kind="massrl.options.CheckConfig",
    ),
}

if __name__ == "__main__":
    sys.exit(main())
