"""Masks in the layout of Pascal VOC, and the ``labelmap.txt`` that names the colours of a user's own."""

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
    annotation tools write it; colours are then told by it, and single-channel masks count its lines, of which
    the first must then be ``background``.
    Without one, the masks are VOC's own: numbers of its twenty classes, 0 for background.

    Args:
        root: the folder with ``SegmentationClass``.
        flag: where the user said so, for errors.

    Raises:
        DataError: if ``labelmap.txt`` is broken.
    """

    def __init__(self, root: Path, *, flag: str) -> None:
        self._folder, self._flag = root / "SegmentationClass", flag
        file = root / "labelmap.txt"
        self._colours = _read_label_map(file) if file.is_file() else None
        words = VOC_CLASSES if self._colours is None else tuple(self._colours)
        self.names = tuple(word for word in words if word != _BACKGROUND)
        self._counted = self.names

    def count_as(self, names: tuple[str, ...]) -> None:
        """Count classes as another part does, which has all of this one's."""
        self._counted = names

    def read(self, stem: str) -> np.ndarray:
        """The mask of an image: uint8 ``(H, W)``, 0 for background, 1 + its class, ``IGNORED``.

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
        words = (_BACKGROUND, *VOC_CLASSES) if self._colours is None else tuple(self._colours)
        if pixels.ndim != 2:
            raise DataError(
                f"{path} is a picture of colours, which labelmap.txt beside SegmentationClass must "
                f"name, a line name:r,g,b each ({self._flag})"
            )
        if words[0] != _BACKGROUND:
            raise DataError(
                f"{path} holds numbers, of which 0 is background: labelmap.txt must begin with it "
                f"({self._flag})"
            )
        pixels = pixels.astype(np.int64)
        strange = (pixels >= len(words)) & (pixels != IGNORED)
        if strange.any():
            raise DataError(
                f"{path} has the number {pixels[strange][0]}, but there are {len(words)} classes with "
                f"background ({self._flag})"
            )
        table = np.full(IGNORED + 1, IGNORED, np.uint8)
        table[: len(words)] = [self._number(word) for word in words]
        return np.asarray(table[pixels])

    def _from_colours(self, pixels: np.ndarray, path: Path) -> np.ndarray:
        assert self._colours is not None
        numbers = {colour: self._number(word) for word, colour in self._colours.items()}
        numbers.setdefault(_BORDER, IGNORED)
        codes = _codes(pixels)
        known = np.array([_codes(np.array(colour)) for colour in numbers])
        order = np.argsort(known)
        places = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
        strange = known[order][places] != codes
        if strange.any():
            colours = np.unique(pixels[strange], axis=0)[:_MOST_SHOWN].tolist()
            raise DataError(
                f"{path} has colours {colours} that labelmap.txt has not ({self._flag})"
            )
        return np.asarray(np.array(list(numbers.values()), np.uint8)[order][places])

    def _number(self, word: str) -> int:
        return 0 if word == _BACKGROUND else 1 + self._counted.index(word)


def _codes(colours: np.ndarray) -> np.ndarray:
    """One number for each colour ``(…, 3)``."""
    return np.asarray(colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))


def _read_label_map(file: Path) -> dict[str, tuple[int, ...]]:
    """Colour of each class, in the order of the lines."""
    colours: dict[str, tuple[int, ...]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(":")
        try:
            colour = tuple(int(part) for part in rest.partition(":")[0].split(","))
        except ValueError:
            colour = ()
        if len(colour) != 3 or not all(0 <= part <= 255 for part in colour):
            raise DataError(f"{file} has a line {line!r}, where name:r,g,b is wanted")
        if word in colours or colour in colours.values():
            raise DataError(f"{file} names {word!r} or its colour twice")
        colours[word] = colour
    if not set(colours) - {_BACKGROUND}:
        raise DataError(f"{file} names no class")
    if len(colours) >= IGNORED:
        raise DataError(f"{file} names {len(colours)} classes; a mask holds {IGNORED - 1}")
    return colours
