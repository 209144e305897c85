"""The tree of errors and the suggestions in their messages."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import pytest
import torch

from massrl import errors


def test_every_error_is_one_that_the_command_line_shows_in_one_line() -> None:
    """Guards against an error outside the tree: the user would see a traceback."""
    kinds = [item for item in vars(errors).values() if isinstance(item, type)]
    own = [kind for kind in kinds if issubclass(kind, Exception)]
    assert len(own) == 10
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


def test_line_of_an_error_is_the_users_own_and_innermost() -> None:
    """Guards where a mistake is told to be: not in Python, torch or massrl; this file is the user's here."""
    calls: list[Callable[[], object]] = [
        lambda: int("no number"),
        lambda: json.loads("["),  # raises in Python
        lambda: errors.suggest("a", None),  # type: ignore[arg-type]  # raises in massrl
    ]
    first = calls[0].__code__.co_firstlineno
    for number, call in enumerate(calls):
        with pytest.raises((ValueError, TypeError)) as caught:
            call()
        assert errors.raised_in(caught.value).endswith(f"test_errors.py, line {first + number}")
    assert errors.raised_in(ValueError()) == ""


def test_line_of_a_syntax_error_is_the_one_that_cannot_be_parsed() -> None:
    """Guards "broken.py, line 3" against the line of the import."""
    with pytest.raises(SyntaxError) as caught:
        compile("x = 1\ny = 2\ndef f(:\n", "broken.py", "exec")
    assert errors.raised_in(caught.value) == "broken.py, line 3"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "a b.txt"), "a b.txt: No such file"),
        (PermissionError(13, "Permission denied", "x"), "x: Permission denied"),
        (IsADirectoryError(21, "Is a directory", "x"), "x: Is a directory"),
        (OSError(28, "No space left on device"), "No space left on device (OSError)"),
        (OSError(18, "Invalid cross-device link", "a", None, "b"), "a and b: Invalid cross-device"),
        (MemoryError(), "there is too little memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "the GPU has too little memory"),
    ],
)
def test_what_the_system_says_is_a_line_for_the_user(error: Exception, line: str) -> None:
    """Guards "unexpected FileNotFoundError": files, permissions, folders, full disks, memory."""
    told = errors.users_fault(error)
    assert told is not None
    assert told.startswith(line)
    assert "\n" not in told


def test_fault_of_massrl_stays_unexpected() -> None:
    """Guards bug reports: an error that only our own code raised is not the user's."""
    assert errors.users_fault(RuntimeError("a\nb")) is None
    with pytest.raises(ValueError, match="no number") as caught:
        int("no number")
    assert "your own code, " in str(errors.users_fault(caught.value))
