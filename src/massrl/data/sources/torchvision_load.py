"""Load a data set with torchvision, and download it where it is missing."""

from __future__ import annotations

import os
from pathlib import Path
from tarfile import TarError
from typing import Any
from zipfile import BadZipFile

from massrl.errors import DataError


def default_root() -> Path:
    """Return the folder of torchvision's sets: ``$MASSRL_DATA``, else ``~/.cache/massrl/datasets``."""
    root = os.environ.get("MASSRL_DATA")
    path = Path(root) if root else Path("~/.cache/massrl/datasets")
    return path.expanduser()


def load_dataset(
    name: str,
    folder: Path,
    *,
    factory: str,
    arguments: dict[str, Any],
    can_download: bool = True,
    download: bool = True,
) -> Any:
    """Load a set with torchvision; download it only if that fails, as torchvision does not log it.

    Args:
        name: what the user calls the set, for errors.
        folder: root that torchvision is given.
        factory: torchvision's class, such as ``"CIFAR10"``.
        arguments: of that class, without ``root`` and ``download``.
        can_download: whether torchvision offers the set for download.
        download: whether it may be downloaded.

    Returns:
        torchvision's data set.

    Raises:
        DataError: if the set is missing and cannot be downloaded.
    """
    import torchvision.datasets

    make = getattr(torchvision.datasets, factory)
    advice = f"put torchvision's files for {factory} into {folder}, or pass --data.root"
    try:
        return make(root=str(folder), **arguments)
    except (RuntimeError, OSError) as error:
        missing = _one_line(error)
    except ImportError as error:
        raise DataError(f"{name} needs a package that is not installed: {error}") from None
    if not can_download:
        raise DataError(f"{name} is not there and cannot be downloaded; {advice} ({missing})")
    if not download:
        raise DataError(f"{name} is not there and downloading is off; {advice} ({missing})")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return make(root=str(folder), **arguments, download=True)
    # URLError, time-outs and a full disk are OSErrors; wrong checksums are RuntimeErrors; a package
    # that torchvision needs for some hosts is an ImportError.
    except (RuntimeError, OSError, EOFError, ImportError, TarError, BadZipFile) as error:
        cause = _one_line(error)
        raise DataError(f"{name} could not be downloaded ({cause}); {advice}") from None


def voc_folder(
    name: str, lists: tuple[str, ...], *, root: Path | None = None, download: bool = True
) -> Path:
    """Return the folder of Pascal VOC, ``VOCdevkit/VOC2007`` below the root; download what is missing.

    Args:
        name: ``"voc2007"`` or ``"voc2012"``.
        lists: of images that are needed, as VOC calls them.
        root: folder of torchvision's sets; default ``default_root()``.
        download: whether the set may be downloaded.

    Raises:
        DataError: if the set is missing and cannot be downloaded.
    """
    folder = (default_root() if root is None else Path(root)).expanduser()
    for part in lists:
        arguments = {"year": name.removeprefix("voc"), "image_set": part}
        load_dataset(name, folder, factory="VOCDetection", arguments=arguments, download=download)
    return folder / "VOCdevkit" / name.upper()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
