"""``massrl views``: contact sheets of views, and replays of the views of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from massrl.commands.arguments import first
from massrl.config.checks import in_range, raise_faults, require
from massrl.config.parser import make
from massrl.config.sections import ViewsConfig
from massrl.errors import CheckpointError, ConfigError, DataError, TrainingError

if TYPE_CHECKING:
    from massrl.config.pretrain import Config
    from massrl.data.source import Source
    from massrl.runs.folder import RunFolder
    from massrl.views.drawing.sheet_rows import SheetRow
    from massrl.views.view_maker import ViewMaker

_MAX_LISTED = 12  # images of a step that an error lists


@dataclass(frozen=True, kw_only=True)
class SheetConfig:
    """A contact sheet of views."""

    images: str = ""
    """Folder, list of paths, or name of a data set."""
    out: str = "views.png"
    """File to write: a picture, or a page if its name ends in `.html`."""
    root: str | None = None
    """Folder of named data sets, which are downloaded to it."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """The views of each image. A field that is not set is as the layout has it."""
    count: int = 8
    """Images to show, from the first."""
    epoch: int = 0
    """Epoch whose views are shown, from 0."""
    seed: int = 0
    """Seed of the views."""
    replay: str = ""
    """Run folder: show the views that this run trained on, with its layout, seed and images."""
    step: int | None = None
    """With `--replay`: the optimiser step whose images are shown, as in `metrics.csv`."""
    index: int | None = None
    """Show only this image, by its position among the images."""
    overwrite: bool = False
    """Replace files that massrl did not write for the same purpose too; never one that is read."""

    def __post_init__(self) -> None:
        raise_faults(
            in_range(self.count, "--count", low=1),
            in_range(self.epoch, "--epoch", low=0),
            in_range(self.step, "--step", low=0),
            in_range(self.index, "--index", low=0),
            require(self.step is None or bool(self.replay), "--step needs --replay RUN"),
            require(
                self.step is None or self.epoch == 0,
                "--step and --epoch cannot be given together: the step determines the epoch",
            ),
            require(
                not self.replay or (self.views == ViewsConfig() and self.seed == 0),
                "--replay shows the run's own views: --views and --seed cannot be given with it",
            ),
        )


def draw_views(config: SheetConfig | dict[str, Any]) -> Path:
    """Draw the views of a layout, or those of a step of a run; nothing is trained.

    Args:
        config: images, layout and output file.

    Returns:
        The path of the picture or page.

    Raises:
        MassrlError: if something the user gave cannot be used.
    """
    from massrl.files import check_outputs, write_text
    from massrl.views.drawing.contact_sheet import save_sheet
    from massrl.views.drawing.contact_sheet_html import sheet_page

    wanted = config if isinstance(config, SheetConfig) else make(SheetConfig, config)
    out = Path(wanted.out).expanduser()
    check_outputs({out: "views"}, inputs=[wanted.images], overwrite=wanted.overwrite)
    rows, title = _replayed_rows(wanted) if wanted.replay else _planned_rows(wanted)
    if out.suffix.lower() not in (".html", ".htm"):
        save_sheet(rows, out, command="views", title=title)
        return out
    lead = "Every view with its operations and their parameters; frames show where it was cropped."
    try:
        write_text(out, sheet_page(rows, title=title, lead=lead))
    except TrainingError as error:
        raise ConfigError(f"{error} (--out)") from None
    return out


def default_side(source: Source) -> int:
    """Return the default side of views, pixels: that of small images, 224 for others."""
    side = source.typical_side
    return side if side <= 64 else 224


def _planned_rows(config: SheetConfig) -> tuple[list[SheetRow], str]:
    """Return the rows and the title of a sheet of a layout."""
    from massrl.data.build import open_images
    from massrl.runs.folder import RunFolder
    from massrl.views.build import make_view_maker

    run = RunFolder(Path(config.images).expanduser())
    if run.config.is_file() and run.data.is_file():
        raise ConfigError(
            f"{config.images} is a run folder: massrl views --replay {quote(config.images)} shows the "
            "views that the run trained on"
        )
    source = open_images(config.images, root=config.root)
    size = config.views.size or default_side(source)
    maker = make_view_maker(config.views, size=size, seed=config.seed)
    rows = _rows(config, source, maker=maker, epoch=config.epoch, indices=None)
    return rows, f"{maker.layout.name}: {maker.layout.summary}"


def _replayed_rows(config: SheetConfig) -> tuple[list[SheetRow], str]:
    """Return the rows and the title of a sheet of a run's epoch or step."""
    from massrl.config.files import load_config
    from massrl.runs.folder import RunFolder
    from massrl.views.build import make_view_maker

    folder = RunFolder.existing(config.replay, flag="--replay")
    run = load_config(folder.config)
    source = _images_of_run(config, run, folder=folder)
    from massrl.data.loader import StepBatchSampler, steps_per_epoch

    maker = make_view_maker(run.views, size=run.view_size, seed=run.train.seed)
    per_epoch = steps_per_epoch(len(source), run.batch_size)
    _check_was_reached(config, folder, per_epoch=per_epoch)
    if config.step is None:
        rows = _rows(config, source, maker=maker, epoch=config.epoch, indices=None)
        return rows, f"{folder.path.name}: epoch {config.epoch}"
    batches = StepBatchSampler(
        len(source),
        run.batch_size,
        seed=run.train.seed,
        start_step=config.step,
        total_steps=config.step + 1,
    )
    seen = [key.index for key in next(iter(batches))]
    if config.index is not None and config.index not in seen:
        end = ", …]" if len(seen) > _MAX_LISTED else "]"
        some = f"{sorted(seen)[:_MAX_LISTED]}"[:-1] + end
        raise ConfigError(
            f"image {config.index} is not one of step {config.step}, which saw {some} (--index)"
        )
    epoch = config.step // per_epoch
    rows = _rows(config, source, maker=maker, epoch=epoch, indices=seen)
    return rows, f"{folder.path.name}: step {config.step}, epoch {epoch}"


