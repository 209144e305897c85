"""Configuration of evaluations: dataclasses that the flags of ``evaluate`` and ``compare`` come from."""

from __future__ import annotations

from dataclasses import dataclass, field

from massrl.config.checks import in_range, raise_faults, require
from massrl.config.choices import DETECTION_HEADS, ON_ERROR, SEGMENTATION_HEADS, SEMI_PROTOCOLS
from massrl.config.fields import field_faults, option
from massrl.config.foreign import ForeignConfig
from massrl.config.renamed import TASKS as RENAMED_TASKS
from massrl.registry import TASKS

ALL = "all"  # of ``task``: every task of the table
_MAX_LR = 1e6  # far from any use, and far from overflow


@dataclass(frozen=True, kw_only=True)
class EvaluationDataConfig:
    """Labelled images to evaluate on; a field that is not set is as in the run."""

    train: str | None = None
    """Training images: a folder or the name of a data set. With objects: a folder in Pascal VOC's or YOLO's
    layout, one of `images` and `masks` (your own classes by a `labelmap.txt`), `voc2007`, `voc2012`, a JSON
    file in COCO's layout; see `docs/data.md`."""
    val: str | None = None
    """Test images; without them a fifth of the training images is held out."""
    limit: int | None = None
    """Use this many of the training images only: a seeded, class-balanced subset."""
    root: str | None = None
    """Folder where named data sets are stored or downloaded to."""
    download: bool = True
    """Whether a named data set that is missing may be downloaded."""
    on_error: str = option("stop", choices=ON_ERROR)
    """What to do about an image that cannot be decoded."""

    def __post_init__(self) -> None:
        raise_faults(*field_faults(self, "--data."))

    @property
    def skips_broken(self) -> bool:
        """Whether broken images are left out."""
        return self.on_error == "skip"


