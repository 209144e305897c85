"""Backbones of the user's own: found, called, and their faults told with the line that has them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch

from massrl.errors import ConfigError
from massrl.models.backbones import build_backbone
from massrl.models.users import users_backbone

HEAD = "import torch\nfrom torch import nn\n\n"  # three lines before each text below


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder that no other test has imported."""
    monkeypatch.chdir(tmp_path)
    return f"mine_{abs(hash(tmp_path)):x}"


def write(module: str, text: str) -> None:
    Path(f"{module}.py").write_text(HEAD + textwrap.dedent(text), encoding="utf-8")


def refused(name: str) -> str:
    """The one line of the error."""
    with pytest.raises(ConfigError) as caught:
        build_backbone(name, image_side=8)
    text = str(caught.value)
    assert "\n" not in text
    assert "--model.backbone" in text
    return text


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("def net(:\n    pass\n", 4, "cannot be imported: SyntaxError"),
        ("def net():\npass\n", 5, "cannot be imported: IndentationError"),
        ("x = undefined\n", 4, "cannot be imported: NameError: name 'undefined'"),
        ("import no_such_thing\n", 4, "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("from torch import no_such\n", 4, "ImportError: cannot import name 'no_such'"),
        ("raise SystemExit(3)\n", 4, "cannot be imported: SystemExit: 3"),
        ("int([])\n", 4, "cannot be imported: TypeError"),
        ("def net():\n    return nn.Linear('3', 4)\n", 5, "cannot be built: TypeError"),
        ("def net():\n    return {}['depth']\n", 5, "cannot be built: KeyError: 'depth'"),
        ("def net():\n    open('weights.pth')\n", 5, "cannot be built: FileNotFoundError"),
        ("def net(width, depth=2):\n    return nn.Linear(width, depth)\n", 4, "but needs width"),
        (
            "class net(nn.Module):\n    def forward(self, x):\n        return x @ torch.ones(3, 2)\n",
            6,
            "fails on images of 8 px: RuntimeError",
        ),
        (
            "class net(nn.Module):\n    def forward(self):\n        return 0\n",
            None,
            "fails on images of 8 px: TypeError",
        ),
    ],
)
def test_mistake_is_told_with_its_own_file_and_line(
    module: str, text: str, line: int | None, told: str
) -> None:
    """Guards "broken:f -> unexpected SyntaxError". The kind: whatever the user's code raises.

    To it belong: syntax and indentation, names, imports of missing packages and names, leaving the process,
    types, keys, files, arguments without a default, and shapes in ``forward``. Lines are counted by hand.
    """
    write(module, text)
    told_text = refused(f"{module}:net")
    assert told in told_text
    assert line is None or f"{module}.py, line {line}" in told_text


def test_line_is_the_innermost_one_of_the_users_own(module: str) -> None:
    """Guards against the line of torch that raised, and the outermost one of a long call."""
    text = "def inner():\n    return torch.ones(2).view(3)\n\ndef net():\n    return inner()\n"
    write(module, text)
    assert f"{module}.py, line 5" in refused(f"{module}:net")


@pytest.mark.parametrize("name", ["mine.py:net", "./mine:net", "folder/mine:net", ":net", ".:net"])
def test_path_in_place_of_a_module_is_answered_with_the_modules_name(
    name: str, module: str
) -> None:
    """Guards the most likely slip: the file's name, as ``python mine.py`` takes it."""
    assert "no module's name: for a file mine.py" in refused(name)


def test_function_is_called_without_arguments_or_refused_with_those_it_needs(module: str) -> None:
    """Guards defaults, classes and partial functions, which are all called alike."""
    text = """
        import functools

        class Net(nn.Linear):
            def __init__(self, width=2):
                super().__init__(3, width)

            def forward(self, images):
                return super().forward(images.mean((2, 3)))

        four = functools.partial(Net, 4)
        needs = functools.partial(Net, width=5)
        number = 3
    """
    write(module, text)
    for name, width in (("Net", 2), ("four", 4), ("needs", 5)):
        network = users_backbone(f"{module}:{name}")
        assert network(torch.zeros(1, 3, 8, 8)).shape == (1, width)
    assert "has no function 'number'" in refused(f"{module}:number")
