"""Look at every image once: which are broken and why, how large they are, which are the same."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

import numpy as np

from massrl.data.source import Source, Subset
from massrl.data.sources.folders import FileSource
from massrl.errors import ImageError
from massrl.images.decode import decode
from massrl.images.header import read_header

_CHUNK = 64  # images given to the threads at a time, per thread
_SHOWN = 10  # duplicates and ignored files printed; broken files are all printed


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What was found.

    Attributes:
        name: the source's name.
        num_images: images looked at.
        broken: name and reason of each image that cannot be decoded, in order.
        short_sides: least, median and greatest short side in pixels of the readable images, as
            decoded; None where none is readable. ``long_sides`` likewise.
        long_sides: see ``short_sides``.
        suffixes: number of images per file suffix, in lower case.
        kinds: number of readable images per format and mode, such as ``"JPEG RGB"``.
        duplicates: groups of images whose contents are the same byte for byte.
        ignored: names of the files beside the images that are not taken for images.
        class_counts: number of images of each class; empty when unlabelled.
    """

    name: str
    num_images: int
    broken: tuple[tuple[str, str], ...]
    short_sides: tuple[int, int, int] | None
    long_sides: tuple[int, int, int] | None
    suffixes: dict[str, int]
    kinds: dict[str, int]
    duplicates: tuple[tuple[str, ...], ...]
    ignored: tuple[str, ...]
    class_counts: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether every image can be decoded."""
        return not self.broken

    def lines(self) -> list[str]:
        """The report for a person, line by line; every broken image is listed."""
        readable = self.num_images - len(self.broken)
        noun = "image" if self.num_images == 1 else "images"
        lines = [f"{self.name}: {self.num_images} {noun}, {readable} readable"]
        lines[0] += f", {len(self.broken)} broken" if self.broken else ""
        if self.short_sides and self.long_sides:
            lines.append(f"short side: {_spread(self.short_sides)} pixels")
            lines.append(f"long side:  {_spread(self.long_sides)} pixels")
        if self.suffixes:
            lines.append(f"suffixes: {_counts(self.suffixes)}")
        if self.kinds:
            lines.append(f"kinds: {_counts(self.kinds)}")
        if self.class_counts:
            sizes = sorted(self.class_counts.values())
            lines.append(f"classes: {len(sizes)}, with {sizes[0]} to {sizes[-1]} images each")
        else:
            lines.append("classes: none (unlabelled)")
        lines += [f"broken: {name}: {reason}" for name, reason in self.broken]
        same = [f"same content: {' = '.join(group)}" for group in self.duplicates]
        lines += _shortened(same, "more groups with the same content")
        beside = [f"ignored, not an image: {name}" for name in self.ignored]
        return lines + _shortened(beside, "more ignored files")


class _Finding(NamedTuple):
    """What one image told."""

    digest: bytes  # 16 bytes; empty where it could not be read
    height: int
    width: int
    kind: str
    reason: str  # empty where it is readable


def check_source(
    source: Source,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Read and decode every image of a source once, in threads.

    About 24 bytes are kept per image, beside the names of the broken ones, so a folder of millions
    fits in memory.

    Args:
        source: what to look at.
        workers: number of threads; default one per core, 16 at most.
        progress: called with (done, total) every so often, and at the end.

    Returns:
        The report; broken images are in it and raise nothing.
    """
    workers = workers or min(os.cpu_count() or 1, 16)
    total = len(source)
    heights, widths = array("i"), array("i")
    digests = bytearray()
    hashed = array("q")  # index of each digest
    broken: list[tuple[str, str]] = []
    suffixes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for index, finding in enumerate(_findings(source, workers=workers, progress=progress)):
        if isinstance(source, FileSource):
            suffixes[PurePath(source.names[index]).suffix.lower()] += 1
        if finding.digest:
            digests += finding.digest
            hashed.append(index)
        if finding.reason:
            broken.append((source.describe(index), finding.reason))
            continue
        heights.append(finding.height)
        widths.append(finding.width)
        kinds[finding.kind] += 1
    sides = np.array([heights, widths], np.int64)
    counts: dict[str, int] = {}
    if source.labels is not None:
        numbers = np.bincount(source.labels, minlength=len(source.class_names))
        counts = dict(zip(source.class_names, numbers.tolist(), strict=True))
    return CheckReport(
        name=source.name,
        num_images=total,
        broken=tuple(broken),
        short_sides=_three(sides.min(axis=0)),
        long_sides=_three(sides.max(axis=0)),
        suffixes=dict(suffixes.most_common()),
        kinds=dict(kinds.most_common()),
        duplicates=_groups(source, bytes(digests), np.array(hashed, np.int64)),
        ignored=tuple(source.ignored_names) if isinstance(source, FileSource) else (),
        class_counts=counts,
    )


def _findings(
    source: Source, *, workers: int, progress: Callable[[int, int], None] | None
) -> Iterator[_Finding]:
    """In order; only a few chunks of images are under way at a time."""
    total = len(source)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, total, _CHUNK * workers):
            chunk = range(start, min(start + _CHUNK * workers, total))
            yield from pool.map(lambda index: _look(source, index), chunk)
            if progress is not None:
                progress(chunk.stop, total)


def _look(source: Source, index: int) -> _Finding:
    digest = b""
    try:
        image = source.read(index)
        contents = image.tobytes() if isinstance(image, np.ndarray) else image
        digest = hashlib.blake2b(contents, digest_size=16).digest()
        pixels = decode(image, name=source.describe(index))
    except ImageError as error:
        return _Finding(digest, 0, 0, "", error.reason)
    kind = "array"
    if isinstance(image, bytes) and (header := read_header(image)) is not None:
        kind = f"{header.format} {header.mode}"
    return _Finding(digest, pixels.shape[0], pixels.shape[1], kind, "")


def _groups(source: Source, digests: bytes, hashed: np.ndarray) -> tuple[tuple[str, ...], ...]:
    """Names of the images that share a digest, in order of their first."""
    _, inverse, counts = np.unique(
        np.frombuffer(digests, "V16"), return_inverse=True, return_counts=True
    )
    groups: dict[int, list[int]] = {}
    for place in np.flatnonzero(counts[inverse] > 1):
        groups.setdefault(int(inverse[place]), []).append(int(hashed[place]))
    return tuple(tuple(source.describe(index) for index in group) for group in groups.values())


def _three(values: np.ndarray) -> tuple[int, int, int] | None:
    if not values.size:
        return None
    return int(values.min()), round(float(np.median(values))), int(values.max())


def _spread(three: tuple[int, int, int]) -> str:
    return f"{three[0]} to {three[2]}, median {three[1]}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _shortened(lines: list[str], rest: str) -> list[str]:
    more = len(lines) - _SHOWN
    return lines if more <= 0 else [*lines[:_SHOWN], f"{more} {rest}"]


def drop_broken(source: Source, *, workers: int | None = None) -> tuple[Source, int]:
    """The images of a source that can be decoded, and how many cannot; each is decoded once.

    Args:
        source: the images.
        workers: threads that decode.
    """

    def readable(index: int) -> bool:
        try:
            decode(source.read(index), name=source.describe(index))
        except ImageError:
            return False
        return True

    with ThreadPoolExecutor(workers) as threads:
        kept = np.flatnonzero(np.fromiter(threads.map(readable, range(len(source))), bool))
    return Subset(source, kept), len(source) - len(kept)
