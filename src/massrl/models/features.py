"""What a backbone must return, float32 features ``(B, D)``, and what it raises instead, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from massrl.errors import raised_in


def features_fault(output: object, *, count: int, width: int | None = None) -> str | None:
    """Return what is wrong with a backbone's output, in words; ``None`` if nothing is.

    Args:
        output: whatever the backbone returned.
        count: number of images it was given.
        width: number of features of each that is wanted; any by default.
    """
    wanted = f"pooled features ({count}, {width or 'D'})"
    if not isinstance(output, Tensor):
        return f"gives {_described(output)}, but a tensor of {wanted} is wanted"
    fits = (
        output.ndim == 2
        and output.shape[0] == count
        and output.shape[1] == (width or max(1, output.shape[1]))
    )
    if not fits:
        return f"gives {tuple(output.shape)}, but {wanted} are wanted"
    if output.dtype != torch.float32:
        return f"gives features of {output.dtype}, but torch.float32 is wanted"
    return None


def _described(output: object) -> str:
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} with the keys {', '.join(map(repr, output))}"
    if isinstance(output, Sequence):
        return f"a {kind} of {len(output)}"
    return f"a {kind}"


def cause_of(error: BaseException, name: str) -> str:
    """Return type and first line of an error, and where the user's code raised it.

    Args:
        error: what a backbone raised.
        name: of the backbone; ``module:function`` for a user's own.
    """
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first, kind = text.strip().split("\n")[0], type(error).__name__
    where = raised_in(error, package=name.partition(":")[0])
    return ", ".join(filter(None, (f"{kind}: {first}" if first else kind, where)))
