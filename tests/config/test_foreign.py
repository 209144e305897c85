"""What the user can say of a checkpoint of another project."""

from __future__ import annotations

from massrl.config.foreign import ForeignConfig


def test_flags_that_were_given_are_named() -> None:
    """Guards the message that refuses them, which names no flag that was left out."""
    assert ForeignConfig().given() == []
    assert ForeignConfig(stem="small", size=64).given() == ["--model.stem", "--model.size"]
