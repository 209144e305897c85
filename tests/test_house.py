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
APART = {"data", "views", "models", "optim"}
# Modules whose examples need nothing heavy, and so run as tests.
LIGHT = [
    name
    for name in MODULES
    if name.split(".")[1:2] in (["views"], ["randomness"], ["calls"], ["errors"], ["mappings"])
    or name in ("massrl", "massrl.config.parser", "massrl.data.splits", "massrl.optim.schedules")
    or name in ("massrl.views.view_maker", "massrl.recipes", "massrl.runs.folder")
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


def test_source_was_found() -> None:
    """Guards this file: a rule over no modules would always hold."""
    assert len(MODULES) > 40
    assert {"data", "views", "models", "optim", "methods", "evaluation", "train"} <= PACKAGES
    assert "massrl.views.layouts" in imports("massrl.views.plan")


@pytest.mark.parametrize("name", [name for name in MODULES if package(name) in APART])
def test_data_views_models_and_optim_never_import_each_other(name: str) -> None:
    """Guards the direction of the house: a new data set must not need a network."""
    assert {package(item) for item in imports(name)} & PACKAGES <= {package(name)}


@pytest.mark.parametrize("name", [name for name in MODULES if package(name) == "methods"])
def test_methods_import_no_package_but_models(name: str) -> None:
    """Guards objectives against knowing images, layouts or the trainer."""
    allowed = {"methods", "models", "config", "errors", "world"}
    assert {package(item) for item in imports(name)} - {""} <= allowed


@pytest.mark.parametrize("name", [name for name in MODULES if package(name) == "evaluation"])
def test_evaluation_knows_nothing_of_training(name: str) -> None:
    """Guards judging any backbone, wherever it was trained."""
    assert not {package(item) for item in imports(name)} & {"methods", "optim", "train", "views"}


@pytest.mark.parametrize("name", MODULES)
def test_api_and_command_line_are_imported_by_entry_points_only(name: str) -> None:
    """Guards the one place where all parts meet: nothing below may reach up to it."""
    found = imports(name)
    assert "massrl.cli" not in found or name.startswith(("massrl.__main__", "massrl.cli"))
    assert "massrl.commands.pretrain" not in found or name in (
        "massrl",
        "massrl.commands",
        "massrl.commands.demo",
    )


@pytest.mark.parametrize(
    "name",
    [name for name in MODULES if not name.startswith(("massrl.cli", "massrl.commands.demo"))],
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
        "massrl.registry",
        "massrl.config.layers",
        "massrl.errors",
        "massrl.views.view_maker",
    } <= shown
