"""Hardware, software and commit that a result was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from massrl.errors import ConfigError


def environment_info(machine: str) -> dict[str, Any]:
    """What figures were made with: software, hardware, and the commit of a source checkout."""
    packages = (
        "massrl",
        "torch",
        "torchvision",
        "lightning",
        "opencv-python-headless",
        "scikit-learn",
    )
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # such as a checkout that is not installed
            versions[package] = "not installed"
    return {
        "software": {"python": platform.python_version(), **versions},
        "hardware": f"{machine}, {platform.machine()}",
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the checkout this package is run from, ``None`` when it was installed."""
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
    """What there is to train on.

    Attributes:
        accelerator: ``cpu`` or ``gpu``.
        cores: CPU cores this process may use.
        name: for people.
    """

    accelerator: str
    cores: int
    name: str

    @property
    def has_gpu(self) -> bool:
        """Whether it trains on a GPU."""
        return self.accelerator == "gpu"


def detect_hardware(accelerator: str = "auto") -> Hardware:
    """Look at the machine.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if accelerator == "gpu" and not available:
        raise ConfigError("--train.accelerator is 'gpu', but torch finds none here: use 'cpu'")
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not every system can tell
        cores = os.cpu_count() or 1
    if accelerator != "cpu" and available:
        return Hardware("gpu", cores, torch.cuda.get_device_name())
    return Hardware("cpu", cores, f"{cores} CPU cores")
