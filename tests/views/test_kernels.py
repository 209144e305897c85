"""The kernels in C: against plain NumPy, across compilers, and at the edges of their memory."""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from massrl.views import kernels
from massrl.views.operations.gaussian_blur import blur_taps

ROOT = Path(__file__).parents[2]
TURN = (0.94, 0.34, -3.0, -0.34, 0.94, 5.5)
SHEAR = (1.0, -0.2, 0.0, 0.0, 1.0, 0.0)
LEVELS = (np.arange(256)[::-1] // 2).astype(np.uint8)
CALLS: dict[str, Callable[[Any, np.ndarray, np.ndarray], None]] = {
    "flip": lambda k, image, out: k.flip(image, out),
    "turn": lambda k, image, out: k.warp(image, out, TURN, 90),
    "shear": lambda k, image, out: k.warp(image, out, SHEAR, 90),
    "brightness": lambda k, image, out: k.brightness(image, out, 1.7),
    "posterize": lambda k, image, out: k.posterize(image, out, 3),
    "solarize": lambda k, image, out: k.solarize(image, out, 110.5),
    "table": lambda k, image, out: k.table(image, out, LEVELS),
    "contrast": lambda k, image, out: k.contrast(image, out, 1.7),
    "saturation": lambda k, image, out: k.saturation(image, out, 1.7),
    "sharpness": lambda k, image, out: k.sharpness(image, out, 1.7),
    "autocontrast": lambda k, image, out: k.autocontrast(image, out),
    "equalize": lambda k, image, out: k.equalize(image, out),
    "hue": lambda k, image, out: k.hue(image, out, 1.3),
    "long blur": lambda k, image, out: k.blur(image, out, blur_taps(13.0)),
    "blur": lambda k, image, out: k.blur(image, out, blur_taps(1.3)),
    "resize": lambda k, image, out: k.resize(image, out, False),
    "mirrored": lambda k, image, out: k.resize(image, out, True),
}


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 200, (height, width, 3), dtype=np.uint8)


def test_every_kernel_is_tried() -> None:
    """Guards the tests below against a kernel that is added and forgotten."""
    made = {name for name in dir(kernels) if not name.startswith("_")}
    assert made == set(CALLS) - {"turn", "shear", "mirrored", "long blur"} | {"warp"}


# ---------------------------------------------------------------- against plain NumPy


def weights(source: int, target: int) -> np.ndarray:
    """Pillow's bicubic weights in float64, ``(target, source)``."""
    scale = source / target
    wider = max(scale, 1.0)
    rows = np.zeros((target, source))
    for i in range(target):
        centre = (i + 0.5) * scale
        x = np.abs((np.arange(source) + 0.5 - centre) / wider)
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        rows[i] = np.where(x < 1, near, np.where(x < 2, far, 0))
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("size", "side"),
    [
        ((300, 320), 224),
        ((400, 380), 224),
        ((60, 500), 224),
        ((500, 60), 224),
        ((90, 70), 224),
        ((33, 31), 32),
        ((900, 700), 24),
        ((1, 1), 9),
        ((2, 700), 5),
        ((7, 3), 1),
    ],
)
def test_resize_is_pillows_filter(size: tuple[int, int], side: int) -> None:
    """Guards weights, borders, both sums of taps, and rows of a block that is not full."""
    image = noise(*size)
    image[: size[0] // 2] = np.where(image[: size[0] // 2] > 120, 255, 0)  # overshoots
    out = np.empty((side, side, 3), np.uint8)
    kernels.resize(image, out, False)
    down, across = weights(size[0], side), weights(size[1], side)
    exact = np.einsum("yi,ijc,xj->yxc", down, image.astype(float), across, optimize=True)
    apart = np.abs(out - np.clip(exact, 0, 255))
    assert apart.max() <= 0.75  # half a level is rounding itself
    assert apart.mean() <= 0.3


EVERY_LEVEL = np.arange(258, dtype=np.uint8).reshape(2, 43, 3)


@pytest.mark.parametrize(
    "factor", [0.0, 0.1, 0.7, 0.9999999, 1.0, 1.27, 1.5, 1.9, 3.3, 7.0, 10.0, 100.0]
)
def test_brightness_is_torchvisions_on_every_level(factor: float) -> None:
    """Guards the cut-off fraction of a product in single precision, and levels beyond 255."""
    out = np.empty_like(EVERY_LEVEL)
    kernels.brightness(EVERY_LEVEL, out, factor)
    image = torch.from_numpy(EVERY_LEVEL).permute(2, 0, 1)
    wanted = F.adjust_brightness(image, factor).permute(1, 2, 0)
    assert np.array_equal(out, wanted.numpy())


@pytest.mark.parametrize("bits", range(9))
def test_posterize_keeps_the_upper_bits(bits: int) -> None:
    """Guards both ends: no bit is black, eight are the image."""
    out = np.empty_like(EVERY_LEVEL)
    kernels.posterize(EVERY_LEVEL, out, bits)
    assert np.array_equal(out, EVERY_LEVEL.astype(int) >> 8 - bits << 8 - bits)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0, 110.5, 128.0, 255.0, 255.5, 256.0])
