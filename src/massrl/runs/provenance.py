"""Where a backbone's weights come from: what they started as, under which licence, with or without labels.

It is told by the ``about`` of a backbone: ``source`` (a file of another project, or a library's name),
``labels`` (``used`` or ``not-used``) and ``licence`` of that source, or ``start``, the same of the weights
that a run of massrl started from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_TOLD = ("source", "part", "origin", "weights", "labels", "licence", "recipe", "step", "start")
_MAX_STARTS = 20  # one after the other


def sources(about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the description of a backbone's weights and of all that they started from, the latest first."""
    found = [about]
    while isinstance(start := found[-1].get("start"), Mapping) and len(found) < _MAX_STARTS:
        found.append(start)
    return found


def labels_used(about: Mapping[str, Any]) -> bool | None:
    """Return whether labels were used on the way to these weights; ``None`` where that is not known.

    massrl itself uses none; those of a policy's search are not counted.
    """
    answers = [
        {"used": True, "not-used": False}.get(str(item.get("labels")))
        for item in sources(about)
        if item.get("source") or item.get("labels")
    ]
    return True if True in answers else None if None in answers else False


def licences(about: Mapping[str, Any]) -> dict[str, str]:
    """Return every foreign source of these weights with its licence, empty where it is not known."""
    return {
        str(item["source"]): str(item.get("licence") or "")
        for item in sources(about)
        if item.get("source")
    }


def start_of(about: Mapping[str, Any], name: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the description of weights that a run starts from, for the ``about`` of its own.

    Args:
        about: their own description.
        name: what ``--init-from`` was given, without folders.
        state: the backbone's tensors.
    """
    told = {key: about[key] for key in _TOLD if about.get(key) not in (None, "")}
    return {"name": name, **told, "sha256": weights_hash(state)}


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names and values of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        plain = state[name].detach().cpu().contiguous().reshape(-1)
        digest.update(name.encode())
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()
