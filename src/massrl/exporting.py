"""Backbones in and out: another project's file made ours, ours written for another tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from torch import nn

from massrl.atomic import write_text
from massrl.checkpoint import backbone_about, save_backbone
from massrl.config_files import load_config
from massrl.errors import ConfigError
from massrl.evaluate_options import EvaluateConfig
from massrl.evaluating import results_path
from massrl.evaluation.feature_cache import network_fingerprint
from massrl.evaluation.judge import FIGURES, figures_of, title_of
from massrl.exchange.card import Card, card_text
from massrl.exchange.formats import FORMATS, write_backbone
from massrl.exchange.named import is_offered
from massrl.judged import are_same
from massrl.options import ExportConfig, ImportConfig
from massrl.pretrained import foreign_backbone, load_backbone
from massrl.run_folder import RunFolder


def import_file(wanted: ImportConfig) -> tuple[Path, list[str]]:
    """See ``massrl.api.import_backbone``."""
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
    """See ``massrl.api.export_backbone``."""
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
    if is_offered(wanted.backbone):
        return Path(f"{wanted.backbone.replace(':', '-')}-{wanted.format}{suffix}")
    folder, name = (path, "backbone") if path.is_dir() else (path.parent, path.stem)
    return folder / f"{name}-{wanted.format}{suffix}"


def _content(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _figures(path: Path, network: nn.Module, about: dict[str, Any]) -> dict[str, Any]:
    """Figures of these very weights."""
    results = _content(path) or {}
    same = are_same(results.get("backbone", {}), network_fingerprint(network), about)
    tasks = results.get("tasks", {}) if same else {}
    named = {
        title_of(name): (
            {FIGURES[key]: value for key, value in figures_of(outcome).items()},
            f"{outcome['data']['val']['num_images']:,} images of {outcome['data']['val']['name']}",
        )
        for name, outcome in tasks.items()
    }
    software: dict[str, str] = next((item["software"] for item in tasks.values()), {})
    return {"tasks": named, "software": software}
