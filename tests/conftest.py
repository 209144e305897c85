"""What tests of several packages start from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

# What a backbone's file says of it; the smallest network of all.
ABOUT = {
    "backbone": "resnet10-tiny",
    "stem": "small",
    "size": 32,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
    "seed": 0,
    "recipe": "",
    "step": 5,
}


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features that tests keep, those of commands among them, lie in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "MASSRL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def photos(
    folder: Path, *classes: str, count: int = 5, seed: int = 0, size: tuple[int, int] = (20, 24)
) -> Path:
    """Write ``count`` images of noise, height and width ``size``, into a sub-folder for each class."""
    generator = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise = generator.integers(0, 255, (*size, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), noise)
    return folder
