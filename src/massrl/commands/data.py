"""``massrl data check`` and ``massrl data pack``: options, functions, and what the shell prints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from massrl.commands.arguments import first
from massrl.config.checks import in_range, raise_faults, require
from massrl.config.choices import ON_ERROR
from massrl.config.fields import field_faults, option
from massrl.config.parser import make
from massrl.errors import ConfigError, counted

if TYPE_CHECKING:
    from rich.console import Console

    from massrl.data.check import CheckReport

_DEFAULT_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Decode every image once, and list the broken ones."""

    images: str = ""
    """Folder, list of paths, name, or annotation file of COCO."""
    val: str | None = None
    """Validation images, of which none may be among the images; default those of a divided folder."""
    root: str | None = None
    """Folder where named data sets are stored or downloaded to, or of COCO's images."""


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """Pack images into tar files, which are read faster than many small files."""

    images: str = ""
    """Folder, list of paths or name."""
    out: str = ""
    """Folder and beginning of the names of the files to write."""
    root: str | None = None
    """Folder where named data sets are stored or downloaded to."""
    short_side: int | None = None
    """Shrink images to this short side, pixels; without it every file is packed unchanged."""
    quality: int | None = None
    """Quality of the JPEGs that shrunk images become; default 95."""
    shard_megabytes: int = 256
    """Size at which a tar file is closed and the next one begins."""
    on_error: str = option("stop", choices=ON_ERROR)
    """What to do about an image that cannot be decoded."""
    overwrite: bool = False
    """Begin anew, and replace whatever files have these names; never one that is read."""

    def __post_init__(self) -> None:
        raise_faults(
            *field_faults(self),
            in_range(self.short_side, "--short_side", low=1),
            in_range(self.quality, "--quality", low=1, high=100),
            require(
                self.quality is None or self.short_side is not None,
                "--quality is that of images that are shrunk: --short_side is missing",
            ),
            in_range(self.shard_megabytes, "--shard_megabytes", low=1),
        )


def check_data(
    config: CheckConfig | dict[str, Any] | str, *, console: Console | None = None
) -> CheckReport:
    """Decode every image of a source once and report what is broken.

    Args:
        config: which images; a string stands for ``images`` alone.
        console: where progress is shown; the terminal by default.

    Raises:
        ConfigError: if no images are given, or a key is unknown.
        DataError: if the source cannot be used.
    """
    from massrl.data.build import open_images, open_parts
    from massrl.data.catalogue import describe_annotations
    from massrl.data.check import check_source
    from massrl.data.source import Source
    from massrl.data.sources.coco import CocoSource
    from massrl.runs.log import TaskProgress, each_message_once

    content = {"images": config} if isinstance(config, str) else config
    wanted = content if isinstance(content, CheckConfig) else make(CheckConfig, content)
    source: Source
    with each_message_once():
        annotations = describe_annotations(wanted.images, root=wanted.root, flag="IMAGES")
        if wanted.images.endswith(".json"):  # the images that it annotates
            folder = Path(wanted.root).expanduser() if wanted.root else None
            source = CocoSource(Path(wanted.images).expanduser(), images=folder, flag="IMAGES")
        else:
            source = open_images(wanted.images, root=wanted.root, whole=True)
        parts = open_parts(source, wanted.images, wanted.val, root=wanted.root)
    with TaskProgress(console or _terminal()) as progress:
        report = check_source(source, parts=parts, progress=partial(progress, "checking"))
    return replace(report, annotations=tuple(annotations))


def pack_data(
    config: PackConfig | dict[str, Any], *, console: Console | None = None
) -> tuple[int, int]:
    """Pack images into tar files with an index; ``--data.train 'OUT-*.tar'`` trains on them.

    Args:
        config: which images, where to, and whether they are shrunk.
        console: where progress is shown; the terminal by default.

    Returns:
        Number of images packed, and of broken images skipped.

    Raises:
        ConfigError: if the configuration is wrong, or a folder with ``train/`` and ``val/`` is given.
        DataError: if the images cannot be used, or the files cannot be written.
    """
    from massrl.data.build import open_images
    from massrl.data.pack import Recoding, pack
    from massrl.data.sources.find_images import enter_split, has_validation_part
    from massrl.data.sources.packed import index_path
    from massrl.runs.log import TaskProgress

    wanted = config if isinstance(config, PackConfig) else make(PackConfig, config)
    if not wanted.out.strip() or wanted.out.endswith(("/", ".")):
        raise ConfigError(
            f"OUT is {wanted.out!r}; accepted: a folder and the beginning of a name, such as packed/photos"
        )
    folder = Path(wanted.images).expanduser()
    if has_validation_part(folder):
        part = enter_split(folder, split="train", flag="IMAGES")
        raise ConfigError(
            f"{wanted.images} is divided into training and validation images: pack each of its folders "
            f"by itself, such as {part}"
        )
    out = Path(wanted.out).expanduser()
    if wanted.images.endswith(".tar") and index_path(wanted.images) == index_path(f"{out}-*.tar"):
        raise ConfigError(f"{wanted.images} is read by this command: choose another OUT")
    source = open_images(wanted.images, root=wanted.root)
    quality = _DEFAULT_QUALITY if wanted.quality is None else wanted.quality
    recoding = Recoding(wanted.short_side, quality) if wanted.short_side else None
    with TaskProgress(console or _terminal()) as progress:
        return pack(
            source,
            out,
            shard_bytes=wanted.shard_megabytes << 20,
            recoding=recoding,
            skip_broken=wanted.on_error == "skip",
            overwrite=wanted.overwrite,
            progress=partial(progress, "packing"),
        )


def run_check(words: list[str]) -> int:
    """Run ``massrl data check`` and return the exit code: 1 if an image is broken."""
    images = first(words, "the images to check: a folder, a list or a name")
    report = check_data(make(CheckConfig, {"images": images}, arguments=words))
    for line in report.lines():
        print(line)
    return 0 if report.ok else 1


def run_pack(words: list[str]) -> int:
    """Run ``massrl data pack`` and return the exit code."""
    images = first(words, "the images to pack: a folder, a list or a name")
    out = first(words, "where to: a folder and the beginning of a name, such as packed/photos")
    config = make(PackConfig, {"images": images, "out": out}, arguments=words)
    num_packed, num_skipped = pack_data(config)
    skipped = f", {num_skipped} broken skipped" if num_skipped else ""
    print(f"{counted(num_packed, 'image')} packed{skipped}; train on them with:")
    print(f"  massrl pretrain --data.train {quote(out + '-*.tar')}")
    return 0


def _terminal() -> Console:
    from rich.console import Console

    return Console(stderr=True)
