"""Sections of a pre-training configuration: frozen dataclasses, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field

from massrl.config.checks import MANY, in_range, raise_faults, require
from massrl.config.choices import (
    BATCH_NORMS,
    CACHES,
    EXECUTORS,
    ON_ERROR,
    PAIRS,
    REDUCTIONS,
    STEMS,
    TARGET_REDUCTIONS,
    TARGET_STATISTICS,
)
from massrl.config.fields import field_faults, option
from massrl.registry import CROPS, LAYOUTS, OBJECTIVES, OPTIMIZERS


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images to train on, and how they are read."""

    train: str = option("", resume=True)
    """Images to train on: a folder, a text file of paths, tar shards of `massrl data pack`, `shapes`, or
    the name of a data set."""
    val: str | None = option(None, resume=True)
    """Labelled validation images, for the k-NN probe and later evaluation; never trained on."""
    root: str | None = option(None, resume=True)
    """Folder of named data sets, which are downloaded to it."""
    download: bool = option(True, resume=True)
    """Download a named data set that is missing."""
    limit: int | None = None
    """Train on this many images only: a seeded subset, class-balanced where there are labels."""
    batch_size: int | None = None
    """Unique images per optimiser step, over all devices and accumulated batches."""
    workers: int | None = option(None, resume=True)
    """Worker processes per device that load images; 0 loads in the training process."""
    cache: str = option("auto", choices=CACHES, resume=True)
    """Where decoded images are cached."""
    on_error: str = option("stop", choices=ON_ERROR, resume=True)
    """What to do about an image that cannot be decoded."""
    mean: tuple[float, float, float] | None = None
    """Mean of each channel, in [0, 1], for normalisation; the data set's own, or ImageNet's, by default."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of each channel, likewise."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self, "--data."),
            in_range(self.batch_size, "--data.batch_size", low=1),
            in_range(self.limit, "--data.limit", low=1),
            in_range(self.workers, "--data.workers", low=0),
            require(
                all(0 <= value <= 1 for value in self.mean or ()),
                f"--data.mean is {self.mean}, but numbers from 0 to 1 are wanted",
            ),
            require(
                self.std is None or all(0 < value < MANY for value in self.std),
                f"--data.std is {self.std}, but numbers above 0 are wanted",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """The views of each image. A field that is not set is as the layout has it."""

    layout: str = option("massrl-4", choices=LAYOUTS)
    """How crops and policies are combined."""
    policies: tuple[str, ...] | None = option(None, belongs_to="views.layout")
    """Augmentation policies, any number, instead of the layout's: see `massrl policies`."""
    num_crops: int | None = option(None, belongs_to="views.layout")
    """Shared layout: crops per image; independent: crops per policy; sampled: views per image."""
    size: int | None = None
    """Side of a view, pixels."""
    crop: str | None = option(None, choices=CROPS, belongs_to="views.layout")
    """Kind of random crop."""
    crop_scale: tuple[float, float] | None = None
    """Smallest and largest area of a crop, as a fraction of the image."""
    flip_prob: float | None = None
    """Probability of a horizontal flip."""
    fill: int | None = None
    """Grey level, 0-255, of pixels that a rotation, shear or translation brings in from outside."""
    target_policy: str | None = None
    """Policy of one more view per crop, such as `weak`, for BYOL's target network only; the other views
    are then for the online network only."""
    local_crops: int | None = None
    """Number of small views of small crops, for the online network only (multi-crop)."""
    local_size: float | None = None
    """Side of a local view, as a fraction of that of the other views."""
    local_scale: tuple[float, float] | None = None
    """Smallest and largest area of a local crop, as a fraction of the image."""
    ramp_epochs: float | None = None
    """Epochs over which the strength of all policies rises linearly to its full value."""
    executor: str = option("auto", choices=EXECUTORS)
    """What computes the views."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self, "--views."),
            in_range(self.size, "--views.size", low=1),
            in_range(self.fill, "--views.fill", low=0, high=255),
            in_range(self.local_crops, "--views.local_crops", low=0),
            in_range(self.ramp_epochs, "--views.ramp_epochs", low=0),
        )


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """The training objective."""

    name: str = option("simclr", choices=OBJECTIVES, arguments=True)
    """Training objective, a name or `name(key=value)`."""
    pairs: str | None = option(None, choices=PAIRS, belongs_to="views.layout")
    """Pairs of views that are compared; the layout's by default."""
    reduction: str = option("mean", choices=REDUCTIONS)
    """How the loss is reduced over pairs."""
    temperature: float = 0.2
    """Temperature of InfoNCE."""
    batch_norm: str = option("per-view", choices=BATCH_NORMS)
    """Batch-norm statistics while training."""
    target_momentum: float = 0.99
    """Momentum τ of BYOL's target network at the first step; it rises to 1 along a cosine."""
    target_statistics: str = option("own", choices=TARGET_STATISTICS)
    """Batch-norm statistics of BYOL's target network."""
    target_reduction: str = option("each", choices=TARGET_REDUCTIONS)
    """What BYOL's online network predicts from a view."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self, "--method."),
            in_range(self.temperature, "--method.temperature", low=1e-4),
            in_range(self.target_momentum, "--method.target_momentum", low=0.0, high=1.0),
        )


@dataclass(frozen=True, kw_only=True)
class ProjectorConfig:
    """From features to projections: hidden layers with batch norm and ReLU, then a linear layer."""

    layers: int = 2
    """Linear layers; 2 is one hidden layer, 0 no projector."""
    hidden: int = 4096
    """Width of the hidden layers."""
    out: int = 256
    """Width of the projections."""
    bias: bool = False
    """Bias in the last layer; DeepMind's has none."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.layers, "--model.projector.layers", low=0),
            in_range(self.hidden, "--model.projector.hidden", low=1),
            in_range(self.out, "--model.projector.out", low=1),
        )


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """From projections to predictions of the same width, on the online network (BYOL only)."""

    layers: int = 2
    """Linear layers; 2 is one hidden layer, 0 no predictor."""
    hidden: int = 4096
    """Width of the hidden layers."""
    bias: bool = False
    """Bias in the last layer; DeepMind's has none."""
    per_policy: bool = False
    """A predictor for each policy's views."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.layers, "--model.predictor.layers", low=0),
            in_range(self.hidden, "--model.predictor.hidden", low=1),
        )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The networks."""

    backbone: str | None = None
    """A torchvision ResNet, any timm name, `resnet10-narrow` or `resnet10-tiny` for a CPU, or
    `module:function` of your own code."""
    stem: str = option("auto", choices=STEMS)
    """First layers of a ResNet."""
    init_from: str | None = None
    """Initial weights: another run, a backbone's `.safetensors` file, or a name such as
    `torchvision:resnet50` or `timm:resnet50.a1_in1k`. Short: `--init-from`."""
    projector: ProjectorConfig = field(default_factory=ProjectorConfig)
    """Projector: from backbone features to projections."""
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    """Predictor: from the online network's projections to the target network's (BYOL only)."""

    def __post_init__(self) -> None:
        raise_faults(*field_faults(self, "--model."))


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The optimiser and the learning-rate schedule."""

    name: str = option("adamw", choices=OPTIMIZERS, arguments=True)
    """Optimiser, a name or `name(key=value)`."""
    lr: float = 1e-3
    """Base learning rate; the peak learning rate is `lr × batch_size / 256`, and is logged."""
    weight_decay: float = 1e-4
    """Weight decay of tensors of two or more dimensions; biases and norms have none."""
    momentum: float = 0.9
    """Momentum of SGD and LARS."""
    trust_coefficient: float = 1e-3
    """Trust coefficient of LARS."""
    clip: bool = False
    """LARS: never raise the learning rate by the trust ratio (solo-learn's clipping)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of AdamW's two running means."""
    warmup_epochs: float = 10.0
    """Epochs of linear warm-up before the cosine decay to 0; at most a tenth of the run."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self, "--optim."),
            in_range(self.lr, "--optim.lr", low=0.0),
            in_range(self.weight_decay, "--optim.weight_decay", low=0.0),
            require(
                0 <= self.momentum < 1,
                f"--optim.momentum is {self.momentum:g}, but a number from 0 to below 1 is wanted",
            ),
            require(
                0 < self.trust_coefficient < MANY,
                f"--optim.trust_coefficient is {self.trust_coefficient:g}, but a number above 0 is "
                "wanted",
            ),
            in_range(self.warmup_epochs, "--optim.warmup_epochs", low=0.0),
            require(
                all(0 <= beta < 1 for beta in self.betas),
                f"--optim.betas is {self.betas}, but numbers from 0 to below 1 are wanted",
            ),
        )
