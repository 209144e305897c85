"""Read every image of a source once: broken images, sizes, formats and duplicates."""

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

from massrl.data.overlap import same_contents
from massrl.data.source import Source, Subset
from massrl.errors import ImageError, ImageKindError, counted, one_line
from massrl.images.decode import decode
from massrl.images.header import read_header
from massrl.images.reading import read_image, read_pixels
from massrl.images.value_range import value_range

_CHUNK = 64  # images submitted at a time, per thread
_MAX_LINES = 10  # of duplicates and of ignored files; broken files are all listed


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What ``check_source`` found.

    Attributes:
        name: the source's name.
        num_images: number of images.
        broken: name and reason of each image that cannot be decoded, in order.
        short_sides: least, median and greatest short side of the readable images, decoded, in pixels;
            None if none is readable.
        long_sides: likewise.
        suffixes: number of images by file suffix, in lower case.
        kinds: number of readable images by format and mode, such as ``"JPEG RGB"``.
        refused_kinds: likewise of images of a kind that is not accepted, such as ``"TIFF 13 bands 16-bit"``;
            they are among the broken ones too.
        value_ranges: least and greatest sample of the images of each kind of more than 8 bits, accepted or
            not, as far as they can be read.
        duplicates: groups of images with identical bytes.
        ignored: names of the files beside the images that are no images.
        class_counts: number of images of each class; empty when unlabelled.
        shared: names of a training and of a validation image with the same content, for each of the latter.
        annotations: sentences on the objects in the images; see ``describe_annotations``.
    """

    name: str
    num_images: int
    broken: tuple[tuple[str, str], ...]
    short_sides: tuple[int, int, int] | None
    long_sides: tuple[int, int, int] | None
    suffixes: dict[str, int]
    kinds: dict[str, int]
    refused_kinds: dict[str, int]
    value_ranges: dict[str, tuple[float, float]]
    duplicates: tuple[tuple[str, ...], ...]
    ignored: tuple[str, ...]
    class_counts: dict[str, int]
    shared: tuple[tuple[str, str], ...] = ()
    annotations: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every image is readable, and none of them is also among the validation images."""
        return not self.broken and not self.shared

    def lines(self) -> list[str]:
        """Return the report as lines of text; every broken image is listed."""
        readable = self.num_images - len(self.broken)
        noun = "image" if self.num_images == 1 else "images"
        lines = [f"{self.name}: {self.num_images} {noun}, {readable} readable"]
        lines[0] += f", {len(self.broken)} broken" if self.broken else ""
        if self.short_sides and self.long_sides:
            lines.append(f"short side: {_range(self.short_sides)} pixels")
            lines.append(f"long side:  {_range(self.long_sides)} pixels")
        if self.suffixes:
            lines.append(f"suffixes: {_counts(self.suffixes)}")
        if self.kinds:
            lines.append(f"kinds: {_counts(self.kinds)}")
        if self.refused_kinds:
            lines.append(f"kinds that are not accepted: {_counts(self.refused_kinds)}")
        ranges = [f"{kind} {low:g} to {top:g}" for kind, (low, top) in self.value_ranges.items()]
        if ranges:
            lines.append(f"values of samples: {'; '.join(ranges)}")
        if self.class_counts:
            sizes = sorted(self.class_counts.values())
            lines.append(
                f"classes: {len(sizes)}, with {sizes[0]} to {counted(sizes[-1], 'image')} each"
            )
        else:
            lines.append("classes: none (unlabelled)")
        lines += self.annotations
        lines += [f"broken: {name}: {reason}" for name, reason in self.broken]
        duplicates = [f"same content: {' = '.join(group)}" for group in self.duplicates]
        lines += _shortened(duplicates, "more groups with the same content")
        shared = [f"also in validation: {name} = {other}" for name, other in self.shared]
        lines += _shortened(shared, "more images with the content of a validation image")
        ignored = [f"ignored, not an image: {name}" for name in self.ignored]
        return [one_line(line) for line in [*lines, *_shortened(ignored, "more ignored files")]]


class _Finding(NamedTuple):
    """What is known of one image."""

    digest: bytes  # 16 bytes; empty if it cannot be read
    height: int
    width: int
    kind: str  # format and mode
    reason: str  # why it is broken; empty if it is readable
    refused: bool = False  # whether that is because of its kind
    values: tuple[float, float] | None = None  # least and greatest sample, of more than 8 bits