@dataclass(frozen=True, kw_only=True)
class SgdConfig:
    """Linear evaluation by SGD: a classifier on the frozen backbone, trained on random crops."""

    epochs: int = 100
    """Passes over the training images."""
    batch_size: int = 1024
    """Images per step; learning rates scale with it."""
    lrs: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1, 0.05)
    """Learning rates for a batch of 1,024 images, all tried in one pass."""
    holdout: float = 0.1
    """Fraction of the training images that the learning rate is selected on."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.epochs, "--sgd.epochs", low=1),
            in_range(self.batch_size, "--sgd.batch_size", low=1),
            require(bool(self.lrs), "--sgd.lrs is empty, but one or more are wanted"),
            *(in_range(lr, "--sgd.lrs", low=1e-9, high=_MAX_LR) for lr in self.lrs),
            in_range(self.holdout, "--sgd.holdout", low=1e-6, high=0.9),
        )


@dataclass(frozen=True, kw_only=True)
class SemiConfig:
    """Semi-supervised evaluation: fine-tuning on a small fraction of the labels."""

    fractions: tuple[float, ...] = ()
    """Fractions of the training images whose labels are used, seeded and class-balanced: 0.01 and 0.1
    where no lists are given."""
    lists: tuple[str, ...] = ()
    """Lists of images whose labels are used: SimCLR's published `imagenet-1` and `imagenet-10`, or files
    of image names, one per line."""
    protocol: str = option("short", choices=SEMI_PROTOCOLS)
    """Learning rates and numbers of epochs to select from."""
    lrs: tuple[float, ...] = ()
    """Learning rates to select from, in place of the protocol's."""
    epochs: tuple[int, ...] = ()
    """Numbers of epochs to select from, in place of the protocol's."""
    batch_size: int = 1024
    """Images per step at most; small fractions use fewer, for a dozen steps per epoch."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self, "--semi."),
            *(
                in_range(fraction, "--semi.fractions", low=1e-6, high=1)
                for fraction in self.fractions
            ),
            *(in_range(lr, "--semi.lrs", low=1e-9, high=_MAX_LR) for lr in self.lrs),
            *(in_range(epochs, "--semi.epochs", low=1) for epochs in self.epochs),
            in_range(self.batch_size, "--semi.batch_size", low=2),
        )


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Transfer to other data sets: a linear probe on frozen features and, optionally, fine-tuning."""

    sets: tuple[str, ...] = ()
    """Names such as `food101` and `voc2007`, folders, and those in Pascal VOC's layout: `mine:trainval`."""
    finetune: bool = False
    """Whether to fine-tune the whole network on each data set too."""
    lrs: tuple[float, ...] = (0.02, 0.1)
    """Learning rates to select from when fine-tuning."""
    epochs: tuple[int, ...] = (30,)
    """Numbers of epochs to select from when fine-tuning."""
    batch_size: int = 256
    """Images per step at most when fine-tuning."""

    def __post_init__(self) -> None:
        raise_faults(
            *(in_range(lr, "--transfer.lrs", low=1e-9, high=_MAX_LR) for lr in self.lrs),
            *(in_range(epochs, "--transfer.epochs", low=1) for epochs in self.epochs),
            in_range(self.batch_size, "--transfer.batch_size", low=2),
            require(
                bool(self.lrs and self.epochs),
                "--transfer.lrs and --transfer.epochs must not be empty",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """Object detection: Faster R-CNN, or Mask R-CNN where there are masks, fine-tuned from the backbone."""

    head: str = option("fpn", choices=DETECTION_HEADS)
    """Feature maps that regions are pooled from."""
    epochs: float = 12.0
    """Passes over the training images."""
    batch_size: int = 16
    """Images per step."""
    lr: float = 0.02
    """Peak learning rate for a batch of 16 images; it scales with `batch_size`."""
    size: int | None = None
    """Short side that images are resized to, pixels: 800, or twice their own for small images."""
    width: int | None = None
    """Channels of the feature pyramid and of the heads: 256, or 64 for small images."""
    regions: int | None = None
    """Regions per image that the heads are trained on: 512, or 64 for small images."""
    pictures: int = 6
    """Images to show beside their ground truth."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self, "--detect."),
            in_range(self.epochs, "--detect.epochs", low=1e-3),
            in_range(self.batch_size, "--detect.batch_size", low=1),
            in_range(self.lr, "--detect.lr", low=1e-9, high=_MAX_LR),
            in_range(self.size, "--detect.size", low=32),
            in_range(self.width, "--detect.width", low=1),
            in_range(self.regions, "--detect.regions", low=4),
            in_range(self.pictures, "--detect.pictures", low=0),
        )


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """Semantic segmentation: a fully convolutional head, fine-tuned together with the backbone."""

    head: str = option("fcn", choices=SEGMENTATION_HEADS)
    """Layers that are put on the backbone."""
    epochs: float = 30.0
    """Passes over the training images."""
    batch_size: int = 16
    """Images per step."""
    lr: float = 0.02
    """Peak learning rate for a batch of 16 images; it scales with `batch_size`."""
    size: int | None = None
    """Side that images are resized to, pixels: 512, or twice their own for small images."""
    pictures: int = 6
    """Images to show beside their ground truth."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self, "--segment."),
            in_range(self.epochs, "--segment.epochs", low=1e-3),
            in_range(self.batch_size, "--segment.batch_size", low=2),
            in_range(self.lr, "--segment.lr", low=1e-9, high=_MAX_LR),
            in_range(self.size, "--segment.size", low=32),
            in_range(self.pictures, "--segment.pictures", low=0),
        )


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Feature maps, nearest neighbours, and the invariance of the features to each policy."""

    points: int = 600
    """Images per map."""
    rows: int = 8
    """Images that are shown with their nearest neighbours."""
    invariance_images: int = 256
    """Images that the invariance to policies is measured on."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.points, "--features.points", low=1, high=5000),
            in_range(self.rows, "--features.rows", low=1, high=100),
            in_range(self.invariance_images, "--features.invariance_images", low=2),
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How a backbone is evaluated."""

    task: tuple[str, ...] = option(
        ("knn", "linear"),
        choices=TASKS,
        also={ALL: "every task that the images allow"},
        arguments=True,
        renamed=RENAMED_TASKS,
    )
    """Tasks to run, in this order."""
    data: EvaluationDataConfig = field(default_factory=EvaluationDataConfig)
    """Labelled images to evaluate on."""
    model: ForeignConfig = field(default_factory=ForeignConfig)
    """What the weights of another project's checkpoint do not tell."""
    random_init: bool = False
    """Evaluate the network with the random weights its training started from, as a baseline."""
    k: int = 20
    """Number of neighbours in k-NN."""
    temperature: float = 0.07
    """Temperature of their votes."""
    sgd: SgdConfig = field(default_factory=SgdConfig)
    """Settings of `--task linear-sgd`."""
    semi: SemiConfig = field(default_factory=SemiConfig)
    """Settings of `--task semi-supervised`."""
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """Settings of `--task transfer`."""
    detect: DetectConfig = field(default_factory=DetectConfig)
    """Settings of `--task detect`."""
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """Settings of `--task segment`."""
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    """Settings of `--task features`."""
    seed: int = 0
    """Seed of hold-out splits, label subsets, crops and orders."""
    cache: bool = True
    """Whether extracted features are cached, in `$MASSRL_CACHE` or `~/.cache/massrl`."""
    out: str = ""
    """Folder for `results.json` and `report.html`: by default the run folder, or one beside the file."""
    overwrite: bool = False
    """Replace files that massrl did not write for the same purpose too; never one that is read."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self),
            require(bool(self.task), "--task is empty, but one or more are wanted"),
            in_range(self.k, "--k", low=1),
            in_range(self.temperature, "--temperature", low=1e-4),
            in_range(self.seed, "--seed", low=0),
        )


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Evaluations to compare."""

    folders: tuple[str, ...] = ()
    """Run folders, or others that hold a `results.json`."""
    out: str = "comparison"
    """Folder for `report.html` and `comparison.json`."""
    overwrite: bool = False
    """Replace files that massrl did not write for the same purpose too; never one that is read."""

    def __post_init__(self) -> None:
        raise_faults(require(len(self.folders) > 1, "two or more folders are wanted to compare"))
