"""A user's own policy from YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.views.policies import files
from massrl.views.policies.base import Draw, Group
from massrl.views.policies.catalogue import parse_policy

FLAG = "--views.policies"


def names(policy: object, index: int = 0) -> list[str]:
    stream = Stream(0, epoch=0, index=index, number=0)
    return [step.operation for step in policy.draw(stream, 32)]  # type: ignore[attr-defined]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "my policy ü.yaml"


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_own_policy_becomes_the_blocks_it_describes(own: Path) -> None:
    """Guards the reading of ranges, probabilities, nested groups, choose and shuffle."""
    text = """
prob: 0.9
operations:
  - {operation: rotate, prob: 0.5, range: [-180, 180]}
  - operation: equalize
  - choose: 1
    shuffle: true
    prob: 0.8
    operations:
      - {operation: brightness, range: [0.7, 1.3]}
      - {operation: contrast, range: [0.7, 1.3]}
"""
    inner = Group(
        members=(
            Draw(operation="brightness", low=0.7, high=1.3),
            Draw(operation="contrast", low=0.7, high=1.3),
        ),
        prob=0.8,
        shuffle=True,
        choose=1,
    )
    assert parse_policy(write(own, text)) == Group(
        members=(
            Draw(operation="rotate", prob=0.5, low=-180.0, high=180.0),
            Draw(operation="equalize"),
            inner,
        ),
        prob=0.9,
    )


def test_own_policy_may_be_a_bare_list(own: Path) -> None:
    """Guards the shortest form that the documentation shows: a list of operations."""
    policy = parse_policy(
        write(own, "- {operation: invert}\n- {operation: hue, range: [0, 0.1]}\n")
    )
    assert names(policy) == ["invert", "hue"]


def test_own_policy_of_the_modules_docstring_is_one(own: Path) -> None:
    """Guards the documented example."""
    example = (files.__doc__ or "").split("::\n", 1)[1]
    policy = parse_policy(write(own, example))
    seen = {name for index in range(200) for name in names(policy, index)}
    assert seen == {"rotate", "gaussian_blur", "brightness", "contrast"}
    assert all(len({"brightness", "contrast"} & set(names(policy, i))) <= 1 for i in range(200))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("operations:\n  - {operation: rotat, range: [0, 1]}", "'rotat'.*'rotate'"),
        ("operations:\n  - {operation: rotate, rang: [0, 1]}", "unknown key 'rang'.*'range'"),
        ("operations:\n  - {operation: rotate}", r"rotate needs range.*\[-360, 360\]"),
        ("operations:\n  - {operation: rotate, range: [0, 500]}", r"\[0, 500\].*\[-360, 360\]"),
        ("operations:\n  - {operation: rotate, range: [9, 3]}", r"\[9, 3\]"),
        ("operations:\n  - {operation: rotate, range: 5}", "needs range"),
        ("operations:\n  - {operation: rotate, range: [a, 5]}", "range is 'a'"),
        ("operations:\n  - {operation: rotate, range: [.nan, 5]}", "nan"),
        ("operations:\n  - {operation: invert, range: [0, 1]}", "invert takes no number"),
        ("operations:\n  - {operation: invert, prob: 1.5}", "1.5, but 0 to 1"),
        ("operations:\n  - {operation: invert, prob: often}", "prob is 'often'"),
        ("operations:\n  - {operation: invert, prob: true}", "prob is True"),
        ("operations:\n  - {prob: 0.5}", "'operation' is missing"),
        ("operations: 3", "list of mappings"),
        ("operations: [invert]", "list of mappings"),
        ("steps: []", "unknown key 'steps'"),
        ("{}", "'operations' is missing"),
        ("3", "not a list of operations"),
        ("", "not a list of operations"),
        ("operations: [", "cannot read"),
        ("choose: 3\noperations: [{operation: invert}]", "choose is 3, but the group has 1"),
        ("choose: two\noperations: [{operation: invert}]", "choose is 'two'"),
        ("choose: 1.0\noperations: [{operation: invert}]", "choose is 1.0"),
        ("shuffle: sometimes\noperations: [{operation: invert}]", "shuffle is 'sometimes'"),
        ("shufle: true\noperations: [{operation: invert}]", "'shufle'.*'shuffle'"),
    ],
)
def test_own_policy_with_a_fault_is_refused_in_one_line(own: Path, text: str, message: str) -> None:
    """Guards against a traceback out of YAML, and against a fault that is silently accepted."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_policy(write(own, text))
    assert "\n" not in str(caught.value)
    assert FLAG in str(caught.value)


def test_own_policy_that_is_no_text_is_refused(own: Path) -> None:
    """Guards against a UnicodeDecodeError when a picture is given for a policy."""
    own.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ConfigError, match="cannot read the policy file"):
        parse_policy(str(own))
