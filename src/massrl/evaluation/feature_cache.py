"""Features kept on disk, so that no backbone sees the same images twice."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as save_safetensors
from torch import nn

from massrl.data.source import Source, digest, whole
from massrl.data.sources.folders import FileSource
from massrl.errors import TrainingError
from massrl.evaluation.features import Features, labels_of
from massrl.files import cache_folder, write_atomically

logger = logging.getLogger("massrl")

_VERSION = b"1"  # to be raised when the same backbone and images would give other features


def network_fingerprint(network: nn.Module) -> str:
    """16 hex digits of a network's layers, weights and statistics."""
    parts = [repr(network).encode()]
    for name, item in network.state_dict().items():
        plain = item.detach().cpu().contiguous().reshape(-1)
        parts += [name.encode(), plain.view(torch.uint8).numpy().tobytes()]
    return digest(parts)


def cached_features(
    fingerprint: str, source: Source, *, side: int, extract: Callable[[], Features]
) -> Features:
    """Features of a source from the cache, or from ``extract`` and then into it.

    Args:
        fingerprint: of the network.
        source: the images; told by their names and sizes, and files by when they were written.
        side: side of the images that the network is given, pixels.
        extract: makes the features.
    """
    constants = repr((side, source.normalization, _written(source))).encode()
    key = digest([_VERSION, fingerprint.encode(), source.fingerprint().encode(), constants])
    path = cache_folder("features") / f"{key}.safetensors"
    try:
        values = load_file(path)["values"]
        logger.info("features of %s are in %s", source.name, path)
        return Features(values, labels_of(source))
    except (SafetensorError, OSError, KeyError):  # not there, or not to be read
        features = extract()
    content = save_safetensors({"values": features.values})
    try:
        write_atomically(path, lambda file: file.write(content))
    except TrainingError as error:  # a full disk costs the copy, never the evaluation
        logger.warning("features are not kept: %s", error)
    return features


def _written(source: Source) -> list[int]:
    """When each file was written, nanoseconds; nothing of images that are no files."""
    if not isinstance(whole(source), FileSource):
        return []
    return [_time_of(source.describe(index)) for index in range(len(source))]


def _time_of(path: str) -> int:
    """-1 where there is no such file, which whoever reads the image says better."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return -1
