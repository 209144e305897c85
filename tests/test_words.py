"""Code and documentation use the terms of the field: former words of this project stay out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORMER = {
    r"judg(?:e|es|ed|ing|e?ments?)": "evaluate",
    r"strateg(?:y|ies)": "policy",
    r"sittings?": "session",
    r"doubt(?:s|ful)?": "warning, unusual",
    r"what_is_left|what is left(?! out)": "rest, remaining",
    r"(?:comes?|came) to": "reaches, results in",
    r"learnt": "trained on, learned",
}
"""Former words, and what is said instead; a match that letters or digits continue does not count."""

ALLOWED = {
    "CHANGELOG.md": (r"^\| ", r'instead of "'),  # tells of renamed names and words
    "docs/flags.md": (r"`--strategy ddp`",),  # a flag of the original scripts
    "src/massrl/config/renamed.py": (r'"\w+": ',),  # the table of renamed names
    "src/massrl/train/step.py": (r"fabric\.strategy\.precision",),  # Lightning's own attribute
    "tests/train/test_step.py": (r"fabric\.strategy\.precision",),
}
"""What a line with a former word must match, by file."""

SUFFIXES = {".py", ".pyi", ".md", ".yaml", ".toml", ".sh", ".slurm", ".c", ".h", ".ipynb", ".jinja"}
FOLDERS = ("src", "csrc", "docs", "scripts", "benchmarks", "notebooks", "tests")
IGNORED = (
    "tests/test_words.py",
    "tests/fixtures/version-0.1.0/",
)  # its words; files of that version


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_files() -> list[Path]:
    """Return every text file of the project."""
    files = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in SUFFIXES]
    files.append(ROOT / "Makefile")
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return sorted(path for path in files if not name_of(path).startswith(IGNORED))


def former_words(text: str) -> list[str]:
    """Return each line that has a former word, after its number and what is said instead."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, instead in FORMER.items():
            if re.search(rf"(?<![a-zA-Z])(?:{pattern})(?![a-zA-Z])", line, re.IGNORECASE):
                found.append(f"line {number}, {instead}: {line.strip()}")
    return found


@pytest.mark.parametrize("path", text_files(), ids=name_of)
def test_file_has_no_former_word(path: Path) -> None:
    """Guards readers against words that only this project knows."""
    allowed = ALLOWED.get(name_of(path), ())
    found = former_words(path.read_text(encoding="utf-8"))
    rest = [
        one for one in found if not any(re.search(part, one.split(": ", 1)[1]) for part in allowed)
    ]
    assert rest == []


def test_files_are_found() -> None:
    """Guards the test above: over no files it would always hold."""
    names = {name_of(path) for path in text_files()}
    assert len(names) > 250
    assert {"README.md", "docs/decisions.md", "scripts/cifar10.sh", "benchmarks/views.py"} <= names
    assert {"src/massrl/recipes/default.yaml", "csrc/stream.c", "tests/test_house.py"} <= names


@pytest.mark.parametrize(
    "line",
    [
        "# How it is judged",
        "def judge_each() -> None:",
        "two strategies",
        "what is left of it",
        "Learnt.",
    ],
)
def test_former_word_is_found(line: str) -> None:
    """Guards the patterns: in comments, in names, capitalised, inflected."""
    assert len(former_words(line)) == 1


@pytest.mark.parametrize(
    "line", ["what is left out", "a policy", "adjudge", "it comes together", "learned"]
)
def test_other_words_are_not_found(line: str) -> None:
    """Guards against patterns that take ordinary English for a former word."""
    assert former_words(line) == []
