"""What a run is: frozen dataclasses, one section a subject, validated when they are made.

The command line's flags and their help are derived from these classes, and so is the check of every
recipe; a field that is not here does not exist anywhere. ``None`` means "chosen when the run
starts, from the data and the machine, and said in the log"; the run folder's ``config.yaml`` holds
what was chosen.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from massrl.errors import ConfigError, suggest

OBJECTIVES = ("byol", "simclr")
PAIRS = ("all", "cross-policy", "within-policy", "cross-crop", "directional", "paired")
REDUCTIONS = ("mean", "sum")
BATCH_NORMS = ("per-view", "joint")
OPTIMISERS = ("lars", "sgd", "adamw")
STEMS = ("auto", "small", "standard")
ON_ERROR = ("stop", "skip")
ACCELERATORS = ("auto", "cpu", "gpu")


def _choice(value: str | None, known: tuple[str, ...], flag: str) -> str | None:
    if value is None or value in known:
        return None
    return f"{flag} is {value!r}: {suggest(value, known)}"


def _within(value: float | None, low: float, high: float, flag: str) -> str | None:
    if value is None or low <= value <= high:
        return None
    wanted = f"{low:g} or more" if high == float("inf") else f"{low:g} to {high:g}"
    return f"{flag} is {value:g}, but {wanted} is wanted"


def _must(passes: bool, fault: str) -> str | None:
    return None if passes else fault


def _refuse(*checks: str | None) -> None:
    """Raise one line with every fault found; a check that passed is ``None``."""
    faults = [fault for fault in checks if fault]
    if faults:
        raise ConfigError("; ".join(faults))


_MANY = float("inf")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and how they are read."""

    train: str = ""
    """Images to learn from: a folder, a text file of paths, `shapes`, or a data set's name."""
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
    """Loader processes; 0 loads in the training process itself."""
    on_error: str = "stop"
    """What a broken image does: `stop` the run, or `skip` it, counted and reported."""
    mean: tuple[float, float, float] | None = None
    """Mean of the channels in [0, 1]; the data set's own where it is left out."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of the channels in [0, 1]; the data set's own where it is left out."""

    def __post_init__(self) -> None:
        _refuse(
            _choice(self.on_error, ON_ERROR, "--data.on_error"),
            _within(self.batch_size, 1, _MANY, "--data.batch_size"),
            _within(self.limit, 1, _MANY, "--data.limit"),
            _within(self.workers, 0, _MANY, "--data.workers"),
            _must(
                self.std is None or all(0 < value < _MANY for value in self.std),
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

    def __post_init__(self) -> None:
        _refuse(
            _within(self.size, 1, _MANY, "--views.size"),
            _within(self.fill, 0, 255, "--views.fill"),
        )


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """What the networks learn from the views."""

    objective: str = "simclr"
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

    def __post_init__(self) -> None:
        _refuse(
            _choice(self.objective, OBJECTIVES, "--method.objective"),
            _choice(self.pairs, PAIRS, "--method.pairs"),
            _choice(self.reduction, REDUCTIONS, "--method.reduction"),
            _choice(self.batch_norm, BATCH_NORMS, "--method.batch_norm"),
            _within(self.temperature, 1e-4, _MANY, "--method.temperature"),
            _within(self.target_momentum, 0.0, 1.0, "--method.target_momentum"),
        )


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """A multi-layer perceptron: hidden layers with batch norm and ReLU, output without bias."""

    layers: int = 2
    """Linear layers; 2 is one hidden layer, 0 no head at all."""
    hidden: int = 4096
    """Width of the hidden layers."""
    out: int = 256
    """Width of the output."""

    def __post_init__(self) -> None:
        _refuse(
            _within(
                self.layers,
                0,
                _MANY,
                "layers of a head (--model.projector.layers, --model.predictor.layers)",
            ),
            _within(
                self.hidden,
                1,
                _MANY,
                "hidden width of a head (--model.projector.hidden, --model.predictor.hidden)",
            ),
            _within(
                self.out,
                1,
                _MANY,
                "output width of a head (--model.projector.out, --model.predictor.out)",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The networks."""

    backbone: str | None = None
    """A torchvision ResNet, any timm name, `resnet10-narrow`, or `module:function` of your own."""
    stem: str = "auto"
    """First layers of a ResNet: `standard`, `small` (3×3, no pooling) or `auto`: by size."""
    projector: HeadConfig = field(default_factory=HeadConfig)
    """From backbone features to projections."""
    predictor: HeadConfig = field(default_factory=HeadConfig)
    """From the online network's projections to predictions of the target's (BYOL only)."""

    def __post_init__(self) -> None:
        _refuse(
            _choice(self.stem, STEMS, "--model.stem"),
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
    """Epochs of linear warm-up from 0, before the cosine to 0; at most a tenth of the run."""

    def __post_init__(self) -> None:
        _refuse(
            _choice(self.name, OPTIMISERS, "--optim.name"),
            _within(self.lr, 0.0, _MANY, "--optim.lr"),
            _within(self.weight_decay, 0.0, _MANY, "--optim.weight_decay"),
            _within(self.momentum, 0.0, 1.0, "--optim.momentum"),
            _within(self.trust_coefficient, 0.0, _MANY, "--optim.trust_coefficient"),
            _within(self.warmup_epochs, 0.0, _MANY, "--optim.warmup_epochs"),
            _must(
                all(0 <= beta < 1 for beta in self.betas),
                f"--optim.betas is {self.betas}, but numbers from 0 to below 1 are wanted",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, on what, and what is kept."""

    epochs: float = 100.0
    """Passes over the data; `max_steps` and `seconds` go before it."""
    max_steps: int | None = None
    """Optimiser steps of the whole run."""
    seconds: float | None = None
    """Plan the run to last about this long: `max_steps` is set from a few steps that are timed."""
    seed: int = 0
    """Seed of the weights, of the order of the images, and of every view."""
    devices: int = 1
    """Devices to train on."""
    accelerator: str = "auto"
    """`auto`, `cpu` or `gpu`."""
    accumulate: int = 1
    """Batches that `batch_size` is split into; their gradients are averaged for one step."""
    precision: str | None = None
    """`32-true`, `bf16-mixed` or `16-mixed`; losses are always computed in 32 bits."""
    checkpoint_every: int | None = None
    """Optimiser steps between checkpoints; about ten minutes' worth where it is left out."""
    log_every: int = 1
    """Optimiser steps between rows of `metrics.csv`."""
    probe_every: float = 5.0
    """Epochs between k-NN probes, where labels exist; 0 for none."""

    def __post_init__(self) -> None:
        _refuse(
            _choice(self.accelerator, ACCELERATORS, "--train.accelerator"),
            _choice(self.precision, ("32-true", "bf16-mixed", "16-mixed"), "--train.precision"),
            _within(self.max_steps, 1, _MANY, "--train.max_steps"),
            _within(self.seconds, 1, _MANY, "--train.seconds"),
            _within(self.devices, 1, _MANY, "--train.devices"),
            _within(self.accumulate, 1, _MANY, "--train.accumulate"),
            _within(self.checkpoint_every, 1, _MANY, "--train.checkpoint_every"),
            _within(self.log_every, 1, _MANY, "--train.log_every"),
            _within(self.probe_every, 0, _MANY, "--train.probe_every"),
            _must(
                0 < self.epochs < _MANY,
                f"--train.epochs is {self.epochs:g}, but a number above 0 is wanted",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole pre-training run."""

    recipe: str = ""
    """Name of the recipe the run started from."""
    out: str = ""
    """Run folder to write."""
    data: DataConfig = field(default_factory=DataConfig)
    """Which images, and how they are read."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """Which views each image becomes."""
    method: MethodConfig = field(default_factory=MethodConfig)
    """What the networks learn from the views."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The networks."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """How the weights are changed."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How long, on what, and what is kept."""

    def __post_init__(self) -> None:
        per_step = self.train.devices * self.train.accumulate
        if self.data.batch_size is not None and self.data.batch_size % per_step:
            raise ConfigError(
                f"--data.batch_size is {self.data.batch_size}, which does not divide by "
                f"--train.devices × --train.accumulate = {per_step}"
            )

    @property
    def batch_size(self) -> int:
        """Unique images of one optimiser step, once it has been chosen."""
        if self.data.batch_size is None:
            raise ConfigError("--data.batch_size has not been chosen yet")
        return self.data.batch_size

    @property
    def device_batch_size(self) -> int:
        """Unique images of one forward pass on one device."""
        return self.batch_size // (self.train.devices * self.train.accumulate)

    @property
    def scaled_lr(self) -> float:
        """The peak learning rate in use: ``lr × batch_size / 256``."""
        return self.optim.lr * self.batch_size / 256

    def to_dict(self) -> dict[str, Any]:
        """As nested mappings of YAML's own types."""
        content: dict[str, Any] = _plain(dataclasses.asdict(self))
        return content


@dataclass(frozen=True, kw_only=True)
class JudgeDataConfig:
    """Labelled images to judge by; what is left out is as in the run."""

    train: str | None = None
    """Images that k-NN remembers and the probe learns from."""
    val: str | None = None
    """Images that are only ever predicted; without them a fifth of the others is held out."""
    limit: int | None = None
    """Use this many of the training images only: a seeded, class-balanced subset."""
    root: str | None = None
    """Folder where named data sets are kept or downloaded to."""
    download: bool = True
    """Whether a named data set that is missing may be downloaded."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How a backbone is judged."""

    task: tuple[str, ...] = ("knn", "linear")
    """`knn`, `linear`, or both."""
    data: JudgeDataConfig = field(default_factory=JudgeDataConfig)
    """Labelled images to judge by."""
    untrained: bool = False
    """Judge the network as the run started with it, to compare with."""
    k: int = 20
    """Neighbours that vote in k-NN."""
    temperature: float = 0.07
    """Temperature of their votes."""
    seed: int = 0
    """Seed of the held-out part that chooses the probe's regularisation."""
    out: str = ""
    """File to write; `results.json` in the run folder otherwise."""

    def __post_init__(self) -> None:
        _refuse(
            _within(self.k, 1, _MANY, "--k"),
            _within(self.temperature, 1e-4, _MANY, "--temperature"),
        )


@dataclass(frozen=True, kw_only=True)
class SheetConfig:
    """A contact sheet of views."""

    images: str = ""
    """Folder, list, file or name."""
    out: str = "views.png"
    """Picture to write."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """Which views each image becomes."""
    count: int = 8
    """Images to show, from the first on."""
    epoch: int = 0
    """Epoch whose views are shown."""
    seed: int = 0
    """Seed of the views."""

    def __post_init__(self) -> None:
        _refuse(
            _within(self.count, 1, _MANY, "--count"),
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
        _refuse(
            _within(self.seconds, 1, _MANY, "--seconds"),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def check_keys(content: dict[str, Any], kind: type = Config, prefix: str = "") -> None:
    """Refuse keys that the configuration does not have, all of them at once.

    Args:
        content: a configuration as nested mappings.
        kind: the dataclass it is for.
        prefix: where it stands, such as ``data.``.

    Raises:
        ConfigError: one line that names every unknown key and the nearest known ones.
    """
    faults = list(_key_faults(content, kind, prefix))
    if faults:
        raise ConfigError("; ".join(faults))


def _key_faults(content: dict[str, Any], kind: type, prefix: str) -> list[str]:
    known = {item.name: item for item in dataclasses.fields(kind)}
    faults = []
    for key, value in content.items():
        if key not in known:
            faults.append(f"unknown key {prefix}{key}: {suggest(str(key), known)}")
            continue
        section = section_of(known[key])
        if section is not None and isinstance(value, dict):
            faults += _key_faults(value, section, f"{prefix}{key}.")
        elif section is not None:
            faults.append(f"{prefix}{key} is {value!r}, but a section is wanted")
    return faults


def section_of(item: dataclasses.Field[Any]) -> type | None:
    """The dataclass that a field holds a section of; ``None`` where it holds a value."""
    factory: object = item.default_factory
    return factory if isinstance(factory, type) else None


def merge(*contents: dict[str, Any]) -> dict[str, Any]:
    """Lay nested mappings over each other; later ones win, key by key.

    Example:
        >>> merge({"data": {"limit": 1, "val": "b"}}, {"data": {"limit": 2}})
        {'data': {'limit': 2, 'val': 'b'}}
    """
    result: dict[str, Any] = {}
    for content in contents:
        for key, value in content.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merge(result[key], value) if both else value
    return result
