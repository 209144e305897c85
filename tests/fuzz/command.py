"""Run the command line in this process, as a shell would."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

from massrl.cli import main
from massrl.errors import MassrlError
from tests.fuzz.case import FaultError, check_message


def run_command(words: Sequence[str]) -> str:
    """Run ``massrl`` and return its output.

    Raises:
        MassrlError: with the message, if the command refuses its input.
        FaultError: if it ends in any other way than with success or with one line.
    """
    output, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            code = main(list(words))
    except SystemExit as end:
        raise FaultError(
            f"massrl {words} left by SystemExit {end.code}: {errors.getvalue()[-300:]!r}"
        ) from None
    message = errors.getvalue().removesuffix("\n")
    if code == 2:
        check_message(message)  # as it was printed: an error of ours has no line ends in any case
        raise MassrlError(message)
    if code or message:
        raise FaultError(f"massrl {words} ended with {code}: {message[-300:]!r}")
    return output.getvalue()
