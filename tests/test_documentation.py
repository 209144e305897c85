"""What the documents say is so: figures, links, commands."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from massrl.commands import COMMANDS
from massrl.config.parser import flags
from massrl.recipes import about_recipe, recipe_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "fewest"), [("README.md", 14), ("docs/models.md", 10)])
def test_rows_of_tables_are_those_that_were_measured(page: str, fewest: int) -> None:
    """Guards figures against being typed in by hand."""
    measured, checked = "", 0
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        for link in re.findall(r"\((?:\.\./)?(benchmarks/results/\w+\.md)\)", line):
            measured = (ROOT / link).read_text(encoding="utf-8")
        if re.match(r"\| [^`].*\| [\d.]+ \|", line):
            assert line in measured.splitlines(), line
            checked += 1
    assert checked >= fewest


@pytest.mark.parametrize("name", recipe_names())
def test_figures_that_a_recipe_gives_stand_in_its_source(name: str) -> None:
    """Guards a recipe's figure to expect: measured and kept, or said to be published or unknown."""
    expect = about_recipe(name).expect
    named = re.search(r"\((benchmarks/results/\w+\.md)\)", expect)
    if named is None:
        assert re.search("published|not yet measured|depends", expect)
        return
    measured = (ROOT / named[1]).read_text(encoding="utf-8")
    cells = [float(cell) for cell in re.findall(r"\| (\d+\.\d+) (?=\|)", measured)]
    for figure in map(float, re.findall(r"\d+\.\d", expect)):
        assert any(abs(figure - cell) <= 0.051 for cell in cells), figure


def test_links_of_the_readme_lead_somewhere() -> None:
    """Guards newcomers against a page that is not there."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if not link.startswith("http")]
    assert len(local) >= 4
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_commands_of_the_readme_and_of_the_scripts_exist_with_their_flags() -> None:
    """Guards the README's commands against a verb or a flag that has been renamed."""
    commands = re.findall(r"^massrl ((?:[^\n#]|\\\n)+)", README, flags=re.MULTILINE)
    assert len(commands) >= 8
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.suffix in (".sh", ".slurm")]
    assert len(scripts) >= 6
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        found = re.findall(
            r"^[^#\n]*?(?<![-\w])massrl ((?:[^\n|]|\\\n)+)", text, flags=re.MULTILINE
        )
        assert found, script
        commands += found
    for command in commands:
        words = command.replace("\\\n", " ").split()
        verb = " ".join(words[:2]) if words[0] in ("data", "bench") else words[0]
        assert verb in COMMANDS, command
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= known_flags(verb), command


def known_flags(verb: str) -> set[str]:
    """Every flag that a verb takes."""
    command = COMMANDS[verb]
    known = {flag.split()[0] for flag, _ in command.own_flags}
    if command.options is not None:
        module, _, kind = command.options.partition(":")
        known |= set(flags(getattr(import_module(module), kind)))
    return known


def test_flags_that_replace_the_originals_exist() -> None:
    """Guards whoever comes from the original scripts against flags that have been renamed."""
    text = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    known = known_flags("pretrain")
    checked = 0
    for line in text.splitlines():
        if line.startswith("## Evaluation"):
            known = known_flags("evaluate")
        if line.startswith(("| `", "| –")):
            ours = line.split(" | ")[1]
            used = set(re.findall(r"--[\w.]+", ours))
            assert used <= known, line
            checked += bool(used)
    assert checked > 30
