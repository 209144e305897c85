"""Packed images: a damaged index, and shards whose bytes or sizes are others."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np

from massrl.commands.data import PackConfig, pack_data
from massrl.data.catalogue import open_source
from massrl.data.check import check_source
from tests.fuzz import case
from tests.fuzz.mutation import mutated_bytes, mutated_tree


def small_photos(folder: Path, *classes: str, count: int = 3) -> Path:
    """Write small images, PNG and JPEG by turns, into a folder for each class."""
    generator = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.{('png', 'jpg')[number % 2]}"), pixels)
    return folder


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        images = small_photos(folder / "images", "a", "b")
        pack_data(PackConfig(images=str(images), out=str(folder / "x")))
        self.files = {path: path.read_bytes() for path in folder.glob("x-*")}
        self.index = next(path for path in self.files if path.suffix == ".safetensors")
        check_source(open_source(f"{folder}/x-*.tar"))

    def run(self, generator: np.random.Generator) -> None:
        """Damage one file, then open the set and decode every image of it."""
        for path, data in self.files.items():
            path.write_bytes(data)
        match generator.integers(0, 4):
            case 0:
                self.index.write_bytes(mutated_bytes(self.files[self.index], generator))
            case 1 | 2:
                self.index.write_bytes(mutated_index(self.files[self.index], generator))
            case _:
                shard = next(path for path in self.files if path != self.index)
                data = bytearray(self.files[shard])
                for place in generator.integers(0, len(data), 20):
                    data[place] = int(generator.integers(0, 256))
                shard.write_bytes(data)
        source = open_source(f"{self.folder}/x-*.tar")
        for line in check_source(source, workers=1).lines():
            case.check_message(line)
        source.fingerprint()


def mutated_index(data: bytes, generator: np.random.Generator) -> bytes:
    """Return a safetensors file with a changed description or changed numbers, and a valid header."""
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    if generator.integers(0, 2):
        about = json.loads(header["__metadata__"]["massrl"])
        header["__metadata__"]["massrl"] = json.dumps(mutated_tree(about, generator))
    else:
        for place in generator.integers(0, len(body), 4):
            body[place] = int(generator.choice([0, 1, 127, 128, 255]))
    if generator.integers(0, 3) == 0:
        names = [name for name in header if name != "__metadata__"]
        header.pop(str(generator.choice(names)))
        return (
            struct.pack("<Q", len(json.dumps(header))) + json.dumps(header).encode() + bytes(body)
        )
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(body)
