"""The table of ``results/demo.md``, from the results of ``make demo``.

``make demo && python benchmarks/demo.py runs/demo/results.json``
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "demo.md"


def main() -> None:
    """Read the results and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results.json of the demo")
    results = json.loads(parser.parse_args().results.read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in results["software"].items())
    lines = [
        "# Demo",
        "",
        "`make demo && python benchmarks/demo.py runs/demo/results.json`; commit "
        f"{results['commit']}; {results['hardware']}; {versions}; one seed; {results['seconds']:.0f} seconds "
        "in all.",
        "Frozen features of rendered shapes, top-1 percent on shapes that were not trained on; chance is 10.",
        "",
        "| network | steps | seconds | k-NN | linear |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name.replace('_', ' ')} | {results['steps'].get(name, 0)} | "
        f"{results['training_seconds'].get(name, 0):.0f} | {accuracy:.1f} | {results['linear'][name]:.1f} |"
        for name, accuracy in results["knn"].items()
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
