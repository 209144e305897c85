"""The journal of a packing: which shards are complete, so that a packing that was stopped goes on.

``.OUT.packing`` begins with a line of settings. A line is added for each complete shard, before the shard
gets its name, and the file is removed when the index is written. It is locked while a process packs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

from massrl.data.sources.packed import index_path
from massrl.errors import DataError

try:
    import fcntl
except ImportError:  # on Windows, where two processes that pack to one place are not detected
    fcntl = None  # type: ignore[assignment]


class PackJournal:
    """The shards of a packing, those of an earlier process included.

    Args:
        out: folder and beginning of the names of the files.
        settings: what the content of the shards depends on.
        overwrite: begin anew, and remove every file of these names.

    Attributes:
        sizes: size in bytes of each complete shard, by its name.
        done: images of the source that these shards account for.

    Raises:
        DataError: if files of these names are not of a packing of these settings, or another process packs.
    """

    def __init__(self, out: Path, settings: dict[str, Any], *, overwrite: bool = False) -> None:
        self.sizes: dict[str, int] = {}
        self.done = 0
        self._out = out
        self._path = out.with_name(f".{out.name}.packing")
        index = index_path(f"{out}-*.tar")
        if os.path.lexists(index) and not overwrite:
            raise DataError(f"{index} exists already: choose another name, or give --overwrite")
        if not (self._path.exists() or overwrite):
            self._check_names([], settings)
        self._file = self._locked()
        try:
            if overwrite:
                index.unlink(missing_ok=True)
                self._remove_all()
            lines = [] if overwrite else self._lines()
            if len(lines) == 1:  # nothing was completed, so that other settings change nothing
                self._file.truncate(0)
                lines = []
            self._check_names(lines, settings)
            for line in lines[1:]:
                self._accept(line)
            if not lines:
                self._write(settings)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> PackJournal:
        return self

    def __exit__(self, *reason: object) -> None:
        if not self.sizes:  # nothing to go on from
            self._path.unlink(missing_ok=True)
        self._file.close()

    @property
    def next_part(self) -> Path:
        """The file that the next shard is written to until it is complete."""
        return self._part(f"{self._out.name}-{len(self.sizes):05}.tar")

    def path(self, name: str) -> Path:
        """Return the path of a shard."""
        return self._out.with_name(name)

    def complete(self, done: int) -> None:
        """Give the next shard its name; ``done`` images of the source are dealt with."""
        part = self.next_part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        name = f"{self._out.name}-{len(self.sizes):05}.tar"
        line = {"name": name, "size": part.stat().st_size, "done": done}
        self._write(line)
        self._accept(line)

    def finish(self) -> None:
        """Remove the journal: the index takes its place."""
        self._path.unlink(missing_ok=True)

    def _locked(self) -> IO[str]:
        file = self._path.open("a+", encoding="utf-8")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise DataError(f"another process is packing to {self._out}") from None
        return file

    def _lines(self) -> list[dict[str, Any]]:
        """Return the whole lines, and cut off what a killed process wrote of the last one."""
        self._file.seek(0)
        whole = [line for line in self._file.read().splitlines(keepends=True) if line[-1] == "\n"]
        self._file.truncate(sum(len(line.encode()) for line in whole))
        try:
            lines = [json.loads(line) for line in whole]
            if all(isinstance(line, dict) for line in lines):
                return lines
        except ValueError:
            pass
        raise DataError(f"{self._path} is damaged: --overwrite packs anew")

    def _check_names(self, lines: list[dict[str, Any]], settings: dict[str, Any]) -> None:
        """Refuse shards of another packing, or of none."""
        present = {path.name for path in self._out.parent.glob(f"{self._out.name}-?????.tar")}
        others = sorted(present - {str(line.get("name")) for line in lines[1:]})
        if others:
            raise DataError(
                f"{self.path(others[0])} exists already, and is not of a packing that was stopped: choose "
                "another name, or give --overwrite"
            )
        if lines and lines[0] != settings:
            raise DataError(
                f"{self._out} is a packing of other images or settings that was stopped: give the same "
                "ones, choose another name, or give --overwrite"
            )

    def _accept(self, line: dict[str, Any]) -> None:
        """Add a complete shard, whose process may have been killed before it was given its name."""
        name, size = str(line["name"]), int(line["size"])
        part, shard = self._part(name), self.path(name)
        if part.is_file() and not shard.exists():
            part.replace(shard)
        if not shard.is_file() or shard.stat().st_size != size:
            raise DataError(f"{shard} is missing or truncated: --overwrite packs anew")
        self.sizes[name] = size
        self.done = int(line["done"])

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _part(self, name: str) -> Path:
        return self._out.with_name(f".{name}.part")

    def _remove_all(self) -> None:
        self._file.truncate(0)
        for pattern in (f"{self._out.name}-?????.tar", f".{self._out.name}-?????.tar.part"):
            for path in self._out.parent.glob(pattern):
                path.unlink()
