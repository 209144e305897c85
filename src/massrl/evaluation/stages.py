"""What tasks over the whole image need of a backbone: its stages one by one, and finer ones."""

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
        network: a ResNet whose children stand in the order of its forward pass, as torchvision's, timm's
            and our own do.

    Attributes:
        network: the copy.
        channels: of the stages' outputs.
        strides: pixels of the image for one of each stage's outputs.

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
        """From images to the outputs of these stages, by their names; what follows is left out."""
        body: nn.Module = IntermediateLayerGetter(self.network, {name: name for name in names})
        return body

    def refine(self, stage: str, dilation: int) -> None:
        """Let a stage keep its input's resolution, its filters spread as wide as they were.

        Convolutions of stride 2 get stride 1, and every 3×3 after the first such one the dilation; the
        weights stay.

        Args:
            stage: its name.
            dilation: twice that of the stage before it.

        Source: DeepLab, arXiv 1606.00915.
        """
        layer = self.network.get_submodule(stage)
        for module in layer.modules():
            if isinstance(module, nn.Conv2d):
                if module.kernel_size == (3, 3):
                    # What halves the resolution looks at its input's pixels, which are as far as before.
                    spread = dilation // 2 if module.stride == (2, 2) else dilation
                    module.dilation = module.padding = (spread, spread)
                module.stride = (1, 1)
            elif isinstance(module, nn.AvgPool2d | nn.MaxPool2d):
                raise ConfigError(f"{stage} of the backbone pools: it cannot be made finer")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generator as from one of this seed; it is as it was afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
