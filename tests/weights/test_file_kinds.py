"""Files of weights, told from others by their first bytes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from massrl.errors import CheckpointError
from massrl.weights.file_kinds import check_weights_file


@pytest.mark.parametrize("kind", ["zip", "pickles", "safetensors"])
def test_file_of_weights_passes(kind: str, tmp_path: Path) -> None:
    """Guards every kind of file that torch and safetensors write, whatever its suffix."""
    file, state = tmp_path / "weights.bin", {"a": torch.zeros(3), "b": torch.ones(100, 100)}
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    check_weights_file(file)


@pytest.mark.parametrize(
    "content", [b"", b"some notes\n", b"<html>404</html>", b"\x89HDF\r\n\x1a\n"]
)
def test_other_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """Guards notes, pages of errors that were downloaded, empty files, and other tools' weights."""
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights.pth is refused: .* are accepted"):
        check_weights_file(file)


def test_image_folder_and_missing_file_are_refused(tmp_path: Path) -> None:
    """Guards an image, a folder and a path that does not exist."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(CheckpointError, match="not a weights file"):
        check_weights_file(tmp_path / "a.png")
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(CheckpointError, match="there is no backbone"):
            check_weights_file(path)
