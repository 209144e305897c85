"""The rules of the house, held by reading the source."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import massrl

ROOT = Path(massrl.__file__).parent
MODULES = {
    ".".join(("massrl", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(ROOT.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
PACKAGES = {path.parent.name for path in ROOT.glob("*/__init__.py")}
# Everybody may import these.
FOUNDATIONS = {
    "config",
    "registry",
    "errors",
    "files",
    "randomness",
    "distributed",
    "recipes",
}
# What else a package may import.
MAY_IMPORT = {
    **{name: set() for name in FOUNDATIONS},
    "images": set(),
    "data": {"images"},
    "views": {"images"},
    "models": set(),
    "optim": set(),
    "methods": {"models", "views.layouts"},
    "weights": {"models", "runs"},
    "runs": set(),
    "evaluation": {"images", "data", "views", "models", "runs"},
    "report": {"images", "data", "views", "models", "runs", "evaluation"},
    "train": {
        *("images", "data", "views", "models", "optim", "methods"),
        *("weights", "runs", "evaluation", "report"),
    },
}
# Imports against these rules that are still to be removed; nothing may be added.
REMAINING: set[tuple[str, str]] = set()
# Modules whose examples need nothing heavy, and so run as tests.
LIGHT = [
    name
    for name in MODULES
    if name.split(".")[1:2] in (["views"], ["randomness"], ["registry"], ["errors"])
    or name in ("massrl", "massrl.config.parser", "massrl.config.layers", "massrl.data.splits")
    or name in ("massrl.optim.schedules", "massrl.recipes", "massrl.runs.log")
]


def imports(name: str) -> set[str]:
    """Every module of massrl that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name} imports relatively"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {item for item in found if item in MODULES}


def package(name: str) -> str:
    """``data`` of ``massrl.data.loader``; the module's own name where it stands at the top."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def size(node: ast.AST) -> int:
    """Lines of a definition."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return (node.end_lineno or 0) - node.lineno + 1


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Parameters of a function, without ``self`` and ``cls``."""
    names = [item.arg for item in (*node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_source_was_found() -> None:
    """Guards this file: a rule over no modules would always hold."""
    assert len(MODULES) > 40
    assert {"data", "views", "models", "optim", "methods", "evaluation", "train"} <= PACKAGES
    assert "massrl.views.layouts" in imports("massrl.views.plan")


@pytest.mark.parametrize("name", [name for name in MODULES if package(name) in MAY_IMPORT])
def test_package_imports_only_what_lies_below_it(name: str) -> None:
    """Guards the one way of imports: a new data set must not need a network, nor scoring a trainer."""
    own = package(name)
    allowed = FOUNDATIONS | MAY_IMPORT[own] | {own, ""}
    wrong = {
        item
        for item in imports(name)
        if package(item) not in allowed and item.removeprefix("massrl.") not in allowed
    }
    assert {(name, item) for item in wrong} <= REMAINING


@pytest.mark.parametrize("name", MODULES)
def test_commands_and_command_line_are_imported_by_entry_points_only(name: str) -> None:
    """Guards the one place where all parts meet: nothing below may reach up to it."""
    found = {package(item) for item in imports(name)}
    assert "cli" not in found or package(name) in ("__main__", "cli")
    assert "commands" not in found or package(name) in ("", "cli", "commands")


@pytest.mark.parametrize(
    "name",
    [name for name in MODULES if package(name) not in ("cli", "commands")],
)
def test_library_neither_prints_nor_exits(name: str) -> None:
    """Guards scripts that use massrl: only the command line talks and ends the process."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "exit", "quit", "input"), f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            ends = (node.value.id, node.attr) == ("sys", "exit")
            assert not ends or name == "massrl.__main__", f"line {node.lineno}"


@pytest.mark.parametrize("name", MODULES)
def test_module_has_a_docstring_and_a_subject(name: str) -> None:
    """Guards against a drawer for everything, and a file that does not say what it is for."""
    assert ast.get_docstring(TREES[name])
    assert not {"utils", "util", "helpers", "misc", "common"} & set(name.split("."))


@pytest.mark.parametrize("name", MODULES)
def test_module_draws_no_number_from_a_global_generator(name: str) -> None:
    """Guards §3: randomness comes from the counter-based generator and seeded ones alone."""
    seeded = {"Generator", "Philox", "default_rng", "SeedSequence"}
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            assert "random" not in {alias.name for alias in node.names}
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Attribute)
            and isinstance(node.value.value, ast.Name)
            and (node.value.value.id, node.value.attr) == ("np", "random")
        ):
            assert node.attr in seeded, f"line {node.lineno}"


@pytest.mark.parametrize("name", LIGHT)
def test_examples_of_a_light_module_come_true(name: str) -> None:
    """Guards documentation: an example that is shown must give what it says."""
    import numpy as np

    module = importlib.import_module(name)
    names = {**vars(module), "np": np}
    found = doctest.DocTestFinder().find(module, name, globs=names)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
    for test in found:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_light_modules_have_examples() -> None:
    """Guards the test above: examples over no text would always come true."""
    shown = {name for name in LIGHT if ">>>" in MODULES[name].read_text(encoding="utf-8")}
    assert {
        "massrl",
        "massrl.registry.calls",
        "massrl.config.layers",
        "massrl.errors",
        "massrl.views.view_maker",
    } <= shown


def test_root_has_at_most_eight_modules_beside_the_public_facades() -> None:
    """Guards the first folder that a newcomer opens."""
    facades = {"lightning"}
    root = {path.stem for path in ROOT.glob("*.py")}
    assert len(root - facades) <= 8
    for name in facades:
        length = MODULES[f"massrl.{name}"].read_text(encoding="utf-8").count("\n")
        assert length < 40, f"{name} is more than names and documentation"


@pytest.mark.parametrize("name", MODULES)
def test_module_and_functions_are_of_a_readable_size(name: str) -> None:
    """Guards against rooms that nobody can see across."""
    assert MODULES[name].read_text(encoding="utf-8").count("\n") <= 300
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert size(node) <= 60, f"{node.name}, line {node.lineno}"
            assert parameters(node) <= 8, f"{node.name}, line {node.lineno}"


@pytest.mark.parametrize("name", [name for name in MODULES if "__" not in MODULES[name].stem])
def test_module_has_a_test_file_of_its_name(name: str) -> None:
    """Guards finding the tests of a module, and modules without any."""
    parts = MODULES[name].relative_to(ROOT).parts
    tests = Path(__file__).parent.joinpath(*parts[:-1], f"test_{parts[-1]}")
    assert tests.is_file()
    assert "def test_" in tests.read_text(encoding="utf-8")


def test_modules_do_not_import_each_other_in_circles() -> None:
    """Guards being able to read the house from the ground up."""
    below = {name: imports(name) - {name} for name in MODULES}
    # A package's face names what is within it, which is no circle.
    faces = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    rest = {name: {item for item in found if item not in faces} for name, found in below.items()}
    while free := [name for name, found in rest.items() if not found & rest.keys()]:
        for name in free:
            del rest[name]
    assert not rest, f"circle among {sorted(rest)}"
