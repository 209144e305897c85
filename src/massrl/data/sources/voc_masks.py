"""Masks in the layout of Pascal VOC, and the ``labelmap.txt`` that names the colours of other sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from massrl.data.annotated import IGNORED
from massrl.data.frames import Size, read_size
from massrl.data.sources.name_lists import composed, read_lines
from massrl.errors import DataError

# In the order of the numbers of VOC's masks, from 1 up.
VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
_BACKGROUND = "background"
_BORDER = (224, 224, 192)  # colour that VOC's palette has for the number 255
_MOST_SHOWN = 3
_ONE_CHANNEL = ("1", "L", "LA", "P", "I", "I;16", "I;16B", "I;16L")  # of Pillow's modes
_GREY_STEPS = {1: 255, 2: 85, 4: 17}  # by bits of a PNG: what Pillow scales one step of grey to


class VocMasks:
    """The masks of a folder, one PNG file an image, whose pixels are numbers or colours of classes.

    ``labelmap.txt`` beside ``SegmentationClass`` names the classes, a line ``name:r,g,b`` each, as
    annotation tools write it. It says which class a colour is. Grey masks, of one channel or with a palette
    of greys, hold colours too where the file names each of their greys, in any of the folder's masks;
    otherwise they hold numbers of its lines, of which the first must then be ``background``, and 255 is
    ignored.
    Without one, the masks are VOC's own: numbers of its twenty classes, 0 for background, 255 ignored.

    Args:
        root: the folder with ``SegmentationClass``.
        files: the masks, by names of the images; default those in ``SegmentationClass``, by their stems.
        default: colours of the classes where there is no ``labelmap.txt``; VOC's own without.
        flag: where the user gave the folder, for errors.

    Raises:
        DataError: if ``labelmap.txt`` is broken.
    """

    def __init__(
        self,
        root: Path,
        *,
        files: Mapping[str, Path] | None = None,
        default: Mapping[str, tuple[int, ...]] | None = None,
        flag: str,
    ) -> None:
        self._folder, self._flag = root / "SegmentationClass", flag
        self._files = files
        self._label_map = file = root / "labelmap.txt"
        self._colours = _read_label_map(file) if file.is_file() else default
        names = VOC_CLASSES if self._colours is None else tuple(self._colours)
        self.names = tuple(name for name in names if name != _BACKGROUND)
        self._numbered = self.names

    @cached_property
    def _greys_are_colours(self) -> bool:
        """Whether pixels of grey masks are colours, which only all masks together can tell."""
        colours = list((self._colours or {}).values())
        greys = {colour[0] for colour in colours if len(set(colour)) == 1}
        if greys <= {number for number, colour in enumerate(colours) if colour == (number,) * 3}:
            return False  # a grey that is named is the number of its line

        def has_named_greys_only(path: Path) -> bool:
            mask = _read_mask(path, named=True, flag=self._flag)
            if mask.is_grey and mask.colours is not None:
                return set(np.unique(mask.colours).tolist()) <= greys
            return not mask.is_grey

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return all(threads.map(has_named_greys_only, self._all()))

    def _all(self) -> list[Path]:
        return sorted(self._files.values() if self._files else self._folder.glob("*.png"))

    def _path(self, name: str) -> Path:
        return self._files[name] if self._files else self._folder / f"{name}.png"

    def set_names(self, names: tuple[str, ...]) -> None:
        """Number the classes as in ``names``, which holds all of ``self.names``."""
        self._numbered = names

    def size(self, name: str) -> Size:
        """Return height and width of an image's mask.

        Raises:
            DataError: if it is missing or no image.
        """
        size = read_size(self._path(name))
        return size or self.read(name).shape

    def read(self, name: str) -> np.ndarray:
        """Read the mask of an image.

        Args:
            name: of the image, as in ``files``; else its file name without suffix.

        Returns:
            uint8 ``(H, W)``: 0 for background, 1 + its class, or ``IGNORED``.

        Raises:
            DataError: if it is missing, has numbers or colours of no class, or transparent objects.
        """
        path = self._path(name)
        mask = _read_mask(path, named=self._colours is not None, flag=self._flag)
        if self._colours is not None and not (mask.is_grey and not self._greys_are_colours):
            assert mask.colours is not None  # or its greys would be no colours
            labels = self._from_colours(mask.colours, path)
        else:
            labels = self._from_numbers(mask.numbers, path)
        if mask.transparent is not None and labels[mask.transparent].any():
            raise DataError(
                f"{path} has transparent pixels in the colour of an object: are they one or not? Masks "
                f"without transparency are accepted ({self._flag})"
            )
        return labels

    def _from_numbers(self, pixels: np.ndarray | None, path: Path) -> np.ndarray:
        names = (_BACKGROUND, *VOC_CLASSES) if self._colours is None else tuple(self._colours)
        if pixels is None:
            raise DataError(
                f"{path} is an RGB image: labelmap.txt beside SegmentationClass must name its colours, "
                f"a line name:r,g,b each ({self._flag})"
            )
        if names[0] != _BACKGROUND:
            raise DataError(
                f"{path} holds numbers, of which 0 is background: labelmap.txt must begin with it "
                f"({self._flag})"
            )
        unknown = (pixels >= len(names)) & (pixels != IGNORED)
        if unknown.any():
            raise DataError(
                f"{path} has the number {pixels[unknown][0]}, but there are {len(names)} classes with "
                f"background: {int(unknown.sum())} pixels are of none; "
                f"{self._label_map} names classes ({self._flag})"
            )
        table = np.full(IGNORED + 1, IGNORED, np.uint8)
        table[: len(names)] = [self._number(name) for name in names]
        return np.asarray(table[pixels])

    def _from_colours(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        assert self._colours is not None
        numbers = {colour: self._number(name) for name, colour in self._colours.items()}
        numbers.setdefault(_BORDER, IGNORED)
        codes = _codes(pixels)
        known = np.array([_codes(np.array(colour)) for colour in numbers])
        order = np.argsort(known)
        found = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
        unknown = known[order][found] != codes
        if unknown.any():
            colours = np.unique(pixels[unknown], axis=0)[:_MOST_SHOWN].tolist()
            raise DataError(
                f"{path} has colours {colours} that labelmap.txt does not name, in {int(unknown.sum())} "
                f"pixels ({self._flag})"
            )
        return np.asarray(np.array(list(numbers.values()), np.uint8)[order][found])

    def _number(self, name: str) -> int:
        return 0 if name == _BACKGROUND else 1 + self._numbered.index(name)


class _Mask(NamedTuple):
    """Pixels of a mask, in each of the ways in which they may be meant.

    Attributes:
        numbers: int ``(H, W)``, as stored; None of a mask in colours.
        colours: uint8 ``(H, W, 3)``; None where they are not asked for, or no greys of 8 bits.
        is_grey: whether its colours are its numbers.
        transparent: bool ``(H, W)``; None where everything is opaque.
    """

    numbers: np.ndarray | None
    colours: np.ndarray | None
    is_grey: bool
    transparent: np.ndarray | None


def _read_mask(path: Path, *, named: bool, flag: str) -> _Mask:
    """Read a mask of any of Pillow's modes; of a palette, the colours only where they are ``named``."""
    from PIL import Image

    try:
        with Image.open(path) as mask:
            transparent = None
            if mask.mode.endswith(("A", "a")) or "transparency" in mask.info:
                transparent = np.asarray(mask.convert("RGBA"))[..., 3] < 255
            if mask.mode not in _ONE_CHANNEL:
                return _Mask(None, np.asarray(mask.convert("RGB")), False, transparent)
            if mask.mode == "P":
                colours = np.asarray(mask.convert("RGB")) if named else None
                is_grey = named and _is_grey(mask.getpalette() or [])
                return _Mask(np.asarray(mask), colours, is_grey, transparent)
            deep = mask.mode not in ("1", "L", "LA")
            values = np.asarray(mask if deep else mask.convert("L"))
            step = 1 if deep or mask.format != "PNG" else _GREY_STEPS.get(_bit_depth(path), 1)
    except Exception as error:  # Pillow's plug-ins raise errors of many kinds
        raise DataError(f"{path} cannot be read: {error} ({flag})") from None
    greys = _eight_bit(values)
    colours = None if greys is None else np.repeat(greys[..., None], 3, axis=2)
    return _Mask(values // step, colours, True, transparent)


def _is_grey(palette: list[int]) -> bool:
    """Return whether each number of a palette is the grey of that number."""
    return len(palette) > 3 and palette == [number // 3 for number in range(len(palette))]


def _bit_depth(path: Path) -> int:
    """Return the bits of a sample of a PNG file."""
    with path.open("rb") as file:
        return file.read(25)[-1]


def _eight_bit(values: np.ndarray) -> np.ndarray | None:
    """Return 16-bit greys as 8-bit ones: those that are small, or whole steps of 257; else None."""
    if values.max() <= 255:
        return values.astype(np.uint8)
    return (values // 257).astype(np.uint8) if (values % 257 == 0).all() else None


def _codes(colours: np.ndarray) -> np.ndarray:
    """One number for each colour ``(…, 3)``."""
    return np.asarray(colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))


def _read_label_map(file: Path) -> dict[str, tuple[int, ...]]:
    """Colour of each class, in the order of the lines."""
    colours: dict[str, tuple[int, ...]] = {}
    try:
        lines = [line.strip() for _, line in read_lines(file)]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    for line in lines:
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        name = composed(name.strip())
        name = _BACKGROUND if name.lower() == _BACKGROUND else name
        try:
            colour = tuple(int(part) for part in rest.partition(":")[0].split(","))
        except ValueError:
            colour = ()
        if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
            raise DataError(f"{file} has a line {line!r}; accepted: name:r,g,b")
        if name in colours or colour in colours.values():
            raise DataError(f"{file} names {name!r} or its colour twice")
        colours[name] = colour
    if not set(colours) - {_BACKGROUND}:
        raise DataError(f"{file} names no class")
    if len(colours) >= IGNORED:
        raise DataError(f"{file} names {len(colours)} classes; a mask holds {IGNORED - 1}")
    return colours
