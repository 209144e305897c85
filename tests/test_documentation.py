"""README, docs, scripts and benchmarks are true to results, code and files."""

from __future__ import annotations

import ast
import re
import runpy
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

import massrl
from massrl.commands import COMMANDS
from massrl.config.parser import flags
from massrl.config.renamed import FIELDS, METRICS_COLUMNS, RESULT_KEYS, TASKS
from massrl.recipes import about_recipe, recipe_names
from massrl.registry import TABLES
from tests.test_house import MODULES, REMAINING, imports, package

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "scripts" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LAYOUT = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))


def test_first_screen_of_readme_names_readers_and_first_commands() -> None:
    """Guards the first 12 lines of text: what massrl is, for whom, what it does better, how to start."""
    lines = [line for line in README.splitlines() if line and not line.startswith("![")][:12]
    screen = "\n".join(lines)
    for part in (
        "without labels",
        "**For**",
        "folder of unlabelled images",
        "compare augmentation policies",
        "**Why massrl**",
        "**Start**",
        "`make demo`",
        "`massrl pretrain --data.train",
    ):
        assert part in screen, part


@pytest.mark.parametrize(("page", "fewest"), [("README.md", 14), ("docs/models.md", 10)])
def test_rows_of_tables_are_those_of_the_results_files(page: str, fewest: int) -> None:
    """Guards against figures that were typed in by hand."""
    measured, checked = "", 0
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        for link in re.findall(r"\((?:\.\./)?(benchmarks/results/\w+\.md)\)", line):
            measured = (ROOT / link).read_text(encoding="utf-8")
        if re.match(r"\| [^`].*\| [\d.]+ \|", line):
            assert line in measured.splitlines(), line
            checked += 1
    assert checked >= fewest


@pytest.mark.parametrize("name", recipe_names())
def test_expected_accuracy_of_a_recipe_is_in_its_source(name: str) -> None:
    """Guards a recipe's expected accuracy: measured in the named file, published, or declared unknown."""
    expect = about_recipe(name).expect
    named = re.search(r"\((benchmarks/results/\w+\.md)\)", expect)
    if named is None:
        assert re.search("published|not yet measured|depends", expect)
        return
    measured = (ROOT / named[1]).read_text(encoding="utf-8")
    cells = [float(cell) for cell in re.findall(r"\| (\d+\.\d+) (?=\|)", measured)]
    for figure in map(float, re.findall(r"\d+\.\d", expect)):
        assert any(abs(figure - cell) <= 0.051 for cell in cells), figure


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_paths_of_a_page_exist(page: Path) -> None:
    """Guards links, and files that a page names in backticks, against moves and renames."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    missing = [
        link for link in links if "://" not in link and not (page.parent / link).resolve().exists()
    ]
    anywhere = [ROOT, ROOT / "src", ROOT / "src" / "massrl", page.parent]
    paths = re.findall(
        r"`((?:src|tests|csrc|docs|scripts|benchmarks|massrl|views|train)/[^` *]*)`", text
    )
    missing += [path for path in paths if not any((base / path).exists() for base in anywhere)]
    assert missing == [path for path in missing if path == "massrl/commands/x.py"]


def test_links_of_the_readme_are_found() -> None:
    """Guards the test above: links that its pattern does not find would always exist."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", README)
    assert len([link for link in links if "://" not in link]) >= 14


def test_commands_of_the_readme_and_of_the_scripts_exist_with_their_flags() -> None:
    """Guards against a command or a flag that has been renamed, in code blocks, in text and in scripts."""
    commands = re.findall(r"^massrl ((?:[^\n#]|\\\n)+)", README, flags=re.MULTILINE)
    assert len(commands) >= 20
    commands += re.findall(
        r"`massrl ([a-z][^`]*)`", " ".join(page.read_text(encoding="utf-8") for page in PAGES)
    )
    assert len(commands) >= 30
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
        assert verb in {*COMMANDS, "x", "join"}, command
        if verb in COMMANDS:
            used = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert used <= known_flags(verb), command


def test_flags_in_the_text_of_the_pages_exist() -> None:
    """Guards flags that a page names outside of a command."""
    known = {"--help", "--debug", "--version"}.union(*(known_flags(verb) for verb in COMMANDS))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if page.name == "flags.md":  # its left column is the original's
            text = "\n".join(line.partition(" | ")[2] for line in text.splitlines())
        used = {
            flag
            for code in re.findall(r"`(--[^`]*)`", text)
            for flag in re.findall(r"--[\w.-]+", code)
        }
        assert used <= known, page


