"""The learned tables: complete, as published, with their source and licence."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from tests.views.policies.conftest import DATASETS
from torchvision import transforms
from torchvision.transforms.autoaugment import AutoAugmentPolicy

from massrl.registry import OPERATIONS
from massrl.views.policies.tables import NAMES, policy_table


@pytest.mark.parametrize("dataset", DATASETS)
def test_autoaugment_table_equals_torchvisions(dataset: str) -> None:
    """Guards the transcription: one wrong probability or bin is a policy nobody published."""
    policy = AutoAugmentPolicy(dataset)
    wanted = transforms.AutoAugment(policy).policies
    ours = policy_table("autoaugment.json")["policies"][dataset]
    assert [tuple(tuple(step) for step in pair) for pair in ours] == [
        tuple(pair) for pair in wanted
    ]


@pytest.mark.parametrize(("dataset", "count"), [("imagenet", 498), ("cifar10", 493), ("svhn", 497)])
def test_fast_autoaugment_table_holds_every_published_pair(dataset: str, count: int) -> None:
    """Guards against a cut table, an unknown operation, a probability or level outside [0, 1]."""
    table = policy_table("fast_autoaugment.json")
    pairs = table["policies"][dataset]
    assert len(pairs) == count
    assert {len(pair) for pair in pairs} == {2}
    steps = [step for pair in pairs for step in pair]
    assert {name for name, _, _ in steps} <= set(table["ranges"])
    assert {name for name, _, _ in steps} <= set(NAMES)
    assert all(0 <= prob <= 1 and 0 <= level <= 1 for _, prob, level in steps)


@pytest.mark.parametrize("file", ["autoaugment.json", "fast_autoaugment.json"])
def test_learned_table_carries_its_source_and_licence(file: str) -> None:
    """Guards the notice that the tables' licences ask for."""
    text = resources.files("massrl.views.policies").joinpath(file).read_text(encoding="utf-8")
    content = json.loads(text)
    assert "arXiv" in content["source"]
    assert "Copyright" in content["licence"]


def test_names_of_the_tables_are_operations() -> None:
    """Guards the translation: a name that is no operation fails only when it is drawn."""
    assert set(NAMES.values()) <= set(OPERATIONS)
    assert len(set(NAMES.values())) == len(NAMES)