def test_solarize_inverts_from_the_threshold_up(threshold: float) -> None:
    """Guards thresholds between levels, and the one that no level reaches."""
    out = np.empty_like(EVERY_LEVEL)
    kernels.solarize(EVERY_LEVEL, out, threshold)
    assert np.array_equal(out, np.where(threshold <= EVERY_LEVEL, 255 - EVERY_LEVEL, EVERY_LEVEL))


@pytest.mark.parametrize("factor", [-7.0, -5.0, 7.0])
def test_largest_factors_do_not_wrap_around(factor: float) -> None:
    """Guards 16 bits: the strongest colours there are, as far from their grey as levels go."""
    image = np.array(
        [[0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 255, 0], [255, 0, 0]], np.uint8
    )[None]
    out = np.empty_like(image)
    kernels.saturation(image, out, factor)
    grey = (image @ np.array([0.2989, 0.587, 0.114]) / 0.9999)[..., None]
    exact = np.clip(grey + (image - grey) * factor, 0, 255)
    assert np.abs(out - exact).max() <= 0.75


@pytest.mark.parametrize("width", [1, 31, 32, 33, 255, 256, 257, 9000])
def test_rows_of_any_length_are_whole(width: int) -> None:
    """Guards rows that are done in parts: the ends of parts, and sums that 16 bits would not hold."""
    image = noise(2, width) // 4 + 205
    out = np.empty_like(image)
    kernels.saturation(image, out, 1.7)
    grey = (image @ np.array([0.2989, 0.587, 0.114]) / 0.9999)[..., None]
    assert np.abs(out - np.clip(grey + (image - grey) * 1.7, 0, 255)).max() <= 0.75
    light = 254 - noise(2, width) // 100
    kernels.contrast(light, out, 0.5)
    wanted = F.adjust_contrast(torch.from_numpy(light).permute(2, 0, 1), 0.5).permute(1, 2, 0)
    assert np.abs(out.astype(int) - wanted.numpy()).max() <= 1
    kernels.equalize(image, out)
    wanted = F.equalize(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0)
    assert np.array_equal(out, wanted.numpy())


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (5, 4), (30, 41)])
@pytest.mark.parametrize("sigma", [1e-200, 0.25, 0.5, 1.0, 1.5, 2.0, 13.0])
def test_blur_is_a_gaussian_mirrored_at_the_borders(size: tuple[int, int], sigma: float) -> None:
    """Guards every number of taps, and images that are mirrored several times to be long enough."""
    image = noise(*size)
    out = np.empty_like(image)
    kernels.blur(image, out, blur_taps(sigma))
    reach = math.ceil(3.5 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 0.01)) ** 2)
    exact = np.pad(image.astype(float), [(reach, reach), (reach, reach), (0, 0)], mode="reflect")
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(exact, 2 * reach + 1, axis=axis)
        exact = windows @ (weights / weights.sum())
    assert np.abs(out - exact).max() <= 0.75


