"""``metrics.csv``: one row per logged optimiser step of a run."""

from __future__ import annotations

import contextlib
import csv
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from massrl.config.renamed import translate_metrics
from massrl.errors import DiskError, counted
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

logger = logging.getLogger("massrl")


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the complete rows of a metrics file; an empty list if there is none.

    Files of earlier versions are returned under the present columns; those that they lack are empty.
    Rows that hold anything but numbers are left out with a warning.
    """
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        rows = [row for row in csv.DictReader(text.splitlines()) if None not in row.values()]
    except (OSError, csv.Error) as error:
        logger.warning("%s is left out: it is no file of metrics: %s", path, error)
        return []
    rows = [dict.fromkeys(COLUMNS, "") | translate_metrics(row) for row in rows]
    whole = [row for row in rows if _wrong_column(row) is None]
    # A killed run's last row may be cut off.
    cut = bool(rows) and not text.endswith("\n") and rows[-1] not in whole
    lost = len(rows) - len(whole) - cut
    if lost or (text.strip() and not rows and not text.startswith("step,")):
        logger.warning("%s is damaged: %s left out", path, counted(lost, "row"))
    return whole


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
            raise DiskError(f"cannot write {self._path}: {error.strerror}") from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
