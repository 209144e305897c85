"""What the verbs beside pre-training are asked for: dataclasses that their flags are derived from."""

from __future__ import annotations

from dataclasses import dataclass, field

from massrl.checks import MANY, choice, must, refuse, within
from massrl.config import ON_ERROR, STEMS, ViewsConfig

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
        refuse(
            must(
                self.stem is None or self.stem in stems,
                f"--stem is {self.stem!r}, but {', '.join(stems)} are accepted",
            ),
            within(self.size, 1, MANY, "--size"),
            *(within(value, 1e-6, MANY, "--std") for value in self.std or ()),
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
        refuse(choice(self.format, EXPORT_FORMATS, "--format"))


@dataclass(frozen=True, kw_only=True)
class SheetConfig:
    """A contact sheet of views."""

    images: str = ""
    """Folder, list of paths or name."""
    out: str = "views.png"
    """File to write: a picture, or a page where its name ends in `.html`."""
    root: str | None = None
    """Folder where named data sets are kept or downloaded to."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """Which views each image becomes."""
    count: int = 8
    """Images to show, from the first on."""
    epoch: int = 0
    """Epoch whose views are shown, from 0."""
    seed: int = 0
    """Seed of the views."""
    replay: str = ""
    """Run folder: show the very views that it trained on; its layout, seed and images are used."""
    step: int | None = None
    """Of a replay: the optimiser step whose images are shown, as `metrics.csv` counts them."""
    index: int | None = None
    """Show this image alone, by its position among the images."""

    def __post_init__(self) -> None:
        refuse(
            within(self.count, 1, MANY, "--count"),
            within(self.epoch, 0, MANY, "--epoch"),
            within(self.step, 0, MANY, "--step"),
            within(self.index, 0, MANY, "--index"),
            must(
                self.step is None or bool(self.replay),
                "--step is a step of a run: --replay RUN is wanted beside it",
            ),
            must(
                self.step is None or self.epoch == 0,
                "--step says the epoch too: no --epoch fits beside it",
            ),
            must(
                not self.replay or (self.views == ViewsConfig() and self.seed == 0),
                "--replay shows a run's own views: no --views or --seed fits beside it",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class StrengthsConfig:
    """A chart of what a strategy does, operation by operation."""

    policy: str = ""
    """The strategy, as `--views.policies` takes it."""
    image: str = ""
    """Image to do it to; a rendered scene where it is left out."""
    out: str = "policy.png"
    """Picture to write."""
    size: int = 224
    """Side of a view, pixels."""
    fill: int = 0
    """Grey level, 0-255, of pixels that a rotation, shear or shift brings in from outside."""

    def __post_init__(self) -> None:
        refuse(
            within(self.size, 8, MANY, "--size"),
            within(self.fill, 0, 255, "--fill"),
        )


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Images to decode, every one once."""

    images: str = ""
    """Folder, list of paths or name."""
    root: str | None = None
    """Folder where named data sets are kept or downloaded to."""


@dataclass(frozen=True, kw_only=True)
class ViewCostConfig:
    """What views cost on this machine."""

    images: str = ""
    """Folder, list of paths or name."""
    root: str | None = None
    """Folder where named data sets are kept or downloaded to."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """Which views each image becomes."""
    count: int = 64
    """Images to measure, from the first on."""
    rounds: int = 3
    """How often each is measured; medians are given."""
    images_per_second: float | None = None
    """Speed of the training step, to say how many workers it needs."""

    def __post_init__(self) -> None:
        refuse(
            within(self.count, 1, MANY, "--count"),
            within(self.rounds, 1, MANY, "--rounds"),
            within(self.images_per_second, 1, MANY, "--images_per_second"),
        )


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """Images to pack into tar files, which are read faster than many small files."""

    images: str = ""
    """Folder, list of paths or name."""
    out: str = ""
    """Folder and beginning of the names of what is written."""
    root: str | None = None
    """Folder where named data sets are kept or downloaded to."""
    short_side: int | None = None
    """Shrink images to this short side, pixels; without it every file is kept as it is."""
    quality: int | None = None
    """Quality of the JPEGs that shrunk images become; 95 where it is left out."""
    shard_megabytes: int = 256
    """Size at which a tar file is closed and the next one begun."""
    on_error: str = "stop"
    """What a broken image does: `stop` the packing, or `skip` it, counted and reported."""

    def __post_init__(self) -> None:
        refuse(
            choice(self.on_error, ON_ERROR, "--on_error"),
            within(self.short_side, 1, MANY, "--short_side"),
            within(self.quality, 1, 100, "--quality"),
            must(
                self.quality is None or self.short_side is not None,
                "--quality is that of images that are made smaller: --short_side is missing",
            ),
            within(self.shard_megabytes, 1, MANY, "--shard_megabytes"),
        )


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The demonstration: pre-train, judge, compare and draw on rendered images."""

    out: str = "runs/demo"
    """Folder to write."""
    seconds: float = 90.0
    """Seconds of pre-training for each of the two methods."""
    seed: int = 0
    """Seed of everything."""

    def __post_init__(self) -> None:
        refuse(
            within(self.seconds, 1, MANY, "--seconds"),
        )
