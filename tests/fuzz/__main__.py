"""All cases of every kind, and the table of ``benchmarks/results/fuzz.md``.

python -m tests.fuzz [--seed 0] [--factor 1] [KIND …]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from massrl.runs.environment import detect_hardware, environment_info
from tests.fuzz.kernels import sanitized_environment
from tests.fuzz.runner import ROOT, Outcome, run_cases

RESULTS = ROOT / "benchmarks" / "results" / "fuzz.md"
KINDS = {
    "checkpoints": ("checkpoints: pickles, archives, safetensors", 12_000),
    "configs": ("flags, configuration files, mappings", 1_500),
    "shards": ("packed images and their index", 1_000),
    "annotations": ("COCO's JSON, VOC's XML, YOLO's text, lists, masks, label maps", 2_000),
    "names": ("lists of images and of subsets, names of files", 1_000),
    "images": ("JPEG, PNG, WebP, GIF, BMP and TIFF of every kind", 6_000),
    "runs": ("files of a run folder: configuration, backbone, `data.json`, a policy", 800),
    "results": ("`results.json` and `metrics.csv`", 600),
    "kernels": ("kernels, codecs and random streams in C under ASan and UBSan", 20_000),
}
"""What each kind is, and how many cases it has."""


def main() -> int:
    """Run the cases and return the exit code: 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "kinds", nargs="*", help="kinds to run; all of them are written to the table"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--factor", type=float, default=1.0, help="times as many cases")
    options = parser.parse_args()
    outcomes, skipped = [], []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds or KINDS:
            environment = sanitized_environment(Path(folder)) if kind == "kernels" else None
            if isinstance(environment, str):
                skipped.append(f"{kind}: no {environment}")
                continue
            plan = {kind: round(KINDS[kind][1] * options.factor)}
            outcome = run_cases(plan, seed=options.seed, environment=environment)[kind]
            counts = f"{kind}: {dict(outcome.counts)}, {outcome.seconds:.0f} s"
            sys.stdout.write("\n  ".join([counts, *outcome.faults]) + "\n")
            sys.stdout.flush()
            outcomes.append(outcome)
    if not options.kinds:
        arguments = f" --seed {options.seed} --factor {options.factor:g}"
        text = table(outcomes, skipped, arguments=arguments)
        RESULTS.write_text(text, encoding="utf-8")
    return int(any(outcome.faults for outcome in outcomes))


def table(outcomes: list[Outcome], skipped: list[str], *, arguments: str) -> str:
    """Return the counts of each kind as a page, with what they were measured with."""
    about = environment_info(detect_hardware("cpu").name)
    versions = ", ".join(f"{name} {version}" for name, version in about["software"].items())
    words = ("read", "refused", "crash", "hang", "fault")
    rows = [
        f"| {KINDS[item.kind][0]} | {item.num_cases:,} | "
        + " | ".join(f"{item.counts[word]:,}" for word in words)
        + f" | {item.seconds:.0f} |"
        for item in outcomes
    ]
    lines = [
        "# Damaged and hostile input",
        "",
        f"`python -m tests.fuzz{arguments}` (`make fuzz`); commit {about['commit']}; "
        f"{about['hardware']}; {versions}.",
        "",
        "Each case is a file, or arguments, changed at random, and used as a user would. *Read*: it was "
        "still usable; *refused*: by one line for a user; *crash*: the process died by a signal; *hang*: "
        "over 10 seconds; *fault*: any other exception or message, pixels that are mostly black, anything "
        "imported, run or written because a file said so.",
        "",
        "| input | cases | read | refused | crash | hang | fault | seconds |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        *(["", *(f"Not run: {item}." for item in skipped)] if skipped else []),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
