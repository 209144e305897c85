"""The commands of the command line: a table, and a module for each command.

A command's module holds its options, its Python function and what the shell prints. It is imported when
the command runs, and imports what it needs inside its functions, so that help is printed at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One row of the table.

    Attributes:
        summary: one line.
        run: ``module:function``; it takes the arguments after the command and returns the exit code.
        usage: the arguments before the flags, as the help shows them.
        options: ``module:class`` of the dataclass that the flags are derived from; ``None`` for none.
        positional: fields of that dataclass that are given before the flags.
        own_flags: flags that are no field, with their help.
        unused: fields that have no effect on the command, whose flags it refuses.
    """

    summary: str
    run: str
    usage: str = ""
    options: str | None = None
    positional: tuple[str, ...] = ()
    own_flags: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()


START_FLAGS = (
    ("--recipe NAME", "start from this recipe: see massrl recipes"),
    ("--config FILE", "start from this file, such as another run's config.yaml"),
    (
        "--init-from RUN",
        "initialise the weights from a run, a .safetensors file, or torchvision:… or timm:…",
    ),
)

COMMANDS: dict[str, Command] = {
    "demo": Command(
        "pre-train, evaluate, compare and draw in minutes, without a download",
        "massrl.commands.demo:run_demo_command",
        options="massrl.commands.demo:DemoConfig",
    ),
    "views": Command(
        "draw the augmented views of your images; no training",
        "massrl.commands.views:run_views",
        usage="IMAGES",
        options="massrl.commands.views:SheetConfig",
        positional=("images",),
    ),
    "pretrain": Command(
        "pre-train a backbone on images without labels",
        "massrl.commands.pretrain:run_pretrain",
        options="massrl.config.pretrain:Config",
        own_flags=(
            *START_FLAGS,
            (
                "--overwrite",
                "start anew in a folder that has a run, or replace files of yours in it",
            ),
            (
                "--resume RUN",
                "continue a run as if it had never stopped; flags that do not change its result may be "
                "given too, such as --data.train where the images have moved",
            ),
        ),
    ),
    "evaluate": Command(
        "evaluate a backbone, wherever it was trained, on labelled images",
        "massrl.commands.evaluate:run_evaluate",
        usage="BACKBONE",
        options="massrl.config.evaluation:EvaluateConfig",
    ),
    "compare": Command(
        "compare the metrics of several backbones in a table and a page",
        "massrl.commands.compare:run_compare",
        usage="FOLDER FOLDER …",
        options="massrl.config.evaluation:CompareConfig",
        positional=("folders",),
    ),
    "export": Command(
        "write a backbone for torchvision, timm or ONNX Runtime, with a model card",
        "massrl.commands.export:run_export",
        usage="BACKBONE",
        options="massrl.commands.export:ExportConfig",
        positional=("backbone",),
    ),
    "import": Command(
        "take the backbone out of another project's checkpoint, accounting for every weight",
        "massrl.commands.import_backbone:run_import",
        usage="CHECKPOINT",
        options="massrl.commands.import_backbone:ImportConfig",
        positional=("checkpoint",),
    ),
    "recipes": Command(
        "list the recipes, or show one: massrl recipes NAME",
        "massrl.commands.recipes:run_recipes",
        usage="[NAME]",
    ),
    "policies": Command(
        "list the policies and layouts, or draw one policy: massrl policies NAME",
        "massrl.commands.policies:run_policies",
        usage="[NAME]",
        options="massrl.commands.policies:PolicyChartConfig",
        positional=("policy",),
    ),
    "parts": Command(
        "list every objective, policy, task, data source, … with the package it comes from",
        "massrl.commands.parts:run_parts",
    ),
    "bench views": Command(
        "measure what views of your own images cost on this machine",
        "massrl.commands.bench:run_bench_views",
        usage="IMAGES",
        options="massrl.commands.bench:BenchViewsConfig",
        positional=("images",),
    ),
    "bench step": Command(
        "measure what a training step costs on this machine, stage by stage",
        "massrl.commands.bench:run_bench_step",
        options="massrl.config.pretrain:Config",
        own_flags=START_FLAGS,
        unused=(
            *("out", "data.val", "train.epochs", "train.time_budget"),
            *("train.checkpoint_every", "train.log_every", "train.loggers", "train.probe_every"),
        ),
    ),
    "data check": Command(
        "decode every image once and list the broken ones",
        "massrl.commands.data:run_check",
        usage="IMAGES",
        options="massrl.commands.data:CheckConfig",
        positional=("images",),
    ),
    "data pack": Command(
        "pack images into tar files, as they are or smaller, to read them faster",
        "massrl.commands.data:run_pack",
        usage="IMAGES OUT",
        options="massrl.commands.data:PackConfig",
        positional=("images", "out"),
    ),
}
