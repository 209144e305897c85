"""``massrl export``: write a backbone in a format that another tool reads, with a model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massrl.commands.arguments import first
from massrl.commands.early_checks import check_backbone
from massrl.commands.evaluate import results_path
from massrl.config.checks import raise_faults
from massrl.config.evaluation import EvaluateConfig
from massrl.config.fields import field_faults, option
from massrl.config.foreign import ForeignConfig
from massrl.config.parser import make
from massrl.errors import CheckpointError, ConfigError
from massrl.registry import FORMATS

if TYPE_CHECKING:
    from massrl.report.stored_metrics import Measured
    from massrl.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of ``massrl export``."""

    backbone: str = ""
    """Run folder, file, or name such as `torchvision:resnet50`."""
    format: str = option("safetensors", choices=FORMATS)
    """Format of the file."""
    out: str = ""
    """File to write; in the run folder or beside the file when left out. A model card is written beside
    it."""
    model: ForeignConfig = field(default_factory=ForeignConfig)
    """What the weights of another project's checkpoint do not tell."""
    overwrite: bool = False
    """Replace files that massrl did not write for the same purpose too; never one that is read."""

    def __post_init__(self) -> None:
        raise_faults(*field_faults(self))


def export_backbone(config: ExportConfig | dict[str, Any]) -> tuple[Path, Path]:
    """Write a backbone for torchvision, timm, ONNX Runtime or another tool, with a model card.

    Args:
        config: the backbone, the format, and where to write.

    Returns:
        The file, and the model card beside it.

    Raises:
        MassrlError: if the format cannot hold the network, or the backbone cannot be loaded.
    """
    options = config if isinstance(config, ExportConfig) else make(ExportConfig, config)
    check_backbone(options.backbone, options.model)
    from massrl.files import check_outputs, write_text
    from massrl.report.model_card import Card, card_text
    from massrl.runs.folder import RunFolder
    from massrl.runs.provenance import weights_hash
    from massrl.weights.formats import write_backbone
    from massrl.weights.load import load_backbone

    kind = FORMATS.load(options.format)
    out = Path(options.out).expanduser() if options.out else _default_path(options, kind.suffix)
    if out.suffix != kind.suffix:
        raise ConfigError(f"--out is {out}, but a name that ends in {kind.suffix} is wanted")
    # A README.md beside README.safetensors would take the place of somebody's own.
    page = out.with_name(f"{out.stem}-card.md" if out.stem == "README" else f"{out.stem}.md")
    folder = RunFolder(options.backbone)
    read = folder.backbone if folder.path.is_dir() else folder.path
    check_outputs({out: "export", page: "export"}, inputs=[read], overwrite=options.overwrite)
    network: Any = load_backbone(options.backbone, model=options.model)
    is_run = Path(options.backbone).is_dir()
    of_run = _of_run(RunFolder(options.backbone)) if is_run else {"config": None, "data": None}
    measured = _measured(options.backbone, network, of_run["config"])
    write_backbone(out, network, about=network.about, name=options.format)
    card = Card(
        file=out.name,
        format=options.format,
        about=network.about,
        num_parameters=sum(item.numel() for item in network.parameters()),
        sha256=weights_hash(network.state_dict()),
        program=kind.program(network.about, out.name),
        **of_run,
        measured=measured,
    )
    write_text(page, card_text(card))
    return out, page


def _default_path(options: ExportConfig, suffix: str) -> Path:
    """Return the path of an export without ``--out``."""
    from massrl.models.names import is_library_name

    path = Path(options.backbone)
    if is_library_name(options.backbone):
        return Path(f"{options.backbone.replace(':', '-')}-{options.format}{suffix}")
    folder, name = (path, "backbone") if path.is_dir() else (path.parent, path.stem)
    return folder / f"{name}-{options.format}{suffix}"


def _of_run(run: RunFolder) -> dict[str, Any]:
    """Return what a card tells of a run: its configuration and its images."""
    from massrl.config.files import load_config
    from massrl.files import read_json

    config = load_config(run.config)
    if config.data.batch_size is None or config.train.max_steps is None:
        raise CheckpointError(f"{run.config} is damaged: it has not every value of a run")
    keys = {"name": str, "num_images": int, "fingerprint": str}
    data = read_json(run.data, keys) if run.data.exists() else None
    return {"config": config.to_dict(), "data": data}


def _measured(backbone: str, network: Any, config: dict[str, Any] | None) -> list[Measured]:
    """Return the stored results of these weights, of random ones, and of those that they started from."""
    from massrl.evaluation.feature_cache import network_fingerprint
    from massrl.evaluation.results import same_weights
    from massrl.report.stored_metrics import stored_metrics

    about = network.about
    own, folder = network_fingerprint(network), results_path(backbone, EvaluateConfig()).parent

    def of_the_network(results: Mapping[str, Any]) -> bool:
        keys = ("backbone", "stem", "size", "mean", "std")
        return all(results.get(key) == about[key] for key in keys)

    found = [
        stored_metrics(folder, "exported", of_same=lambda item: same_weights(item, own, about)),
        stored_metrics(folder, "random init", random_init=True, of_same=of_the_network),
    ]
    start, name = about.get("start"), config["model"]["init_from"] if config is not None else None
    if isinstance(start, Mapping) and name:
        key = start.get("fingerprint")

        def of_the_start(results: Mapping[str, Any]) -> bool:
            return key is not None and results.get("fingerprint") == key

        parent = results_path(name, EvaluateConfig()).parent
        found.append(stored_metrics(parent, "start", of_same=of_the_start))
    return found


def run_export(words: list[str]) -> int:
    """Run ``massrl export`` and return the exit code."""
    backbone = first(words, "the run folder, file or name to export")
    for path in export_backbone(make(ExportConfig, {"backbone": backbone}, arguments=words)):
        print(path)
    return 0
