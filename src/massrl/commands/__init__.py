"""The commands of the command line: a table, and a module for each command.

A command's module is imported when the command runs, so that ``massrl --help`` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One row of the table.

    Attributes:
        summary: one line.
        run: ``module:function``; it takes the arguments after the command and returns the exit code.
        usage: arguments that stand before the flags.
        options: ``module:class`` of the dataclass that the flags come from; ``None`` for none.
        own_flags: flags of the command line itself, with their help.
    """

    summary: str
    run: str
    usage: str = ""
    options: str | None = None
    own_flags: tuple[tuple[str, str], ...] = ()


START_FLAGS = (
    ("--recipe NAME", "start from this recipe: see massrl recipes"),
    ("--config FILE", "start from this file, such as another run's config.yaml"),
    ("--init-from RUN", "start anew from the weights of a run, or of a .safetensors file"),
)

COMMANDS: dict[str, Command] = {
    "demo": Command(
        "pre-train, judge, compare and draw in minutes, with no download",
        "massrl.commands.demo:run_demo_command",
        options="massrl.commands.demo:DemoConfig",
    ),
    "views": Command(
        "draw what each strategy does to your images; no training",
        "massrl.commands.views:run_views",
        usage="IMAGES",
        options="massrl.commands.views:SheetConfig",
    ),
    "pretrain": Command(
        "pre-train a backbone on images without labels",
        "massrl.commands.pretrain:run_pretrain",
        options="massrl.config.pretrain:Config",
        own_flags=(
            *START_FLAGS,
            (
                "--resume RUN",
                "go on with a run, as if it had never stopped; beside it stand flags that do not "
                "change its meaning, such as --data.train where the images have moved",
            ),
        ),
    ),
    "evaluate": Command(
        "judge a backbone, wherever it was trained, on labelled images",
        "massrl.commands.evaluate:run_evaluate",
        usage="BACKBONE",
        options="massrl.config.evaluation:EvaluateConfig",
    ),
    "compare": Command(
        "put the figures of several backbones side by side, in a table and a page",
        "massrl.commands.compare:run_compare",
        usage="FOLDER FOLDER …",
        options="massrl.config.evaluation:CompareConfig",
    ),
    "export": Command(
        "write a backbone for torchvision, timm or ONNX Runtime, with a model card",
        "massrl.commands.export:run_export",
        usage="BACKBONE",
        options="massrl.commands.export:ExportConfig",
    ),
    "import": Command(
        "take the backbone out of another project's checkpoint, accounting for every weight",
        "massrl.commands.import_backbone:run_import",
        usage="CHECKPOINT",
        options="massrl.commands.import_backbone:ImportConfig",
    ),
    "recipes": Command(
        "list the recipes, or show one: massrl recipes NAME",
        "massrl.commands.recipes:run_recipes",
        usage="[NAME]",
    ),
    "policies": Command(
        "list the strategies and layouts, or draw one strategy: massrl policies NAME",
        "massrl.commands.views:run_policies",
        usage="[NAME]",
        options="massrl.commands.views:PolicyChartConfig",
    ),
    "bench views": Command(
        "measure what views cost on this machine, of your own images",
        "massrl.commands.bench:run_bench_views",
        usage="IMAGES",
        options="massrl.commands.bench:BenchViewsConfig",
    ),
    "bench step": Command(
        "measure what a training step costs on this machine, stage by stage",
        "massrl.commands.bench:run_bench_step",
        options="massrl.config.pretrain:Config",
        own_flags=START_FLAGS[:2],
    ),
    "data check": Command(
        "decode every image once and list what is broken",
        "massrl.commands.data:run_check",
        usage="IMAGES",
        options="massrl.commands.data:CheckConfig",
    ),
    "data pack": Command(
        "pack images into tar files, whole or made smaller, to read them faster",
        "massrl.commands.data:run_pack",
        usage="IMAGES OUT",
        options="massrl.commands.data:PackConfig",
    ),
}
