"""Specs taken apart, and what a kind of source is by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from massrl.data.source import Source
from massrl.data.sources.base import OpenOptions, SourceKind, Spec, parse_spec
from massrl.data.sources.shapes import ShapesSource
from massrl.errors import DataError


class Named(SourceKind):
    """A kind that knows one name."""

    names = ("mine",)

    def matches(self, spec: Spec) -> bool:
        """Whether it is the name."""
        return self.is_name(spec)

    def open(self, spec: Spec, options: OpenOptions) -> Source:
        """Any source."""
        return ShapesSource(4, 16)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("photos", Spec(text="photos")),
        ("cifar10:val", Spec(text="cifar10:val")),
        ("labelled:a:b", Spec(text="a:b", labelled=True, is_path=True)),
        ("labeled:x", Spec(text="x", labelled=True, is_path=True)),
        ("unlabelled:x", Spec(text="x", labelled=False, is_path=True)),
        ("unlabeled:x", Spec(text="x", labelled=False, is_path=True)),
        ("unlabelled", Spec(text="unlabelled")),
        (Path("cifar10"), Spec(text="cifar10", is_path=True)),
    ],
)
def test_spec_is_taken_apart(text: str | Path, spec: Spec) -> None:
    """Guards a prefix taken for a name, a name for a prefix, and a ``Path`` for a name."""
    assert parse_spec(text) == spec


def test_spec_has_name_part_and_path() -> None:
    """Guards the split behind a name, and ``~`` in a path."""
    spec = parse_spec("stl10:unlabelled")
    assert (spec.name, spec.part) == ("stl10", "unlabelled")
    assert (parse_spec("stl10").name, parse_spec("stl10").part) == ("stl10", "")
    assert parse_spec("~/photos").path == Path.home() / "photos"


def test_name_is_none_behind_a_prefix_and_as_a_path() -> None:
    """Guards a folder that has a data set's name."""
    kind = Named()
    assert kind.is_name(parse_spec("mine"))
    assert kind.is_name(parse_spec("mine:val"))
    assert not kind.is_name(parse_spec("labelled:mine"))
    assert not kind.is_name(parse_spec(Path("mine")))


def test_kind_has_neither_objects_nor_parts_by_default() -> None:
    """Guards kinds of other packages: two methods are all they need to write."""
    kind, spec = Named(), parse_spec("mine")
    assert not kind.matches_objects(spec)
    assert kind.validation_spec(spec) is None
    assert kind.multilabel_specs(spec, OpenOptions()) is None
    with pytest.raises(DataError, match=r"'mine' has no objects \(--x\)"):
        kind.open_objects(spec, OpenOptions(flag="--x"), maps=False)
