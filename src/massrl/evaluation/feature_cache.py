"""Features cached on disk, so that a backbone runs on the same images once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as save_safetensors
from torch import nn

from massrl.data.source import Source, digest
from massrl.errors import TrainingError
from massrl.evaluation.features import Features, labels_of
from massrl.files import cache_folder, write_atomically

logger = logging.getLogger("massrl")

_VERSION = b"1"  # to be raised when the same backbone and images would have other features


def network_fingerprint(network: nn.Module) -> str:
    """Return 16 hex digits that depend on a network's layers, weights and statistics."""
    parts = [repr(network).encode()]
    for name, item in network.state_dict().items():
        plain = item.detach().cpu().contiguous().reshape(-1)
        parts += [name.encode(), plain.view(torch.uint8).numpy().tobytes()]
    return digest(parts)


def cached_features(
    fingerprint: str, source: Source, *, side: int, extract: Callable[[], Features]
) -> Features:
    """Return a source's features from the cache, or compute and cache them.

    Args:
        fingerprint: of the network.
        source: the images, identified by names and sizes, and files by modification times too.
        side: side of the images that the network is given, pixels.
        extract: computes the features.
    """
    constants = repr((side, source.normalization, _modification_times(source))).encode()
    key = digest([_VERSION, fingerprint.encode(), source.fingerprint().encode(), constants])
    path = cache_folder("features") / f"{key}.safetensors"
    try:
        values = load_file(path)["values"]
        logger.info("features of %s are read from %s", source.name, path)
        return Features(values, labels_of(source))
    except (SafetensorError, OSError, KeyError):  # missing or damaged
        features = extract()
    content = save_safetensors({"values": features.values})
    try:
        write_atomically(path, lambda file: file.write(content))
    except TrainingError as error:  # a full disk must not stop the evaluation
        logger.warning("features are not cached: %s", error)
    return features


def _modification_times(source: Source) -> list[int]:
    """Return when each file was written, nanoseconds; nothing for images that are not files."""
    files = (source.file(index) for index in range(len(source)))
    return [_modification_time(file) for file in files if file is not None]


def _modification_time(path: str) -> int:
    """Return -1 for a missing file, which is reported where the image is read."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return -1
