"""Files of torch.save of each format, opened without torch."""

from __future__ import annotations

import io
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from massrl.errors import CheckpointError
from massrl.weights.safe_reader import read_weights

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4, dtype=torch.int16)}
WEIGHTS["c"] = torch.complex(WEIGHTS["a"], WEIGHTS["a"] + 1)


def saved(path: Path, content: Any = WEIGHTS, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def with_parts(path: Path, target: Path, **parts: bytes | None) -> Path:
    """Copy a zip archive with some parts replaced, or left out."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for part in old.infolist():
            name = part.filename.partition("/")[2]
            content = parts.get(name.replace("/", "_"), old.read(part))
            if content is not None:
                new.writestr(part.filename, content)
    return target


def test_archive_of_a_big_endian_machine_is_read(tmp_path: Path) -> None:
    """Guards byte order: torch writes the machine's own, and says which."""
    plain = saved(tmp_path / "x.pth")
    swapped = {}
    for number, name in enumerate(WEIGHTS):
        array = WEIGHTS[name].numpy()
        swapped[f"data_{number}"] = array.astype(array.dtype.newbyteorder(">")).tobytes()
    with_parts(plain, tmp_path / "big.pth", byteorder=b"big", **swapped)
    found = read_weights(tmp_path / "big.pth")
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def test_old_format_with_a_view_of_a_storage_is_read(tmp_path: Path) -> None:
    """Guards files of before PyTorch 0.4, in which a storage may be a part of another."""
    path = tmp_path / "old.pth"
    main = (
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor\n((X\x07\x00\x00\x00storage"
        b"ctorch\nFloatStorage\nX\x01\x00\x00\x007X\x03\x00\x00\x00cpuK\x06(X\x01\x00\x00\x008K\x02K\x03ttQ"
        b"K\x01K\x02\x85K\x01\x85tRs."
    )
    numbers = torch.arange(6.0).numpy().tobytes()
    head = [
        pickle.dumps(item, 2) for item in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    ]
    tail = pickle.dumps(["7"], 2) + (6).to_bytes(8, "little") + numbers
    path.write_bytes(b"".join(head) + main + tail)
    wanted = torch.load(path, weights_only=False)["a"]
    assert torch.equal(read_weights(path)["a"], wanted)
    assert wanted.tolist() == [3, 4]


@pytest.mark.parametrize("zipped", [True, False])
def test_cut_file_is_refused_at_every_length(tmp_path: Path, zipped: bool) -> None:
    """Guards half-copied files."""
    whole = saved(tmp_path / "x.pth", _use_new_zipfile_serialization=zipped).read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_weights(tmp_path / "cut.pth")


def test_other_archives_are_refused_by_their_kind(tmp_path: Path) -> None:
    """Guards the reader of the message: what the file is, not which line of code failed."""
    module = torch.nn.Linear(2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and its files remain
        torch.jit.trace(module, torch.ones(1, 2)).save(str(tmp_path / "script.pt"))
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as file:
        file.writestr("a.txt", "hello")
    with tarfile.open(tmp_path / "tar.pth", "w") as tar:
        tar.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    kinds = {"script.pt": "TorchScript", "other.pth": "without weights", "tar.pth": "tar archive"}
    for name, kind in kinds.items():
        with pytest.raises(CheckpointError, match=kind):
            read_weights(tmp_path / name)


def test_storages_that_lack_or_differ_are_refused(tmp_path: Path) -> None:
    """Guards the length of a storage, which is the file's and not its pickle's; also damaged bytes."""
    plain = saved(tmp_path / "x.pth")
    for content in (None, b"", b"\0" * 23, b"\0" * 25):
        with pytest.raises(CheckpointError, match="storage '0'"):
            read_weights(with_parts(plain, tmp_path / "y.pth", data_0=content))
    data = bytearray(plain.read_bytes())
    place = data.index(WEIGHTS["a"].numpy().tobytes())
    data[place] ^= 255
    (tmp_path / "z.pth").write_bytes(data)
    with pytest.raises(CheckpointError, match="CRC"):
        read_weights(tmp_path / "z.pth")
