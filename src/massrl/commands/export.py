"""Backbones in and out: another project's file made ours, ours written for another tool."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from massrl.commands.arguments import first
from massrl.config.checks import MANY, choice, in_range, raise_faults, require
from massrl.config.choices import STEMS
from massrl.config.evaluation import EvaluateConfig
from massrl.config.files import load_config
from massrl.config.parser import make
from massrl.config.renamed import translate_results
from massrl.errors import ConfigError
from massrl.evaluation.feature_cache import network_fingerprint
from massrl.evaluation.results import (
    METRICS,
    headline_metrics,
    results_path,
    same_weights,
    task_title,
)
from massrl.files import write_text
from massrl.report.model_card import Card, card_text
from massrl.runs.folder import RunFolder
from massrl.weights.backbone_file import backbone_about, save_backbone
from massrl.weights.formats import FORMATS, write_backbone
from massrl.weights.libraries import is_library_name
from massrl.weights.load import foreign_backbone, load_backbone


def import_file(wanted: ImportConfig) -> tuple[Path, list[str]]:
    """See ``massrl.import_backbone``."""
    path = Path(wanted.checkpoint).expanduser()
    out = Path(wanted.out).expanduser() if wanted.out else path.with_suffix(".safetensors")
    if out.exists() and (backbone_about(out) is None or out.resolve() == path.resolve()):
        raise ConfigError(f"{out} is there already, and not massrl's: --out names another file")
    taken, about = foreign_backbone(
        path,
        backbone=wanted.backbone,
        stem=wanted.stem,
        part=wanted.part,
        size=wanted.size,
        mean=wanted.mean,
        std=wanted.std,
    )
    save_backbone(out, taken.state, about)
    lines = taken.lines()
    if about["stem"] == "small" and wanted.stem is None:
        lines.append(
            "note   its 3×3 stem is taken to pad by 1; solo-learn's pads by 2: --stem small-pad2"
        )
    lines.append(
        f"images {about['size']} px, mean {about['mean']}, std {about['std']} (--size, --mean, --std)"
    )
    # Builds the network and takes the weights strictly; code that it names is what --backbone asked for.
    load_backbone(out, trust=True)
    return out, lines


def export_file(wanted: ExportConfig) -> tuple[Path, Path]:
    """See ``massrl.export_backbone``."""
    network = load_backbone(wanted.backbone)
    about = cast(dict[str, Any], network.about)
    out = Path(wanted.out).expanduser() if wanted.out else _beside(wanted)
    kind = FORMATS[wanted.format]
    if out.suffix != kind.suffix:
        raise ConfigError(f"--out {out}: a name that ends in {kind.suffix} is wanted")
    write_backbone(out, network, about, kind=wanted.format)
    card = out.with_name(f"{out.stem}-card.md" if out.stem == "README" else f"{out.stem}.md")
    path = Path(wanted.backbone)
    run = RunFolder(path) if path.is_dir() else None
    write_text(
        card,
        card_text(
            Card(
                file=out.name,
                kind=wanted.format,
                about=about,
                num_parameters=sum(item.numel() for item in network.parameters()),
                program=kind.program(about).replace("{file}", out.name),
                config=load_config(run.config).to_dict() if run is not None else None,
                data=_content(run.data) if run is not None else None,
                **_figures(results_path(wanted.backbone, EvaluateConfig()), network, about),
            )
        ),
    )
    return out, card


def _beside(wanted: ExportConfig) -> Path:
    """Where an export goes by itself: into the run folder, beside the file, or where one stands."""
    suffix = FORMATS[wanted.format].suffix
    path = Path(wanted.backbone)
    if is_library_name(wanted.backbone):
        return Path(f"{wanted.backbone.replace(':', '-')}-{wanted.format}{suffix}")
    folder, name = (path, "backbone") if path.is_dir() else (path.parent, path.stem)
    return folder / f"{name}-{wanted.format}{suffix}"


def _content(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _figures(path: Path, network: nn.Module, about: dict[str, Any]) -> dict[str, Any]:
    """Figures of these very weights."""
    results = translate_results(_content(path) or {})
    same = same_weights(results.get("backbone", {}), network_fingerprint(network), about)
    tasks = results.get("tasks", {}) if same else {}
    named = {
        task_title(name): (
            {METRICS[key]: value for key, value in headline_metrics(outcome).items()},
            f"{outcome['data']['val']['num_images']:,} images of {outcome['data']['val']['name']}",
        )
        for name, outcome in tasks.items()
    }
    software: dict[str, str] = next((item["software"] for item in tasks.values()), {})
    return {"tasks": named, "software": software}


def import_backbone(config: ImportConfig | dict[str, Any]) -> tuple[Path, list[str]]:
    """Take the backbone out of another project's file; nothing in the file is run.

    Args:
        config: which file, and what is known of its network.

    Returns:
        The file that was written, and an account of every weight, line by line.

    Raises:
        CheckpointError: if there is no backbone in it, or it would have to run code.
    """
    return import_file(config if isinstance(config, ImportConfig) else make(ImportConfig, config))


def export_backbone(config: ExportConfig | dict[str, Any]) -> tuple[Path, Path]:
    """Write a backbone as torchvision, timm, ONNX Runtime or massrl read it.

    Args:
        config: which backbone, which format, where to.

    Returns:
        The file, and the model card beside it.

    Raises:
        MassrlError: if the tool has no such network, or the backbone cannot be used.
    """
    return export_file(config if isinstance(config, ExportConfig) else make(ExportConfig, config))


def run_import(words: list[str]) -> int:
    """Run ``massrl import`` and return the exit code."""
    checkpoint = first(words, "the file to take a backbone out of")
    from massrl.config.parser import make

    config = make(ImportConfig, {"checkpoint": checkpoint}, arguments=words)

    file, lines = import_backbone(config)
    for line in lines:
        print(line)
    print(file)
    return 0


def run_export(words: list[str]) -> int:
    """Run ``massrl export`` and return the exit code."""
    backbone = first(words, "the run folder, file or name to export")
    from massrl.config.parser import make

    config = make(ExportConfig, {"backbone": backbone}, arguments=words)

    for path in export_backbone(config):
        print(path)
    return 0


EXPORT_FORMATS = ("safetensors", "torchvision", "timm", "onnx")


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """A backbone to take out of another project's file."""

    checkpoint: str = ""
    """The file: safetensors, or what `torch.save` wrote."""
    out: str = ""
    """File to write; beside the checkpoint, under its name, when it is left out."""
    backbone: str | None = None
    """Its network: found among torchvision's ResNets by their shapes; any timm name, or
    `module:function` of your own."""
    stem: str | None = None
    """Its first layers: `standard`, `small` (3×3, no pooling) or `small-pad2` (solo-learn's)."""
    part: str | None = None
    """Which of several backbones in the file, by what its keys begin with."""
    size: int | None = None
    """Side of the images that it is for, pixels; 224, or 32 with a small stem."""
    mean: tuple[float, float, float] | None = None
    """What its images are normalised by, of [0, 1]; ImageNet's when left out."""
    std: tuple[float, float, float] | None = None
    """Likewise."""

    def __post_init__(self) -> None:
        stems = [stem for stem in STEMS if stem != "auto"]
        raise_faults(
            require(
                self.stem is None or self.stem in stems,
                f"--stem is {self.stem!r}, but {', '.join(stems)} are accepted",
            ),
            in_range(self.size, 1, MANY, "--size"),
            *(in_range(value, 1e-6, MANY, "--std") for value in self.std or ()),
        )


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """A backbone to write as another tool reads it."""

    backbone: str = ""
    """Run folder, file, or name such as `torchvision:resnet50`."""
    format: str = "safetensors"
    """`safetensors`, `torchvision`, `timm` or `onnx`."""
    out: str = ""
    """File to write; in the run folder or beside the file when it is left out. A model card is written
    beside it."""

    def __post_init__(self) -> None:
        raise_faults(choice(self.format, EXPORT_FORMATS, "--format"))
