"""Wrong flags of every command: one line with the flag, what was given and what is accepted; exit code 2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module

import pytest

from massrl.commands import COMMANDS
from massrl.config.fields import Field, all_fields
from tests.test_cli import fails

BEFORE = {
    "views": ["photos"],
    "evaluate": ["run"],
    "compare": ["one", "two"],
    "export": ["run"],
    "import": ["file.pth"],
    "policies": ["simclr"],
    "bench views": ["photos"],
    "data check": ["photos"],
    "data pack": ["photos", "packed/photos"],
}
"""The arguments of each command that stand before its flags."""

RAW = (
    r"expected (one|at least)|invalid|argument --|Parser|NoneType|Traceback|\bint\b|\bfloat\b|tuple\["
    r"|unexpected \w+Error"
)
"""What a library or Python says of wrong input."""


def fields_of(command: str) -> dict[str, Field]:
    """The fields that are flags of a command, by name."""
    row = COMMANDS[command]
    assert row.options is not None
    module, _, kind = row.options.partition(":")
    hidden = {*row.positional, *row.unused}
    found = all_fields(getattr(import_module(module), kind))
    return {name: field for name, field in found.items() if name not in hidden}


def wrong_values(field: Field) -> Iterator[tuple[str, str]]:
    """Values that no field of this type takes, each with what the message says of those that it does."""
    kind = str(field.type).removesuffix(" | None")
    if field.metadata.get("choices") is not None:
        yield "nosuchvalue", r"known: |did you mean "
    elif kind == "bool":
        yield "perhaps", "true or false is wanted"
    elif kind.startswith("tuple[") and "str" not in kind:
        yield "1,x", r"a list of (two |three |whole )?numbers is wanted"
        yield "1,,2", r"a list of (two |three |whole )?numbers is wanted"
    elif kind in ("int", "float"):
        number = "a whole number is wanted" if kind == "int" else "a number is wanted"
        yield "1e3x", number
        yield "nan", number
        yield "1,5", number
    if kind == "int":
        yield "1e3", "a whole number is wanted"
        yield "2.5", "a whole number is wanted"


@pytest.mark.parametrize("command", [name for name, row in COMMANDS.items() if row.options])
def test_every_flag_refuses_a_wrong_value_in_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards users against the texts of libraries, for every flag there is and every type of value."""
    words = [*command.split(), *BEFORE.get(command, [])]
    tried = 0
    for name, field in fields_of(command).items():
        for value, accepted in wrong_values(field):
            line = fails(capsys, *words, f"--{name}={value}")
            assert f"--{name}" in line
            assert repr(value) in line
            assert re.search(accepted, line), line
            assert not re.search(RAW, line), line
            tried += 1
        for given in ([f"--{name}="], [f"--{name}", ""], [f"--{name}"]):
            if given == [f"--{name}"] and field.type == "bool":
                continue  # it may stand alone
            line = fails(capsys, *words, *given)
            assert re.search(rf"--{name} (is empty|needs a value): (.* is wanted|known: .*)", line)
            assert not re.search(RAW, line), line
            tried += 1
    assert tried >= 3


