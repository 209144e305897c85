"""How images lie under their annotations: turned by EXIF or as stored, of the annotated size or another."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from massrl.errors import DataError, counted
from massrl.images.header import Header, read_header

Size = tuple[int, int]
"""Height and width, pixels."""

_BEGINNING = 1 << 16  # bytes that almost always hold the header
_MAX_THREADS = 16
_ORIENTATION = 0x112  # EXIF tag
_MIN_SIDE = (
    0.01  # pixels of a box; rounding may leave a smaller one without any, when images are resized
)
# From an image that has been turned by its EXIF orientation back to the stored one.
_UNDO: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image, -1),
}


class Frame(NamedTuple):
    """How an image lies under its annotations.

    Attributes:
        size: height and width of the image, as stored or turned, whichever the annotations belong to.
        scale: pixels of the image per annotated pixel, horizontal and vertical.
        stored: whether the annotations belong to the image as stored, before its EXIF orientation.
    """

    size: Size
    scale: tuple[float, float] = (1.0, 1.0)
    stored: bool = False

    @property
    def is_scaled(self) -> bool:
        """Whether the image has another size than annotated."""
        return self.scale != (1.0, 1.0)


def find_frames(
    paths: Sequence[Path], annotated: Sequence[Size | None], *, flag: str
) -> tuple[list[Frame | None], list[str]]:
    """Compare the sizes that annotations give with those in the images' headers.

    Where the sizes are swapped by an EXIF orientation, the image is left as stored. Where they differ but
    have the same proportions, as of files that were shrunk after annotation, coordinates are scaled.
    An orientation that leaves the size the same is applied, unless other images show that the annotations
    belong to stored images.

    Args:
        paths: of the images.
        annotated: height and width that the annotations of each give; None where they give none.
        flag: where the user gave the annotations, for errors.

    Returns:
        The frame of each image, None where its header cannot be read; and sentences on what was done.

    Raises:
        DataError: if an image has other proportions than annotated.
    """
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as threads:
        found = list(threads.map(_frame, paths, annotated))
    wrong = [index for index, item in enumerate(found) if item is not None and item.frame is None]
    if wrong:
        path, item, size = paths[wrong[0]], found[wrong[0]], annotated[wrong[0]]
        assert item is not None
        assert size is not None
        others = f" (and {counted(len(wrong) - 1, 'more image')})" if len(wrong) > 1 else ""
        raise DataError(
            f"{path} has {_pixels(item.file_size)} pixels, but is annotated at {_pixels(size)}, which is "
            f"no scaling of it{others}: put it right in the annotations, or remove the size ({flag})"
        )
    frames = [None if item is None else item.frame for item in found]
    unclear = [index for index, item in enumerate(found) if item is not None and item.unclear]
    turned = [item is not None and item.turned for item in found]
    stored = [frame is not None and frame.stored for frame in frames]
    as_stored = any(stored) and not any(turned)
    for index in unclear:
        frame = frames[index]
        assert frame is not None
        frames[index] = frame._replace(stored=as_stored)
    return frames, _notes(paths, annotated, frames, unclear=len(unclear), as_stored=as_stored)


class _Found(NamedTuple):
    frame: Frame | None  # None where annotation and file do not fit
    file_size: Size
    turned: bool = False  # whether the size shows that the orientation is to be applied
    unclear: bool = False  # whether there is an orientation that the size says nothing of


def _frame(path: Path, annotated: Size | None) -> _Found | None:
    """Return how one image fits; None if its header cannot be read."""
    header, beginning = _header(path)
    if header is None or min(header.height, header.width) < 1:  # which decoding reports
        return None
    stored = (header.height, header.width)
    orientation = header.orientation
    if header.format != "JPEG" and (annotated != stored or _may_be_turned(header, beginning)):
        orientation = _read_orientation(path.read_bytes())
    upright = stored[::-1] if orientation >= 5 else stored
    if annotated is None:
        return _Found(Frame(upright), stored)
    unclear = orientation != 1 and upright == stored
    for size in (upright, stored):
        if annotated == size:
            turned, left = upright != stored and size == upright, size != upright
            return _Found(Frame(size, stored=left), stored, turned, unclear)
    for size in (upright, stored):
        if same_proportions(annotated, size):
            scale = (size[1] / annotated[1], size[0] / annotated[0])
            turned, left = upright != stored and size == upright, size != upright
            return _Found(Frame(size, scale, stored=left), stored, turned, unclear)
    return _Found(None, upright)


def read_size(path: Path) -> Size | None:
    """Return the stored height and width of an image file; None if its header has none."""
    header, _ = _header(path)
    if header is None or min(header.height, header.width) < 1:
        return None
    return header.height, header.width


def _header(path: Path) -> tuple[Header | None, bytes]:
    """Return the header of an image file, None without one, and the beginning of the file."""
    try:
        with path.open("rb") as file:
            encoded = file.read(_BEGINNING)
            return read_header(encoded) or read_header(encoded + file.read()), encoded
    except OSError:
        return None, b""


def _may_be_turned(header: Header, beginning: bytes) -> bool:
    """Return whether a file that is no JPEG may have an EXIF orientation."""
    return header.format in ("TIFF", "WebP") or b"eXIf" in beginning


def same_proportions(one: Size, other: Size) -> bool:
    """Return whether one size is a scaling of the other, whose sides were rounded up or down."""
    low = max((end - 1) / begin for begin, end in zip(one, other, strict=True))
    high = min((end + 1) / begin for begin, end in zip(one, other, strict=True))
    return low < high


def as_annotated(image: np.ndarray, encoded: bytes | np.ndarray, frame: Frame | None) -> np.ndarray:
    """Return a decoded image as its annotations see it: as stored, where they belong to the stored one.

    Args:
        image: uint8 ``(H, W, 3)``, turned by its EXIF orientation.
        encoded: the file's bytes.
        frame: result of ``find_frames``.
    """
    if frame is None or not (frame.stored or image.shape[:2] != frame.size):
        return image
    orientation = _read_orientation(encoded) if isinstance(encoded, bytes) else 1
    return np.ascontiguousarray(_UNDO[orientation](image)) if orientation in _UNDO else image


def resize_nearest(values: np.ndarray, size: Size) -> np.ndarray:
    """Resize ``(h, w)`` to ``(H, W)``: each pixel is the one of the old image that its centre lies in."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(size, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)]


