"""Base class of the objectives: networks, pairs of views, and forward passes over N views."""

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
"""N normalised views, each float ``(B, 3, H, W)``: one tensor, or a sequence that computes them lazily."""
Outputs = tuple[Tensor, ...]


class MethodOutput(NamedTuple):
    """Loss and embeddings of N views.

    Attributes:
        loss: scalar, float32; with an autograd graph from ``forward``, without one from
            ``forward_backward``.
        matrix: ``(N, N)``, the loss of view i against view j, detached.
        features: ``(N·B, D)``, output of the backbone, detached.
        projections: ``(N·B, P)``, output of the projector, detached.
        predictions: ``(N·B, P)``, output of the predictor, where there is one, detached.
    """

    loss: Tensor
    matrix: Tensor
    features: Tensor
    projections: Tensor
    predictions: Tensor | None = None


class LazyViews(Sequence[Tensor]):
    """A selection of views, each computed when it is indexed."""

    def __init__(self, views: Views, numbers: Sequence[int]) -> None:
        self._views, self._numbers = views, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        """Return a view, float ``(B, 3, H, W)``."""
        return self._views[self._numbers[index]]


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Which pairs of views an objective compares, and how it computes them.

    Attributes:
        views: policy, crop and role of each view, in the order of the batch.
        pairs: which views are compared, see ``pair_mask``.
        reduction: ``mean`` or ``sum`` over the pairs, see ``reduce_pairs``.
        batch_norm: ``per-view`` (each view is a forward pass of its own, as published) or ``joint``.
        memory: ``joint`` keeps the activations of all views for one backward pass, ``streamed`` those
            of one view at a time; the gradients are equal up to rounding.

    Raises:
        ConfigError: for streamed memory with joint batch norm.
    """

    views: Sequence[ViewSpec]
    pairs: str = "all"
    reduction: str = "mean"
    batch_norm: str = "per-view"
    memory: str = "joint"

    def __post_init__(self) -> None:
        if self.memory == "streamed" and self.batch_norm == "joint":
            raise ConfigError(
                "--train.memory streamed computes one view at a time, but --method.batch_norm joint "
                "needs all of them at once: use --train.memory joint"
            )


@dataclass(frozen=True, kw_only=True)
class MethodParts:
    """Backbone and settings that an objective is built from.

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
        """Build the configured projector with random weights."""
        config = self.model.projector
        return build_head(
            self.num_features,
            layers=config.layers,
            hidden=config.hidden,
            out=self.projection_width,
            last_bias=config.bias,
        )

    def predictor(self) -> nn.Module:
        """Build the configured predictor with random weights; its output is as wide as its input."""
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
        """Number of columns of the projections; those of the features without a projector."""
        return self.model.projector.out if self.model.projector.layers else self.num_features


class Method(nn.Module):
    """Base class of the objectives.

    A new objective is a subclass and its row in ``registry.OBJECTIVES``: configuration, log and checks
    read the attributes and class methods below.

    Args:
        backbone: images ``(B, 3, H, W)`` to features ``(B, D)``.
        settings: which pairs of views are compared, and how they are computed.

    Attributes:
        has_target: whether the targets come from a moving average of the online network.
        streams_free: whether ``memory: streamed`` needs no extra computation with batch norm per view.
        mask: bool ``(N, N)``, the pairs in use.
        pair_weight: weight of each pair's loss.
        online: indices of the views that the online network computes.
        targets: indices of the views that serve as targets.
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
        """Build the objective with its heads; further parameters are settings of the user.

        ``--method.name "mine(alpha=2)"`` calls ``build(parts, alpha=2)``.
        """

    @classmethod
    def describe(cls, method: MethodConfig, model: ModelConfig) -> str:
        """Return the objective's name and its hyper-parameters, for the log."""
        return cls.__name__

    @classmethod
    def sanity_warnings(cls, method: MethodConfig, model: ModelConfig) -> list[str]:
        """Return one line, with a suggestion, for each valid setting that is likely a mistake."""
        return []

    def chance(self, num_images: int) -> float | None:
        """Return the loss of guessing: of outputs that do not tell the views of an image from any other.

        Args:
            num_images: images whose views are compared with each other, of all processes.

        Returns:
            The loss; ``None``, as here, where an objective has none.
        """
        return None

    @abstractmethod
    def forward(self, views: Views) -> MethodOutput:
        """Return the loss of N views, with an autograd graph over all of them."""

    def forward_backward(self, views: Views, backward: Callable[[Tensor], object]) -> MethodOutput:
        """Compute the loss of N views and back-propagate it.

        Args:
            views: the views.
            backward: adds the gradients of a loss; called with the loss, or with each part of it in turn.

        Returns:
            The output, detached.
        """
        output: MethodOutput = self(views)
        backward(output.loss)
        return output._replace(loss=output.loss.detach())

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """Update the target network, where there is one, with momentum τ."""

    @torch.no_grad()
    def reset_target(self) -> None:
        """Copy the online network's weights into the target network, where there is one."""

    def trainable(self) -> list[nn.Module]:
        """Return the modules to optimise: all except those whose name begins with ``target``.

        Parameters of the objective itself, such as a learnable temperature, come last, as one module.
        """
        modules = [part for name, part in self.named_children() if not name.startswith("target")]
        own = nn.ParameterList(self.own_parameters().values())
        return [*modules, own] if len(own) else modules

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are the objective's own rather than those of a network in it."""
        named = self.named_parameters(recurse=False)
        return {name: item for name, item in named if not name.startswith("target")}

    def per_view(self, network: Callable[[Tensor], Outputs], views: Views) -> Outputs:
        """Apply a network to N views, one by one or in one batch, depending on ``settings.batch_norm``.

        Args:
            network: maps ``(B, …)`` to a tuple of tensors ``(B, …)``.
            views: N tensors ``(B, …)``.

        Returns:
            The tuple, each tensor ``(N, B, …)``.
        """
        if self.settings.batch_norm == "joint":
            together = network(torch.cat(list(views)))
            return tuple(part.view(len(views), -1, *part.shape[1:]) for part in together)
        parts = [network(view) for view in views]
        return tuple(torch.stack(part) for part in zip(*parts, strict=True))
