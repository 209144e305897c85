"""The tree of errors and the suggestions in their messages."""

from __future__ import annotations

import pickle

import pytest

from massrl import errors


def test_every_error_is_one_that_the_command_line_shows_in_one_line() -> None:
    """Guards against an error outside the tree: the user would see a traceback."""
    kinds = [item for item in vars(errors).values() if isinstance(item, type)]
    own = [kind for kind in kinds if issubclass(kind, Exception)]
    assert len(own) == 7
    assert all(issubclass(kind, errors.MassrlError) for kind in own)
    drawn = errors.__doc__ or ""
    assert all(kind.__name__ in drawn for kind in own)


def test_image_error_survives_the_trip_from_a_worker() -> None:
    """Guards pickling: an error with two arguments otherwise fails to be rebuilt."""
    error = pickle.loads(pickle.dumps(errors.ImageError("a b.jpg", "truncated")))
    assert (str(error), error.name, error.reason) == ("a b.jpg: truncated", "a b.jpg", "truncated")
    assert isinstance(error, errors.DataError)


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (1, "broken image", "1 broken image"),
        (2, "class", "2 classes"),
        (1, "class", "1 class"),
        (50_000, "image", "50,000 images"),
    ],
)
def test_number_of_things_is_one_or_many(number: int, noun: str, text: str) -> None:
    """Guards "1 images" in logs and messages."""
    assert errors.counted(number, noun) == text


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("simcl", ["simclr", "weak"], "did you mean 'simclr'?"),
        ("zzz", ["b", "a"], "known: a, b"),
        (3, ["b", "a"], "known: a, b"),
        ("byol", ["byol-1", "byol-2"], "did you mean 'byol-2' or 'byol-1'?"),
    ],
)
def test_suggestion_names_the_nearest_or_else_all(
    name: object, known: list[str], hint: str
) -> None:
    """Guards the help in every message about a name."""
    assert errors.suggest(name, known) == hint


def test_message_is_one_line_that_any_terminal_shows() -> None:
    """Guards terminals: names of files may have line ends, escape sequences and bytes that are no text."""
    names = ["a\nb.jpg", "a\rb.jpg", "a\x1b[31mb.jpg", "a\udcffb.jpg", "a\u2028b.jpg"]
    for name in names:
        message = str(errors.ImageError(name, "truncated"))
        assert message.isprintable()
        assert message.isascii()
    assert str(errors.ImageError("é 猫.jpg", "truncated")) == "é 猫.jpg: truncated"