@pytest.mark.parametrize("size", [(30, 41), (9, 7), (400, 300)])
def test_mirrored_resize_is_a_flip_of_it(size: tuple[int, int]) -> None:
    """Guards a view whose crop no other view shows: it must not differ from one that shares."""
    image, made = noise(*size), [np.empty((24, 24, 3), np.uint8) for _ in range(2)]
    kernels.resize(image, made[0], False)
    kernels.resize(image, made[1], True)
    assert np.array_equal(made[0][:, ::-1], made[1])


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("size", [(300, 320), (90, 70), (1000, 20)])
def test_what_is_flat_stays_flat(level: int, size: tuple[int, int]) -> None:
    """Guards fixed-point weights that add up to anything but one, and roundings that do."""
    image = np.full((*size, 3), level, np.uint8)
    small = np.empty((48, 48, 3), np.uint8)
    kernels.resize(image, small, False)
    assert (small == level).all()
    same = np.empty_like(image)
    for sigma in (0.1, 0.7, 2.0, 6.0, 12.0, 25.0, 50.0, 120.0):
        kernels.blur(image, same, blur_taps(sigma))
        assert (same == level).all()
    for factor in (-7.0, -1.5, 0.0, 1.0, 1.9, 7.0):
        for kernel in (kernels.saturation, kernels.sharpness):
            kernel(image, same, factor)
            assert (same == level).all(), (kernel, factor)


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.0, 2.5, 3.0, 4.0, 5.99, 6.0])
def test_hue_turns_every_colour_as_floats_do(turn: float) -> None:
    """Guards all six sectors, ties between channels, and the way around the circle."""
    steps = np.array([0, 1, 17, 90, 128, 200, 254, 255], np.uint8)
    image = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(8, 64, 3)
    out = np.empty_like(image)
    kernels.hue(image, out, turn)
    most, least = image.max(axis=2).astype(float), image.min(axis=2)
    spread = most - least
    red, green, blue = (image[..., channel].astype(float) for channel in range(3))
    place = np.select(
        [most == red, most == green],
        [green - blue, blue - red + 2 * spread],
        red - green + 4 * spread,
    ) / np.maximum(spread, 1)
    for channel, start in enumerate((5, 3, 1)):
        own = (place + turn + start) % 6
        exact = most - spread * np.clip(np.minimum(own, 4 - own), 0, 1)
        assert np.abs(out[..., channel] - exact).max() <= 0.6


# ---------------------------------------------------------------- the same pixels everywhere


