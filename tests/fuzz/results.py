"""Files of finished evaluations: ``results.json`` and ``metrics.csv``, compared and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from massrl.runs.metrics import MetricsFile
from tests.fuzz import case
from tests.fuzz.command import run_command
from tests.fuzz.mutation import mutated_json, mutated_lines

RUN = Path(__file__).parents[1] / "fixtures" / "version-0.1.0" / "simclr-done"


class Cases(case.Cases):
    """See ``tests.fuzz.case.Cases``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.results = (RUN / "results.json").read_text()
        self.metrics = (RUN / "metrics.csv").read_text()
        for name in "ab":
            (folder / name).mkdir()
            (folder / name / "results.json").write_text(self.results)
            (folder / name / "metrics.csv").write_text(self.metrics)
        self._compare()

    def run(self, generator: np.random.Generator) -> None:
        """Damage one file, then compare two folders; or continue the metrics of a run."""
        path = self.folder / "b"
        (path / "metrics.csv").write_text(self.metrics)
        (path / "results.json").write_text(self.results)
        kind = generator.integers(0, 4)
        if kind < 3:
            (path / "results.json").write_bytes(mutated_json(self.results, generator))
        else:
            (path / "metrics.csv").write_bytes(mutated_lines(self.metrics, generator))
        if kind == 3 and generator.integers(0, 2):
            MetricsFile(path / "metrics.csv", step=3).close()
        else:
            self._compare()

    def _compare(self) -> None:
        run_command(
            [
                "compare",
                str(self.folder / "a"),
                str(self.folder / "b"),
                "--out",
                str(self.folder / "c"),
            ]
        )
