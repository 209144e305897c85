"""massrl: multi-augmentation self-supervised pre-training of visual backbones.

    >>> import massrl
    >>> maker = massrl.ViewMaker(layout="massrl", size=224, seed=0)

``ViewMaker`` makes views, ``pretrain`` trains on them, ``evaluate`` judges the backbone and
``load_backbone`` hands it on. Each is imported when it is first asked for, so that
``import massrl`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["ViewMaker", "evaluate", "load_backbone", "pretrain", "resume"]

if TYPE_CHECKING:
    from massrl.commands.evaluate import evaluate
    from massrl.commands.pretrain import pretrain, resume
    from massrl.views.view_maker import ViewMaker
    from massrl.weights.load import load_backbone

_HOMES = {
    "ViewMaker": "massrl.views.view_maker",
    "evaluate": "massrl.commands.evaluate",
    "load_backbone": "massrl.weights.load",
    "pretrain": "massrl.commands.pretrain",
    "resume": "massrl.commands.pretrain",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'massrl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
