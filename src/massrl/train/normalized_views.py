"""Views that are normalised one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


class NormalizedViews(Sequence[Tensor]):
    """N views, each normalised when it is indexed: all of them in float32 would need four times the memory.

    Args:
        views: uint8 ``(N, B, H, W, 3)``.
        mean: mean of each channel, float32 ``(3,)``, on the scale 0-255.
        std: standard deviation of each channel, likewise.
        sides: height and width of each view in pixels, measured from its upper left corner; H and W by
            default.
    """

    def __init__(
        self, views: Tensor, mean: Tensor, std: Tensor, sides: Sequence[int] | None = None
    ) -> None:
        self._views, self._mean, self._std, self._sides = views, mean, std, sides

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, number: Any) -> Any:
        """Return view ``number``: float32 ``(B, 3, H, W)``, channels-last."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        view = self._views[number]
        if self._sides is not None:
            view = view[:, : self._sides[number], : self._sides[number]]
        return (view - self._mean).div_(self._std).permute(0, 3, 1, 2)
