"""Looking at views without training: contact sheets, replays of a run, what a strategy does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from massrl.atomic import write_text
from massrl.config_files import load_config
from massrl.data.decode import decode
from massrl.data.shapes import ShapesSource
from massrl.data.sources import Source
from massrl.errors import CheckpointError, ConfigError, DataError, TrainingError
from massrl.options import SheetConfig, StrengthsConfig
from massrl.parts import make_view_maker, open_images, sheet_rows, training_source
from massrl.run_folder import RunFolder
from massrl.view_maker import ViewMaker
from massrl.views.crops import Box
from massrl.views.layouts import resolve_layout
from massrl.views.policies import RandAugment
from massrl.views.resize import resize_crop
from massrl.views.sheet import SheetRow, save_picture, save_sheet
from massrl.views.sheet_page import sheet_page
from massrl.views.strategies import parse_strategy
from massrl.views.strengths import draw_strengths, ranges


def default_side(source: Source) -> int:
    """Side of the views of images that are looked at: small ones at their size, others at 224."""
    side = source.typical_side
    return side if side <= 64 else 224


def save_views(config: SheetConfig) -> Path:
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
    from massrl.data.loader import StepBatches, steps_per_epoch  # brings torch

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
    batches = StepBatches(
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
    from massrl.train.record import read_metrics

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


def save_strengths(config: StrengthsConfig) -> Path:
    """Draw a strategy's operations over the whole range of their numbers, on one image."""
    policy = parse_strategy(config.policy)
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
    chart = draw_strengths(square, found, title=title, fill=config.fill)
    save_picture(chart, Path(config.out))
    return Path(config.out)
