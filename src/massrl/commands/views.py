"""Looking at views without training: contact sheets, replays of a run, what a strategy does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from massrl.commands.arguments import first
from massrl.config.checks import MANY, in_range, raise_faults, require
from massrl.config.files import load_config
from massrl.config.parser import make
from massrl.config.sections import ViewsConfig
from massrl.data.build import open_images, training_source
from massrl.data.source import Source
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import CheckpointError, ConfigError, DataError, TrainingError
from massrl.files import write_text
from massrl.images.decode import decode
from massrl.images.pictures import save_picture
from massrl.runs.folder import RunFolder
from massrl.views.build import make_view_maker
from massrl.views.cpu import resize_crop
from massrl.views.crops import Box
from massrl.views.drawing.contact_sheet import SheetRow, save_sheet, sheet_rows
from massrl.views.drawing.contact_sheet_html import sheet_page
from massrl.views.drawing.policy_chart import draw_policy_chart, ranges
from massrl.views.layouts import resolve_layout
from massrl.views.policies.catalogue import parse_policy
from massrl.views.policies.randaugment import RandAugment
from massrl.views.view_maker import ViewMaker


def default_side(source: Source) -> int:
    """Side of the views of images that are looked at: small ones at their size, others at 224."""
    side = source.typical_side
    return side if side <= 64 else 224


def save_contact_sheet(config: SheetConfig) -> Path:
    """Draw what a layout does to images, or the views that a step of a run has seen."""
    rows, title = _replayed(config) if config.replay else _planned(config)
    out = Path(config.out)
    if out.suffix.lower() in (".html", ".htm"):
        lead = (
            "Every view with its operations and their numbers; frames show where it was cut from."
        )
        try:
            write_text(out, sheet_page(rows, title=title, lead=lead))
        except TrainingError as error:
            raise ConfigError(f"{error} (--out)") from None
    else:
        save_sheet(rows, out, title=title)
    return out


def _planned(config: SheetConfig) -> tuple[list[SheetRow], str]:
    source = open_images(config.images, root=config.root)
    layout = resolve_layout(config.views)
    size = config.views.size or default_side(source)
    maker = make_view_maker(config.views, size=size, seed=config.seed)
    rows = _rows(config, source, maker, epoch=config.epoch, indices=None)
    return rows, f"{layout.name}: {layout.summary}"


def _replayed(config: SheetConfig) -> tuple[list[SheetRow], str]:
    """The rows of a step, or of an epoch, of a run, as it saw them."""
    from massrl.data.loader import StepBatchSampler, steps_per_epoch  # brings torch

    folder = RunFolder.existing(config.replay, flag="--replay")
    run = load_config(folder.config)
    moved = replace(
        run.data, train=config.images or run.data.train, root=config.root or run.data.root
    )
    source = training_source(moved)
    known = json.loads(folder.data.read_text(encoding="utf-8")) if folder.data.is_file() else {}
    if known.get("fingerprint", source.fingerprint()) != source.fingerprint():
        raise CheckpointError(f"{folder.path}: {source.name} is not what the run learnt from")
    maker = make_view_maker(run.views, size=run.view_size, seed=run.train.seed)
    _check_was_made(config, folder, per_epoch=steps_per_epoch(len(source), run.batch_size))
    if config.step is None:
        rows = _rows(config, source, maker, epoch=config.epoch, indices=None)
        return rows, f"{folder.path.name}: epoch {config.epoch}"
    batches = StepBatchSampler(
        len(source),
        run.batch_size,
        seed=run.train.seed,
        start_step=config.step,
        total_steps=config.step + 1,
    )
    seen = [place.index for place in next(iter(batches))]
    epoch = config.step // steps_per_epoch(len(source), run.batch_size)
    if config.index is not None and config.index not in seen:
        some = f"{sorted(seen)[:12]}"[:-1] + (", …]" if len(seen) > 12 else "]")
        raise ConfigError(
            f"image {config.index} is not one of step {config.step}, which saw {some} (--index)"
        )
    rows = _rows(config, source, maker, epoch=epoch, indices=seen)
    return rows, f"{folder.path.name}: step {config.step}, epoch {epoch}"


def _check_was_made(config: SheetConfig, folder: RunFolder, *, per_epoch: int) -> None:
    """Refuse a step, or an epoch, that the run has not come to."""
    from massrl.runs.metrics import read_metrics

    rows = read_metrics(folder.metrics)
    last = int(rows[-1]["step"]) if rows else -1
    if folder.non_finite.is_file():  # the step that a loss that is no number ended is looked at too
        last = max(last, int(json.loads(folder.non_finite.read_text(encoding="utf-8"))["step"]))
    if config.step is not None and config.step > last:
        made = f"has made steps 0 to {last}" if last >= 0 else "has made no step yet"
        raise ConfigError(f"--step is {config.step}, but the run {made}")
    if config.epoch > max(0, last) // per_epoch:
        raise ConfigError(
            f"--epoch is {config.epoch}, but the run has come to epoch {max(0, last) // per_epoch}"
        )


def _rows(
    config: SheetConfig, source: Source, maker: ViewMaker, *, epoch: int, indices: list[int] | None
) -> list[SheetRow]:
    if config.index is not None:
        if config.index >= len(source):
            raise ConfigError(f"--index is {config.index}, but there are {len(source)} images")
        indices = [config.index]
    rows = sheet_rows(source, maker, count=config.count, epoch=epoch, indices=indices)
    if not rows:
        raise DataError(f"{source.name} has no image that can be decoded")
    return rows


def save_policy_chart(config: PolicyChartConfig) -> Path:
    """Draw a strategy's operations over the whole range of their numbers, on one image."""
    policy = parse_policy(config.policy)
    if config.image:
        image = ViewMaker.load(config.image)
    else:
        image = decode(ShapesSource(1, config.size, seed=2, objects=3, split="train").read(0))
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = resize_crop(image, Box(top, left, side, side), config.size)
    found = ranges(policy, side=config.size)
    if not found:
        raise ConfigError(f"{config.policy} has no operations: it crops and flips alone")
    title = config.policy
    if isinstance(policy, RandAugment):
        title += f": every magnitude from 0 to 30, of which this draws {policy.magnitude}"
    chart = draw_policy_chart(square, found, title=title, fill=config.fill)
    save_picture(chart, Path(config.out))
    return Path(config.out)


