"""Read and write the pictures that massrl draws."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from massrl.errors import ConfigError, TrainingError
from massrl.files import marked, write_atomically

Pixels = NDArray[np.uint8]  # (height, width, 3), RGB


_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def read_picture(path: Path) -> Pixels:
    """Read a picture, as uint8 ``(height, width, 3)``, RGB."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def save_picture(pixels: Pixels, path: Path, *, command: str) -> None:
    """Write a picture in the format of its file name; its folder is created.

    Args:
        pixels: uint8 ``(height, width, 3)``, RGB.
        path: where to write it.
        command: of massrl that it is of, which the file says.

    Raises:
        ConfigError: if it cannot be written, or its name has no ending of a picture.
    """
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ConfigError(
            f"{path} has no ending of a picture: {' '.join(_SUFFIXES)} are accepted (--out)"
        )
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    content = marked(encoded.tobytes(), command)
    try:
        write_atomically(path, lambda file: file.write(content))
    except TrainingError as error:
        raise ConfigError(f"{error} (--out)") from None
