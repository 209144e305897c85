"""Views per second on one core compared with other pipelines: the tables of ``results/views.md``.

    python benchmarks/views.py --photos DIR [--small DIR] [--rounds 5]

``--photos`` holds photographs of ordinary size, ``--small`` CIFAR-10's images as JPEG files. Every pipeline
reads the bytes of the same files and makes uint8 views, decodes each image once for all of them, and runs on
one thread. Rounds are interleaved and medians reported, because machines are shared. Libraries that are not
installed (``pip install -e '.[bench]'``) are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import io as tv_io
from torchvision import transforms as v1
from torchvision.transforms import v2

from massrl.images.decode import decode
from massrl.runs.environment import detect_hardware, environment_info
from massrl.views.cpu import crops_of, execute
from massrl.views.device_view_maker import DeviceViewMaker
from massrl.views.layouts import Layout
from massrl.views.view_maker import ViewMaker

RESULTS = Path(__file__).parent / "results" / "views.md"
Pipeline = Callable[[bytes], Any]


# ---------------------------------------------------------------- the published pipeline, on Pillow


class PillowBlur:
    """Gaussian blur of the released code."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Blur with σ uniform in [0.1, 2]."""
        return image.filter(ImageFilter.GaussianBlur(float(np.random.uniform(0.1, 2.0))))  # noqa: NPY002


def published(
    size: int, *, shared: int = 0, num_policies: int = 4, floats: bool = False
) -> Pipeline:
    """Return Pillow and torchvision v1: each policy with its own crop, or on each of ``shared`` crops."""
    finish: Callable[[Image.Image], Any] = np.asarray
    if floats:
        constants = v1.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        finish = v1.Compose([v1.ToTensor(), constants])
    crop = v1.RandomResizedCrop(size, (0.08, 1.0), interpolation=v1.InterpolationMode.BICUBIC)
    flip = v1.RandomHorizontalFlip()
    jitter = v1.RandomApply([v1.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8)
    policies = [
        v1.Compose([jitter, v1.RandomGrayscale(0.2), PillowBlur(), flip]),
        v1.Compose([v1.RandAugment(2, 9), flip]),
        v1.Compose([v1.AutoAugment(v1.AutoAugmentPolicy.IMAGENET), flip]),
        v1.Compose([v1.AutoAugment(v1.AutoAugmentPolicy.SVHN), flip]),
    ][:num_policies]

    def make(encoded: bytes) -> list[Any]:
        with Image.open(io.BytesIO(encoded)) as opened:
            image = opened.convert("RGB")
        if not shared:
            return [finish(policy(crop(image))) for policy in policies]
        crops = [crop(image) for _ in range(shared)]
        return [finish(policy(part)) for part in crops for policy in policies]

    return make


def tensors(size: int) -> Pipeline:
    """Return torchvision v2 on uint8 tensors."""
    crop = v2.RandomResizedCrop(
        size, (0.08, 1.0), interpolation=v2.InterpolationMode.BICUBIC, antialias=True
    )
    flip = v2.RandomHorizontalFlip()
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8)
    policies = [
        v2.Compose([jitter, v2.RandomGrayscale(0.2), v2.GaussianBlur(23, (0.1, 2.0)), flip]),
        v2.Compose([v2.RandAugment(2, 9), flip]),
        v2.Compose([v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET), flip]),
        v2.Compose([v2.AutoAugment(v2.AutoAugmentPolicy.SVHN), flip]),
    ]

    def make(encoded: bytes) -> list[torch.Tensor]:
        image = tv_io.decode_jpeg(
            torch.frombuffer(bytearray(encoded), dtype=torch.uint8), mode=tv_io.ImageReadMode.RGB
        )
        return [policy(crop(image)) for policy in policies]

    return make


