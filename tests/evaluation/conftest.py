"""A small backbone, and images of four colours, which it can be trained to tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from massrl.data.source import IMAGENET_NORMALIZATION, Source
from massrl.data.sources.arrays import ArraySource
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.data import EvaluationData
from massrl.evaluation.features import evaluation_view, normalize_images
from massrl.images.decode import decode
from massrl.runs.environment import Hardware

NAMES = ("red", "green", "blue", "grey")
COLOURS = np.array([(150, 110, 110), (110, 150, 110), (110, 110, 150), (120, 120, 120)])
CPU = Hardware("cpu", 1, "one core")


def about(size: int) -> dict[str, Any]:
    """Return how images are prepared for a backbone."""
    mean, std = IMAGENET_NORMALIZATION.mean, IMAGENET_NORMALIZATION.std
    return {"size": size, "mean": list(mean), "std": list(std)}


class Backbone(nn.Module):
    """Two layers, with batch norm."""

    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to ``(B, 6)``."""
        return self.layers(images).mean(dim=(2, 3))


def colours(count: int, *, seed: int, name: str = "colours") -> Source:
    """Return noisy images of four colours."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % len(NAMES)
    noise = generator.normal(0, 40, (count, 8, 8, 3))
    images = (COLOURS[labels][:, None, None] + noise).clip(0, 255).astype(np.uint8)
    return ArraySource(
        name, images, labels=labels, class_names=NAMES, normalization=IMAGENET_NORMALIZATION
    )


class WholeImages(EvaluationContext):
    """A context whose crops are whole images, so that a test can compute with the same ones."""

    def crops(
        self, source: Source, *, batch_size: int, epochs: int, seed: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image as it is, in a seeded order."""
        for epoch in range(epochs):
            order = np.random.default_rng([seed, epoch]).permutation(len(source))
            for begin in range(0, len(source) - batch_size + 1, batch_size):
                indices = order[begin : begin + batch_size]
                images = np.stack([self._view(source, int(index)) for index in indices])
                pixels = normalize_images(images, source.normalization, device=self.device)
                yield pixels, torch.from_numpy(indices)

    def _view(self, source: Source, index: int) -> np.ndarray:
        return evaluation_view(decode(source.read(index), name=source.describe(index)), self.size)


def context_of(
    train: Source,
    test: Source,
    *,
    network: nn.Module | None = None,
    size: int = 8,
    seed: int = 0,
    **fields: Any,
) -> EvaluationContext:
    """Return a context of these images, with a new small backbone or another network."""
    torch.manual_seed(seed)
    context = WholeImages(
        network=(network or Backbone()).eval(), about=about(size), hardware=CPU, **fields
    )
    return context.on(EvaluationData(train, test))


@pytest.fixture
def context() -> EvaluationContext:
    """A backbone with 80 training and 40 test images."""
    return context_of(colours(80, seed=0), colours(40, seed=1))
