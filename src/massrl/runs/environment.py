"""Hardware, software versions and commit of a run or a result."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from massrl.errors import ConfigError, counted

_PACKAGES = (
    "massrl",
    "torch",
    "torchvision",
    "lightning",
    "opencv-python-headless",
    "scikit-learn",
)


def environment_info(hardware: str) -> dict[str, Any]:
    """Return the environment that is stored with every result.

    Args:
        hardware: ``Hardware.name`` of what was computed on.

    Returns:
        ``software`` (versions by package), ``hardware`` (text) and ``commit`` (of a source checkout, else
        ``None``).
    """
    versions = {package: _version(package) for package in _PACKAGES}
    return {
        "software": {"python": platform.python_version(), **versions},
        "hardware": f"{hardware}, {platform.machine()}",
        "commit": _commit(),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # such as a checkout that is not installed
        return "not installed"


def _commit() -> str | None:
    """Return the commit of the source checkout; ``None`` for an installed package."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@dataclass(frozen=True)
class Hardware:
    """The hardware that is used.

    Attributes:
        accelerator: ``cpu`` or ``gpu``.
        cores: CPU cores this process may use.
        name: description for the user, such as the GPU's name.
    """

    accelerator: str
    cores: int
    name: str

    @property
    def has_gpu(self) -> bool:
        """Whether a GPU is used."""
        return self.accelerator == "gpu"


def detect_hardware(accelerator: str = "auto") -> Hardware:
    """Return the hardware to use.

    Args:
        accelerator: ``cpu``, ``gpu``, or ``auto`` for a GPU where there is one.

    Raises:
        ConfigError: if ``gpu`` is requested and torch finds none.
    """
    available = torch.cuda.is_available()
    if accelerator == "gpu" and not available:
        raise ConfigError("--train.accelerator is 'gpu', but torch finds no GPU: use 'cpu'")
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    if accelerator != "cpu" and available:
        return Hardware("gpu", cores, torch.cuda.get_device_name())
    return Hardware("cpu", cores, counted(cores, "CPU core"))
