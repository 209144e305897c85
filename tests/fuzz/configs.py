"""Flags and configuration files: damaged values, names, types and YAML."""

from __future__ import annotations

import contextlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from massrl.commands import COMMANDS
from massrl.config.files import load_config, read_layers
from massrl.config.parser import flags, make, make_config
from massrl.errors import MassrlError
from massrl.recipes import read_recipe, recipe_names
from tests.fuzz import case
from tests.fuzz.command import run_command
from tests.fuzz.mutation import mutated_bytes, mutated_tree

VALUES = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1e999",
        "nan",
        "-inf",
        "0x10",
        "1_000",
        "1,2",
        "1,2,3",
        "[1",
        "]",
        "{",
        "a: b",
    ),
    *(
        "null",
        "~",
        "true",
        "yes",
        "!!python/object:os.system",
        "!!binary x",
        "&a *a",
        "é",
        "x" * 3_000,
    ),
    *(
        "byol",
        "simclr",
        "randaugment(2,9)",
        "randaugment(",
        "shapes(count=-1)",
        "((((",
        "a(b=c,d=)",
        "%s",
    ),
    *(
        "${HOME}",
        "99999999999999999999",
        "--",
        "=",
        "\0",
        "../x",
        "/",
        "*.tar",
        "labelled:",
        ":",
        "\udcff",
    ),
)
FREE = ("recipes", "policies", "parts", "help", "--version")


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.kinds = []
        for name, command in COMMANDS.items():
            if command.options:
                module, _, options = command.options.partition(":")
                self.kinds.append((name, getattr(import_module(module), options)))
        self.recipes = [read_recipe(name) for name in recipe_names()]
        self.texts = [yaml.safe_dump(recipe) for recipe in self.recipes]
        self.path = folder / "x.yaml"
        make_config(self.recipes[0])  # whatever reading imports, it imports now
        for name in FREE:
            run_command([name])
        for _, kind in self.kinds:
            with contextlib.suppress(MassrlError):  # some flag is missing
                make(kind)

    def run(self, generator: np.random.Generator) -> None:
        """Read flags of a command, a file, or a mapping of Python's; or run a command that is free."""
        match generator.integers(0, 5):
            case 0 | 1:
                name, kind = self.kinds[int(generator.integers(0, len(self.kinds)))]
                words = self._words(list(flags(kind)), generator)
                if name == "pretrain":
                    make_config(read_layers("default"), arguments=words)
                else:
                    make(kind, arguments=words)
            case 2 | 3:
                self._read_file(generator)
            case _:
                words = [str(generator.choice(FREE)), *self._words(["--size"], generator)]
                run_command(words[: int(generator.integers(1, 3))])

    def _words(self, known: list[str], generator: np.random.Generator) -> list[str]:
        words = []
        for _ in range(int(generator.integers(1, 4))):
            flag = str(generator.choice(known))
            if generator.integers(0, 8) == 0:
                flag = mutated_bytes(flag.encode(), generator, most=1).decode(
                    "utf-8", "surrogateescape"
                )
            value = VALUES[int(generator.integers(0, len(VALUES)))]
            form = generator.integers(0, 6)
            words += [f"{flag}={value}"] if form < 3 else [flag, value] if form < 5 else [value]
        return words

    def _read_file(self, generator: np.random.Generator) -> None:
        place = int(generator.integers(0, len(self.recipes)))
        if generator.integers(0, 3) == 0:
            self.path.write_bytes(mutated_bytes(self.texts[place].encode(), generator))
        else:
            tree: Any = mutated_tree(self.recipes[place], generator)
            if generator.integers(0, 4) == 0:
                make_config(read_layers(tree if isinstance(tree, dict) else {"data": tree}))
                return
            self.path.write_text(yaml.safe_dump(tree, allow_unicode=False), encoding="utf-8")
        if generator.integers(0, 2):
            make_config(read_layers(self.path))
        else:
            load_config(self.path)
