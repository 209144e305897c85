"""The names that others rely on, and the price of importing them."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import massrl
from massrl.commands import COMMANDS

HEAVY = {"torch", "lightning", "timm", "sklearn", "matplotlib", "torchvision", "scipy"}


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a fresh Python has loaded after some code."""
    tail = "\nimport sys, json; print(json.dumps([name.split('.')[0] for name in sys.modules]))"
    out = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    return HEAVY & set(json.loads(out.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import massrl; dir(massrl); massrl.__version__",
        "import massrl.cli; massrl.cli.main(['--help'])",
        "import massrl.cli; massrl.cli.main(['policies'])",
        "import massrl.cli; massrl.cli.main(['recipes'])",
        "import massrl; massrl.ViewMaker('massrl', size=32)",
        "import massrl.config, massrl.errors, massrl.views.cpu, massrl.views.policies.catalogue",
    ],
)
def test_light_use_imports_nothing_heavy(code: str) -> None:
    """Guards ``massrl --help`` under a second: one import at the top of a module ruins it."""
    assert loaded_by(code) == set()


def test_module_run_with_help_answers_without_loading_anything_heavy() -> None:
    """Guards ``python -m massrl``: -X importtime lists every module it loads."""
    begin = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "massrl", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - begin
    names = {line.rpartition("|")[2].strip().split(".")[0] for line in out.stderr.splitlines()}
    assert out.stdout.startswith("usage: massrl")
    assert "massrl" in names
    assert not HEAVY & names
    assert not {"numpy", "cv2", "yaml"} & names
    assert seconds < 10  # far over a second would be an import; a loaded machine needs some room


def test_view_maker_has_its_documented_signature() -> None:
    """Guards the issue's names, order and defaults."""
    parameters = inspect.signature(massrl.ViewMaker).parameters
    assert {name: item.default for name, item in parameters.items()} == {
        "layout": "massrl",
        "size": 224,
        "seed": 0,
    }
    call = inspect.signature(massrl.ViewMaker.__call__).parameters
    assert list(call) == ["self", "image", "epoch", "index"]
    assert (call["epoch"].default, call["index"].default) == (0, 0)
    assert list(inspect.signature(massrl.ViewMaker.plan).parameters) == [
        "self",
        "epoch",
        "index",
        "height",
        "width",
    ]


def test_functions_of_the_public_surface_take_their_documented_first_arguments() -> None:
    """Guards ``pretrain(config)``, ``evaluate(backbone, …)`` and ``load_backbone(path)``.

    A sub-package of such a name hides the function as soon as anything imports it.
    """
    first = {
        name: next(iter(inspect.signature(getattr(massrl, name)).parameters))
        for name in ("pretrain", "evaluate", "load_backbone")
    }
    assert first == {"pretrain": "config", "evaluate": "backbone", "load_backbone": "backbone"}


def test_package_lists_its_public_names_and_no_others_exist() -> None:
    """Guards ``dir(massrl)``, completion in a notebook, and the error for a name that is not there."""
    early = {"ViewMaker", "evaluate", "load_backbone", "pretrain", "resume"}
    assert early <= set(massrl.__all__) == set(massrl._HOMES)
    assert {name for name in dir(massrl) if name != "__version__"} == set(massrl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        _ = massrl.pretrian


@pytest.mark.parametrize("name", massrl.__all__)
def test_public_name_can_be_imported_and_is_documented(name: str) -> None:
    """Guards the table of lazy names, which neither a linter nor a type checker reads."""
    part = getattr(massrl, name)
    assert part.__name__ == name
    assert part.__module__ == massrl._HOMES[name]
    assert inspect.getdoc(part)


def test_every_command_has_a_public_function() -> None:
    """Guards Python users: what the shell can do, a function does."""
    modules = {command.run.partition(":")[0] for command in COMMANDS.values()}
    assert modules <= set(massrl._HOMES.values())


def test_one_name_catches_every_error_of_a_user() -> None:
    """Guards ``except massrl.MassrlError`` around a script, without a look for the module of errors."""
    with pytest.raises(massrl.MassrlError, match="'simclrr'.*did you mean 'simclr'"):
        massrl.ViewMaker("simclrr")


def test_version_is_the_one_that_is_packaged() -> None:
    """Guards against two versions: one in the package, another in pyproject.toml."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{massrl.__version__}"\n' in text


def test_package_data_is_listed_for_the_wheel() -> None:
    """Guards an installed package without its recipes, tables or type marker."""
    root = Path(massrl.__file__).parent
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    for file in root.rglob("*"):
        if file.suffix in (".yaml", ".json") or file.name == "py.typed":
            pattern = file.relative_to(root).as_posix().replace(file.stem, "*")
            assert pattern in text or file.name in text, file
    assert (root / "py.typed").exists()
    assert yaml.safe_load((root / "recipes" / "default.yaml").read_text(encoding="utf-8"))["about"]
