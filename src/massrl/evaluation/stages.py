"""Feature maps of a backbone's stages, for detection and segmentation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter

from massrl.errors import ConfigError

STAGES = ("layer1", "layer2", "layer3", "layer4")
_PROBE = 256  # pixels


class Stages:
    """A copy of a ResNet, without its pooling.

    Args:
        network: a ResNet whose children are in the order of its forward pass, as torchvision's, timm's
            and our own are.

    Attributes:
        network: the copy.
        channels: number of channels of each stage's output.
        strides: pixels of the image per pixel of each stage's output.

    Raises:
        ConfigError: if the network has no such stages.
    """

    def __init__(self, network: nn.Module) -> None:
        names = [name for name, _ in network.named_children()]
        if not set(STAGES) <= set(names):
            raise ConfigError(
                f"the backbone has no stages {STAGES[0]} to {STAGES[-1]}: detection and segmentation are for "
                f"ResNets (--task)"
            )
        self.network = copy.deepcopy(network)
        self.channels: list[int] = []
        self.strides: list[int] = []
        body = self.body(STAGES)
        device = next(body.parameters()).device
        with torch.no_grad():
            outputs = body.eval()(torch.zeros(1, 3, _PROBE, _PROBE, device=device))
        for name in STAGES:
            self.channels.append(outputs[name].shape[1])
            self.strides.append(round(_PROBE / outputs[name].shape[2]))

    def body(self, names: tuple[str, ...]) -> nn.Module:
        """Return a module from images to a dictionary of these stages' outputs; later layers are dropped."""
        body: nn.Module = IntermediateLayerGetter(self.network, {name: name for name in names})
        return body

    def refine(self, stage: str, dilation: int) -> None:
        """Remove a stage's stride and dilate its convolutions instead, with the same weights.

        Convolutions of stride 2 get stride 1, and every 3×3 convolution after the first of these is dilated.

        Args:
            stage: its name.
            dilation: twice that of the stage before it.

        Raises:
            ConfigError: if the stage pools.

        Source: DeepLab, arXiv 1606.00915.
        """
        layer = self.network.get_submodule(stage)
        for module in layer.modules():
            if isinstance(module, nn.Conv2d):
                if module.kernel_size == (3, 3):
                    # The strided convolution's input has the spacing of the stage before.
                    spread = dilation // 2 if module.stride == (2, 2) else dilation
                    module.dilation = module.padding = (spread, spread)
                module.stride = (1, 1)
            elif isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
                raise ConfigError(
                    f"{stage} of the backbone pools: its resolution cannot be refined"
                )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators, and restore their state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
