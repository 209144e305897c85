"""The base class of objectives: networks, the pairs of views they compare, a forward pass over N views."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from massrl.config.sections import MethodConfig, ModelConfig
from massrl.errors import ConfigError
from massrl.methods.losses import pair_weight
from massrl.methods.pairs import pair_mask
from massrl.models.heads import build_head
from massrl.views.layouts import ViewSpec

Views = Tensor | Sequence[Tensor]
"""N views, each float ``(B, 3, H, W)``: one tensor, or a sequence that makes them when indexed."""


Outputs = tuple[Tensor, ...]


class MethodOutput(NamedTuple):
    """What an objective returns for N views.

    Attributes:
        loss: scalar, float32; with its autograd graph from ``forward``, without one from
            ``forward_backward``.
        matrix: ``(N, N)``, the loss of view i against view j, without gradient.
        features: ``(N·B, D)``, the backbone's features, without gradient.
        projections: ``(N·B, P)``, the projections, without gradient.
        predictions: ``(N·B, P)``, of objectives with a predictor, without gradient.
    """

    loss: Tensor
    matrix: Tensor
    features: Tensor
    projections: Tensor
    predictions: Tensor | None = None


class LazyViews(Sequence[Tensor]):
    """Some of the views, each made when it is indexed."""

    def __init__(self, views: Views, numbers: Sequence[int]) -> None:
        self._views, self._numbers = views, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: Any) -> Any:
        """Float ``(B, 3, H, W)``."""
        return self._views[self._numbers[place]]


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Which views an objective compares, and how it computes them.

    Attributes:
        views: one per view, in the order of the batch.
        pairs: which views are compared, see ``pair_mask``.
        reduction: ``mean`` or ``sum`` over the pairs, see ``reduce_pairs``.
        batch_norm: ``per-view`` (each view is a forward pass of its own, as published) or ``joint``.
        memory: ``joint`` holds the activations of all views for the backward pass, ``streamed`` those
            of one view at a time; gradients are the same up to rounding.
    """

    views: Sequence[ViewSpec]
    pairs: str = "all"
    reduction: str = "mean"
    batch_norm: str = "per-view"
    memory: str = "joint"

    def __post_init__(self) -> None:
        if self.memory == "streamed" and self.batch_norm == "joint":
            raise ConfigError(
                "--train.memory streamed makes one view after the other, but --method.batch_norm joint "
                "needs all of them at once: --train.memory joint fits it"
            )


@dataclass(frozen=True, kw_only=True)
class MethodParts:
    """What an objective is built from.

    Attributes:
        backbone: images ``(B, 3, H, W)`` to features ``(B, num_features)``.
        num_features: width of the features.
        method: the ``method`` section of the configuration.
        model: the ``model`` section: its heads.
        settings: views, pairs, reduction, batch norm and memory.
    """

    backbone: nn.Module
    num_features: int
    method: MethodConfig
    model: ModelConfig
    settings: ViewSettings

    def projector(self) -> nn.Module:
        """Build the projector that the configuration describes, with fresh weights."""
        config = self.model.projector
        return build_head(
            self.num_features,
            layers=config.layers,
            hidden=config.hidden,
            out=self.projection_width,
            last_bias=config.bias,
        )

    def predictor(self) -> nn.Module:
        """Build one predictor, from projections to predictions of the same width."""
        config = self.model.predictor
        return build_head(
            self.projection_width,
            layers=config.layers,
            hidden=config.hidden,
            out=self.projection_width,
            last_bias=config.bias,
        )

    @property
    def projection_width(self) -> int:
        """Width of the projections; without a projector, that of the features."""
        return self.model.projector.out if self.model.projector.layers else self.num_features


class Method(nn.Module):
    """Base class of the objectives.

    A subclass with its row in ``registry.OBJECTIVES`` is all that an objective needs: the facts below
    are read by configuration, log and checks, so that none of them knows an objective by name.

    Args:
        backbone: images ``(B, 3, H, W)`` to features ``(B, D)``.
        settings: which views are compared, and how they are computed.

    Attributes:
        has_target: whether a moving average of the online network gives the targets.
        streams_free: whether ``memory: streamed`` costs no extra computation with batch norm per view.
    """

    has_target: ClassVar[bool] = False
    streams_free: ClassVar[bool] = False
    mask: Tensor

    def __init__(self, backbone: nn.Module, settings: ViewSettings) -> None:
        super().__init__()
        self.backbone = backbone
        self.settings = settings
        mask = pair_mask(settings.views, settings.pairs)
        self.pair_weight = pair_weight(int(mask.sum()), settings.reduction)
        views = list(enumerate(settings.views))
        self.online = [number for number, view in views if view.role != "target"]
        self.targets = [number for number, view in views if view.role != "online"]
        self.register_buffer("mask", mask, persistent=False)

    @property
    def num_views(self) -> int:
        """Views of each image."""
        return len(self.settings.views)

    @classmethod
    @abstractmethod
    def build(cls, parts: MethodParts) -> Method:
        """Build the objective with its heads; further parameters are what a user may set.

        ``--method.name "mine(alpha=2)"`` calls ``build(parts, alpha=2)``.
        """

    @classmethod
    def describe(cls, method: MethodConfig, model: ModelConfig) -> str:
        """Return what the log says of the objective: its name and its own numbers."""
        return cls.__name__

    @classmethod
    def sanity_warnings(cls, method: MethodConfig, model: ModelConfig) -> list[str]:
        """Return one line, with what to try, for each setting that is accepted and likely a mistake."""
        return []

    @abstractmethod
    def forward(self, views: Views) -> MethodOutput:
        """Return the loss of normalised views, with the autograd graph of all of them."""

    def forward_backward(self, views: Views, backward: Callable[[Tensor], object]) -> MethodOutput:
        """Compute and back-propagate the loss of normalised views.

        Args:
            views: normalised.
            backward: called with the loss, or with one part of it after the other; adds to the gradients.

        Returns:
            Everything without an autograd graph.
        """
        output: MethodOutput = self(views)
        backward(output.loss)
        return output._replace(loss=output.loss.detach())

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """Move the target network, where there is one, towards the online network."""

    @torch.no_grad()
    def reset_target(self) -> None:
        """Make the target network, where there is one, a copy of the online network."""

    def trainable(self) -> list[nn.Module]:
        """Return the modules that the optimiser trains: all but those whose name begins with ``target``."""
        return [module for name, module in self.named_children() if not name.startswith("target")]

    def per_view(self, network: Callable[[Tensor], Outputs], views: Views) -> Outputs:
        """Apply networks to N views, one by one or all at once, as ``settings.batch_norm`` says.

        Args:
            network: from ``(B, …)`` to several tensors ``(B, …)``.
            views: N tensors ``(B, …)``.

        Returns:
            The several tensors, each ``(N, B, …)``.
        """
        if self.settings.batch_norm == "joint":
            together = network(torch.cat(list(views)))
            return tuple(part.view(len(views), -1, *part.shape[1:]) for part in together)
        parts = [network(view) for view in views]
        return tuple(torch.stack(part) for part in zip(*parts, strict=True))