def albumentations(size: int, *, antialiased: bool = False) -> Pipeline:
    """Return albumentations: SimCLR's view, and three views with two random operations.

    Its bicubic crops are not antialiased; with OpenCV's area interpolation they are.
    """
    import albumentations as A

    interpolation = cv2.INTER_AREA if antialiased else cv2.INTER_CUBIC
    crop = A.RandomResizedCrop((size, size), (0.08, 1.0), interpolation=interpolation)
    jitter = A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1), p=0.8)
    blur = A.GaussianBlur(blur_limit=0, sigma_limit=(0.1, 2.0), p=1.0)
    operations = [
        A.Affine(shear={"x": (-17, 17)}, p=1),
        A.Affine(shear={"y": (-17, 17)}, p=1),
        A.Affine(translate_percent={"x": (-0.14, 0.14)}, p=1),
        A.Affine(translate_percent={"y": (-0.14, 0.14)}, p=1),
        A.Rotate((-9, 9), p=1),
        A.ColorJitter((0.73, 1.27), (1, 1), (1, 1), (0, 0), p=1),
        A.ColorJitter((1, 1), (1, 1), (0.73, 1.27), (0, 0), p=1),
        A.ColorJitter((1, 1), (0.73, 1.27), (1, 1), (0, 0), p=1),
        A.Sharpen((0.2, 0.3), p=1),
        A.Posterize(7, p=1),
        A.Solarize((0.7, 0.7), p=1),
        A.AutoContrast(p=1),
        A.Equalize(p=1),
    ]
    two = A.SomeOf(operations, n=2, replace=True, p=1)
    flip = A.HorizontalFlip(p=0.5)
    policies = [A.Compose([crop, jitter, A.ToGray(p=0.2), blur, flip])]
    policies += [A.Compose([crop, two, flip]) for _ in range(3)]

    def make(encoded: bytes) -> list[np.ndarray]:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
        return [policy(image=image)["image"] for policy in policies]

    return make


def kornia(size: int) -> Pipeline:
    """Return kornia on float tensors: SimCLR's view, RandAugment and two of AutoAugment."""
    from kornia import augmentation as K
    from kornia.augmentation import auto

    crop = K.RandomResizedCrop((size, size), (0.08, 1.0), resample="bicubic")
    flip = K.RandomHorizontalFlip(p=0.5)
    policies = [
        torch.nn.Sequential(
            crop,
            K.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
            K.RandomGrayscale(p=0.2),
            K.RandomGaussianBlur((23, 23), (0.1, 2.0), p=1.0),
            flip,
        ),
        torch.nn.Sequential(crop, auto.RandAugment(2, 9), flip),
        torch.nn.Sequential(crop, auto.AutoAugment("imagenet"), flip),
        torch.nn.Sequential(crop, auto.AutoAugment("svhn"), flip),
    ]

    @torch.inference_mode()
    def make(encoded: bytes) -> list[torch.Tensor]:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].float().div_(255)
        return [policy(batch).mul(255).to(torch.uint8) for policy in policies]

    return make


# ---------------------------------------------------------------- ours


def ours(layout: str | Layout, size: int) -> Pipeline:
    """Return ``ViewMaker``, from bytes to views."""
    maker = ViewMaker(layout, size=size)
    numbers = iter(range(1 << 60))
    return lambda encoded: maker(encoded, epoch=0, index=next(numbers))


def crops_alone(layout: str, size: int) -> Pipeline:
    """Return a loader worker's part with the device executor: decoding, cropping and resizing."""
    maker = DeviceViewMaker(layout, size=size)
    out = np.empty(maker.shape, np.uint8)
    numbers = iter(range(1 << 60))
    return lambda encoded: maker.write(encoded, epoch=0, index=next(numbers), out=out)


def one_simclr(size: int) -> tuple[Pipeline, Pipeline]:
    """Return the pipelines of a single SimCLR view: massrl's, and Pillow's."""
    single = Layout(
        name="one", summary="", arrangement="independent", num_crops=1, policies=("simclr",)
    )
    return ours(single, size), published(size, num_policies=1)


def stages(size: int) -> dict[str, Pipeline]:
    """Return decoding by each library, and massrl's stages after it."""
    maker = ViewMaker("massrl-4", size=size)
    known: dict[int, tuple[np.ndarray, Any]] = {}

    def planned(encoded: bytes) -> tuple[np.ndarray, Any]:
        key = id(encoded)
        if key not in known:
            image = decode(encoded)
            plan = maker.plan(index=len(known), height=image.shape[0], width=image.shape[1])
            known[key] = image, plan
        return known[key]

    def plan(encoded: bytes) -> Any:
        image, old = planned(encoded)
        return maker.plan(index=old.index, height=image.shape[0], width=image.shape[1])

    return {
        "decode: Pillow": lambda encoded: np.asarray(
            ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGB")
        ),
        "decode: torchvision": lambda encoded: tv_io.decode_jpeg(
            torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
        ),
        "decode: OpenCV": lambda encoded: cv2.imdecode(
            np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB
        ),
        "decode: massrl, with its checks": decode,
        "plan of 4 views": plan,
        "4 crops, resized": lambda encoded: crops_of(*planned(encoded)),
        "4 views of decoded pixels": lambda encoded: execute(*planned(encoded)),
    }


# ---------------------------------------------------------------- measuring


