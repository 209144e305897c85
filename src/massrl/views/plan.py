"""The plan of an image's views: everything that was drawn, before any pixel is touched.

A plan is small, prints readably, is written as JSON, and can be drawn again from
``(seed, epoch, image index)`` alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from massrl.errors import counted
from massrl.randomness import Stream
from massrl.registry import CROPS
from massrl.views.crops import Box, Crop, on_multiples, reduction_for
from massrl.views.layouts import Layout
from massrl.views.operations.base import Step
from massrl.views.policies.base import scale_strength
from massrl.views.policies.catalogue import parse_policy


class ViewPlan(NamedTuple):
    """How one view is made: its part of the image, mirrored or not, then its steps in order.

    Attributes:
        policy: the policy that drew the steps, as in ``Layout.policies``.
        crop: number of the crop; views with the same number show the same part of the image.
        box: that part, in pixels of the image.
        flip: whether the crop is mirrored left to right.
        steps: the operations, first to last.
        side: side of the view, pixels, where it differs from the plan's.
    """

    policy: str
    crop: int
    box: Box
    flip: bool
    steps: tuple[Step, ...]
    side: int | None = None

    def words(self) -> list[tuple[str, ...]]:
        """Return what is done to the crop, each with its value: the flip, then the steps."""
        done: list[tuple[str, ...]] = [("flip",)] if self.flip else []
        return [*done, *(step.words() for step in self.steps)] or [("crop alone",)]

    def __str__(self) -> str:
        parts = [f"crop {self.box.width}×{self.box.height}+{self.box.left}+{self.box.top}"]
        parts += ["flip"] if self.flip else []
        return f"{self.policy}: {', '.join([*parts, *map(str, self.steps)])}"


@dataclass(frozen=True)
class Plan:
    """The views of one image in one epoch.

    Attributes:
        seed: seed of the run.
        epoch: number of the epoch.
        index: position of the image in its source.
        height: height of the image, pixels.
        width: width of the image, pixels.
        side: side of every view that has none of its own, pixels.
        fill: grey level that geometric operations bring in from outside.
        reduction: how many times smaller (1, 2, 4 or 8) the image may be decoded; the edges of all
            boxes are multiples of it.
        views: one plan for each view.
    """

    seed: int
    epoch: int
    index: int
    height: int
    width: int
    side: int
    fill: int
    reduction: int
    views: tuple[ViewPlan, ...]

    def __str__(self) -> str:
        head = (
            f"image {self.index}, epoch {self.epoch}, seed {self.seed}: {self.width}×{self.height}"
        )
        lines = (f"  {number}. {view}" for number, view in enumerate(self.views, start=1))
        return "\n".join(
            [f"{head} to {counted(len(self.views), 'view')} of {self.side} px", *lines]
        )

    def cut(self, views: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Return each view in its own size, from uint8 ``(N, side, side, 3)``."""
        sides = [view.side or self.side for view in self.views]
        return [pixels[:side, :side] for pixels, side in zip(views, sides, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as lists, dicts, numbers and texts, for ``json.dump``."""
        return asdict(self) | {
            "views": [
                {
                    "policy": view.policy,
                    "crop": view.crop,
                    "box": list(view.box),
                    "flip": view.flip,
                    "steps": [[step.operation, *step.values] for step in view.steps],
                    **({} if view.side is None else {"side": view.side}),
                }
                for view in self.views
            ]
        }


class Planner:
    """Draws the plans of a layout.

    Args:
        layout: the views of each image.
        side: side of every view, pixels.
        seed: seed of the run.
    """

    def __init__(self, layout: Layout, *, side: int, seed: int) -> None:
        self.layout = layout
        self.side = side
        self.seed = seed
        self._specs = layout.view_specs()
        self._sides = layout.sides(side)
        self._crop: Crop = CROPS.load(layout.crop)
        names = (*layout.policies, *filter(None, [layout.target_policy]))
        self._policies = {name: parse_policy(name) for name in names}
        specs = zip(self._specs, self._sides, strict=True)
        self._crops = {spec.crop: (own, spec.local) for spec, own in specs}

    def plan(self, *, epoch: int, index: int, height: int, width: int) -> Plan:
        """Draw the plan of one image.

        Args:
            epoch: number of the epoch, from 0.
            index: position of the image in its source.
            height: height of the image, pixels.
            width: width of the image, pixels.
        """
        layout = self.layout
        # Crop k draws from stream 2k, view v from 2v + 1, so that neither count shifts the other.
        boxes = {
            crop: self._crop(
                Stream(self.seed, epoch=epoch, index=index, number=2 * crop),
                height=height,
                width=width,
                scale=layout.local_scale if local else layout.crop_scale,
            )
            for crop, (_, local) in self._crops.items()
        }
        reduction = reduction_for((boxes[crop], side) for crop, (side, _) in self._crops.items())
        if reduction > 1:
            boxes = {crop: on_multiples(box, reduction) for crop, box in boxes.items()}
        strength = min(1.0, (epoch + 1) / (layout.ramp_epochs + 1)) if layout.ramp_epochs else 1.0
        views: list[ViewPlan] = []
        for number, (spec, side) in enumerate(zip(self._specs, self._sides, strict=True)):
            stream = Stream(self.seed, epoch=epoch, index=index, number=2 * number + 1)
            flip = stream.chance(layout.flip_prob)
            policy = spec.policy or layout.policies[stream.integer(len(layout.policies))]
            steps = self._policies[policy].draw(stream, side)
            if strength < 1.0:
                steps = scale_strength(steps, strength, stream)
            if spec.after is not None:
                flip, steps = views[spec.after].flip, views[spec.after].steps + steps
            own = None if side == self.side else side
            views.append(ViewPlan(policy, spec.crop, boxes[spec.crop], flip, steps, own))
        return Plan(
            seed=self.seed,
            epoch=epoch,
            index=index,
            height=height,
            width=width,
            side=self.side,
            fill=layout.fill,
            reduction=reduction,
            views=tuple(views),
        )
