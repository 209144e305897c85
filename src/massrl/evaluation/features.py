"""Features of a frozen backbone: of every image once, in order, from the same deterministic view."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from massrl.data.source import Normalization, Source
from massrl.errors import DataError, TrainingError
from massrl.images.reading import read_pixels

_MARGIN = 256 / 224  # the published evaluation resizes to 256 and crops the central 224
_NO_MARGIN_BELOW = 64  # pixels; small images are used whole, as in evaluations on CIFAR
_PREFETCHED_BATCHES = 2


@dataclass(frozen=True)
class Features:
    """Features and labels of a source's images.

    Attributes:
        values: float32 ``(n, D)``, on the CPU.
        labels: int64 ``(n,)``, on the CPU; -1 throughout where the source is unlabelled.
    """

    values: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def evaluation_view(image: np.ndarray, side: int) -> np.ndarray:
    """Return the centre crop of an image, without any randomness.

    The largest central square is resized to ``side · 256 / 224`` and centre-cropped, which equals
    resizing the short side and cropping the centre; cropping first bounds the work for a panorama.
    Below 64 px the whole square is used. An image of the wanted size is returned as it is.
    Shrinking averages areas, enlarging is bicubic.

    Args:
        image: uint8 ``(H, W, 3)``.
        side: side of the result, pixels.

    Returns:
        uint8 ``(side, side, 3)``.
    """
    if image.shape[:2] == (side, side):
        return image
    resized = side if side < _NO_MARGIN_BELOW else round(side * _MARGIN)
    image = _centre_square(image, min(image.shape[:2]))
    if len(image) != resized:
        how = cv2.INTER_AREA if len(image) > resized else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(image, (resized, resized), interpolation=how))
    return _centre_square(image, side)


def _centre_square(image: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def extract_features(
    backbone: nn.Module,
    source: Source,
    *,
    side: int,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Compute the features of every image of a source.

    The backbone runs in eval mode, in float32 and without gradients; afterwards every module is in
    the mode it was in before, and batch-norm statistics are unchanged.

    Args:
        backbone: from normalised float ``(B, 3, side, side)`` to ``(B, D)``.
        source: the images; normalised with the source's own constants.
        side: side of the images the backbone is given, pixels.
        batch_size: images per forward pass; changes speed, not features.
        device: where to compute; the backbone is moved there, None leaves it where it is.
        workers: threads that read and decode; 0 does so between forward passes.
        progress: called with images done and images in all, after each batch.

    Raises:
        DataError: if the source is empty; ``ImageError``, if an image is broken.
        TrainingError: if a feature is not finite.
    """
    total = len(source)
    if not total:
        raise DataError(f"{source.name} has no images to evaluate on (--data.train, --data.val)")
    if device is None:
        device = next((item.device for item in backbone.parameters()), torch.device("cpu"))
    device = torch.device(device)
    backbone.to(device)
    values: Tensor | None = None
    done = 0
    with frozen(backbone), torch.autocast(device.type, enabled=False):
        for images in _batches(source, side=side, batch_size=batch_size, workers=workers):
            with torch.inference_mode():
                output = backbone(
                    normalize_images(images, source.normalization, device=device)
                ).float()
            if values is None:  # allocated outside inference mode, so that autograd may use it
                values = torch.empty(total, output.shape[1])
            values[done : done + len(output)] = output.cpu()
            done += len(output)
            if progress is not None:
                progress(done, total)
    if values is None or done != total:
        raise RuntimeError(f"features of {done} images instead of {total}")
    _check_finite(values, source)
    return Features(values, labels_of(source))


def labels_of(source: Source) -> Tensor:
    """Return the labels of a source's images, int64 ``(n,)``; -1 throughout where it has none."""
    labels = np.full(len(source), -1) if source.labels is None else source.labels
    return torch.tensor(labels, dtype=torch.int64)


@contextmanager
def frozen(backbone: nn.Module) -> Iterator[None]:
    """Put a network in eval mode, so that its statistics do not change; restore each module's mode after."""
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    try:
        yield
    finally:
        for module, mode in modes:  # one by one: a module may have been in eval mode on purpose
            module.training = mode


def _batches(source: Source, *, side: int, batch_size: int, workers: int) -> Iterator[np.ndarray]:
    """Yield uint8 ``(B, side, side, 3)`` in the source's order; the last may be smaller."""

    def view(index: int) -> np.ndarray:
        return evaluation_view(read_pixels(source, index), side)

    starts = range(0, len(source), batch_size)
    ranges = [range(start, min(start + batch_size, len(source))) for start in starts]
    if workers < 1:
        for indices in ranges:
            yield np.stack([view(index) for index in indices])
        return
    # Threads, not processes: OpenCV decodes and resizes without holding Python's lock.
    pool = ThreadPoolExecutor(workers, thread_name_prefix="massrl-features")
    try:
        ahead: deque[list[Future[np.ndarray]]] = deque()
        for indices in ranges:
            ahead.append([pool.submit(view, index) for index in indices])
            if len(ahead) > _PREFETCHED_BATCHES:
                yield np.stack([item.result() for item in ahead.popleft()])
        while ahead:
            yield np.stack([item.result() for item in ahead.popleft()])
    finally:  # after a broken image too, or when the caller stops early
        pool.shutdown(wait=True, cancel_futures=True)


def normalize_images(
    images: np.ndarray | Tensor, normalization: Normalization, *, device: torch.device
) -> Tensor:
    """Normalise images.

    Training's ``NormalizedViews`` computes the same from constants for 0-255, with other rounding: one
    formula for both would change the weights of resumed runs, or features that are cached.

    Args:
        images: uint8 ``(B, H, W, 3)``.
        normalization: constants of the channels, for values in [0, 1].
        device: of the result.

    Returns:
        Float32 ``(B, 3, H, W)``, channels-last in memory.
    """
    mean = torch.tensor(normalization.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(normalization.std, device=device).view(1, 3, 1, 1)
    batch = torch.as_tensor(images).to(device).permute(0, 3, 1, 2).float()
    return batch.div_(255).sub_(mean).div_(std)


def _check_finite(values: Tensor, source: Source) -> None:
    broken = (~torch.isfinite(values).all(dim=1)).nonzero().flatten().tolist()
    if broken:
        raise TrainingError(
            f"the backbone returns features that are not finite for {len(broken)} of {len(values)} "
            f"images, first {source.describe(broken[0])}: its weights are unusable"
        )