def measure(
    pipelines: dict[str, Pipeline], images: list[bytes], *, rounds: int
) -> dict[str, list[float]]:
    """Return the milliseconds per image of each pipeline in each of the interleaved rounds."""
    for pipeline in pipelines.values():
        for encoded in images[:8]:
            pipeline(encoded)
    times: dict[str, list[float]] = {name: [] for name in pipelines}
    for _ in range(rounds):
        for name, pipeline in pipelines.items():
            begin = time.process_time()
            for encoded in images:
                pipeline(encoded)
            times[name].append((time.process_time() - begin) / len(images) * 1000)
    return times


def table(times: dict[str, list[float]], base: str | None = None) -> list[str]:
    """Format rows of Markdown: median, range and rate, and the speed relative to ``base``."""
    lines = [f"| pipeline | ms per image | min-max | images/s |{' speed-up |' if base else ''}"]
    lines.append(f"|---|---|---|---|{'---|' if base else ''}")
    for name, values in times.items():
        median = statistics.median(values)
        row = f"| {name} | {median:.3g} | {min(values):.3g}-{max(values):.3g} | {1000 / median:,.0f} |"
        if base:  # round by round, so that other load on the machine cancels
            ratios = [one / other for one, other in zip(times[base], values, strict=True)]
            row += f" {statistics.median(ratios):.2f} |"
        lines.append(row)
    return lines


def installed(pipelines: dict[str, tuple[str, Callable[[], Pipeline]]]) -> dict[str, Pipeline]:
    """Build the pipelines whose package is installed."""
    return {
        name: build()
        for name, (package, build) in pipelines.items()
        if importlib.util.find_spec(package)
    }


def read(folder: Path, count: int) -> list[bytes]:
    """Read evenly spaced files of a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpeg", ".jpg")]
    return [path.read_bytes() for path in files[:: max(1, len(files) // count)][:count]]


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--small", type=Path, help="folder of CIFAR-10's images")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    photos = read(args.photos, 120)
    size = 224
    base = "Pillow + torchvision v1, as published"
    four = {
        "massrl": ours("massrl-4", size),
        "massrl, decoding and crops only (device executor)": crops_alone("massrl-4", size),
        base: published(size),
        f"{base}, to normalised floats": published(size, floats=True),
        **installed(
            {
                "torchvision v2 on tensors": ("torchvision", lambda: tensors(size)),
                "albumentations": ("albumentations", lambda: albumentations(size)),
                "albumentations, antialiased": (
                    "albumentations",
                    lambda: albumentations(size, antialiased=True),
                ),
                "kornia": ("kornia", lambda: kornia(size)),
            }
        ),
    }
    eight = {
        "massrl": ours("massrl", size),
        "massrl, decoding and crops only (device executor)": crops_alone("massrl", size),
        base: published(size, shared=2),
        f"{base}, to normalised floats": published(size, shared=2, floats=True),
    }
    single = dict(zip(("massrl", base), one_simclr(size), strict=True))
    about = environment_info(detect_hardware("cpu").name)
    versions = dict(about["software"])
    for package in ("pillow", "albumentations", "kornia"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    lines = [
        "# Views on one core",
        "",
        f"`python benchmarks/views.py --photos DIR --small DIR --rounds {args.rounds}`; commit "
        f"{about['commit']}; {about['hardware']}, one thread; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        f"{len(photos)} photographs, {sum(map(len, photos)) // len(photos) // 1000} kB on average. Times are "
        f"CPU times of the process; medians of {args.rounds} interleaved rounds; speed-ups are medians "
        "over the rounds.",
        "",
        f"## 4 views of {size} px, each with its own policy and crop, from JPEG bytes",
        "",
        *table(measure(four, photos, rounds=args.rounds), base),
        "",
        f"## 8 views of {size} px: 2 crops, 4 policies on each (variant D)",
        "",
        *table(measure(eight, photos, rounds=args.rounds), base),
        "",
        f"## 1 SimCLR view of {size} px",
        "",
        *table(measure(single, photos, rounds=args.rounds), base),
        "",
        "## Stages",
        "",
        *table(measure(stages(size), photos, rounds=args.rounds)),
    ]
    if args.small is not None:
        small = read(args.small, 500)
        tiny = {
            "massrl": ours("massrl-4", 32),
            base: published(32),
            **installed(
                {
                    "torchvision v2 on tensors": ("torchvision", lambda: tensors(32)),
                    "albumentations": ("albumentations", lambda: albumentations(32)),
                }
            ),
        }
        lines += [
            "",
            f"## 4 views of 32 px, from {len(small)} JPEG files of CIFAR-10",
            "",
            *table(measure(tiny, small, rounds=args.rounds), base),
            "",
            "Stages:",
            "",
            *table(measure(stages(32), small, rounds=args.rounds)),
        ]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    main()
