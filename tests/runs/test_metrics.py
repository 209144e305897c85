"""The rows a run leaves."""

from __future__ import annotations

from pathlib import Path

from massrl.runs.metrics import COLUMNS, MetricsFile, read_metrics


def test_rows_of_an_older_version_are_kept_without_its_missing_columns(tmp_path: Path) -> None:
    """Guards going on with a run of before a column was added."""
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n0,2.5\n1,2.25\n")
    MetricsFile(path, step=1).close()
    rows = read_metrics(path)
    assert [(row["step"], row["loss"], row["skipped"]) for row in rows] == [("0", "2.5", "")]
    assert list(rows[0]) == list(COLUMNS)
