"""What the curves of a run say, in plain words: better than guessing, collapsed, still improving."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

COLLAPSED_STD = 0.1
"""Of ``embedding_std``; below it the embeddings of different images are nearly identical."""
HEALTHY_STD = 0.5
"""Of ``embedding_std``, as a rule of thumb; up to 1, that of random embeddings."""
BAND = f"healthy from {HEALTHY_STD:g} to 1, collapsed below {COLLAPSED_STD:g}"

_END = 0.1  # of the rows: what counts as the end of a run
_LAST_PART = 0.25  # of the rows: where the loss may still change
_BLOCKS = 40  # medians that the last part is divided into
_FEWEST = 20  # rows of the last part, below which its slope says nothing
_SURE = 2.58  # standard deviations of Kendall's statistic without a trend: 1 in 100 is as far
_NOTABLE = 0.01  # of a loss: smaller differences are called none

Rows = Sequence[Mapping[str, str]]


class Verdict(NamedTuple):
    """A question about a run, and its answer, which begins with yes, no or unknown."""

    question: str
    answer: str


def verdicts(rows: Rows) -> list[Verdict]:
    """Return what the rows of ``metrics.csv`` say about a run; nothing where there are none.

    Whether the loss is better than guessing is left out where the objective has no such loss.
    """
    losses = _values(rows, "loss")
    if not losses:
        return []
    spread = _end(_values(rows, "embedding_std"))
    chance = _end(_values(rows, "chance"))
    found = []
    if chance is not None:
        found.append(_better_than_guessing(losses, chance, spread))
    if spread is not None:
        found.append(_collapsed(spread))
    return [*found, _improving(losses)]


def _better_than_guessing(losses: Sequence[float], chance: float, spread: float | None) -> Verdict:
    loss = _end(losses) or 0.0
    numbers = f"the loss is {loss:.4g} at the end, and {chance:.4g} by guessing"
    if loss >= (1 - _NOTABLE) * chance:
        than = "worse" if loss > (1 + _NOTABLE) * chance else "no better"
        answer = f"no, {than}: {numbers}"
    elif spread is not None and spread < COLLAPSED_STD:
        answer = f"unknown: {numbers}, but collapsed embeddings may have a low loss, too"
    else:
        answer = f"yes: {numbers}"
    return Verdict("better than guessing", answer)


def _collapsed(spread: float) -> Verdict:
    state = "yes" if spread < COLLAPSED_STD else "no" if spread >= HEALTHY_STD else "in part"
    return Verdict("collapsed", f"{state}: embedding_std is {spread:.2g} at the end ({BAND})")


def _improving(losses: Sequence[float]) -> Verdict:
    """Test the last part of the losses for a trend (Mann-Kendall), and measure it (Theil-Sen)."""
    question, part = "still improving", losses[-math.ceil(_LAST_PART * len(losses)) :]
    if len(part) < _FEWEST:
        steps = f"{len(part)} rows in the last quarter, and {_FEWEST} are wanted"
        return Verdict(question, f"unknown: the run is too short to tell ({steps})")
    count = min(_BLOCKS, len(part))
    edges = [len(part) * number // count for number in range(count + 1)]
    medians = [statistics.median(part[i:j]) for i, j in pairwise(edges)]
    pairs = list(combinations(range(count), 2))
    slope = statistics.median((medians[j] - medians[i]) / (j - i) for i, j in pairs)
    change = slope * (count - 1)
    rises = sum((medians[j] > medians[i]) - (medians[j] < medians[i]) for i, j in pairs)
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    size = f"{abs(change):.2g} over the last quarter"
    if abs(rises) < _SURE * deviation or abs(change) < _NOTABLE * abs(_end(losses) or 0.0):
        return Verdict(question, f"no: the loss stays the same, or nearly so ({size})")
    if change > 0:
        return Verdict(question, f"no: the loss rises, by {size}")
    return Verdict(
        question, f"yes: the loss falls, by {size}; a longer run may make it lower still"
    )


def _end(values: Sequence[float]) -> float | None:
    """Return the median of the last tenth, of at least three values where there are so many."""
    last = values[-max(3, math.ceil(_END * len(values))) :]
    return statistics.median(last) if last else None


def _values(rows: Rows, column: str) -> list[float]:
    values = [float(row[column]) for row in rows if row.get(column)]
    return [value for value in values if math.isfinite(value)]