def _images_of_run(config: SheetConfig, run: Config, *, folder: RunFolder) -> Source:
    """Open the images that a run was trained on, which may have been moved since."""
    from massrl.data.build import training_source
    from massrl.files import read_json

    train, root = config.images or run.data.train, config.root or run.data.root
    source = training_source(replace(run.data, train=train, root=root))
    saved = read_json(folder.data, {"fingerprint": str}) if folder.data.exists() else None
    if saved is not None and saved["fingerprint"] != source.fingerprint():
        raise CheckpointError(f"{folder.path} was not trained on {source.name}: other images")
    return source


def _check_was_reached(config: SheetConfig, folder: RunFolder, *, per_epoch: int) -> None:
    """Refuse a step or an epoch that the run has not reached."""
    from massrl.files import read_json
    from massrl.runs.metrics import read_metrics

    rows = read_metrics(folder.metrics)
    last = int(rows[-1]["step"]) if rows else -1
    if folder.non_finite.is_file():  # the step whose loss was not finite can be shown too
        last = max(last, read_json(folder.non_finite, {"step": int})["step"])
    if config.step is not None and config.step > last:
        made = f"has made steps 0 to {last}" if last >= 0 else "has made no step yet"
        raise ConfigError(f"--step is {config.step}, but the run {made}")
    reached = max(0, last) // per_epoch
    if config.epoch > reached:
        raise ConfigError(f"--epoch is {config.epoch}, but the run has reached epoch {reached}")


def _rows(
    config: SheetConfig, source: Source, *, maker: ViewMaker, epoch: int, indices: list[int] | None
) -> list[SheetRow]:
    from massrl.views.drawing.sheet_rows import sheet_rows

    if config.index is not None:
        if config.index >= len(source):
            raise ConfigError(f"--index is {config.index}, but the last image is {len(source) - 1}")
        indices = [config.index]
    rows = sheet_rows(source, maker, count=config.count, epoch=epoch, indices=indices)
    if not rows:
        raise DataError(f"{source.name} has no image that can be decoded")
    return rows


def run_views(words: list[str]) -> int:
    """Run ``massrl views`` and return the exit code."""
    replay = any(word.partition("=")[0] == "--replay" for word in words)
    given = not replay or (words and not words[0].startswith("--"))
    images = first(words, "the images to show: a folder, a list or a name") if given else ""
    print(draw_views(make(SheetConfig, {"images": images}, arguments=words)))
    return 0
