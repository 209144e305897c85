"""Views for a device to make: the loader's workers decode, cut and resize, and say what is to be done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from massrl.errors import ConfigError
from massrl.views.cpu import crops_of
from massrl.views.device import Crops, execute, group_instructions
from massrl.views.layouts import Layout
from massrl.views.operations.base import Program
from massrl.views.program import compile_view
from massrl.views.view_maker import EncodedOrPixels, ViewMaker, content


class DeviceViewMaker(ViewMaker):
    """A ``ViewMaker`` of the same plans whose pixels are made a batch at a time, see ``views.device``.

    Called with one image it makes its views on the CPU.

    Raises:
        ConfigError: if the layout has local crops, besides what ``ViewMaker`` refuses.
    """

    leaves_pixels = True

    def __init__(self, layout: str | Layout = "massrl", size: int = 224, seed: int = 0) -> None:
        super().__init__(layout, size, seed)
        if self.layout.local_crops:
            raise ConfigError(
                "--views.executor device makes views of one size: local crops need the cpu's, or "
                "--views.local_crops 0"
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of what ``write`` writes for an image: uint8 ``(C, size, size, 3)``, its crops."""
        return len(set(self._shown())), self.size, self.size, 3

    def _shown(self) -> list[int]:
        return [view.crop for view in self.layout.view_specs()]

    def write(
        self, image: EncodedOrPixels, *, epoch: int, index: int, out: NDArray[np.uint8]
    ) -> list[Program]:
        """Write the resized crops of one image into ``out``; return the program of each view."""
        pixels, plan = self.decode_and_plan(image, epoch=epoch, index=index)
        crops_of(pixels, plan, out=out)
        return [
            compile_view(view, height=self.size, width=self.size, fill=plan.fill)
            for view in plan.views
        ]

    def batch(self, pixels: Tensor, notes: list[list[Program]]) -> Crops:
        """Crops ``(C, B, size, size, 3)`` and what is to be done, sorted for the device."""
        by_view = [program for view in zip(*notes, strict=True) for program in view]
        groups, members, values = group_instructions(by_view, side=self.size)
        shown = torch.tensor(self._shown())
        return Crops(pixels, shown, groups, members, values)

    def __call__(
        self,
        image: EncodedOrPixels | str | Path,
        *,
        epoch: int = 0,
        index: int = 0,
    ) -> NDArray[np.uint8]:
        """Make the views of one image; see ``ViewMaker``."""
        crops = np.empty(self.shape, np.uint8)
        notes = self.write(content(image), epoch=epoch, index=index, out=crops)
        views = execute(self.batch(torch.from_numpy(crops)[:, None], [notes]))
        return np.asarray(views[:, 0].numpy())
