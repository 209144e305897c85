"""What is judged: a backbone with the labelled images that judge it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from massrl.data.sources import Source
from massrl.evaluation.features import Features


class Crops(Protocol):
    """Makes random crops of a source's images, half of them mirrored; the same ones for a seed."""

    def __call__(
        self, source: Source, *, batch_size: int, epochs: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised float32 ``(B, 3, S, S)`` and the images' positions, int64 ``(B,)``.

        Every epoch sees the images in another order, and leaves out what is less than a batch.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A backbone, and the images it is judged by.

    Attributes:
        network: from normalised images to features ``(B, D)``; tasks leave it as it is.
        train: labelled images that tasks learn from; every choice is made on these alone.
        test: labelled images, of the same classes, that are only ever predicted.
        extract: features of a source, every image once and whole.
        crops: random crops, for the tasks that train.
        device: where networks are trained.
        progress: called with what is done, how much of it, and how much there is.
    """

    network: nn.Module
    train: Source
    test: Source
    extract: Callable[[nn.Module, Source], Features]
    crops: Crops
    device: torch.device
    progress: Callable[[str, int, int], None] = lambda what, done, total: None

    @cached_property
    def known(self) -> Features:
        """Features of the images to learn from."""
        return self.extract(self.network, self.train)

    @cached_property
    def asked(self) -> Features:
        """Features of the images to predict."""
        return self.extract(self.network, self.test)

    @property
    def num_classes(self) -> int:
        """Classes of both."""
        return len(self.train.class_names)
