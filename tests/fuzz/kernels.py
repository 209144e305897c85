"""The C code under AddressSanitizer and UndefinedBehaviorSanitizer: any arguments, right or wrong."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from massrl.errors import MassrlError
from tests.fuzz import case

ROOT = Path(__file__).parents[2]
FOLDER = "MASSRL_FUZZ_KERNELS"  # environment variable: where the modules built with sanitizers are
SANITIZERS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
NUMBERS = (0.0, -0.0, 1.0, -7.0, 7.0, 6.0, 256.0, 100.0, 0.5, 255.5, 1e-300, 1e300, -1e300)
ODD: tuple[Any, ...] = (
    float("nan"),
    float("inf"),
    -1,
    1 << 70,
    None,
    "3",
    b"",
    [],
    (),
    np.float32(2),
    True,
)


def sanitized_environment(folder: Path) -> dict[str, str] | str:
    """Build the modules with sanitizers, for child processes with the environment that is returned.

    Returns:
        The environment; or, as a word, what is missing.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return "compiler"
    library = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not Path(library).is_absolute():
        return "libasan"
    include = sysconfig.get_paths()["include"]
    sources = {
        "kernels": sorted((ROOT / "csrc" / "kernels").glob("*.c")),
        "stream": [ROOT / "csrc" / "stream.c"],
        "codecs": [ROOT / "csrc" / "codecs.c"],
    }
    for name, files in sources.items():
        options = [
            "-O1",
            "-g",
            "-ffp-contract=off",
            *SANITIZERS,
            "-shared",
            "-fPIC",
            f"-I{include}",
        ]
        command = [compiler, *options, *map(str, files), "-lm", "-o", str(folder / f"{name}.so")]
        subprocess.run(command, check=True)
    return {
        **os.environ,
        FOLDER: str(folder),
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0,allocator_may_return_null=1",
        "PYTHONMALLOC": "malloc",  # so that each object has its own guarded memory
    }


def load(name: str) -> Any:
    """Return a module in C as it was built with sanitizers."""
    spec = importlib.util.spec_from_file_location(name, Path(os.environ[FOLDER]) / f"{name}.so")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.kernels, self.stream, self.codecs = map(load, ("kernels", "stream", "codecs"))
        self.names = [name for name in dir(self.kernels) if not name.startswith("_")]

    def run(self, generator: np.random.Generator) -> None:
        """Call a kernel, a codec or a stream of random numbers with arguments that are mostly right."""
        chosen = generator.integers(0, 10)
        try:
            if chosen == 0:
                self._draw(generator)
            elif chosen < 3:
                self._decode(generator)
            else:
                self._call(str(generator.choice(self.names)), generator)
        except (ValueError, TypeError, BufferError, OverflowError, MemoryError) as error:
            raise MassrlError(" ".join(str(error).split())) from None

    def _call(self, name: str, generator: np.random.Generator) -> None:
        height, width = (int(side) for side in generator.integers(1, 70, 2))
        shape = (height, width)
        result = tuple(map(int, generator.integers(1, 70, 2))) if name == "resize" else shape
        images = [image_of(size, generator) for size in (shape, result)]
        getattr(self.kernels, name)(*images, *rest_of(name, generator))

    def _decode(self, generator: np.random.Generator) -> None:
        if generator.integers(0, 2):
            data = generator.bytes(int(generator.integers(0, 6_000)))
            bits, least = int(generator.integers(-1, 11)), int(generator.integers(-1, 1 << 20))
            self.codecs.lzw_length(data, bits, bool(generator.integers(0, 2)), least)
            return
        step, width, height = (int(number) for number in generator.integers(1, (6, 40, 20)))
        rows = generator.integers(0, 256, (height, width * step + 1), dtype=np.uint8)
        rows[:, 0] = generator.integers(0, 5 if generator.integers(0, 4) else 7, height)
        length = width * step + int(generator.integers(0, 9) == 0)
        out = bytearray(height * width * step + int(generator.integers(0, 9) == 0))
        self.codecs.unfilter(rows.tobytes(), out, length, step)

    def _draw(self, generator: np.random.Generator) -> None:
        words = [int(word) for word in generator.integers(-(1 << 62), 1 << 62, 4)]
        words[0] <<= int(generator.integers(0, 70))
        stream = self.stream.Stream(words[0], epoch=words[1], index=words[2], number=words[3])
        for _ in range(10):
            stream.random()
        stream.integer(number_of(generator, whole=True))
        stream.uniform(number_of(generator), number_of(generator))
        stream.chance(number_of(generator))
        stream.permutation(int(generator.integers(-3, 50)))


def image_of(size: tuple[int, ...], generator: np.random.Generator) -> Any:
    """Return an image of a size, often a part of a larger one, sometimes nothing of the kind."""
    height, width = size
    match generator.integers(0, 12):
        case 0 | 1:
            whole = generator.integers(0, 256, (height + 2, width + 5, 3), dtype=np.uint8)
            return whole[1:-1, 2 : 2 + width]
        case 2:
            return generator.integers(0, 256, (2 * height, width, 3), dtype=np.uint8)[::2]
        case 3:
            return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)[::-1]
        case 4:
            return np.full((height, width, 3), generator.choice([0, 255]), np.uint8)
        case 5 if generator.integers(0, 2):
            wrong = (
                *(np.zeros((height, width), np.uint8), np.zeros((height, width, 4), np.uint8)),
                *(np.zeros((height, width, 3), np.int8), np.zeros((height, width, 3), np.float32)),
                *(np.zeros((0, width, 3), np.uint8), np.zeros((height, 0, 3), np.uint8)),
                *(np.zeros((3, height, width), np.uint8).transpose(1, 2, 0), b"abc", None, 3),
                np.zeros((height, width, 3), np.uint8)[:, ::-1],
            )
            return wrong[int(generator.integers(0, len(wrong)))]
        case _:
            return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def number_of(generator: np.random.Generator, *, whole: bool = False) -> Any:
    """Return a number that a kernel may be given, or now and then something else."""
    if generator.integers(0, 6) == 0:
        return ODD[int(generator.integers(0, len(ODD)))]
    if whole:
        return int(generator.integers(-2, 300))
    if generator.integers(0, 2):
        return NUMBERS[int(generator.integers(0, len(NUMBERS)))]
    return float(generator.uniform(-8, 8))


def rest_of(name: str, generator: np.random.Generator) -> tuple[Any, ...]:
    """Return a kernel's arguments after its two images."""
    match name:
        case "flip" | "autocontrast" | "equalize":
            return () if generator.integers(0, 9) else (1,)
        case "resize":
            return (bool(generator.integers(0, 2)),)
        case "warp":
            scale = float(generator.choice([1.0, 1.0, 100.0, 1e9, 1e30]))
            numbers = tuple(float(number) * scale for number in generator.normal(size=6))
            if generator.integers(0, 4) == 0:
                numbers = (*numbers[:5], number_of(generator))
            return (numbers, number_of(generator, whole=True))
        case "table":
            count = int(generator.choice([256, 256, 256, 255, 0]))
            return (generator.integers(0, 256, count).astype(generator.choice(["u1", "u1", "i1"])),)
        case "blur":
            reach = int(generator.choice([0, 1, 2, 3, 7, 20, 80]))
            taps = generator.random(2 * reach + int(generator.integers(0, 9) > 0)).astype(
                np.float32
            )
            taps = taps + taps[::-1]
            if len(taps) and generator.integers(0, 4):
                taps /= taps.sum()
            return (array("f", taps.tolist()) if generator.integers(0, 2) else taps,)
        case _:
            return (number_of(generator),)
