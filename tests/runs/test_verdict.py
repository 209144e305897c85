"""What curves that were made by hand are said to show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from massrl.runs.verdict import COLLAPSED_STD, HEALTHY_STD, verdicts


def curve(
    losses: Sequence[float] | np.ndarray,
    *,
    chance: float | None = None,
    spread: float | None = None,
) -> list[dict[str, str]]:
    """Return rows as ``read_metrics`` does; the spread is measured every 25 steps."""
    return [
        {
            "step": str(step),
            "loss": f"{loss:.6g}",
            "chance": "" if chance is None else f"{chance:.6g}",
            "embedding_std": "" if spread is None or step % 25 else f"{spread:.6g}",
        }
        for step, loss in enumerate(losses)
    ]


def noisy(
    falls_to: float, *, start: float = 10.0, noise: float = 0.1, count: int = 400
) -> np.ndarray:
    """Return losses that fall along a line, with noise."""
    line = np.linspace(start, falls_to, count)
    return line + noise * np.random.default_rng(0).standard_normal(count)


def answers(rows: list[dict[str, str]]) -> dict[str, str]:
    return dict(verdicts(rows))


@pytest.mark.parametrize(
    ("loss", "answer"),
    [
        (10.93, "no, worse: the loss is 10.93 at the end, and 9.688 by guessing"),
        (9.688, "no, no better: "),
        (9.62, "no, no better: "),  # by 0.7 %
        (9.0, "yes: the loss is 9 at the end, and 9.688 by guessing"),
    ],
)
def test_loss_is_compared_with_that_of_guessing(loss: float, answer: str) -> None:
    """Guards a loss of 10.93 beside 2 ln 127 = 9.69, which looked like success."""
    rows = curve([12.0, 11.0, *[loss] * 98], chance=2 * math.log(127), spread=0.9)
    assert answers(rows)["better than guessing"].startswith(answer)


def test_collapsed_network_is_not_called_better_than_guessing() -> None:
    """Guards BYOL, whose loss is lowest where all images have one embedding."""
    rows = curve([4.0, 1.0, *[0.01] * 98], chance=4.0, spread=0.02)
    assert answers(rows)["better than guessing"].startswith("unknown: the loss is 0.01")
    assert answers(rows)["collapsed"].startswith("yes: embedding_std is 0.02")


@pytest.mark.parametrize(
    ("spread", "answer"),
    [
        (0.0, "yes"),
        (COLLAPSED_STD - 0.01, "yes"),
        (COLLAPSED_STD + 0.01, "in part"),
        (HEALTHY_STD - 0.01, "in part"),
        (HEALTHY_STD + 0.01, "no"),
        (1.0, "no"),
    ],
)
def test_spread_is_compared_with_its_healthy_band(spread: float, answer: str) -> None:
    """Guards the number against a reader who does not know which is good; the band stands beside it."""
    text = answers(curve([1.0] * 100, spread=spread))["collapsed"]
    assert text.startswith(f"{answer}: ")
    assert "healthy from 0.5 to 1, collapsed below 0.1" in text


@pytest.mark.parametrize(
    ("losses", "answer"),
    [
        (noisy(6.0), "yes: the loss falls, by 0.9"),  # a quarter of 4, less noise
        (np.r_[noisy(6.0), noisy(6.0, start=6.0)], "no: the loss stays the same"),
        (np.r_[noisy(6.0), noisy(8.0, start=6.0)], "no: the loss rises, by 1"),
        (noisy(9.99, noise=0.5), "no: the loss stays the same"),  # in its noise
        (noisy(9.9, noise=0.001), "no: the loss stays the same"),  # certain, but 0.25 %
        (noisy(2.0, count=60), "unknown: the run is too short to tell (15 rows"),
    ],
)
def test_trend_of_the_last_quarter_is_named(losses: np.ndarray, answer: str) -> None:
    """Guards what a user does next: a slope in noise is none, and an early fall is not a late one."""
    assert answers(curve(losses))["still improving"].startswith(answer)


def test_single_outliers_do_not_change_what_is_said() -> None:
    """Guards robustness: a tenth of all losses is far off."""
    losses = noisy(6.0, noise=0.02)
    losses[::10] = 50.0
    assert answers(curve(losses))["still improving"].startswith("yes: the loss falls, by 0.9")
    flat = noisy(6.0, start=6.0, noise=0.02)
    flat[-6:-3] = 50.0
    assert answers(curve(flat, chance=8.0))["better than guessing"].startswith(
        "yes: the loss is 5.99"
    )


def test_trend_is_that_of_scipy() -> None:
    """Guards slope and certainty: Theil-Sen and Kendall's τ of another implementation decide alike."""
    stats = pytest.importorskip("scipy.stats")
    for seed in range(30):
        generator = np.random.default_rng(seed)
        part = 5.0 + generator.normal(0, 1.0) * np.linspace(0, 1, 40) + generator.normal(0, 0.5, 40)
        said = answers(curve(np.r_[np.full(120, 5.0), part]))["still improving"]
        change = 39 * stats.theilslopes(part)[0]
        z = stats.kendalltau(range(40), part).statistic * math.sqrt(9 * 40 * 39 / (2 * 85))
        trend = abs(z) >= 2.58 and abs(change) >= 0.01 * np.median(part[-16:])
        assert said.startswith("yes") == (trend and change < 0), (seed, z, change)
        assert f"{abs(change):.2g} over the last quarter" in said


def test_what_was_not_measured_is_not_said() -> None:
    """Guards objectives without a loss of guessing, files of earlier versions, and runs of no step."""
    assert verdicts([]) == []
    assert [question for question, _ in verdicts(curve([1.0]))] == ["still improving"]
    rows = [{"step": "0", "loss": "nan"}, {"step": "1", "loss": ""}, {"step": "2", "loss": "inf"}]
    assert verdicts(rows) == []
