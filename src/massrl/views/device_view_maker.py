"""Views made on a device: the loader's workers decode and crop, the device applies the operations."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from massrl.errors import ConfigError
from massrl.views.cpu import crops_of
from massrl.views.device import Crops, execute, group_instructions
from massrl.views.layouts import Layout
from massrl.views.operations.base import Program
from massrl.views.plan import Plan
from massrl.views.program import compile_view
from massrl.views.view_maker import EncodedOrPixels, ViewMaker


class DeviceViewMaker(ViewMaker):
    """A ``ViewMaker`` of the same plans whose operations a device applies, a batch at a time.

    See ``views.device``. Called with one image, it makes its views on the CPU.

    Raises:
        ConfigError: if the layout has local crops, besides what ``ViewMaker`` refuses.
    """

    leaves_operations = True

    def __init__(self, layout: str | Layout = "massrl", size: int = 224, seed: int = 0) -> None:
        super().__init__(layout, size, seed)
        if self.layout.local_crops:
            raise ConfigError(
                "--views.executor device makes views of one size: local crops need the cpu's, or "
                "--views.local_crops 0"
            )
        self._shown = [view.crop for view in self.layout.view_specs()]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of what ``write`` fills for an image: uint8 ``(C, size, size, 3)``, its crops."""
        return len(set(self._shown)), self.size, self.size, 3

    def write(
        self, image: EncodedOrPixels, *, epoch: int, index: int, out: NDArray[np.uint8]
    ) -> list[Program]:
        """Write the resized crops of one image into ``out``; return the program of each view."""
        return self._write(*self.decode_and_plan(image, epoch=epoch, index=index), out)

    def _write(
        self, pixels: NDArray[np.uint8], plan: Plan, out: NDArray[np.uint8]
    ) -> list[Program]:
        crops_of(pixels, plan, out=out)
        return [
            compile_view(view, height=self.size, width=self.size, fill=plan.fill)
            for view in plan.views
        ]

    def batch(self, pixels: Tensor, notes: list[list[Program]]) -> Crops:
        """Return crops ``(C, B, size, size, 3)`` with the programs of their views, sorted for the device."""
        by_view = [program for view in zip(*notes, strict=True) for program in view]
        groups, members, values = group_instructions(by_view, side=self.size)
        return Crops(pixels, torch.tensor(self._shown), groups, members, values)

    def make(self, pixels: NDArray[np.uint8], plan: Plan) -> NDArray[np.uint8]:
        """Make the views of one image on the CPU; see ``ViewMaker.make``."""
        crops = np.empty(self.shape, np.uint8)
        programs = self._write(pixels, plan, crops)
        views = execute(self.batch(torch.from_numpy(crops)[:, None], [programs]))
        return np.asarray(views[:, 0].numpy())
