"""The page of ``massrl demo``: what is said of figures that need an explanation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from massrl.commands.demo_page import CONVINCING_STEPS, RUNS, DemoResults, page_lead, remarks


def results(steps: int, **acc1: tuple[float, float]) -> DemoResults:
    """Results of two runs of so many steps in 100 seconds, with k-NN and linear accuracy in percent."""
    networks: Any = {
        name: SimpleNamespace(metrics={"knn": {"acc1": knn}, "linear": {"acc1": linear}})
        for name, (knn, linear) in acc1.items()
    }
    run: Any = SimpleNamespace(session=SimpleNamespace(step=steps, seconds=100.0))
    return DemoResults(networks, runs=dict.fromkeys(RUNS, run), seconds=300.0)


def test_figures_above_random_init_need_no_remark() -> None:
    """Guards against a page full of warnings."""
    good = results(1440, random_init=(36.5, 27.3), simclr=(37.0, 48.4), massrl=(81.8, 90.8))
    assert remarks(good) == []


def test_each_figure_below_random_init_is_explained() -> None:
    """Guards a reader who meets "25.3" beside "36.5" of a network that has learned nothing."""
    below = results(1440, random_init=(36.5, 27.3), simclr=(25.3, 48.4), massrl=(81.8, 20.0))
    lines = remarks(below)
    assert len(lines) == 2
    one, four = lines
    assert one.startswith(
        "one policy, k-NN: 25.3 is below the 36.5 of random init after 1,440 steps."
    )
    assert four.startswith("four policies, linear probe: 20.0 is below the 27.3 of random init")


@pytest.mark.parametrize(("one", "four"), [(83.1, 83.2), (83.2, 60.0), (20.0, 83.1)])
def test_sentence_at_the_top_says_the_same_whatever_comes_out(one: float, four: float) -> None:
    """Guards a page that praises: what differs, each figure, and no word of which is better."""
    said = page_lead(
        results(1440, random_init=(36.5, 27.3), simclr=(one, 50.0), massrl=(four, 50.0))
    )
    wanted = f"random init 36.5 %, one policy {one:.1f} %, four policies {four:.1f} %."
    assert said.endswith(wanted)
    before = said.removesuffix(wanted)
    for words in (
        "same random weights",
        "same objective (InfoNCE)",
        "only in the views",
        "1,440 steps",
    ):
        assert words in before
    usual = page_lead(results(1440, random_init=(1, 1), simclr=(2, 2), massrl=(3, 3)))
    assert usual.startswith(before)


@pytest.mark.parametrize(
    ("one", "four", "told"), [(90, 95, 0), (99, 90, 0), (111, 44, 1), (44, 111, 1)]
)
def test_runs_that_were_not_equally_long_are_told(one: float, four: float, told: int) -> None:
    """Guards a busy machine: planned for 103 seconds each, runs took 111 and 44, and were compared."""
    accuracies = results(1440, random_init=(1, 1), simclr=(2, 2), massrl=(3, 3)).networks
    runs: Any = {
        name: SimpleNamespace(session=SimpleNamespace(step=1440, seconds=float(seconds)))
        for name, seconds in (("simclr", one), ("massrl", four))
    }
    lines = remarks(DemoResults(accuracies, runs=runs, seconds=300.0))
    assert len(lines) == told
    wanted = f"one policy {one} seconds, four policies {four} seconds; the machine was busy"
    assert all(wanted in line for line in lines)


@pytest.mark.parametrize("steps", [1, 310, CONVINCING_STEPS - 1])
def test_run_that_is_too_short_is_told_how_long_to_take(steps: int) -> None:
    """Guards the advice: seconds for the missing steps at the speed of the run, rounded up."""
    short = results(steps, random_init=(36.5, 27.3), simclr=(40.0, 48.4), massrl=(50.1, 60.0))
    (line,) = remarks(short)
    advised = int(line.rpartition("--seconds ")[2].split()[0])
    assert CONVINCING_STEPS <= advised * steps / 100 < CONVINCING_STEPS + steps / 100
