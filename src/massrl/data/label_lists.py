"""Published lists of images, by name: the labels that semi-supervised figures on ImageNet rest on."""

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
_TIMEOUT = 60  # seconds without a byte


@dataclass(frozen=True)
class PublishedList:
    """A list of images' names, a line each.

    Attributes:
        address: where it was published.
        num_bytes: size of the file.
        num_images: lines of it.
    """

    address: str
    num_bytes: int
    num_images: int


_SIMCLR = "https://raw.githubusercontent.com/google-research/simclr/master/imagenet_subsets"
# Source: SimCLR, arXiv 2002.05709, whose subsets BYOL and all later work use.
PUBLISHED_LISTS = {
    "imagenet-1": PublishedList(f"{_SIMCLR}/1percent.txt", 260_323, 12_811),
    "imagenet-10": PublishedList(f"{_SIMCLR}/10percent.txt", 2_603_168, 128_116),
}


def list_file(word: str, *, download: bool) -> Path:
    """The file of a list: one of ``PUBLISHED_LISTS`` by its name, anything else by its path.

    A published list is fetched once and kept in the cache folder.

    Args:
        word: name or path.
        download: whether it may be fetched.

    Raises:
        DataError: if it is neither there nor to be had, or is not what was published.
    """
    published = PUBLISHED_LISTS.get(word)
    if published is None:
        return Path(word).expanduser()
    path = cache_folder("lists") / f"{word}.txt"
    if path.is_file():
        fault = _fault(path.read_bytes(), published)
        if fault:
            raise DataError(f"{path} is not the published list: {fault}; remove it ({_FLAG})")
        return path
    manual = f"{published.address} can be put at {path} by hand ({_FLAG})"
    if not download:
        raise DataError(f"{word} is not there, and --data.download is false: {manual}")
    logger.info("fetching %s", published.address)
    try:
        with urlopen(published.address, timeout=_TIMEOUT) as answer:
            content: bytes = answer.read(published.num_bytes + 1)
    except (OSError, HTTPException) as error:
        raise DataError(f"{word} cannot be fetched: {error}; {manual}") from None
    fault = _fault(content, published)
    if fault:
        raise DataError(f"what came for {word} is not the published list: {fault}; {manual}")
    write_atomically(path, lambda file: file.write(content))
    return path


def _fault(content: bytes, published: PublishedList) -> str:
    lines = len(content.split())
    if len(content) == published.num_bytes and lines == published.num_images:
        return ""
    return (
        f"{len(content):,} bytes and {lines:,} names, where {published.num_bytes:,} and "
        f"{published.num_images:,} are wanted"
    )
