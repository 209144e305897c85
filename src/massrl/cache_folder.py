"""Where massrl keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """``$MASSRL_CACHE/KIND``, or ``~/.cache/massrl/KIND``; it may not be there yet."""
    root = os.environ.get("MASSRL_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "massrl") / kind
