"""``metrics.csv``: one row per logged optimiser step of a run."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from massrl.config.renamed import translate_metrics
from massrl.errors import DataError, TrainingError
from massrl.files import write_text

COLUMNS = {
    "step": "optimiser step, from 0",
    "epoch": "epochs after this step",
    "loss": "mean over the pairs of views",
    "chance": "loss of guessing, of objectives that have one",
    "lr": "learning rate",
    "tau": "momentum of the target network",
    "gradient_norm": "L2 norm of all gradients together",
    "images_per_second": "training speed, unique images",
    "views_per_second": "the same in views",
    "data_wait": "fraction of a step's time spent waiting for data",
    "embedding_std": "std of the L2-normalised projections, 1 at random, 0 when collapsed",
    "feature_std": "the same of the backbone's features",
    "prediction_std": "the same of the predictor's output",
    "effective_rank": "effective rank of the projections, dimensions",
    "knn": "k-NN accuracy of the features, percent",
    "skipped": "broken images skipped so far",
    "seconds": "training time so far",
}
"""Columns and their meanings; a column that was not measured at a step is empty."""


_WITHOUT = "without this file, a run has no curves"


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the complete rows of a metrics file; an empty list if there is none.

    Files of earlier versions are returned under the present columns; those that they lack are empty.

    Raises:
        DataError: if it is no such file, or has anything but numbers in a column.
    """
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        rows = [row for row in csv.DictReader(text.splitlines()) if None not in row.values()]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is no file of metrics: {error}; {_WITHOUT}") from None
    rows = [dict.fromkeys(COLUMNS, "") | translate_metrics(row) for row in rows]
    wrong = [_wrong_column(row) for row in rows]
    if wrong and wrong[-1] is not None and not text.endswith("\n"):  # a killed run's last row
        rows, wrong = rows[:-1], wrong[:-1]
    for row, key in zip(rows, wrong, strict=True):
        if key is not None:
            value = str(row.get(key, ""))[:40]
            raise DataError(f"{path} is damaged: {key} is {value!r} in a row; {_WITHOUT}")
    return rows


def _wrong_column(row: Mapping[str, str]) -> str | None:
    """Return the first column that does not hold what it should; ``None`` if all do."""
    for key in COLUMNS:
        value = row.get(key, "")
        try:
            valid = int(value) >= 0 if key == "step" else isinstance(float(value or 0), float)
        except (ValueError, TypeError):
            valid = False
        if not valid:
            return key
    return None


class MetricsFile:
    """Append rows to ``metrics.csv``.

    Args:
        path: the file. Its rows before ``step`` are kept, under the present columns; later ones are
            removed, since a killed run resumes from its checkpoint and not from its last row.
        step: the step that the run starts or resumes from.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self._path = path
        earlier = [row for row in read_metrics(path) if int(row["step"]) < step]
        lines = [
            ",".join(COLUMNS),
            *(",".join(row.get(key, "") for key in COLUMNS) for row in earlier),
        ]
        write_text(path, "\n".join(lines) + "\n")
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, list(COLUMNS), lineterminator="\n")

    def row(self, values: Mapping[str, Any]) -> None:
        """Append one row; ``None`` and absent columns are empty."""
        with self._reporting_errors():
            self._writer.writerow({key: _text(value) for key, value in values.items()})

    def flush(self) -> None:
        """Write the rows to the disk."""
        with self._reporting_errors():
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; on a full disk, the rows since the last flush are lost."""
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _reporting_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(f"cannot write {self._path}: {error.strerror}") from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
