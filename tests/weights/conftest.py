"""Backbones that tests of weights and exports start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

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
