"""``massrl import``: extract the backbone from another project's checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from massrl.commands.arguments import first
from massrl.commands.early_checks import check_file
from massrl.config.foreign import ForeignConfig
from massrl.config.parser import make


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Options of ``massrl import``."""

    checkpoint: str = ""
    """The file: safetensors, or one of `torch.save`."""
    out: str = ""
    """File to write; beside the checkpoint, under its name, when left out."""
    model: ForeignConfig = field(default_factory=ForeignConfig)
    """What the weights do not tell."""
    overwrite: bool = False
    """Replace files that massrl did not write for the same purpose too; never one that is read."""


def import_backbone(config: ImportConfig | dict[str, Any]) -> tuple[Path, list[str]]:
    """Extract the backbone from another project's file; no code in the file is run.

    Args:
        config: the file, and what is known of its network.

    Returns:
        The file that was written, and an account of every tensor, line by line.

    Raises:
        CheckpointError: if the file has no backbone, or cannot be read without running code.
        ConfigError: if the file to write exists and is not of an earlier import.
    """
    options = config if isinstance(config, ImportConfig) else make(ImportConfig, config)
    path = Path(options.checkpoint).expanduser()
    check_file(path, options.model)
    from massrl.files import check_outputs
    from massrl.weights.backbone_file import save_backbone
    from massrl.weights.load import foreign_backbone, load_backbone

    out = Path(options.out).expanduser() if options.out else path.with_suffix(".safetensors")
    check_outputs({out: "import"}, inputs=[path], overwrite=options.overwrite)
    imported, about = foreign_backbone(path, options.model)
    save_backbone(out, imported.state, about=about, command="import")
    lines = imported.lines()
    lines.append(
        f"images    {about['size']} px, mean {about['mean']}, std {about['std']} "
        "(--model.size, --model.mean, --model.std)"
    )
    # Builds the network and loads the weights strictly. The code it may name is what --model.backbone said.
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
