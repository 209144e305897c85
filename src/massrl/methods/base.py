"""What every method has: networks, the pairs it compares, and one forward pass over N views."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from massrl.errors import ConfigError
from massrl.methods.losses import pair_weight
from massrl.methods.pairs import pair_mask
from massrl.views.layouts import ViewSpec

Views = Tensor | Sequence[Tensor]
"""N views, each float ``(B, 3, H, W)``: one tensor, or a sequence that makes them when asked."""


Outputs = tuple[Tensor, ...]


class MethodOutput(NamedTuple):
    """What N views give.

    Attributes:
        loss: scalar, float32; with its graph from a forward pass, without one where it has been
            back-propagated.
        matrix: ``(N, N)``, the loss of view i against view j, without gradient.
        features: ``(N·B, D)``, the backbone's features, without gradient.
        projections: ``(N·B, P)``, the projections, without gradient.
        predictions: ``(N·B, P)``, of methods that predict, without gradient.
    """

    loss: Tensor
    matrix: Tensor
    features: Tensor
    projections: Tensor
    predictions: Tensor | None = None


class LazyViews(Sequence[Tensor]):
    """Some of the views, each made when it is asked for."""

    def __init__(self, views: Views, numbers: Sequence[int]) -> None:
        self._views, self._numbers = views, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: Any) -> Any:
        """Float ``(B, 3, H, W)``."""
        return self._views[self._numbers[place]]


class Method(nn.Module):
    """Base of the objectives.

    Args:
        backbone: images ``(B, 3, H, W)`` to features ``(B, D)``.
        views: one label per view, in the order of the batch.
        pairs: which views are compared, see ``pair_mask``.
        reduction: ``mean`` or ``sum`` over the pairs, see ``reduce_pairs``.
        batch_norm: ``per-view`` (each view is a forward pass of its own, as published) or ``joint``.
        memory: ``joint`` holds the activations of all views for the backward pass, ``streamed`` those
            of one view at a time; gradients are the same to rounding.

    Raises:
        ConfigError: if views of joint batch statistics are to be streamed.
    """

    mask: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        views: Sequence[ViewSpec],
        *,
        pairs: str,
        reduction: str,
        batch_norm: str,
        memory: str,
    ) -> None:
        super().__init__()
        if memory == "streamed" and batch_norm == "joint":
            raise ConfigError(
                "--train.memory streamed makes one view after the other, but --method.batch_norm joint "
                "needs all of them at once: --train.memory joint fits it"
            )
        self.backbone = backbone
        self.batch_norm = batch_norm
        self.memory = memory
        mask = pair_mask(views, pairs)
        self.pair_weight = pair_weight(int(mask.sum()), reduction)
        self.online = [number for number, view in enumerate(views) if view.role != "target"]
        self.targets = [number for number, view in enumerate(views) if view.role != "online"]
        self.register_buffer("mask", mask, persistent=False)

    @abstractmethod
    def forward(self, views: Views) -> MethodOutput:
        """The loss of normalised views, with the graph of all of them."""

    def forward_backward(self, views: Views, backward: Callable[[Tensor], object]) -> MethodOutput:
        """Back-propagate the loss of normalised views.

        Args:
            views: normalised.
            backward: is given the loss, or one part of it after the other, and adds to the gradients.

        Returns:
            All of it without a graph.
        """
        output: MethodOutput = self(views)
        backward(output.loss)
        return output._replace(loss=output.loss.detach())

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """Move the target, where there is one, towards the online network."""

    @torch.no_grad()
    def reset_target(self) -> None:
        """Make the target, where there is one, a copy of the online network."""

    def trainable(self) -> list[nn.Module]:
        """The modules that the optimiser trains."""
        return [module for name, module in self.named_children() if not name.startswith("target")]

    def per_view(self, network: Callable[[Tensor], Outputs], views: Views) -> Outputs:
        """Apply networks to N views, one by one or all at once, as ``batch_norm`` says.

        Args:
            network: from ``(B, …)`` to several tensors ``(B, …)``.
            views: N tensors ``(B, …)``.

        Returns:
            The several tensors, each ``(N, B, …)``.
        """
        if self.batch_norm == "joint":
            together = network(torch.cat(list(views)))
            return tuple(part.view(len(views), -1, *part.shape[1:]) for part in together)
        parts = [network(view) for view in views]
        return tuple(torch.stack(part) for part in zip(*parts, strict=True))
