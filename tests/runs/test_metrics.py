"""``metrics.csv``: complete rows, present columns, cut at the step a run resumes from."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from massrl.errors import TrainingError
from massrl.runs.metrics import COLUMNS, MetricsFile, read_metrics

# As version 0.1.0 wrote it, shortened to three steps.
OLD_FILE = """\
step,epoch,loss,lr,tau,gradient_norm,images_per_second,views_per_second,data_wait,deviation,\
feature_deviation,prediction_deviation,effective_rank,knn,skipped,seconds
0,0.25,3.49505,0.0625,0.9,12.5835,,,0,,,,,,0,0.041999
1,0.5,3.53924,0.125,0.900961,11.5234,378.415,1513.66,0.102932,0.97,0.81,0.62,11.5,33.3333,0,0.0699393
2,0.75,3.5,0.1875,0.9,11,380,1520,0.1,0.96,0.8,0.61,11,,0,0.1
"""


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Guards numbers and their precision; what was not measured is empty."""
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path, step=0)
    file.row({"step": 0, "loss": 1 / 3, "tau": None, "images_per_second": 1234567.0})
    file.row({"step": 10, "loss": 2.0, "skipped": 3})
    file.close()
    first, second = read_metrics(path)
    assert first == {
        **dict.fromkeys(COLUMNS, ""),
        "step": "0",
        "loss": "0.333333",
        "images_per_second": "1.23457e+06",
    }
    assert (second["step"], second["loss"], second["skipped"]) == ("10", "2", "3")


def test_file_that_does_not_exist_has_no_rows(tmp_path: Path) -> None:
    """Guards the report of a backbone without a run."""
    assert read_metrics(tmp_path / "metrics.csv") == []


def test_row_that_a_killed_run_left_incomplete_is_not_read(tmp_path: Path) -> None:
    """Guards the report against half a number."""
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,loss\n0,0.5,2.5\n1,1")
    assert [row["loss"] for row in read_metrics(path)] == ["2.5"]


def test_rows_from_the_resumed_step_on_are_removed(tmp_path: Path) -> None:
    """Guards against two rows of one step: the checkpoint is older than the last row."""
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path, step=0)
    for step in range(5):
        file.row({"step": step, "loss": 1.0})
    file.close()
    file = MetricsFile(path, step=3)
    file.row({"step": 3, "loss": 2.0})
    file.close()
    assert [(row["step"], row["loss"]) for row in read_metrics(path)] == [
        ("0", "1"),
        ("1", "1"),
        ("2", "1"),
        ("3", "2"),
    ]


def test_file_of_version_0_1_0_is_read_under_the_present_columns(tmp_path: Path) -> None:
    """Guards the curves of old runs: no value may change its column or be lost."""
    path = tmp_path / "metrics.csv"
    path.write_text(OLD_FILE)
    row = read_metrics(path)[1]
    assert list(row) == list(COLUMNS)
    assert row["chance"] == ""  # of later versions
    measured = ("embedding_std", "feature_std", "prediction_std", "effective_rank", "knn")
    assert [row[name] for name in measured] == ["0.97", "0.81", "0.62", "11.5", "33.3333"]
    assert path.read_text() == OLD_FILE


def test_file_of_version_0_1_0_is_continued_in_the_present_columns(tmp_path: Path) -> None:
    """Guards a resumed old run: one header, the old rows under it, new rows below."""
    path = tmp_path / "metrics.csv"
    path.write_text(OLD_FILE)
    old = read_metrics(path)
    file = MetricsFile(path, step=2)
    file.row({"step": 2, "embedding_std": 0.5})
    file.close()
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    rows = read_metrics(path)
    assert rows[:2] == old[:2]
    assert (rows[2]["step"], rows[2]["embedding_std"]) == ("2", "0.5")
    assert len(rows) == 3


def test_rows_of_a_version_with_fewer_columns_get_empty_ones(tmp_path: Path) -> None:
    """Guards resuming a run of before a column was added."""
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n0,2.5\n1,2.25\n")
    MetricsFile(path, step=1).close()
    rows = read_metrics(path)
    assert [(row["step"], row["loss"], row["skipped"]) for row in rows] == [("0", "2.5", "")]
    assert list(rows[0]) == list(COLUMNS)


def test_unknown_column_is_an_error(tmp_path: Path) -> None:
    """Guards against a value that is dropped without a word because its column is misspelt."""
    file = MetricsFile(tmp_path / "metrics.csv", step=0)
    with pytest.raises(ValueError, match="embeding_std"):
        file.row({"step": 0, "embeding_std": 0.5})
    file.close()


def test_full_disk_is_reported_in_one_line_and_closing_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the message that names the file, against a second error while it is raised."""
    file = MetricsFile(tmp_path / "metrics.csv", step=0)

    def full(_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("massrl.runs.metrics.os.fsync", full)
    with pytest.raises(TrainingError, match=r"cannot write .*metrics\.csv: No space left"):
        file.flush()
    file.close()


def test_row_that_a_killed_run_left_within_its_last_number_is_not_read(tmp_path: Path) -> None:
    """Guards resume: a row that is cut in its last column has all of its columns."""
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,loss\n0,0.5,2.5\n1,1,1.5e-")
    assert [row["loss"] for row in read_metrics(path)] == ["2.5"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("step,loss\n0,1\nx,2\n", ["0"]),
        ("step,loss\n0,1\n-1,2\n1,1\n", ["0", "1"]),
        ("step,loss\n0,one\n1,2\n", ["1"]),
        ("step,loss\n0,{}\n", []),
        ("step,loss\nnan,1\n", []),
        ("loss\n1\n", []),
        ("\0\n1\n", []),
        ("no table", []),
        ("step,loss\n0,1\n1,\xff\n", ["0"]),
    ],
)
def test_damaged_rows_are_left_out_with_a_warning(
    tmp_path: Path, text: str, kept: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Guards a run against its curves: neither a report nor a resumed run stops for them."""
    path = tmp_path / "metrics.csv"
    path.write_bytes(text.encode("latin-1"))
    assert [row["step"] for row in read_metrics(path)] == kept
    assert ["is damaged:" in record.getMessage() for record in caplog.records] == [True]
    MetricsFile(path, step=9).close()
    caplog.clear()
    assert [row["step"] for row in read_metrics(path)] == kept
    assert not caplog.records