def clip_boxes(boxes: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Clip boxes to an image.

    Args:
        boxes: ``(K, 4)``, x1, y1, x2, y2.
        size: height and width.

    Returns:
        float32 ``(K, 4)``; and bool ``(K,)``, whether more than rounding is left of the box, and its numbers
        are finite.
    """
    height, width = size
    clipped = np.clip(boxes, 0, [width, height] * 2).astype(np.float32)
    with np.errstate(invalid="ignore"):
        sides = clipped[:, 2:] - clipped[:, :2]
        usable = (sides > _MIN_SIDE).all(axis=1) & np.isfinite(boxes).all(axis=1)
    return clipped, usable


def unusable_reason(box: np.ndarray) -> str:
    """Return why a box cannot be used, in words that follow a number of objects."""
    if not np.isfinite(box).all():
        return "with a box whose numbers are not finite"
    empty = (box[2:] - box[:2] <= _MIN_SIDE).any()
    return "with a box of no width or height" if empty else "with a box outside the image"


def describe_left_out(reasons: Mapping[str, int], *, total: int) -> list[str]:
    """Return a sentence on the objects that are left out; none if there are none.

    Args:
        reasons: number by reason, see ``unusable_reason``.
        total: number of all objects.
    """
    if not sum(reasons.values()):
        return []
    parts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return [f"{sum(reasons.values())} of {total} objects are left out: {parts}"]


def _read_orientation(encoded: bytes) -> int:
    """Return the EXIF orientation of an image of any format, 1 to 8."""
    from PIL import Image

    header = read_header(encoded)
    if header is not None and header.format == "JPEG":
        return header.orientation
    if header is not None and header.format == "PNG" and b"eXIf" not in encoded:
        return 1  # without decoding the whole picture, as Pillow does to look for it
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow's plug-ins raise errors of many kinds; decoding reports the fault
        return 1
    return int(orientation) if orientation in _UNDO else 1


def _notes(
    paths: Sequence[Path],
    annotated: Sequence[Size | None],
    frames: Sequence[Frame | None],
    *,
    unclear: int,
    as_stored: bool,
) -> list[str]:
    notes = []
    stored = sum(frame is not None and frame.stored for frame in frames)
    if stored:
        notes.append(
            f"without their EXIF orientation, since they were annotated as stored: {counted(stored, 'image')}"
        )
    if unclear and not as_stored:
        notes.append(
            f"turned by an EXIF orientation that their annotated size says nothing of: "
            f"{counted(unclear, 'image')}"
        )
    scaled = [index for index, frame in enumerate(frames) if frame is not None and frame.is_scaled]
    if scaled:
        frame, size = frames[scaled[0]], annotated[scaled[0]]
        assert frame is not None
        assert size is not None
        notes.append(
            f"boxes and masks are scaled to the size of the file: {counted(len(scaled), 'image')}, such as "
            f"{paths[scaled[0]].name}, annotated at {_pixels(size)}, {_pixels(frame.size)} in the file"
        )
    return notes


def _pixels(size: Size) -> str:
    return f"{size[1]} × {size[0]}"
