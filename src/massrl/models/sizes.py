"""Find out, before a run, whether its backbone takes views of every size, and sees all of their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from massrl.errors import ConfigError
from massrl.models.features import cause_of, features_fault
from massrl.models.names import PREFIX, RESNETS, is_users_code
from massrl.models.timm_networks import build_timm, is_timm, patch_layer, timm_patch

_STEP = 8  # pixels, between sides that are tried where there are no patches
_TRIED = 24  # sides in each direction
_NUM_IMAGES = 2


class ViewSide(NamedTuple):
    """Height and width of some of the images that a backbone will be given.

    Attributes:
        side: in pixels.
        flag: that sets it.
        value: from another side to the flag's value for it.
        otherwise: flags that help where no other size does.
    """

    side: int
    flag: str = "--views.size"
    value: Callable[[int], str] = str
    otherwise: str = "--model.backbone"


def patch_side(name: str) -> int:
    """Return the side of the patches that a named network cuts images into, pixels; 1 for none.

    A user's own network is not built for that, and counts as one without patches.
    """
    if name in RESNETS or is_users_code(name):
        return 1
    return timm_patch(name.removeprefix(PREFIX))


def nearest_multiple(side: int, patch: int) -> int:
    """Return the multiple of the patch that is nearest to a side, at least one; the larger of two."""
    return max(1, (2 * side + patch) // (2 * patch)) * patch


def check_named_sides(name: str, sides: Sequence[ViewSide]) -> None:
    """Refuse a network of timm that fails on some views, or would not see all of their pixels.

    Its weights are zero, since drawing them takes most of the time of building a network. A name that is
    unknown is left to ``build_backbone``.

    Args:
        name: as for ``build_backbone``; our own and torchvision's ResNets take any size.
        sides: of the views; the network is built for the first.

    Raises:
        ConfigError: with the nearest sizes that are accepted.
    """
    if name not in RESNETS and is_timm(name.removeprefix(PREFIX)):
        check_sides(lambda side: _with_zeros(name, side), name, sides)


@torch.no_grad()
def _with_zeros(name: str, side: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = build_timm(name.removeprefix(PREFIX), image_side=side)
    network = network.to_empty(device="cpu")
    for item in (*network.parameters(), *network.buffers()):
        item.zero_()
    return network


def check_sides(build: Callable[[int], nn.Module], name: str, sides: Sequence[ViewSide]) -> None:
    """Refuse a network that fails on some views, or would not see all of their pixels.

    Args:
        build: returns the network for images of this side.
        name: of the backbone, for errors.
        sides: of the views; the network is built for the first.

    Raises:
        ConfigError: with the nearest sizes that are accepted.
    """
    first, *others = sides
    built: list[nn.Module] = []

    def fault_when_built(side: int) -> str | None:
        try:
            built.append(build(side))
        except ConfigError as error:
            return str(error)
        return _fault(built[-1], name, side)

    fault = fault_when_built(first.side)
    if fault:
        patch = _patch(built[0]) if built else patch_side(name)
        largest = first.side + _TRIED * max(_STEP, patch)
        _refuse(fault, first, _near(first.side, patch, fault_when_built, largest=largest))
    network = built[0]
    for view in others:
        fault = _fault(network, name, view.side)
        if fault:
            near = _near(
                view.side,
                _patch(network),
                lambda side: _fault(network, name, side),
                largest=first.side - 1,
            )
            _refuse(fault, view, near)


def _patch(network: nn.Module) -> int:
    layer = patch_layer(network)
    return 1 if layer is None else layer.stride[0]


def _fault(network: nn.Module, name: str, side: int) -> str | None:
    """Return what is wrong with images of this side, in words; ``None`` if nothing is."""
    layer, patch = patch_layer(network), _patch(network)
    seen: list[torch.Size] = []  # by the layer: the network may pad its images
    hook = None
    if layer is not None:
        hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    device = next((item.device for item in network.parameters()), torch.device("cpu"))
    was_training = network.training
    network.eval()
    fault: str | None
    try:
        with torch.no_grad():
            images = torch.zeros(_NUM_IMAGES, 3, side, side, device=device)
            fault = features_fault(network(images), count=_NUM_IMAGES)
    except Exception as error:  # networks assert, or raise whatever they like
        fault = f"fails on images of {side} px: {cause_of(error, name)}"
    finally:
        network.train(was_training)
        if hook is not None:
            hook.remove()
    lengths = seen[0][-2:] if seen else (side, side)
    if any(length % patch for length in lengths):
        fault = (
            f"cuts images into patches of {patch} px: of {side} px it would not see the last "
            f"{max(length % patch for length in lengths)}"
        )
    return fault and f"backbone {name!r} {fault}"


def _near(side: int, patch: int, fault: Callable[[int], str | None], *, largest: int) -> list[int]:
    """Return the nearest smaller and the nearest larger side without a fault, where there are any."""
    step = patch if patch > 1 else _STEP
    below = range((side - 1) // step * step, 0, -step)
    above = range((side // step + 1) * step, largest + 1, step)
    found = (_first(item for item in tried[:_TRIED] if not fault(item)) for tried in (below, above))
    return [item for item in found if item is not None]


def _first(sides: Iterable[int]) -> int | None:
    return next(iter(sides), None)


def _refuse(fault: str, view: ViewSide, near: Sequence[int]) -> None:
    if near:
        values = " or ".join(
            f"{side}" if view.value(side) == str(side) else f"{view.value(side)} ({side} px)"
            for side in near
        )
        verb = "is" if len(near) == 1 else "are"
        raise ConfigError(f"{fault}; {view.flag} {values} {verb} accepted")
    raise ConfigError(f"{fault}, nor on others near it ({view.flag}, {view.otherwise})")
