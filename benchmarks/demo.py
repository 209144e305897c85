"""The table of ``results/demo.md``, from the results of ``make demo``.

``make demo && python benchmarks/demo.py runs/demo/results.json``; of several seeds (``massrl demo --seed 1
--out runs/demo-1``) name every ``results.json``: the table has a row for each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from massrl.commands.demo_page import NETWORKS

RESULTS = Path(__file__).parent / "results" / "demo.md"


def main() -> None:
    """Read the results and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "results", nargs="+", type=Path, help="results.json of the demo, one a seed"
    )
    parser.add_argument(
        "--busy", action="store_true", help="say that the machine did other work too"
    )
    arguments = parser.parse_args()
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in arguments.results]
    first = runs[0]
    versions = ", ".join(f"{name} {version}" for name, version in first["software"].items())
    in_all = " and ".join(f"{run['seconds']:.0f}" for run in runs)
    lines = [
        "# Demo",
        "",
        "`make demo && python benchmarks/demo.py runs/demo/results.json`; commit "
        f"{first['commit']}; {first['hardware']}; {versions}; number of seeds: {len(runs)}; {in_all} seconds "
        f"in all{', on a machine that did other work too' if arguments.busy else ''}.",
        "Frozen features of rendered shapes, top-1 percent on shapes that were not trained on; chance is 10. "
        "Network, random weights, objective (InfoNCE), other options and planned seconds are the same; one "
        "policy gives two views of an image, four policies give four.",
        "",
        "| network | seed | steps | seconds | k-NN | linear |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {label} | {run['seed']} | {run['steps'].get(name, 0)} | "
        f"{run['training_seconds'].get(name, 0):.0f} | {run['knn'][name]:.1f} | {run['linear'][name]:.1f} |"
        for run in runs
        for name, label in NETWORKS.items()
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
