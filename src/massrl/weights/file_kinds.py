"""Tell files of weights from others by their first bytes, without torch."""

from __future__ import annotations

from pathlib import Path

from massrl.errors import CheckpointError

_BEGINNINGS = (
    b"PK\x03\x04",
    b"\x80",
)  # of a zip archive and of a pickle, as torch.save writes them
_TAR = (b"ustar", 257)  # of a tar archive, and where
_JSON = (b"{", 8)  # of the header of safetensors, behind its length


def check_weights_file(path: Path) -> None:
    """Refuse a file that cannot be one of weights; one that can may still be damaged.

    Raises:
        CheckpointError: if there is no such file, or it is of another kind.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no backbone {path}")
    with path.open("rb") as file:
        start = file.read(_TAR[1] + len(_TAR[0]))
    marked = any(start[at:].startswith(mark) for mark, at in (_TAR, _JSON))
    if start.startswith(_BEGINNINGS) or marked:
        return
    if path.suffix == ".onnx":
        raise CheckpointError(
            f"{path} is an ONNX file, which is not read: give the run or the file it was exported from"
        )
    raise CheckpointError(
        f"{path} is refused: it is damaged, or not a weights file; state dicts and safetensors are accepted"
    )
