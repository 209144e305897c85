"""What evaluations are asked for: dataclasses that the flags of ``evaluate`` and ``compare`` come from."""

from __future__ import annotations

from dataclasses import dataclass, field

from massrl.config.checks import MANY, choice, in_range, raise_faults, require
from massrl.config.sections import ON_ERROR

_MOST_RATE = 1e6  # far from any use, and far from overflow


@dataclass(frozen=True, kw_only=True)
class EvaluationDataConfig:
    """Labelled images to judge by; what is left out is as in the run."""

    train: str | None = None
    """Images that k-NN remembers and the probe learns from. Of objects: a folder in Pascal VOC's layout
    (masks of your own classes with a `labelmap.txt`), `voc2007`, `voc2012`, a JSON file in COCO's layout."""
    val: str | None = None
    """Images that are only ever predicted; without them a fifth of the others is held out."""
    limit: int | None = None
    """Use this many of the training images only: a seeded, class-balanced subset."""
    root: str | None = None
    """Folder where named data sets are kept or downloaded to."""
    download: bool = True
    """Whether a named data set that is missing may be downloaded."""
    on_error: str = "stop"
    """What a broken image does: `stop` the evaluation, or `skip` it, counted and reported."""

    def __post_init__(self) -> None:
        raise_faults(choice(self.on_error, ON_ERROR, "--data.on_error"))


