"""Lists of names: paths of images, with and without classes, and subsets of labelled images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from massrl.data.catalogue import open_source
from massrl.data.check import check_source
from massrl.evaluation.tasks.semi import listed_images
from tests.fuzz import case
from tests.fuzz.mutation import HOSTILE_VALUES, mutated_lines
from tests.fuzz.shards import small_photos


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.images = small_photos(folder / "images", "a", "b")
        files = sorted(path.relative_to(folder) for path in self.images.rglob("*.*"))
        self.paths = "\n".join(map(str, files)) + "\n"
        self.names = "\n".join(file.name for file in files) + "\n"
        self.list = folder / "list.txt"
        self.list.write_text(self.paths)
        check_source(open_source(self.list), workers=1)
        self.source = open_source(self.images)

    def run(self, generator: np.random.Generator) -> None:
        """Open a damaged list of paths, of a subset, or a folder with unusual names."""
        match generator.integers(0, 3):
            case 0:
                self.list.write_bytes(mutated_lines(self.paths, generator))
                self._use(self.list)
            case 1:
                text = self.names if generator.integers(0, 2) else self.paths
                self.list.write_bytes(mutated_lines(text, generator))
                listed_images(self.source, self.list)
            case _:
                self._use(self._folder_with_unusual_names(generator))

    def _folder_with_unusual_names(self, generator: np.random.Generator) -> Path:
        folder = self.folder / "renamed"
        for path in sorted(folder.rglob("*"), reverse=True) if folder.exists() else []:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        small_photos(folder, "a", "b", count=2)
        texts = [value for value in HOSTILE_VALUES if isinstance(value, str) and value.strip()]
        for path in sorted(folder.rglob("*"), reverse=True):
            if generator.integers(0, 2):
                text = str(generator.choice(texts)).replace("/", "").replace("\0", "")[:100]
                suffix = str(generator.choice([path.suffix, ".JPG", ".png\n", ".tar", ""]))
                name = os.fsencode(text.encode("utf-8", "surrogatepass") + suffix.encode())
                target = path.parent / os.fsdecode(name)
                if name not in (b"", b".", b"..") and not target.exists():
                    path.rename(target)
        return folder

    def _use(self, path: Path) -> None:
        source = open_source(path)
        source.fingerprint()
        for line in check_source(source, workers=1).lines():
            case.check_message(line)
