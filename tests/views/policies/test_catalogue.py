"""Policies by name: massrl's own, and those of other packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Plugin
from tests.views.policies.conftest import sequences

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.registry import POLICIES
from massrl.views.layouts import Layout
from massrl.views.operations.base import Step
from massrl.views.policies.catalogue import parse_policy, policy_signature, short_name
from massrl.views.policies.randaugment import RandAugment
from massrl.views.view_maker import ViewMaker

FLAG = "--views.policies"


def names(policy: object, index: int = 0) -> list[str]:
    stream = Stream(0, epoch=0, index=index, number=0)
    return [step.operation for step in policy.draw(stream, 32)]  # type: ignore[attr-defined]


def test_policies_that_the_public_surface_names_are_all_there() -> None:
    """Guards the names that recipes and scripts rely on."""
    assert set(POLICIES) == {
        "simclr",
        "byol-1",
        "byol-2",
        "weak",
        "randaugment",
        "randaugment-expanded",
        "autoaugment",
        "fast-autoaugment",
        "trivialaugment",
    }


@pytest.mark.parametrize(
    "text",
    [
        *POLICIES,
        "randaugment( 2, 9 )",
        "randaugment(m=5)",
        "randaugment-expanded(3,7)",
        *(
            f"{name}({data})"
            for name in ("autoaugment", "fast-autoaugment")
            for data in ("imagenet", "cifar10", "svhn")
        ),
        "simclr(blur_prob=0,solarize_prob=0.2)",
        "simclr(0.5)",
        "simclr(strength=0)",
    ],
)
def test_policy_of_every_form_draws(text: str) -> None:
    """Guards the notation: each line of ``massrl policies`` can be typed."""
    policy = parse_policy(text)
    assert all(isinstance(names(policy, index), list) for index in range(20))


def test_arguments_reach_the_policy() -> None:
    """Guards against n and m in the wrong order."""
    assert parse_policy("randaugment(3,7)") == RandAugment(num_operations=3, magnitude=7)
    assert parse_policy("randaugment(m=3)") == RandAugment(num_operations=2, magnitude=3)


@pytest.mark.parametrize("name", list(POLICIES))
def test_learned_policy_says_that_it_was_searched_with_labels(name: str) -> None:
    """Guards honesty: AutoAugment's tables have seen labels, and ``massrl policies`` says so."""
    learned = name.endswith("autoaugment")
    assert ("with labels" in POLICIES.summary(name)) == learned


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "randaugmnt(2,9)",
            "unknown policy 'randaugmnt(2,9)'|unknown policy 'randaugmnt'.*'randaugment'",
        ),
        ("", "''"),
        ("randaugment(2,9", "not of the form"),
        ("randaugment(2,9)x", "not of the form"),
        ("randaugment(k=9)", "no argument 'k'.*known: m, n"),
        ("randaugment(2,9,1)", "too many"),
        ("randaugment(2,n=3)", "multiple values"),
        ("randaugment(2.5)", "n is 2.5, but a int"),
        ("randaugment(two)", "n is 'two'"),
        ("randaugment(0,9)", "n is 0"),
        ("randaugment(2,31)", "m is 31"),
        ("autoaugment(imagnet)", "'imagnet'.*'imagenet'"),
        ("fast-autoaugment(mnist)", "'mnist'"),
        ("simclr(blur_prob=2)", "probability of gaussian_blur is 2"),
        ("simclr(strength=-1)", "strength is -1"),
        ("simclr(strength=nan)", "strength is nan"),
        ("weak(1)", "weak"),
        ("missing.yaml", "missing.yaml"),
    ],
)
def test_policy_that_does_not_exist_is_refused_in_one_line(text: str, message: str) -> None:
    """Guards the message: the name given, the nearest known, and the flag."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_policy(text)
    assert "\n" not in str(caught.value)
    assert FLAG in str(caught.value)


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("weak", "weak"),
        ("trivialaugment", "trivialaugment"),
        ("randaugment", "randaugment(n=2, m=9)"),
        ("simclr", "simclr(strength=1, grayscale_prob=0.2, blur_prob=1, solarize_prob=0)"),
        ("fast-autoaugment", "fast-autoaugment(imagenet|cifar10|svhn)"),
    ],
)
def test_signature_is_how_a_policy_is_typed(name: str, signature: str) -> None:
    """Guards ``massrl policies``: names, defaults and choices, read from the code itself."""
    assert policy_signature(name) == signature


def test_short_name_of_a_file_is_its_stem() -> None:
    """Guards names of views against paths that fill a line."""
    assert short_name("/home/me/my policy.yaml") == "my policy"
    assert short_name("randaugment(2,9)") == "randaugment(2,9)"


PACKAGE = '''
from massrl.views.operations.base import Step


class Tinted:
    """Turn the hue by a fixed part of the circle."""

    def __init__(self, turn: float = 0.25):
        self.turn = turn

    def draw(self, stream, side):
        return (Step("hue", (self.turn if stream.chance(0.5) else -self.turn,)),)


def broken():
    """Return no policy."""
    return 3


def needs(angle):
    """Rotate by an angle that has no default."""
'''
ENTRY_POINTS = {
    "massrl.policies": {name.lower(): f"my_plugin:{name}" for name in ("Tinted", "broken", "needs")}
}


def test_policy_of_another_package_is_parsed_listed_and_drawn(plugin: Plugin) -> None:
    """Guards the public way to add a policy: an entry point is all it takes."""
    plugin(PACKAGE, ENTRY_POINTS)
    assert policy_signature("tinted") == "tinted(turn=0.25)"
    assert policy_signature("needs") == "needs(angle)"
    assert POLICIES.summary("tinted") == "Turn the hue by a fixed part of the circle."
    assert set(sequences("tinted(0.1)", 40)) == {(Step("hue", (0.1,)),), (Step("hue", (-0.1,)),)}
    with pytest.raises(ConfigError, match=r"did you mean 'tinted'"):
        parse_policy("tintd")
    with pytest.raises(
        ConfigError, match=r"broken draws no steps: it is a int \(--views.policies\)"
    ):
        parse_policy("broken")
    layout = Layout(arrangement="shared", num_crops=1, policies=("tinted", "weak"))
    plan = ViewMaker(layout, size=8).plan(height=9, width=9)
    assert [view.policy for view in plan.views] == ["tinted", "weak"]
    assert [len(view.steps) for view in plan.views] == [1, 0]


def test_policy_of_another_package_is_used_from_the_shell(plugin: Plugin, tmp_path: Path) -> None:
    """Guards a fresh process, from the list of policies to a sheet of views."""
    plugin(PACKAGE, {"massrl.policies": {"tinted": "my_plugin:Tinted"}})

    def massrl(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "massrl", *words],
            env=os.environ,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    assert "tinted(turn=0.25)" in massrl("policies")
    page = tmp_path / "page.html"
    massrl("views", "shapes(count=1)", "--views.policies", "[tinted(0.3)]", "--out", str(page))
    assert "0.300 turns" in page.read_text(encoding="utf-8")
