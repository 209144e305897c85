"""``massrl compare``: metrics of several backbones side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from massrl.commands.early_checks import check_results
from massrl.config.evaluation import CompareConfig
from massrl.config.parser import make

if TYPE_CHECKING:
    from massrl.report.comparison import Comparison


def compare(config: CompareConfig | dict[str, Any]) -> tuple[Path, Comparison]:
    """Compare the metrics of several backbones in a table and a page.

    Args:
        config: the folders to compare, and where to write.

    Returns:
        The path of the page, and its content.

    Raises:
        DataError: if a folder has no evaluation results.
    """
    wanted = config if isinstance(config, CompareConfig) else make(CompareConfig, config)
    for folder in wanted.folders:
        check_results(folder)
    from massrl.report.comparison import compare_folders

    return compare_folders(wanted)


def run_compare(words: list[str]) -> int:
    """Run ``massrl compare`` and return the exit code."""
    folders = []
    while words and not words[0].startswith("--"):
        folders.append(words.pop(0))
    page, comparison = compare(make(CompareConfig, {"folders": folders}, arguments=words))
    for line in comparison.lines():
        print(line)
    print(page)
    return 0
