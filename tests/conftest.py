"""What tests of several packages start from."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pytest
from PIL import Image

from massrl.registry import TABLES
from massrl.registry.table import all_entry_points

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


class Plugin(Protocol):
    """Installs a small package that adds parts by entry points; see the fixture ``plugin``."""

    def __call__(
        self,
        module: str,
        groups: Mapping[str, Mapping[str, str]],
        *,
        name: str = "my_plugin",
    ) -> Path:
        """Write and register the package; return the folder on the import path."""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    """Install a package as a third party would, in this process and in those it starts.

    ``plugin(source, {"massrl.policies": {"mine": "my_plugin:mine"}})`` writes ``my_plugin.py`` and its
    metadata, puts both on the import path and returns their folder. The registry's tables are read anew
    after each call, and once more after the test.
    """
    folder = tmp_path / "site"
    installed: list[str] = []
    patch = pytest.MonkeyPatch()

    def install(
        module: str, groups: Mapping[str, Mapping[str, str]], *, name: str = "my_plugin"
    ) -> Path:
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(module)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [
            line
            for group, rows in groups.items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in rows.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        if not installed:
            patch.syspath_prepend(folder)
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        installed.append(name)
        importlib.invalidate_caches()
        _forget_parts()
        return folder

    yield install
    patch.undo()
    for name in installed:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    _forget_parts()


def _forget_parts() -> None:
    """Let every table look again for other packages' rows."""
    all_entry_points.cache_clear()
    for table in TABLES:
        table.__dict__.pop("_rows", None)
        table.parts.clear()


Encode = Callable[..., bytes]


def _smooth(height: int, width: int, *, seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """uint8 (48, 64, 3), RGB, no two edges alike."""
    return _smooth(48, 64, seed=0)


@pytest.fixture(scope="session")
def encode() -> Encode:
    """Array or Pillow image -> file bytes."""

    def run(image: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        return buffer.getvalue()

    return run


@pytest.fixture(scope="session")
def write(encode: Encode) -> Callable[..., Path]:
    """Write a distinct small picture to a path, with the folders it needs."""
    forms = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF"}

    def run(path: Path, *, seed: int = 0, height: int = 12, width: int = 16) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        form = forms.get(path.suffix.lower(), "JPEG")
        path.write_bytes(encode(_smooth(height, width, seed=seed), form))
        return path

    return run


@pytest.fixture
def odd_folder(tmp_path: Path, photo: np.ndarray, encode: Encode) -> Path:
    """The folder of files that issue 2 asks about: four are good, three are broken."""
    folder = tmp_path / "odd ünïcode ☃"
    folder.mkdir()
    jpeg = encode(photo, "JPEG", quality=90)
    deep = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257
    (folder / "truncated.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("I am no picture")
    (folder / "cmyk.jpg").write_bytes(encode(Image.fromarray(photo).convert("CMYK"), "JPEG"))
    (folder / "deep.png").write_bytes(encode(deep))
    (folder / "dot.png").write_bytes(encode(photo[:1, :1]))
    (folder / "with space é.jpeg").write_bytes(jpeg)
    return folder
