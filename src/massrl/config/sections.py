"""The sections of a run's configuration: frozen dataclasses, validated when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field

from massrl.config.checks import MANY, choice, in_range, raise_faults, require

OBJECTIVES = ("byol", "simclr")


PAIRS = ("all", "cross-policy", "within-policy", "cross-crop", "directional", "paired")


REDUCTIONS = ("mean", "sum")


BATCH_NORMS = ("per-view", "joint")


TARGETS = ("each", "mean")


STATISTICS = ("own", "online")


OPTIMISERS = ("lars", "sgd", "adamw")


STEMS = ("auto", "small", "small-pad2", "standard")


ON_ERROR = ("stop", "skip")


CACHES = ("auto", "memory", "none")


EXECUTORS = ("auto", "cpu", "device")


MEMORIES = ("joint", "streamed")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and how they are read."""

    train: str = ""
    """Images to learn from: a folder, a text file of paths, tar shards of `massrl data pack`,
    `shapes`, or a data set's name."""
    val: str | None = None
    """Labelled images to judge by; never learnt from."""
    root: str | None = None
    """Folder where named data sets are kept or downloaded to."""
    download: bool = True
    """Whether a named data set that is missing may be downloaded."""
    limit: int | None = None
    """Learn from this many images only: a seeded subset, class-balanced where labels exist."""
    batch_size: int | None = None
    """Unique images of one optimiser step, over all devices and accumulated batches."""
    workers: int | None = None
    """Loader processes of each device; 0 loads in the training process itself."""
    cache: str = "auto"
    """Keep all images decoded in `memory`, or `none`; `auto` does so where they are small."""
    on_error: str = "stop"
    """What a broken image does: `stop` the run, or `skip` it, counted and reported."""
    mean: tuple[float, float, float] | None = None
    """Mean of the channels in [0, 1]; the data set's own where it is left out."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of the channels in [0, 1]; the data set's own where it is left out."""

    def __post_init__(self) -> None:
        raise_faults(
            choice(self.on_error, ON_ERROR, "--data.on_error"),
            choice(self.cache, CACHES, "--data.cache"),
            in_range(self.batch_size, 1, MANY, "--data.batch_size"),
            in_range(self.limit, 1, MANY, "--data.limit"),
            in_range(self.workers, 0, MANY, "--data.workers"),
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
    """Which views each image becomes. What is left out is as the layout says."""

    layout: str = "massrl-4"
    """How crops and strategies combine: see `massrl policies`."""
    policies: tuple[str, ...] | None = None
    """Augmentation strategies, any number, in the layout's place: see `massrl policies`."""
    num_crops: int | None = None
    """Shared layout: crops of an image; independent: crops of each strategy; sampled: views."""
    size: int | None = None
    """Side of a view, pixels."""
    crop: str | None = None
    """Kind of crop: `inception` or `uniform-side`."""
    crop_scale: tuple[float, float] | None = None
    """Smallest and largest area of a crop, as a fraction of the image."""
    flip_prob: float | None = None
    """Probability that a view is mirrored left to right."""
    fill: int | None = None
    """Grey level, 0-255, of pixels that a rotation, shear or shift brings in from outside."""
    target_policy: str | None = None
    """Strategy of one more view of each crop, for BYOL's target alone, such as `weak`; the other views
    are then the online network's alone."""
    local_crops: int | None = None
    """Small views of small parts of the image, for the online network alone."""
    local_size: float | None = None
    """Side of a local view as a fraction of that of the others."""
    local_scale: tuple[float, float] | None = None
    """Smallest and largest area of a local crop, as a fraction of the image."""
    ramp_epochs: float | None = None
    """Epochs in which the strength of all strategies rises in equal steps to all of it."""
    executor: str = "auto"
    """Who makes the pixels: the loader's workers on the `cpu`, or the `device` a batch at a time;
    `auto` is the device where it is a GPU."""

    def __post_init__(self) -> None:
        raise_faults(
            require(
                not isinstance(self.policies, str),
                f"--views.policies is {self.policies!r}, but a list of texts is wanted",
            ),
            choice(self.executor, EXECUTORS, "--views.executor"),
            in_range(self.size, 1, MANY, "--views.size"),
            in_range(self.fill, 0, 255, "--views.fill"),
            in_range(self.local_crops, 0, MANY, "--views.local_crops"),
            in_range(self.ramp_epochs, 0, MANY, "--views.ramp_epochs"),
        )


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """What the networks learn from the views."""

    name: str = "simclr"
    """`byol` (predict the target network's view) or `simclr` (InfoNCE against other images)."""
    pairs: str | None = None
    """Pairs compared: all, cross-policy, within-policy, cross-crop, directional or paired."""
    reduction: str = "mean"
    """`mean` over the pairs, times 2, so that two views give BYOL's loss; or their `sum`."""
    temperature: float = 0.2
    """Temperature of InfoNCE; BYOL has none."""
    batch_norm: str = "per-view"
    """Batch-norm statistics: `per-view` as published, or `joint` over all views."""
    target_momentum: float = 0.99
    """Momentum τ of BYOL's target at the first step; it rises to 1 along a cosine."""
    target_statistics: str = "own"
    """Batch-norm statistics of BYOL's target: its `own`, or copied from the `online` network."""
    target_reduction: str = "each"
    """What a view of BYOL's predicts: `each` of the target's views that it is paired with, or their
    `mean`."""

    def __post_init__(self) -> None:
        raise_faults(
            choice(self.name, OBJECTIVES, "--method.name"),
            choice(self.pairs, PAIRS, "--method.pairs"),
            choice(self.reduction, REDUCTIONS, "--method.reduction"),
            choice(self.batch_norm, BATCH_NORMS, "--method.batch_norm"),
            choice(self.target_reduction, TARGETS, "--method.target_reduction"),
            choice(self.target_statistics, STATISTICS, "--method.target_statistics"),
            in_range(self.temperature, 1e-4, MANY, "--method.temperature"),
            in_range(self.target_momentum, 0.0, 1.0, "--method.target_momentum"),
        )


@dataclass(frozen=True, kw_only=True)
class ProjectorConfig:
    """From features to projections: hidden layers with batch norm and ReLU, then a linear one."""

    layers: int = 2
    """Linear layers; 2 is one hidden layer, 0 no projector at all."""
    hidden: int = 4096
    """Width of the hidden layers."""
    out: int = 256
    """Width of the projections."""
    bias: bool = False
    """Whether the last layer has a bias; DeepMind's has none."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.layers, 0, MANY, "--model.projector.layers"),
            in_range(self.hidden, 1, MANY, "--model.projector.hidden"),
            in_range(self.out, 1, MANY, "--model.projector.out"),
        )


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """From projections to predictions of the same width, of the online network (BYOL only)."""

    layers: int = 2
    """Linear layers; 2 is one hidden layer, 0 no predictor at all."""
    hidden: int = 4096
    """Width of the hidden layers."""
    bias: bool = False
    """Whether the last layer has a bias; DeepMind's has none."""
    per_policy: bool = False
    """Whether each strategy's views have a predictor of their own."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.layers, 0, MANY, "--model.predictor.layers"),
            in_range(self.hidden, 1, MANY, "--model.predictor.hidden"),
        )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The networks."""

    backbone: str | None = None
    """A torchvision ResNet, any timm name, `resnet10-narrow` or `resnet10-tiny` for a CPU, or
    `module:function` of your own."""
    stem: str = "auto"
    """First layers of a ResNet: `standard`, `small` (3×3, no pooling), `small-pad2` (the same padded
    by 2, as solo-learn's) or `auto`: by size."""
    init_from: str | None = None
    """Weights to start from: another run, or a backbone's `.safetensors` file. `--init-from` is short
    for it."""
    projector: ProjectorConfig = field(default_factory=ProjectorConfig)
    """From backbone features to projections."""
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    """From the online network's projections to predictions of the target's (BYOL only)."""

    def __post_init__(self) -> None:
        raise_faults(
            choice(self.stem, STEMS, "--model.stem"),
        )


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How the weights are changed."""

    name: str = "adamw"
    """`lars`, `sgd` or `adamw`."""
    lr: float = 1e-3
    """Base learning rate; the rate in use is `lr × batch_size / 256`, and is printed."""
    weight_decay: float = 1e-4
    """Weight decay of tensors of two or more dimensions; biases and norms have none."""
    momentum: float = 0.9
    """Momentum of SGD and LARS."""
    trust_coefficient: float = 1e-3
    """Trust coefficient of LARS."""
    clip: bool = False
    """LARS: never let the trust ratio raise the learning rate (solo-learn's clipping)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's two running means."""
    warmup_epochs: float = 10.0
    """Epochs of linear warm-up before the cosine to 0; at most a tenth of the run."""

    def __post_init__(self) -> None:
        raise_faults(
            choice(self.name, OPTIMISERS, "--optim.name"),
            in_range(self.lr, 0.0, MANY, "--optim.lr"),
            in_range(self.weight_decay, 0.0, MANY, "--optim.weight_decay"),
            require(
                0 <= self.momentum < 1,
                f"--optim.momentum is {self.momentum:g}, but a number from 0 to below 1 is wanted",
            ),
            require(
                0 < self.trust_coefficient < MANY,
                f"--optim.trust_coefficient is {self.trust_coefficient:g}, but a number above 0 is "
                "wanted",
            ),
            in_range(self.warmup_epochs, 0.0, MANY, "--optim.warmup_epochs"),
            require(
                all(0 <= beta < 1 for beta in self.betas),
                f"--optim.betas is {self.betas}, but numbers from 0 to below 1 are wanted",
            ),
        )