def draw_views(config: SheetConfig | dict[str, Any]) -> Path:
    """Draw what a layout does to images, or what a step of a run has seen; nothing is trained.

    Args:
        config: which images, which layout, where to.

    Returns:
        The path of the picture or page.
    """
    return save_contact_sheet(
        config if isinstance(config, SheetConfig) else make(SheetConfig, config)
    )


def draw_policy(config: PolicyChartConfig | dict[str, Any]) -> Path:
    """Draw what a strategy does: each of its operations over the range of its numbers, on one image.

    Args:
        config: which strategy, which image, where to.

    Returns:
        The path of the picture.
    """
    wanted = config if isinstance(config, PolicyChartConfig) else make(PolicyChartConfig, config)
    return save_policy_chart(wanted)


def run_views(words: list[str]) -> int:
    """Run ``massrl views`` and return the exit code."""
    from massrl.config.parser import make

    replayed = any(word.partition("=")[0] == "--replay" for word in words)
    given = not replayed or (words and not words[0].startswith("--"))
    images = first(words, "the images to show: a folder, a list or a name") if given else ""
    config = make(SheetConfig, {"images": images}, arguments=words)

    print(draw_views(config))
    return 0


def run_policies(words: list[str]) -> int:
    """Run ``massrl policies`` and return the exit code."""
    if words:
        from massrl.config.parser import make

        policy = first(words, "the strategy to draw")
        config = make(PolicyChartConfig, {"policy": policy}, arguments=words)

        print(draw_policy(config))
        return 0
    from massrl.views.layouts import LAYOUTS
    from massrl.views.policies.catalogue import POLICIES

    strategies, layouts = list(POLICIES.values()), list(LAYOUTS.values())
    width = max(len(item.signature) for item in strategies)
    print("strategies (--views.policies takes any number of them, or a .yaml file of your own)")
    for strategy in strategies:
        print(f"  {strategy.signature:<{width}}  {strategy.summary}")
    print("\nlayouts (--views.layout)")
    for layout in layouts:
        print(f"  {layout.name:<{width}}  {layout.summary}")
    return 0


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
        raise_faults(
            in_range(self.count, 1, MANY, "--count"),
            in_range(self.epoch, 0, MANY, "--epoch"),
            in_range(self.step, 0, MANY, "--step"),
            in_range(self.index, 0, MANY, "--index"),
            require(
                self.step is None or bool(self.replay),
                "--step is a step of a run: --replay RUN is wanted beside it",
            ),
            require(
                self.step is None or self.epoch == 0,
                "--step says the epoch too: no --epoch fits beside it",
            ),
            require(
                not self.replay or (self.views == ViewsConfig() and self.seed == 0),
                "--replay shows a run's own views: no --views or --seed fits beside it",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class PolicyChartConfig:
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
        raise_faults(
            in_range(self.size, 8, MANY, "--size"),
            in_range(self.fill, 0, 255, "--fill"),
        )
