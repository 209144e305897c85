"""``massrl compare``: its options, its function, and what the shell prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from massrl.config.evaluation import CompareConfig
from massrl.config.parser import make

if TYPE_CHECKING:
    from massrl.report.comparison import Comparison


def compare(config: CompareConfig | dict[str, Any]) -> tuple[Path, Comparison]:
    """Put the figures of several backbones side by side, in one table and one page.

    Args:
        config: which folders, where to.

    Returns:
        The page, and what it shows.

    Raises:
        DataError: if a folder holds no figures.
    """
    from massrl.report.comparison import compare_folders

    wanted = config if isinstance(config, CompareConfig) else make(CompareConfig, config)
    return compare_folders(wanted)


def run_compare(words: list[str]) -> int:
    """Run ``massrl compare`` and return the exit code."""
    from massrl.config.evaluation import CompareConfig
    from massrl.config.parser import make

    folders = []
    while words and not words[0].startswith("--"):
        folders.append(words.pop(0))
    config = make(CompareConfig, {"folders": folders}, arguments=words)

    page, comparison = compare(config)
    for line in comparison.lines():
        print(line)
    print(page)
    return 0
