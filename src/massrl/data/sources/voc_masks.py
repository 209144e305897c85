"""Masks in the layout of Pascal VOC, and the ``labelmap.txt`` that names the colours of other sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from massrl.data.annotated import IGNORED
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


class VocMasks:
    """The masks of a folder, one PNG file an image, whose pixels are numbers or colours of classes.

    ``labelmap.txt`` beside ``SegmentationClass`` names the classes, a line ``name:r,g,b`` each, as
    annotation tools write it. It says which class a colour is; pixels of single-channel masks are numbers of
    its lines, of which the first must then be ``background``.
    Without one, the masks are VOC's own: numbers of its twenty classes, 0 for background.

    Args:
        root: the folder with ``SegmentationClass``.
        flag: where the user gave the folder, for errors.

    Raises:
        DataError: if ``labelmap.txt`` is broken.
    """

    def __init__(self, root: Path, *, flag: str) -> None:
        self._folder, self._flag = root / "SegmentationClass", flag
        file = root / "labelmap.txt"
        self._colours = _read_label_map(file) if file.is_file() else None
        names = VOC_CLASSES if self._colours is None else tuple(self._colours)
        self.names = tuple(name for name in names if name != _BACKGROUND)
        self._numbered = self.names

    def set_names(self, names: tuple[str, ...]) -> None:
        """Number the classes as in ``names``, which holds all of ``self.names``."""
        self._numbered = names

    def read(self, stem: str) -> np.ndarray:
        """Read the mask of an image.

        Args:
            stem: the image's file name without suffix.

        Returns:
            uint8 ``(H, W)``: 0 for background, 1 + its class, or ``IGNORED``.

        Raises:
            DataError: if it is missing, or has numbers or colours of no class.
        """
        from PIL import Image

        path = self._folder / f"{stem}.png"
        try:
            with Image.open(path) as mask:
                by_colour = self._colours is not None and mask.mode not in ("L", "I", "I;16", "1")
                pixels = np.array(mask.convert("RGB") if by_colour else mask)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error} ({self._flag})") from None
        return self._from_colours(pixels, path) if by_colour else self._from_numbers(pixels, path)

    def _from_numbers(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        names = (_BACKGROUND, *VOC_CLASSES) if self._colours is None else tuple(self._colours)
        if pixels.ndim != 2:
            raise DataError(
                f"{path} is an RGB image: labelmap.txt beside SegmentationClass must name its colours, "
                f"a line name:r,g,b each ({self._flag})"
            )
        if names[0] != _BACKGROUND:
            raise DataError(
                f"{path} holds numbers, of which 0 is background: labelmap.txt must begin with it "
                f"({self._flag})"
            )
        pixels = pixels.astype(np.int64)
        unknown = (pixels >= len(names)) & (pixels != IGNORED)
        if unknown.any():
            raise DataError(
                f"{path} has the number {pixels[unknown][0]}, but there are {len(names)} classes with "
                f"background ({self._flag})"
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
                f"{path} has colours {colours} that labelmap.txt does not name ({self._flag})"
            )
        return np.asarray(np.array(list(numbers.values()), np.uint8)[order][found])

    def _number(self, name: str) -> int:
        return 0 if name == _BACKGROUND else 1 + self._numbered.index(name)


def _codes(colours: np.ndarray) -> np.ndarray:
    """One number for each colour ``(…, 3)``."""
    return np.asarray(colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))


def _read_label_map(file: Path) -> dict[str, tuple[int, ...]]:
    """Colour of each class, in the order of the lines."""
    colours: dict[str, tuple[int, ...]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
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
