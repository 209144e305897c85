"""A small backbone and images of four colours, which it can learn to tell apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from massrl.data.source import IMAGENET_NORMALIZATION, Source
from massrl.data.sources.arrays import ArraySource
from massrl.evaluation.context import EvaluationContext
from massrl.evaluation.features import extract_features, normalised

NAMES = ("red", "green", "blue", "grey")
COLOURS = np.array([(150, 110, 110), (110, 150, 110), (110, 110, 150), (120, 120, 120)])


class Backbone(nn.Module):
    """Two layers, with batch norm."""

    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """From ``(B, 3, H, W)`` to ``(B, 6)``."""
        return self.layers(images).mean(dim=(2, 3))


def colours(count: int, *, seed: int, name: str = "colours") -> Source:
    """Noisy images of four colours."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % len(NAMES)
    noise = generator.normal(0, 40, (count, 8, 8, 3))
    images = (COLOURS[labels][:, None, None] + noise).clip(0, 255).astype(np.uint8)
    return ArraySource(
        name, images, labels=labels, class_names=NAMES, normalization=IMAGENET_NORMALIZATION
    )


def whole_images(
    source: Source, *, batch_size: int, epochs: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """In place of random crops: every image as it is, in a seeded order."""
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(source))
        for begin in range(0, len(source) - batch_size + 1, batch_size):
            indices = order[begin : begin + batch_size]
            images = np.stack([source.read(int(index)) for index in indices])
            pixels = normalised(images, source.normalization, device=torch.device("cpu"))
            yield pixels, torch.from_numpy(indices)


def subject_of(train: Source, test: Source, *, seed: int = 0) -> EvaluationContext:
    """The backbone with these images."""
    torch.manual_seed(seed)
    return EvaluationContext(
        network=Backbone().eval(),
        train=train,
        test=test,
        extract=lambda network, source: extract_features(network, source, side=8),
        crops=whole_images,
        device=torch.device("cpu"),
    )


@pytest.fixture
def subject() -> EvaluationContext:
    """A backbone with 80 images to learn from and 40 to predict."""
    return subject_of(colours(80, seed=0), colours(40, seed=1))
