"""From an encoded image to its N views: decode once, plan, execute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from massrl.errors import ConfigError, ImageError
from massrl.images.decode import decode
from massrl.images.header import read_header
from massrl.views.cpu import execute
from massrl.views.layouts import Layout, layout_named
from massrl.views.plan import Plan, Planner

EncodedOrPixels = bytes | NDArray[np.uint8]


class ViewMaker:
    """Makes the N views of an image, the same ones for the same ``(seed, epoch, index)``.

    Args:
        layout: name of a layout, or a ``Layout``.
        size: side of every view, pixels.
        seed: seed of the run.

    Raises:
        ConfigError: if the layout is unknown, the size no positive whole number or the seed no whole one.

    Example:
        >>> maker = ViewMaker("massrl", size=64, seed=0)
        >>> maker(np.zeros((80, 100, 3), np.uint8), epoch=0, index=7).shape
        (8, 64, 64, 3)
    """

    leaves_operations = False
    """Whether ``write`` writes crops only, and leaves the operations to the receiver of ``batch``."""

    def __init__(self, layout: str | Layout = "massrl", size: int = 224, seed: int = 0) -> None:
        _check_whole(1, **{"size of a view": size})
        if not isinstance(seed, int | np.integer):
            raise ConfigError(f"seed is {seed!r}, but a whole number is wanted")
        self.layout = layout_named(layout) if isinstance(layout, str) else layout
        self.size = size
        self.seed = seed
        self._planner = Planner(self.layout, side=size, seed=seed)

    def __call__(
        self,
        image: EncodedOrPixels | str | Path,
        *,
        epoch: int = 0,
        index: int = 0,
    ) -> NDArray[np.uint8]:
        """Make the views of one image.

        A JPEG whose crops are all at least four times as large as a view is decoded at a half, a quarter
        or an eighth of its size: many times faster, and antialiased all the same. Its views then differ
        by about a grey level from those of its decoded pixels given as an array.

        Args:
            image: an encoded image, the path of one, or decoded uint8 ``(height, width, 3)`` RGB.
            epoch: number of the epoch.
            index: position of the image in its source.

        Returns:
            uint8 ``(N, size, size, 3)``, RGB.

        Raises:
            ImageError: if the image cannot be read or decoded.
            ConfigError: if the epoch or the index is no whole number from 0 up.
        """
        _check_whole(0, epoch=epoch, index=index)
        name = _name(image, index)
        return self.make(
            *self.decode_and_plan(_content(image), name=name, epoch=epoch, index=index)
        )

    def make(self, pixels: NDArray[np.uint8], plan: Plan) -> NDArray[np.uint8]:
        """Make the views of one image from the two results of ``decode_and_plan``.

        Returns:
            uint8 ``(N, size, size, 3)``, RGB.
        """
        return execute(pixels, plan)

    def decode_and_plan(
        self, image: EncodedOrPixels, *, index: int, epoch: int = 0, name: str = ""
    ) -> tuple[NDArray[np.uint8], Plan]:
        """Decode an image, at a reduced scale where its plan allows it, and draw the plan.

        Args:
            image: an encoded image, or decoded uint8 ``(H, W, 3)``, RGB.
            index: position of the image in its source.
            epoch: number of the epoch.
            name: of the image, for the error.

        Returns:
            uint8 ``(H', W', 3)``, RGB, and the plan, whose boxes are pixels of the whole image.

        Raises:
            ImageError: if the image cannot be decoded.
        """
        name = name or f"image {index}"
        header = read_header(image) if isinstance(image, bytes) else None
        if header is not None and header.format == "JPEG":
            height, width = header.upright
            if min(height, width) >= 4 * self.size:
                plan = self._planner.plan(epoch=epoch, index=index, height=height, width=width)
                times = plan.reduction
                # Once turned, a smaller image of sides that do not divide begins off its edge.
                while header.orientation != 1 and (height % times or width % times):
                    times //= 2
                pixels = decode(image, name=name, reduction=times, header=header)
                if pixels.shape[:2] in ((height, width), (-(-height // times), -(-width // times))):
                    return pixels, plan
        pixels = decode(image, name=name, header=header)
        height, width = pixels.shape[:2]
        return pixels, self._planner.plan(epoch=epoch, index=index, height=height, width=width)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of what ``write`` fills for an image: uint8 ``(N, size, size, 3)``."""
        return self.layout.num_views, self.size, self.size, 3

    def write(
        self, image: EncodedOrPixels, *, epoch: int, index: int, out: NDArray[np.uint8]
    ) -> Any:
        """Write the views of one image of a batch into ``out``; ``epoch`` and ``index`` are not checked.

        Returns:
            What ``batch`` needs beyond the pixels; here ``None``.

        Raises:
            ImageError: if the image cannot be decoded.
        """
        execute(*self.decode_and_plan(image, epoch=epoch, index=index), out=out)

    def batch(self, pixels: Any, notes: list[Any]) -> Any:
        """Return what the training process receives.

        Args:
            pixels: uint8 tensor ``(N, B, size, size, 3)`` that the images were written into.
            notes: what ``write`` returned for each image.
        """
        return pixels

    def plan(self, *, epoch: int = 0, index: int = 0, height: int, width: int) -> Plan:
        """Draw the plan of an image of this height and width, in pixels, without its pixels.

        Raises:
            ConfigError: if a number is not a whole one, or too small.
        """
        _check_whole(0, epoch=epoch, index=index)
        _check_whole(1, height=height, width=width)
        return self._planner.plan(epoch=epoch, index=index, height=height, width=width)

    @staticmethod
    def load(image: EncodedOrPixels | str | Path, *, index: int = 0) -> NDArray[np.uint8]:
        """Decode an image to uint8 ``(height, width, 3)`` RGB, whole; see ``__call__``."""
        return decode(_content(image), name=_name(image, index))


def _content(image: EncodedOrPixels | str | Path) -> EncodedOrPixels:
    """Return the image itself, or the bytes of the file whose path is given.

    Raises:
        ImageError: if the file cannot be read.
    """
    if not isinstance(image, str | Path):
        return image
    try:
        return Path(image).read_bytes()
    except OSError as error:
        raise ImageError(str(image), error.strerror or "cannot be read") from None


def _name(image: EncodedOrPixels | str | Path, index: int) -> str:
    return str(image) if isinstance(image, str | Path) else f"image {index}"


def _check_whole(least: int, **numbers: int) -> None:
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer) or value < least:
            raise ConfigError(f"{name} is {value!r}, but a whole number from {least} up is wanted")
