"""The demonstration as a newcomer runs it: the table of ``results/demo.md``.

OMP_WAIT_POLICY=PASSIVE python benchmarks/demo.py [--seconds 90]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from massrl.demo import run_demo
from massrl.options import DemoConfig

RESULTS = Path(__file__).parent / "results" / "demo.md"


def main() -> None:
    """Run it and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--out", default="runs/demo")
    wanted = parser.parse_args()
    folder = run_demo(DemoConfig(out=wanted.out, seconds=wanted.seconds))
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in results["software"].items())
    steps = {"untrained": 0, **results["steps"]}
    seconds = {"untrained": 0, **results["training_seconds"]}
    lines = [
        "# The demonstration",
        "",
        f"`OMP_WAIT_POLICY=PASSIVE python benchmarks/demo.py --seconds {wanted.seconds:g}`; commit "
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
