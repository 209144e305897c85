"""From an encoded image to its N views: decode once, plan, execute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from massrl.data.decode import decode
from massrl.errors import ConfigError, ImageError
from massrl.views.cpu import execute
from massrl.views.layouts import Layout, layout_named
from massrl.views.plan import Plan, Planner


class ViewMaker:
    """Makes the N views of an image, the same ones for the same ``(seed, epoch, index)``.

    Args:
        layout: name of a layout, or a ``Layout`` of your own.
        size: side of every view, pixels.
        seed: seed of the run.

    Raises:
        ConfigError: if the layout is unknown or the size is no positive whole number.

    Example:
        >>> maker = ViewMaker("massrl", size=64, seed=0)
        >>> maker(np.zeros((80, 100, 3), np.uint8), epoch=0, index=7).shape
        (8, 64, 64, 3)
    """

    def __init__(self, layout: str | Layout = "massrl", size: int = 224, seed: int = 0) -> None:
        _check_whole(1, **{"size of a view": size})
        self.layout = layout_named(layout) if isinstance(layout, str) else layout
        self.size = size
        self.seed = seed
        self._planner = Planner(self.layout, side=size, seed=seed)

    def __call__(
        self,
        image: bytes | str | Path | NDArray[np.uint8],
        *,
        epoch: int = 0,
        index: int = 0,
    ) -> NDArray[np.uint8]:
        """Make the views of one image.

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
        pixels = self.load(image, index=index)
        plan = self.plan(epoch=epoch, index=index, height=pixels.shape[0], width=pixels.shape[1])
        return execute(pixels, plan)

    def plan(self, *, epoch: int = 0, index: int = 0, height: int, width: int) -> Plan:
        """Draw the plan of an image of this height and width, in pixels, without its pixels.

        Raises:
            ConfigError: if a number is not a whole one, or too small.
        """
        _check_whole(0, epoch=epoch, index=index)
        _check_whole(1, height=height, width=width)
        return self._planner.plan(epoch=epoch, index=index, height=height, width=width)

    @staticmethod
    def load(image: bytes | str | Path | NDArray[np.uint8], *, index: int = 0) -> NDArray[np.uint8]:
        """Decode an image to uint8 ``(height, width, 3)`` RGB; see ``__call__``."""
        if isinstance(image, str | Path):
            try:
                encoded = Path(image).read_bytes()
            except OSError as error:
                raise ImageError(str(image), error.strerror or "cannot be read") from None
            return decode(encoded, name=str(image))
        return decode(image, name=f"image {index}")


def _check_whole(least: int, **numbers: int) -> None:
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer) or value < least:
            raise ConfigError(f"{name} is {value!r}, but a whole number from {least} up is wanted")
