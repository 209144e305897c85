"""Backbones that tests of weights and exports start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from massrl.weights.backbone_file import save_backbone
from massrl.weights.load import random_backbone

PREPARED = {
    "size": 32,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.3],
    "seed": 3,
    "recipe": "",
    "step": 5,
}


def trained(folder: Path, backbone: str, stem: str, **about: Any) -> Path:
    """Write a file with weights and batch-norm statistics that no constructor makes."""
    content = {**PREPARED, "backbone": backbone, "stem": stem, **about}
    network = random_backbone(content)
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    path = folder / "backbone.safetensors"
    save_backbone(path, network.state_dict(), about=content)
    return path


Weights = dict[str, Tensor]


def under(prefix: str, state: Weights) -> Weights:
    """A network's tensors under a key prefix."""
    return {prefix + key: item for key, item in state.items()}


def without_classifier(state: Weights) -> Weights:
    """Torchvision's ResNet, as nearly every project stores it."""
    return {key: item for key, item in state.items() if not key.startswith("fc.")}


def with_statistics(network: nn.Module) -> nn.Module:
    """The network with batch-norm statistics as training leaves them: other than those of a new one."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def states() -> tuple[Weights, Weights]:
    """A trained network and its moving average, with their classifiers."""
    torch.manual_seed(0)
    return with_statistics(resnet18()).state_dict(), with_statistics(resnet18()).state_dict()
