"""Where weights come from: labels and licences over all that they started from."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch

from massrl.runs.provenance import labels_used, licences, sources, start_of, weights_hash

USED = {"source": "a", "labels": "used", "licence": "MIT"}
NOT_USED = {"source": "b", "labels": "not-used"}
UNKNOWN = {"source": "c"}


@pytest.mark.parametrize(
    ("about", "used"),
    [
        ({}, False),
        (USED, True),
        (NOT_USED, False),
        (UNKNOWN, None),
        ({"start": {}}, False),
        ({"start": USED}, True),
        ({"start": {"start": USED}}, True),
        ({"start": {**NOT_USED, "start": USED}}, True),
        ({"start": {**UNKNOWN, "start": USED}}, True),
        ({"start": {**UNKNOWN, "start": NOT_USED}}, None),
        ({"source": "d", "labels": "??"}, None),
        ({"start": "no mapping"}, False),
    ],
)
def test_labels_of_any_start_count(about: dict[str, Any], used: bool | None) -> None:
    """Guards "no labels were used" of weights that labels came into, however far back."""
    assert labels_used(about) is used


def test_licences_of_all_foreign_weights_are_kept() -> None:
    """Guards a licence that is lost on the way from import over runs to export."""
    about = {"start": {"start": {**USED, "start": NOT_USED}}}
    assert licences(about) == {"a": "MIT", "b": ""}


def test_starts_without_end_are_cut_off() -> None:
    """Guards against a description that holds itself."""
    about: dict[str, Any] = {}
    about["start"] = about
    assert len(sources(about)) == 20


def test_start_is_described_by_its_own_description_and_a_hash() -> None:
    """Guards what a run keeps of the weights that it started from, which may be gone later."""
    state = {"b": torch.tensor([1.0, 2.0]), "a": torch.tensor(3)}
    about = {**USED, "mean": [0.5], "weights": None, "start": NOT_USED}
    plain = [b"a", (3).to_bytes(8, "little"), b"b", bytes.fromhex("0000803f00000040")]
    digest = hashlib.sha256(b"".join(plain)).hexdigest()
    assert weights_hash(state) == digest
    told = {**USED, "start": NOT_USED}
    assert start_of(about, "x", state) == {"name": "x", **told, "sha256": digest}
