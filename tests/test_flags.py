"""No flag of a command is parsed and ignored: what a command reads of its options while it runs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from massrl.cli import main
from massrl.commands import COMMANDS
from massrl.config.fields import section_of
from tests.test_mistakes import fields_of

IMAGES = "shapes(count=8,size=16)"
STEP = [
    *(f"--data.train={IMAGES}", "--data.batch_size=4", "--data.workers=0", "--views.size=16"),
    *("--model.backbone=resnet10-tiny", "--train.max_steps=1", "--train.accelerator=cpu"),
]
RUNS: dict[str, list[str]] = {
    "views": [IMAGES, "--out=OUT/views.png"],
    "policies": ["simclr", "--out=OUT/policy.png"],
    "data check": [IMAGES],
    "data pack": [IMAGES, "OUT/packed", "--short_side=8"],
    "bench views": [IMAGES, "--count=2", "--rounds=1"],
    "bench step": [*STEP, "--method.name=byol", "--optim.name=lars"],
    "pretrain": [*STEP, "--method.name=byol", "--optim.name=lars", "--out=OUT/run"],
}
"""Commands that take a moment."""

ELSEWHERE = {
    **dict.fromkeys(("method.temperature", "optim.betas"), "read for SimCLR, for AdamW"),
    **dict.fromkeys(("train.epochs", "train.time_budget"), "replaced by --train.max_steps"),
    "data.on_error": "read for a broken image",
    "step": "read with --replay",
}
"""Flags that these runs do not read, with where they are."""

COPIES = {"dataclasses", "copy", "massrl.config.fields", "massrl.config.layers"}
"""Modules that read every field to copy or to check it."""


class Spy:
    """Collects the names of the fields that are read, by class."""

    def __init__(self, patch: pytest.MonkeyPatch, kind: type) -> None:
        self.read: set[tuple[str, str]] = set()
        self._watch(patch, kind)

    def _watch(self, patch: pytest.MonkeyPatch, kind: type) -> None:
        names = {item.name for item in dataclasses.fields(kind)}
        read = self.read

        def look_up(config: Any, name: str) -> Any:
            if name in names:
                caller = sys._getframe(1)
                own_check = caller.f_code.co_name == "__post_init__"
                if not own_check and caller.f_globals["__name__"] not in COPIES:
                    read.add((kind.__name__, name))
            return object.__getattribute__(config, name)

        patch.setattr(kind, "__getattribute__", look_up, raising=False)
        for item in dataclasses.fields(kind):
            if section := section_of(item):
                self._watch(patch, section)


def fields_with_class(kind: Any, prefix: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """Every field's dotted name, with its class and own name."""
    for item in dataclasses.fields(kind):
        section = section_of(item)
        if section is None:
            yield f"{prefix}{item.name}", (kind.__name__, item.name)
        else:
            yield from fields_with_class(section, f"{prefix}{item.name}.")


@pytest.mark.parametrize("command", RUNS)
def test_every_flag_is_read_by_its_command(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Guards against an option that is parsed and has no effect, in each command that shares a dataclass."""
    module, _, name = str(COMMANDS[command].options).partition(":")
    kind = getattr(import_module(module), name)
    spy = Spy(monkeypatch, kind)
    words = [word.replace("OUT", str(tmp_path)) for word in RUNS[command]]
    assert main([*command.split(), *words]) == 0
    own = {flag.partition(" ")[0] for flag, _ in COMMANDS[command].own_flags}
    flags = {name for name in fields_of(command) if f"--{name}" not in own}
    ignored = {
        dotted
        for dotted, field in fields_with_class(kind)
        if dotted in flags and field not in spy.read
    }
    assert ignored <= set(ELSEWHERE)
