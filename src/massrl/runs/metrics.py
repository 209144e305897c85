"""What a run writes down as it goes: one row of ``metrics.csv`` per logged step."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from massrl.config.renamed import translate_metrics
from massrl.errors import TrainingError
from massrl.files import write_text

COLUMNS = (
    "step",
    "epoch",
    "loss",
    "lr",
    "tau",
    "gradient_norm",
    "images_per_second",
    "views_per_second",
    "data_wait",
    "embedding_std",
    "feature_std",
    "prediction_std",
    "effective_rank",
    "knn",
    "skipped",
    "seconds",
)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The whole rows of a metrics file, an empty list where there is none."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values()]
    return [translate_metrics(row) for row in rows]


class MetricsFile:
    """Appends rows to ``metrics.csv``.

    Args:
        path: the file; rows of earlier steps that it holds are kept, later ones are cut off, since
            a run that was killed goes on from its checkpoint and not from its last row.
        step: the step the run starts or goes on from.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self._path = path
        kept = [row for row in read_metrics(path) if int(row["step"]) < step]
        lines = [
            ",".join(COLUMNS),
            *(",".join(row.get(key, "") for key in COLUMNS) for row in kept),
        ]
        write_text(path, "\n".join(lines) + "\n")
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")

    def row(self, values: dict[str, Any]) -> None:
        """Append one row; what is not known stays empty."""
        with self._on_disk():
            self._writer.writerow({key: _text(value) for key, value in values.items()})

    def flush(self) -> None:
        """See that the rows are on the disk."""
        with self._on_disk():
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close, whatever the disk says: the rows after the last flush may be lost."""
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(f"cannot write {self._path}: {error.strerror}") from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