@pytest.fixture(scope="module", params=["-O1 -fno-tree-vectorize", "-O3"])
def plain_kernels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ModuleType:
    """The same source for any processor of this kind: without vectors, and with those that all have."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    sources = sorted(map(str, (ROOT / "csrc" / "kernels").glob("*.c")))
    built = tmp_path_factory.mktemp("plain") / "kernels.so"
    include = sysconfig.get_paths()["include"]
    options = [*request.param.split(), "-ffp-contract=off", "-DVECTORISED=", "-shared", "-fPIC"]
    options += ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    subprocess.run(
        [compiler, *options, f"-I{include}", *sources, "-lm", "-o", str(built)], check=True
    )
    spec = importlib.util.spec_from_file_location("kernels", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("size", [(224, 224), (37, 53)])
def test_vectors_make_the_same_pixels(
    name: str, size: tuple[int, int], plain_kernels: ModuleType
) -> None:
    """Guards replay on another machine: no pixel may depend on the processor."""
    for seed in range(3):
        image = noise(*size, seed=seed)
        sides = (300, 150, 120, 60, 5) if name in ("resize", "mirrored") else ()
        for shape in [(side, side, 3) for side in sides] or [image.shape]:
            made, plain = np.zeros(shape, np.uint8), np.ones(shape, np.uint8)
            CALLS[name](kernels, image, made)
            CALLS[name](plain_kernels, image, plain)
            assert np.array_equal(made, plain)


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("name", CALLS)
def test_kernel_writes_its_result_and_nothing_else(name: str) -> None:
    """Guards loops that move eight bytes at once: at every size, within a frame, from a cut-out."""
    for height, width in [
        (1, 1),
        (1, 2),
        (2, 1),
        (3, 3),
        (2, 9),
        (5, 4),
        (17, 31),
        (16, 64),
        (33, 65),
    ]:
        big = noise(height + 4, width + 4)
        image = big[2:-2, 2:-2]
        shape = (height + 2, width + 1) if name in ("resize", "mirrored") else (height, width)
        frame = np.full((shape[0] + 2, shape[1] + 2, 3), 7, np.uint8)
        CALLS[name](kernels, image, frame[1:-1, 1:-1])
        alone = np.empty((*shape, 3), np.uint8)
        CALLS[name](kernels, image.copy(), alone)
        assert np.array_equal(frame[1:-1, 1:-1], alone)
        frame[1:-1, 1:-1] = 7
        assert (frame == 7).all()
        assert np.array_equal(big, noise(height + 4, width + 4))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda image, out: kernels.flip(image),
        lambda image, out: kernels.flip(image.astype(np.float32), out),
        lambda image, out: kernels.flip(image[..., 0], out),
        lambda image, out: kernels.flip(image[:, ::2], out[:, ::2].copy()),
        lambda image, out: kernels.flip(image[:0], out[:0]),
        lambda image, out: kernels.flip(image, out[1:]),
        lambda image, out: kernels.table(image, out, LEVELS[1:]),
        lambda image, out: kernels.table(image, out, LEVELS.astype(np.int64)),
        lambda image, out: kernels.brightness(image, out, -0.1),
        lambda image, out: kernels.posterize(image, out, 9),
        lambda image, out: kernels.posterize(image, out, -1),
        lambda image, out: kernels.solarize(image, out, 257),
        lambda image, out: kernels.contrast(image, out, 9.0),
        lambda image, out: kernels.contrast(image, out, float("nan")),
        lambda image, out: kernels.contrast(image, out, "much"),
        lambda image, out: kernels.hue(image, out, -0.1),
        lambda image, out: kernels.blur(image, out, np.ones(2, np.float32)),
        lambda image, out: kernels.blur(image, out, np.full(3, np.nan, np.float32)),
        lambda image, out: kernels.blur(image, out, np.array([0.5, 0.3, 0.2], np.float32)),
        lambda image, out: kernels.warp(image, out, (0, 0, 0, 0, 0, 0), 0),
        lambda image, out: kernels.warp(image, out, (2.0**-29, 0, 0, 0, 1, 0), 0),
        lambda image, out: kernels.warp(image, out, (1, 0, 1e10, 0, 1, 0), 0),
        lambda image, out: kernels.warp(image, out, (1, 0, 0, 0, 2.0**-29, 0), 0),
        lambda image, out: kernels.warp(image, out, (1, 0, 0, 0, 1, 1e10), 0),
        lambda image, out: kernels.warp(image, out, (1, 0, 0, 0, math.nan, 0), 0),
        lambda image, out: kernels.warp(image, out, TURN, 256),
        lambda image, out: kernels.warp(image, out, TURN, -1),
        lambda image, out: kernels.warp(image, out, TURN[:5], 0),
        lambda image, out: kernels.warp(image, out, (*TURN, 1.0), 0),
        lambda image, out: kernels.warp(image, out, (*TURN[:5], "far"), 0),
        lambda image, out: kernels.warp(image, out, np.array(TURN), 0),
    ],
)
def test_wrong_arguments_are_refused(wrong: Callable[[np.ndarray, np.ndarray], None]) -> None:
    """Guards memory: what C is not told, it cannot check later."""
    with pytest.raises((ValueError, TypeError)):
        wrong(noise(8, 8), np.empty((8, 8, 3), np.uint8))


def test_result_that_is_read_only_is_refused() -> None:
    """Guards shared crops."""
    out = np.zeros((8, 8, 3), np.uint8)
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        kernels.flip(noise(8, 8), out)


GUARDED = """
import ctypes, itertools, mmap
import numpy as np
from tests.views.test_kernels import CALLS

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

def at_an_end(shape, before):
    size, page = int(np.prod(shape)), mmap.PAGESIZE
    pages = 2 + -(-size // page)
    memory = np.frombuffer(mmap.mmap(-1, pages * page), np.uint8)
    start = page if before else (pages - 1) * page - size
    forbidden = 0 if before else (pages - 1) * page
    assert libc.mprotect(memory.ctypes.data + forbidden, page, 0) == 0
    return memory[start : start + size].reshape(shape)

sizes = [(1, 1), (1, 2), (2, 1), (3, 3), (2, 9), (17, 31), (40, 65)]
for (height, width), before, (name, call) in itertools.product(sizes, (True, False), CALLS.items()):
    image = at_an_end((height, width, 3), before)
    image[...] = np.arange(image.size).reshape(image.shape) % 251
    resizes = name in ("resize", "mirrored")
    call(kernels, image, at_an_end((height + 2, width + 1, 3) if resizes else image.shape, before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="guards memory by mprotect")
def test_no_kernel_touches_memory_beyond_its_images() -> None:
    """Guards loads of more bytes than a pixel has: before and after the images no page may be touched."""
    script = "from massrl.views import kernels\n" + GUARDED
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or done.returncode
