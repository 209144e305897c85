"""The demonstration as a newcomer runs it: from what it left to the table of ``results/demo.md``.

``make demo && python benchmarks/demo.py runs/demo/results.json``
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "demo.md"


def main() -> None:
    """Read the figures and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="the demonstration's results.json")
    results = json.loads(parser.parse_args().results.read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in results["software"].items())
    steps = {"untrained": 0, **results["steps"]}
    seconds = {"untrained": 0, **results["training_seconds"]}
    lines = [
        "# The demonstration",
        "",
        "`make demo && python benchmarks/demo.py runs/demo/results.json`; commit "
        f"{results['commit']}; {results['hardware']}; {versions}; one seed; {results['seconds']:.0f} seconds "
        "in all.",
        "Frozen features of rendered shapes, top-1 percent on shapes never learnt from; chance is 10.",
        "",
        "| network | steps | seconds | k-NN | linear |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {steps[name]} | {seconds[name]:.0f} | {results['knn'][name]:.1f} | "
        f"{results['linear'][name]:.1f} |"
        for name in ("untrained", "byol", "massrl")
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
