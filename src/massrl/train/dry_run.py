"""Try, before a run, everything that it and its evaluation will do with a backbone of the user's own.

A network that cannot be trained, copied for a target network, or saved and loaded again would otherwise
fail after hours, or be evaluated with other weights than it was trained to.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from massrl.errors import ConfigError
from massrl.models.backbones import seeded_backbone
from massrl.models.features import features_fault
from massrl.models.names import is_users_code
from massrl.models.sizes import ViewSide, check_named_sides, check_sides
from massrl.models.users import naming_the_line
from massrl.weights.backbone_file import backbone_content

_NUM_IMAGES = 4  # of a training step
_NUM_STEPS = 2
_LR = 1e-3
_TOLERANCE = 1e-3  # relative to the largest feature


def check_backbone(name: str, *, stem: str, sides: Sequence[ViewSide], device: str = "cpu") -> None:
    """Refuse a backbone that a run could not use to its end.

    Every network is given images of each size. A user's own is also trained for two steps, copied, saved in
    memory, and loaded into a second one. All of them are discarded; torch's generator is left as it was.

    Args:
        name: as for ``build_backbone``.
        stem: likewise.
        sides: of the views; the network is built for the first.
        device: where it will be trained.

    Raises:
        ConfigError: with the user's own file and line where their code raises.
    """
    if not is_users_code(name):
        check_named_sides(name, sides)
        return
    with torch.random.fork_rng():
        built = [
            seeded_backbone(name, stem=stem, image_side=sides[0].side, seed=seed) for seed in (0, 1)
        ]
        network, fresh = (item.to(device) for item in built)
        check_sides(lambda _: network, name, sides)
        _check_weights(network, name)
        images = torch.randn(_NUM_IMAGES, 3, sides[0].side, sides[0].side, device=device)
        _check_repeats(network, name, images)
        with naming_the_line(name, "cannot be copied for a target network (copy.deepcopy)"):
            trained = copy.deepcopy(network)
        _check_training(trained, name, images, sides)
        _check_saving(trained, fresh, name, images)


def _check_weights(network: nn.Module, name: str) -> None:
    """Refuse a network with nothing to train, or with a state that is more than tensors."""
    named = dict(network.named_parameters())
    if not any(item.requires_grad for item in named.values()):
        _refuse(name, "has no parameter that requires a gradient, so nothing could be trained")
    with naming_the_line(name, "cannot be saved: state_dict raises"):
        state = network.state_dict()
    for key, item in state.items():
        if not isinstance(item, Tensor):
            owner = key.rpartition(".")[0]
            kind = type(network.get_submodule(owner)).__name__
            _refuse(
                name,
                f"has the state {key!r} of {kind}, a {type(item).__name__}, which no weights file can "
                "hold: tensors are wanted, such as those of register_buffer",
            )


def _check_repeats(network: nn.Module, name: str, images: Tensor) -> None:
    """Refuse features that are not finite, or are others for the same images."""
    first, again = (_features(network, name, images) for _ in range(2))
    if not bool(torch.isfinite(first).all()):
        _refuse(name, "gives features that are not finite (NaN or infinite) with its first weights")
    if not torch.equal(first, again):
        _refuse(name, "gives other features for the same images when asked again in eval mode")


def _check_training(
    network: nn.Module, name: str, images: Tensor, sides: Sequence[ViewSide]
) -> None:
    """Train the network for two steps, each on views of every size; refuse a state that changes its form."""
    before = _form(network)
    network.train()
    width = None
    for _ in range(_NUM_STEPS):
        for view in sides:
            views = images[:, :, : view.side, : view.side]
            with naming_the_line(name, "fails in training"):
                output = network(views)
            fault = features_fault(output, count=len(images), width=width)
            if fault:
                _refuse(name, f"{fault}, in training")
            if not output.requires_grad:
                _refuse(name, "gives features in training through which no gradient flows back")
            width = output.shape[1]
            with naming_the_line(name, "fails in the backward pass"):
                output.square().mean().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.grad is not None:
                    parameter.sub_(_LR * parameter.grad / (parameter.grad.norm() + 1.0))
                    parameter.grad = None
    after = _form(network)
    changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    if changed:
        one, other = before.get(changed[0], "none"), after.get(changed[0], "none")
        _refuse(
            name,
            f"changes the form of its state in training: {changed[0]!r} was {one} and is {other}, so "
            "it could not be loaded again",
        )


def _check_saving(trained: nn.Module, fresh: nn.Module, name: str, images: Tensor) -> None:
    """Save the network in memory and load it into one built anew: the features must be the same."""
    expected = _features(trained, name, images)
    with naming_the_line(name, "cannot be saved"):
        content = backbone_content(trained.state_dict(), about={})
    try:
        fresh.load_state_dict(load_safetensors(content))
    except Exception as error:
        raise ConfigError(
            f"backbone {name!r} cannot be loaded into a second one that the function returns: "
            f"{' '.join(str(error).split())[:200]} (--model.backbone)"
        ) from error
    got = _features(fresh, name, images)
    difference = float((got - expected).abs().max()) / max(float(expected.abs().max()), 1e-12)
    if not difference <= _TOLERANCE:
        _refuse(
            name,
            f"gives other features after it is saved and loaded (by {difference:.2g} of the largest): "
            "something it computes with is not in its state_dict; an nn.Parameter or register_buffer is",
        )


def _features(network: nn.Module, name: str, images: Tensor) -> Tensor:
    network.eval()
    with torch.no_grad(), naming_the_line(name, "fails on images"):
        features: Tensor = network(images)
    return features


def _form(network: nn.Module) -> dict[str, str]:
    """Return type and shape of every tensor of the state."""
    state = network.state_dict()
    return {key: f"{item.dtype} {tuple(item.shape)}" for key, item in state.items()}


def _refuse(name: str, fault: str) -> None:
    raise ConfigError(f"backbone {name!r} {fault} (--model.backbone)")