class _Findings:
    """Collects the findings of a source, in about 24 bytes an image."""

    def __init__(self) -> None:
        self.heights, self.widths = array("i"), array("i")
        self.digests = bytearray()
        self.digest_indices = array("q")
        self.broken: list[tuple[int, str]] = []
        self.kinds: Counter[str] = Counter()
        self.refused_kinds: Counter[str] = Counter()
        self.value_ranges: dict[str, tuple[float, float]] = {}

    def add(self, index: int, finding: _Finding) -> None:
        if finding.digest:
            self.digests += finding.digest
            self.digest_indices.append(index)
        if finding.values:
            low, top = self.value_ranges.get(finding.kind, finding.values)
            self.value_ranges[finding.kind] = (
                min(low, finding.values[0]),
                max(top, finding.values[1]),
            )
        if finding.refused:
            self.refused_kinds[finding.kind] += 1
        if finding.reason:
            self.broken.append((index, finding.reason))
            return
        self.heights.append(finding.height)
        self.widths.append(finding.width)
        self.kinds[finding.kind] += 1

    def duplicates(self) -> list[list[int]]:
        """Groups of images that share a digest, in order of their first."""
        _, inverse, counts = np.unique(
            np.frombuffer(bytes(self.digests), "V16"), return_inverse=True, return_counts=True
        )
        groups: dict[int, list[int]] = {}
        for position in np.flatnonzero(counts[inverse] > 1):
            groups.setdefault(int(inverse[position]), []).append(self.digest_indices[position])
        return list(groups.values())


def check_source(
    source: Source,
    *,
    parts: tuple[Source, Source] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Read and decode every image of a source once, in threads.

    About 24 bytes are stored for each image, and the names of the broken ones, so that a folder of
    millions of images fits in memory.

    Args:
        source: the images.
        parts: training and validation images, which must have no content in common.
        workers: number of threads; default one per core, at most 16.
        progress: called with the numbers of images done and in all, after each chunk and at the end.

    Returns:
        The report; a broken image is listed in it and raises nothing.
    """
    workers = workers or min(os.cpu_count() or 1, 16)
    found = _Findings()
    for index, finding in enumerate(_examine_all(source, workers=workers, progress=progress)):
        found.add(index, finding)
    sides = np.array([found.heights, found.widths], np.int64)
    files = filter(None, (source.file(index) for index in range(len(source))))
    suffixes = Counter(PurePath(file).suffix.lower() for file in files)
    return CheckReport(
        name=source.name,
        num_images=len(source),
        broken=tuple((source.describe(index), reason) for index, reason in found.broken),
        short_sides=_spread(sides.min(axis=0)),
        long_sides=_spread(sides.max(axis=0)),
        suffixes=dict(suffixes.most_common()),
        kinds=dict(found.kinds.most_common()),
        refused_kinds=dict(found.refused_kinds.most_common()),
        value_ranges=found.value_ranges,
        duplicates=tuple(
            tuple(source.describe(index) for index in group) for group in found.duplicates()
        ),
        ignored=tuple(source.ignored_names),
        class_counts=_class_counts(source),
        shared=() if parts is None else _shared(*parts),
    )


def _shared(train: Source, val: Source) -> tuple[tuple[str, str], ...]:
    pairs, _ = same_contents(train, val)
    return tuple((train.describe(one), val.describe(other)) for one, other in pairs)


def drop_broken(source: Source, *, workers: int | None = None) -> tuple[Source, int]:
    """Return the readable images of a source, and the number of broken ones; each is decoded once.

    Args:
        source: the images.
        workers: threads that decode.
    """

    def is_readable(index: int) -> bool:
        try:
            read_pixels(source, index)
        except ImageError:
            return False
        return True

    with ThreadPoolExecutor(workers) as threads:
        readable = np.fromiter(threads.map(is_readable, range(len(source))), bool)
    indices = np.flatnonzero(readable)
    return Subset(source, indices), len(source) - len(indices)


def _examine_all(
    source: Source, *, workers: int, progress: Callable[[int, int], None] | None
) -> Iterator[_Finding]:
    """Yield the findings in order; only a few chunks of images are in memory at a time."""
    total = len(source)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, total, _CHUNK * workers):
            chunk = range(start, min(start + _CHUNK * workers, total))
            yield from pool.map(lambda index: _examine(source, index), chunk)
            if progress is not None:
                progress(chunk.stop, total)


def _examine(source: Source, index: int) -> _Finding:
    digest, kind = b"", "array"
    values = None
    try:
        image = read_image(source, index)
        contents = image.tobytes() if isinstance(image, np.ndarray) else image
        digest = hashlib.blake2b(contents, digest_size=16).digest()
        if isinstance(image, bytes) and (header := read_header(image)) is not None:
            kind, values = f"{header.format} {header.mode}", value_range(image, header)
        pixels = decode(image, name=source.describe(index))
    except ImageError as error:
        return _Finding(digest, 0, 0, kind, error.reason, isinstance(error, ImageKindError), values)
    return _Finding(digest, pixels.shape[0], pixels.shape[1], kind, "", values=values)


def _class_counts(source: Source) -> dict[str, int]:
    if source.labels is None:
        return {}
    counts = np.bincount(source.labels, minlength=len(source.class_names))
    return dict(zip(source.class_names, counts.tolist(), strict=True))


def _spread(values: np.ndarray) -> tuple[int, int, int] | None:
    """Least, median and greatest value."""
    if not values.size:
        return None
    return int(values.min()), round(float(np.median(values))), int(values.max())


def _range(spread: tuple[int, int, int]) -> str:
    return f"{spread[0]} to {spread[2]}, median {spread[1]}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _shortened(lines: list[str], rest: str) -> list[str]:
    more = len(lines) - _MAX_LINES
    return lines if more <= 0 else [*lines[:_MAX_LINES], f"{more} {rest}"]