@dataclass(frozen=True, kw_only=True)
class SgdConfig:
    """The field's linear protocol: a classifier on the frozen backbone, trained on random crops."""

    epochs: int = 100
    """Passes over the training images."""
    batch_size: int = 1024
    """Images of a step; rates are used in proportion to it."""
    rates: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1, 0.05)
    """Learning rates for 1,024 images, all tried in one pass."""
    holdout: float = 0.1
    """Share of the training images that the rate is chosen by."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.epochs, 1, MANY, "--sgd.epochs"),
            in_range(self.batch_size, 1, MANY, "--sgd.batch_size"),
            require(bool(self.rates), "--sgd.rates is empty, but one or more are wanted"),
            *(in_range(rate, 1e-9, _MOST_RATE, "--sgd.rates") for rate in self.rates),
            in_range(self.holdout, 1e-6, 0.9, "--sgd.holdout"),
        )


@dataclass(frozen=True, kw_only=True)
class SemiConfig:
    """Semi-supervised evaluation: fine-tuning on a small share of the labels."""

    shares: tuple[float, ...] = ()
    """Shares of the training images whose labels are used, seeded, every class in proportion: 0.01 and 0.1
    where no lists are given."""
    lists: tuple[str, ...] = ()
    """Lists of images whose labels are used: `imagenet-1` and `imagenet-10`, which are SimCLR's and
    everyone's, or files of names, one a line."""
    protocol: str = "short"
    """`short`: two rates, 30 epochs; `byol`: five rates, 30 and 50 epochs."""
    rates: tuple[float, ...] = ()
    """Learning rates to choose from, in place of the protocol's."""
    epochs: tuple[int, ...] = ()
    """Numbers of epochs to choose from, in place of the protocol's."""
    batch_size: int = 1024
    """Images of a step at most; small shares take less, for a dozen steps an epoch."""

    def __post_init__(self) -> None:
        raise_faults(
            *(in_range(share, 1e-6, 1, "--semi.shares") for share in self.shares),
            choice(self.protocol, ("short", "byol"), "--semi.protocol"),
            *(in_range(rate, 1e-9, _MOST_RATE, "--semi.rates") for rate in self.rates),
            *(in_range(epochs, 1, MANY, "--semi.epochs") for epochs in self.epochs),
            in_range(self.batch_size, 2, MANY, "--semi.batch_size"),
        )


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Transfer to other data sets: a linear probe on frozen features and, if wanted, fine-tuning."""

    sets: tuple[str, ...] = ()
    """Names such as `food101` and `voc2007`, folders, and those in Pascal VOC's layout: `mine:trainval`."""
    finetune: bool = False
    """Whether the whole network is fine-tuned on each of them too."""
    rates: tuple[float, ...] = (0.02, 0.1)
    """Learning rates to choose from when fine-tuning."""
    epochs: tuple[int, ...] = (30,)
    """Numbers of epochs to choose from when fine-tuning."""
    batch_size: int = 256
    """Images of a step at most when fine-tuning."""

    def __post_init__(self) -> None:
        raise_faults(
            *(in_range(rate, 1e-9, _MOST_RATE, "--transfer.rates") for rate in self.rates),
            *(in_range(epochs, 1, MANY, "--transfer.epochs") for epochs in self.epochs),
            in_range(self.batch_size, 2, MANY, "--transfer.batch_size"),
            require(
                bool(self.rates and self.epochs),
                "--transfer.rates and --transfer.epochs must not be empty",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """Object detection: Faster R-CNN, or Mask R-CNN where masks are known, fine-tuned from the backbone."""

    head: str = "fpn"
    """`fpn`: a feature pyramid over all stages; `c4`: the last stage as the head of every region."""
    epochs: float = 12.0
    """Passes over the training images."""
    batch_size: int = 16
    """Images of a step."""
    lr: float = 0.02
    """Peak learning rate for 16 images; in proportion to `batch_size`."""
    size: int | None = None
    """Short side that images are resized to, pixels: 800, or twice their own where they are small."""
    width: int | None = None
    """Channels of the pyramid, if any, and of the heads: 256, or 64 where images are small."""
    regions: int | None = None
    """Regions of an image that the heads learn from: 512, or 64 where images are small."""
    pictures: int = 6
    """Images to show beside their truth."""

    def __post_init__(self) -> None:
        raise_faults(
            choice(self.head, ("fpn", "c4"), "--detect.head"),
            in_range(self.epochs, 1e-3, MANY, "--detect.epochs"),
            in_range(self.batch_size, 1, MANY, "--detect.batch_size"),
            in_range(self.lr, 1e-9, _MOST_RATE, "--detect.lr"),
            in_range(self.size, 32, MANY, "--detect.size"),
            in_range(self.width, 1, MANY, "--detect.width"),
            in_range(self.regions, 4, MANY, "--detect.regions"),
            in_range(self.pictures, 0, MANY, "--detect.pictures"),
        )


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """Semantic segmentation: a fully convolutional head on the backbone, fine-tuned as a whole."""

    head: str = "fcn"
    """`fcn` or `deeplab`."""
    epochs: float = 30.0
    """Passes over the training images."""
    batch_size: int = 16
    """Images of a step."""
    lr: float = 0.02
    """Peak learning rate for 16 images; in proportion to `batch_size`."""
    size: int | None = None
    """Side that images are resized to, pixels: 512, or twice their own where they are small."""
    pictures: int = 6
    """Images to show beside their truth."""

    def __post_init__(self) -> None:
        raise_faults(
            choice(self.head, ("fcn", "deeplab"), "--segment.head"),
            in_range(self.epochs, 1e-3, MANY, "--segment.epochs"),
            in_range(self.batch_size, 2, MANY, "--segment.batch_size"),
            in_range(self.lr, 1e-9, _MOST_RATE, "--segment.lr"),
            in_range(self.size, 32, MANY, "--segment.size"),
            in_range(self.pictures, 0, MANY, "--segment.pictures"),
        )


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Looking: maps of the features, nearest images, and how far each strategy moves the features."""

    points: int = 600
    """Images on a map."""
    rows: int = 8
    """Images that are shown with those nearest to them."""
    invariance_images: int = 256
    """Images that strategies are tried on."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.points, 1, 5000, "--look.points"),
            in_range(self.rows, 1, 100, "--look.rows"),
            in_range(self.invariance_images, 2, MANY, "--look.invariance_images"),
        )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How a backbone is judged."""

    task: tuple[str, ...] = ("knn", "linear")
    """`knn`; `linear`: logistic regression on features; `linear-sgd`: the field's protocol, on random
    crops; `semi`: fine-tuning on few labels; `look`: maps, nearest images, what moves the features;
    `transfer`: other data sets; `detect` and `segment`: objects in images; or `all` that the images allow."""
    data: EvaluationDataConfig = field(default_factory=EvaluationDataConfig)
    """Labelled images to judge by."""
    untrained: bool = False
    """Judge the network as the run started with it, to compare with."""
    k: int = 20
    """Neighbours that vote in k-NN."""
    temperature: float = 0.07
    """Temperature of their votes."""
    sgd: SgdConfig = field(default_factory=SgdConfig)
    """Of `linear-sgd`."""
    semi: SemiConfig = field(default_factory=SemiConfig)
    """Of `semi`."""
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """Of `transfer`."""
    detect: DetectConfig = field(default_factory=DetectConfig)
    """Of `detect`."""
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """Of `segment`."""
    look: FeaturesConfig = field(default_factory=FeaturesConfig)
    """Of `look`."""
    seed: int = 0
    """Seed of what tasks hold out, of shares, crops and orders."""
    cache: bool = True
    """Whether features are kept for the next time, in `$MASSRL_CACHE` or `~/.cache/massrl`."""
    out: str = ""
    """Folder for `results.json` and `report.html`; the run folder, or one beside the file, otherwise."""

    def __post_init__(self) -> None:
        raise_faults(
            require(bool(self.task), "--task is empty, but one or more are wanted"),
            in_range(self.k, 1, MANY, "--k"),
            in_range(self.temperature, 1e-4, MANY, "--temperature"),
            in_range(self.seed, 0, MANY, "--seed"),
        )


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Evaluations to put side by side."""

    folders: tuple[str, ...] = ()
    """Run folders, or others that hold a `results.json`."""
    out: str = "comparison"
    """Folder for `report.html` and `comparison.json`."""

    def __post_init__(self) -> None:
        raise_faults(
            require(len(self.folders) > 1, "two folders or more are wanted to be compared")
        )