def known_flags(verb: str) -> set[str]:
    """Return every flag that a command takes."""
    command = COMMANDS[verb]
    known = {flag.split()[0] for flag, _ in command.own_flags} | {"--help"}
    if command.options is not None:
        module, _, kind = command.options.partition(":")
        known |= set(flags(getattr(import_module(module), kind)))
    return known


def test_flags_that_replace_the_originals_exist() -> None:
    """Guards users of the original scripts against flags that have been renamed."""
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


def test_python_of_the_readme_compiles_and_its_names_exist() -> None:
    """Guards the README's Python code against names that have been moved."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        tree = ast.parse(block)
        ours = {"massrl": import_module("massrl")}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("massrl"):
                for alias in node.names:
                    assert hasattr(import_module(str(node.module)), alias.name), alias.name
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id not in ours or hasattr(ours[node.value.id], node.attr), (
                    node.attr
                )


def test_readme_has_every_kind_of_part_with_its_flag_and_group() -> None:
    """Guards authors of packages: a group that the README misspells would never be read."""
    rows = [line for line in README.splitlines() if re.match(r"\| .* \| `massrl\.\w+` \|", line)]
    assert len(rows) == len(TABLES)
    for table in TABLES:
        row = next(row for row in rows if f"| `{table.group}` |" in row)
        assert f"{table.kind.split()[-1]}, `{table.flag}`" in row
    objects = re.findall(r"`(massrl(?:\.\w+)*\.[A-Z]\w*)`", "\n".join(rows))
    assert len(objects) >= 8
    for name in objects:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name


def test_layout_lists_every_package_and_root_module_in_the_order_of_imports() -> None:
    """Guards the map of the code: a package that is missing, and imports from rows below."""
    rows = [line.split(" | ")[0] for line in LAYOUT.splitlines() if line.startswith("| `")]
    order = {
        name: number
        for number, row in enumerate(rows)
        for name in re.findall(r"`(\w+)(?:/|\.py)`", row)
    }
    assert set(order) == {package(name) for name in MODULES} - {"", "__main__"}
    upwards = {
        (name, item)
        for name in MODULES
        for item in imports(name)
        if package(name) in order and order.get(package(item), -1) > order[package(name)]
    }
    assert upwards <= REMAINING


def test_layout_names_the_table_of_every_kind_of_part() -> None:
    """Guards the table of where to add what against a kind of part that is missing."""
    import massrl.registry as registry

    tables = [
        name for name, value in vars(registry).items() if any(value is table for table in TABLES)
    ]
    assert len(tables) == len(TABLES)
    assert [name for name in tables if f"a row in `{name}`" not in LAYOUT] == []


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmark_imports_what_exists(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards benchmarks, which no other test runs, against modules and functions that have moved."""
    monkeypatch.syspath_prepend(script.parent)
    assert "main" in runpy.run_path(str(script))
    named = {  # those of imports within functions too
        (node.module, alias.name)
        for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("massrl")
        for alias in node.names
    }
    for module, name in named:
        assert hasattr(import_module(str(module)), name), f"{module}.{name}"


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda path: path.stem)
def test_headings_of_a_results_file_are_those_of_its_script(script: Path) -> None:
    """Guards results files against headings that their script would no longer write."""
    file = ROOT / "benchmarks" / "results" / f"{script.stem}.md"
    if not file.exists():
        return
    source = script.read_text(encoding="utf-8")
    lines = file.read_text(encoding="utf-8").splitlines()
    title, heads = lines[0], [one for one, two in pairwise(lines) if two.startswith("|---")]
    assert title in source
    for cell in {cell.strip() for head in heads for cell in head.strip("|").split("|")}:
        assert f" {cell} |" in source or not cell or cell.isdigit(), cell


def test_changelog_lists_every_renamed_name() -> None:
    """Guards users of version 0.1.0 against a rename that the changelog does not tell."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    news = text[text.index("## Unreleased") : text.index("## 0.1.0")]
    tables = (*FIELDS.values(), TASKS, RESULT_KEYS, METRICS_COLUMNS)
    pairs = [pair for table in tables for pair in table.items()]
    assert len(pairs) >= 12
    for pair in pairs:
        assert all(re.search(rf"`(--)?{re.escape(name)}`", news) for name in pair), pair


def test_every_public_name_is_mentioned() -> None:
    """Guards functions against being offered without a word in README or changelog."""
    text = README + (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [name for name in massrl.__all__ if not re.search(rf"\b{name}\b", text)] == []
