"""Published lists of images by name: the labelled subsets of semi-supervised evaluation on ImageNet."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from massrl.errors import DataError
from massrl.files import cache_folder, write_atomically

logger = logging.getLogger("massrl")

_FLAG = "--semi.lists"
_TIMEOUT = 60  # seconds without data


@dataclass(frozen=True)
class PublishedList:
    """A published list of image names, one a line.

    Attributes:
        address: URL of the file.
        num_bytes: size of the file.
        num_images: number of its lines.
    """

    address: str
    num_bytes: int
    num_images: int


_SIMCLR = "https://raw.githubusercontent.com/google-research/simclr/master/imagenet_subsets"
# Source: SimCLR, arXiv 2002.05709; BYOL and later work use the same subsets.
PUBLISHED_LISTS = {
    "imagenet-1": PublishedList(f"{_SIMCLR}/1percent.txt", 260_323, 12_811),
    "imagenet-10": PublishedList(f"{_SIMCLR}/10percent.txt", 2_603_168, 128_116),
}


def list_file(name: str, *, download: bool) -> Path:
    """Return the file of a list: one of ``PUBLISHED_LISTS`` by its name, any other by its path.

    A published list is downloaded once, to the cache folder.

    Args:
        name: name or path.
        download: whether a published list may be downloaded.

    Raises:
        DataError: if a published list is missing and cannot be downloaded, or differs from what was
            published.
    """
    published = PUBLISHED_LISTS.get(name)
    if published is None:
        return Path(name).expanduser()
    path = cache_folder("lists") / f"{name}.txt"
    if path.is_file():
        fault = _fault(path.read_bytes(), published)
        if fault:
            raise DataError(f"{path} is not the published list: {fault}; remove it ({_FLAG})")
        return path
    manual = f"{published.address} can be put at {path} by hand ({_FLAG})"
    if not download:
        raise DataError(f"{name} is not there, and --data.download is false: {manual}")
    logger.info("downloading %s", published.address)
    try:
        with urlopen(published.address, timeout=_TIMEOUT) as answer:
            content: bytes = answer.read(published.num_bytes + 1)
    except (OSError, HTTPException) as error:
        raise DataError(f"{name} cannot be downloaded: {error}; {manual}") from None
    fault = _fault(content, published)
    if fault:
        raise DataError(
            f"the file downloaded as {name} is not the published list: {fault}; {manual}"
        )
    write_atomically(path, lambda file: file.write(content))
    return path


def _fault(content: bytes, published: PublishedList) -> str:
    """Say how a file differs in size from what was published; empty if it does not."""
    lines = len(content.split())
    if len(content) == published.num_bytes and lines == published.num_images:
        return ""
    return (
        f"{len(content):,} bytes and {lines:,} names instead of {published.num_bytes:,} and "
        f"{published.num_images:,}"
    )
