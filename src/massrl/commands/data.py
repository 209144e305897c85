"""What the verbs beside pre-training are asked for: dataclasses that their flags are derived from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console

from massrl.commands.arguments import first
from massrl.config.checks import MANY, choice, in_range, raise_faults, require
from massrl.config.choices import ON_ERROR
from massrl.config.parser import make
from massrl.data.build import open_images
from massrl.data.check import CheckReport, check_source
from massrl.data.pack import Recoding, pack
from massrl.data.sources.find_images import has_validation_part
from massrl.errors import ConfigError
from massrl.runs.log import TaskProgress


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Images to decode, every one once."""

    images: str = ""
    """Folder, list of paths or name."""
    root: str | None = None
    """Folder where named data sets are kept or downloaded to."""


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
        raise_faults(
            choice(self.on_error, ON_ERROR, "--on_error"),
            in_range(self.short_side, 1, MANY, "--short_side"),
            in_range(self.quality, 1, 100, "--quality"),
            require(
                self.quality is None or self.short_side is not None,
                "--quality is that of images that are made smaller: --short_side is missing",
            ),
            in_range(self.shard_megabytes, 1, MANY, "--shard_megabytes"),
        )


def pack_data(
    config: PackConfig | dict[str, Any], *, console: Console | None = None
) -> tuple[int, int]:
    """Pack images into tar files with an index; ``--data.train 'OUT-*.tar'`` learns from them.

    Args:
        config: which images, where to, and whether they are made smaller.
        console: where progress is shown; the terminal by default.

    Returns:
        Images packed, and broken images left out.
    """
    wanted = config if isinstance(config, PackConfig) else make(PackConfig, config)
    if not wanted.out.strip() or wanted.out.endswith(("/", ".")):
        raise ConfigError(
            f"OUT is {wanted.out!r}, but a folder and the beginning of a name, such as packed/photos, "
            "is wanted"
        )
    if has_validation_part(Path(wanted.images).expanduser()):
        raise ConfigError(
            f"{wanted.images} is divided into parts to learn from and to judge by: pack each of its folders "
            f"by itself, such as {wanted.images}/train"
        )
    source = open_images(wanted.images, root=wanted.root)
    quality = 95 if wanted.quality is None else wanted.quality
    recoding = Recoding(wanted.short_side, quality) if wanted.short_side else None
    with TaskProgress(console or Console(stderr=True)) as progress:
        return pack(
            source,
            Path(wanted.out).expanduser(),
            shard_bytes=wanted.shard_megabytes << 20,
            recoding=recoding,
            skip_broken=wanted.on_error == "skip",
            progress=partial(progress, "packing"),
        )


def check_data(
    config: CheckConfig | dict[str, Any] | str, *, console: Console | None = None
) -> CheckReport:
    """Decode every image of a source once and list what is broken.

    Args:
        config: which images; a text is short for their folder, list or name alone.
        console: where progress is shown; the terminal by default.
    """
    content = {"images": config} if isinstance(config, str) else config
    wanted = content if isinstance(content, CheckConfig) else make(CheckConfig, content)
    source = open_images(wanted.images, root=wanted.root, whole=True)
    with TaskProgress(console or Console(stderr=True)) as progress:
        return check_source(source, progress=lambda done, total: progress("checking", done, total))


def run_check(words: list[str]) -> int:
    """Run ``massrl data check`` and return the exit code."""
    from massrl.config.parser import make

    images = first(words, "the images to check: a folder, a list or a name")
    config = make(CheckConfig, {"images": images}, arguments=words)

    report = check_data(config)
    for line in report.lines():
        print(line)
    return 0 if report.ok else 1


def run_pack(words: list[str]) -> int:
    """Run ``massrl data pack`` and return the exit code."""
    from massrl.config.parser import make

    images = first(words, "the images to pack: a folder, a list or a name")
    out = first(words, "where to: a folder and the beginning of a name, such as packed/photos")
    config = make(PackConfig, {"images": images, "out": out}, arguments=words)

    packed, left_out = pack_data(config)
    broken = f", {left_out} broken ones left out" if left_out else ""
    print(f"{packed} images packed{broken}; learn from them with:")
    print(f"  massrl pretrain --data.train {quote(out + '-*.tar')}")
    return 0
