"""Import torchvision without torch's compiler, which takes longer to load than all the rest of it."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo.utils"


def import_torchvision() -> None:
    """Import torchvision, and let what it takes from torch's compiler be loaded at its first use.

    Its operator RoIAlign imports ``torch._dynamo.utils`` to ask whether a device compiles. A training run
    needs the compiler only where its optimiser is made, an evaluation of frozen features not at all.
    """
    if "torchvision" in sys.modules or "torch._dynamo" in sys.modules:
        return
    sys.modules[_COMPILER] = _LoadedLater(_COMPILER)
    try:
        importlib.import_module("torchvision")
    finally:
        _forget()


class _LoadedLater(ModuleType):
    """In the place of ``torch._dynamo.utils`` while torchvision is imported."""

    def __getattr__(self, name: str) -> Any:
        if name == "is_compile_supported":
            return _is_compile_supported
        if name.startswith("__"):  # asked for by the import itself
            raise AttributeError(name)
        _forget()  # another version of torchvision needs more of it: loaded now
        return getattr(importlib.import_module(_COMPILER), name)


def _is_compile_supported(device_type: Any) -> Any:
    return importlib.import_module(_COMPILER).is_compile_supported(device_type)


def _forget() -> None:
    if isinstance(sys.modules.get(_COMPILER), _LoadedLater):
        del sys.modules[_COMPILER]
