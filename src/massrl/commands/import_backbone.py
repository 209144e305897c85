"""``massrl import``: extract the backbone from another project's checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from massrl.commands.arguments import first
from massrl.config.checks import in_range, raise_faults
from massrl.config.choices import STEMS
from massrl.config.fields import field_faults, option
from massrl.config.parser import make
from massrl.errors import ConfigError

_STEMS = {name: meaning for name, meaning in STEMS.items() if name != "auto"}


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Options of ``massrl import``."""

    checkpoint: str = ""
    """The file: safetensors, or one of `torch.save`."""
    out: str = ""
    """File to write; beside the checkpoint, under its name, when left out."""
    backbone: str | None = None
    """Name of its network: any timm name, or `module:function` of your own; found by tensor shapes
    among torchvision's ResNets when left out."""
    stem: str | None = option(None, choices=_STEMS)
    """Its first layers; found likewise when left out."""
    part: str | None = None
    """Key prefix of the backbone to import, where the file has several."""
    size: int | None = None
    """Side of the images that it is for, pixels; 224, or 32 with a small stem, when left out."""
    mean: tuple[float, float, float] | None = None
    """Channel means its images are normalised by, in [0, 1]; ImageNet's when left out."""
    std: tuple[float, float, float] | None = None
    """Channel standard deviations, likewise."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self),
            in_range(self.size, "--size", low=1),
            *(in_range(value, "--std", low=1e-6) for value in self.std or ()),
        )


def import_backbone(config: ImportConfig | dict[str, Any]) -> tuple[Path, list[str]]:
    """Extract the backbone from another project's file; no code in the file is run.

    Args:
        config: the file, and what is known of its network.

    Returns:
        The file that was written, and an account of every tensor, line by line.

    Raises:
        CheckpointError: if the file has no backbone, or cannot be read without running code.
        ConfigError: if the file to write exists and was not written by massrl.
    """
    from massrl.weights.backbone_file import backbone_about, save_backbone
    from massrl.weights.load import foreign_backbone, load_backbone

    options = config if isinstance(config, ImportConfig) else make(ImportConfig, config)
    path = Path(options.checkpoint).expanduser()
    out = Path(options.out).expanduser() if options.out else path.with_suffix(".safetensors")
    if out.exists() and (backbone_about(out) is None or out.resolve() == path.resolve()):
        raise ConfigError(f"{out} exists and is not one of massrl's: choose another --out")
    imported, about = foreign_backbone(
        path,
        backbone=options.backbone,
        stem=options.stem,
        part=options.part,
        size=options.size,
        mean=options.mean,
        std=options.std,
    )
    save_backbone(out, imported.state, about=about)
    lines = imported.lines()
    if about["stem"] == "small" and options.stem is None:
        lines.append(
            "note      its 3×3 stem is assumed to pad by 1; solo-learn's pads by 2: --stem small-pad2"
        )
    lines.append(
        f"images    {about['size']} px, mean {about['mean']}, std {about['std']} "
        "(--size, --mean, --std)"
    )
    # Builds the network and loads the weights strictly. The code it may name is what --backbone said.
    load_backbone(out, trust=True)
    return out, lines


def run_import(words: list[str]) -> int:
    """Run ``massrl import`` and return the exit code."""
    checkpoint = first(words, "the file to import a backbone from")
    file, lines = import_backbone(make(ImportConfig, {"checkpoint": checkpoint}, arguments=words))
    for line in lines:
        print(line)
    print(file)
    return 0