MISTAKES: list[tuple[str, str]] = [
    ("pretrain --data.limit", "--data.limit needs a value: a whole number is wanted"),
    ("pretrain --data.limit=1e3", "--data.limit is '1e3', but a whole number is wanted"),
    ("pretrain --data.limit=-1", "--data.limit is -1, but 1 or more is wanted"),
    ("pretrain --data.limit=1.0", "--data.limit is '1.0', but a whole number is wanted"),
    ("pretrain --data.batch_size=0", "--data.batch_size is 0, but 1 or more is wanted"),
    ("pretrain --data.mean=1,2", "--data.mean is '1,2', but a list of three numbers is wanted"),
    ("pretrain --data.mean=1,1,2", "--data.mean is (1.0, 1.0, 2.0), but numbers from 0 to 1"),
    ("pretrain --data.std=0,1,1", "--data.std is (0.0, 1.0, 1.0), but numbers above 0 are wanted"),
    ("pretrain --data.cache=disk", "--data.cache is 'disk': known: auto, memory, none"),
    ("pretrain --data.on_error=skp", "--data.on_error is 'skp': did you mean 'skip'?"),
    ("pretrain --data.download=maybe", "--data.download is 'maybe', but true or false is wanted"),
    ("pretrain --views.policies=", "--views.policies is empty: a list of texts is wanted"),
    ("pretrain --views.policies=weak,,weak", "--views.policies is 'weak,,weak', but a list"),
    ("pretrain --views.layout=masrl", "--views.layout is 'masrl': did you mean 'massrl'"),
    ("pretrain --views.crop_scale=0.1", "'0.1', but a list of two numbers is wanted"),
    ("pretrain --views.fill=256", "--views.fill is 256, but 0 to 255 is wanted"),
    ("pretrain --views.size=0", "--views.size is 0, but 1 or more is wanted"),
    ("pretrain --views.flip_prob=half", "--views.flip_prob is 'half', but a number is wanted"),
    ("pretrain --method.name=byool", "--method.name is 'byool': did you mean 'byol'?"),
    ("pretrain --method.name=byol(", "'byol(' is not of the form name or name(arguments)"),
    ("pretrain --method.target_momentum=2", "--method.target_momentum is 2, but 0 to 1 is wanted"),
    ("pretrain --model.stem=tiny", "--model.stem is 'tiny': known: auto, small, small-no-relu, sm"),
    ("pretrain --model.projector=3", "unknown flag --model.projector: did you mean"),
    ("pretrain --optim.betas=0.9", "--optim.betas is '0.9', but a list of two numbers is wanted"),
    ("pretrain --optim.lr=inf", "--optim.lr is 'inf', but a number is wanted"),
    ("pretrain --train.epochs=0", "--train.epochs is 0, but a number above 0 is wanted"),
    ("pretrain --train.seed=one", "--train.seed is 'one', but a whole number is wanted"),
    ("pretrain --train.compile=2", "--train.compile is '2', but true or false is wanted"),
    ("pretrain --train.precision=64", "--train.precision is '64': known: 16-mixed, 32-true, bf16"),
    ("pretrain --train.loggers=tensorbord", "--train.loggers is 'tensorbord': did you mean"),
    ("pretrain --recipe", "--recipe needs a value: the name of a recipe"),
    ("pretrain --config=", "--config is empty: a YAML file"),
    ("pretrain --resume", "--resume needs a value: a run folder is wanted"),
    ("pretrain --data.limit 3 4", "unexpected argument '4': flags are --section.field VALUE"),
    ("pretrain -data.limit=3", "unexpected argument '-data.limit=3': flags are --section.field"),
    ("evaluate run --task=kn", "--task is 'kn': did you mean 'knn'?"),
    ("evaluate run --task=", "--task is empty: known: all, detect, features, knn,"),
    ("evaluate run --k=0", "--k is 0, but 1 or more is wanted"),
    ("evaluate run --k=few", "--k is 'few', but a whole number is wanted"),
    ("evaluate run --sgd.lrs=0.1,high", "--sgd.lrs is '0.1,high', but a list of numbers"),
    ("evaluate run --random_init=no", "--random_init is 'no', but true or false is wanted"),
    ("views photos --count", "--count needs a value: a whole number is wanted"),
    ("views photos --epoch=-1", "--epoch is -1, but 0 or more is wanted"),
    ("views photos --views=massrl", "unknown flag --views: did you mean"),
    ("export run --format=onxx", "--format is 'onxx': did you mean 'onnx'?"),
    ("import file.pth --model.size=big", "--model.size is 'big', but a whole number is wanted"),
    ("import file.pth --model.std=1,1,0", "--model.std is 0, but 1e-06 or more is wanted"),
    ("policies simclr --size=7", "--size is 7, but 8 or more is wanted"),
    ("demo --seconds", "--seconds needs a value: a number is wanted"),
    ("demo photos", "unexpected argument 'photos'"),
    ("compare one", "two or more folders are wanted to compare"),
    ("compare one two --out", "--out needs a value: text is wanted"),
    ("recipes default --all", "unexpected argument '--all': no further ones are accepted"),
    ("data pack photos out --quality=90", "--short_side is missing"),
    ("data pack photos out --on_error=ask", "--on_error is 'ask': known: skip, stop"),
    ("bench views photos --rounds=0", "--rounds is 0, but 1 or more is wanted"),
    ("bench step --out=x", "--out: massrl bench step makes no use of it; leave it out"),
    ("bench step --train.probe_every 2", "--train.probe_every: massrl bench step makes no use"),
    ("views photos --images=other", "--images: accepted before the flags: massrl views IMAGES"),
    ("data pack a --out b", "--out: accepted before the flags: massrl data pack IMAGES OUT"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_mistake_is_one_line_about_its_flag(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the words of each kind of mistake: missing, empty, of another type, out of range, unknown."""
    line = fails(capsys, *words.split())
    assert message in line
    assert not re.search(RAW, line)
