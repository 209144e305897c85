"""massrl: multi-augmentation self-supervised pre-training of visual backbones.

    >>> import massrl
    >>> maker = massrl.ViewMaker(layout="massrl", size=224, seed=0)

``ViewMaker`` makes views, ``pretrain`` trains on them, ``evaluate`` evaluates the backbone and
``load_backbone`` loads it; every command has its function, and ``MassrlError`` is the base of its errors.
Each is imported when it is first used, so
that ``import massrl`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "MassrlError",
    "ViewMaker",
    "check_data",
    "compare",
    "draw_policy",
    "draw_views",
    "evaluate",
    "export_backbone",
    "import_backbone",
    "list_parts",
    "list_recipes",
    "load_backbone",
    "measure_step",
    "measure_views",
    "pack_data",
    "pretrain",
    "resume",
    "run_demo",
]

if TYPE_CHECKING:
    from massrl.commands.bench import measure_step, measure_views
    from massrl.commands.compare import compare
    from massrl.commands.data import check_data, pack_data
    from massrl.commands.demo import run_demo
    from massrl.commands.evaluate import evaluate
    from massrl.commands.export import export_backbone
    from massrl.commands.import_backbone import import_backbone
    from massrl.commands.parts import list_parts
    from massrl.commands.policies import draw_policy
    from massrl.commands.pretrain import pretrain, resume
    from massrl.commands.recipes import list_recipes
    from massrl.commands.views import draw_views
    from massrl.errors import MassrlError
    from massrl.views.view_maker import ViewMaker
    from massrl.weights.load import load_backbone

_HOMES = {
    "MassrlError": "massrl.errors",
    "ViewMaker": "massrl.views.view_maker",
    "check_data": "massrl.commands.data",
    "compare": "massrl.commands.compare",
    "draw_policy": "massrl.commands.policies",
    "draw_views": "massrl.commands.views",
    "evaluate": "massrl.commands.evaluate",
    "export_backbone": "massrl.commands.export",
    "import_backbone": "massrl.commands.import_backbone",
    "list_parts": "massrl.commands.parts",
    "list_recipes": "massrl.commands.recipes",
    "load_backbone": "massrl.weights.load",
    "measure_step": "massrl.commands.bench",
    "measure_views": "massrl.commands.bench",
    "pack_data": "massrl.commands.data",
    "pretrain": "massrl.commands.pretrain",
    "resume": "massrl.commands.pretrain",
    "run_demo": "massrl.commands.demo",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'massrl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
