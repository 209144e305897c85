"""The learned policy tables, AutoAugment and Fast AutoAugment, read from package data.

Both were searched **with labels** of the data set they are named after: a representation trained on
their views has, through them, seen a little of those labels.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

# The tables' names of operations, and ours.
NAMES = {
    "Identity": "identity",
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "Rotate": "rotate",
    "Brightness": "brightness",
    "Color": "saturation",
    "Contrast": "contrast",
    "Sharpness": "sharpness",
    "Posterize": "posterize",
    "Solarize": "solarize",
    "AutoContrast": "autocontrast",
    "Equalize": "equalize",
    "Invert": "invert",
    "Cutout": "cutout",
}


@cache
def policy_table(file: str) -> dict[str, Any]:
    """Return a table file: ``source``, ``licence``, ``format`` and ``policies[dataset]``."""
    text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
