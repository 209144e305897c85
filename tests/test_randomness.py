"""Random numbers as a function of where they are used."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from massrl.randomness import Stream, epoch_permutation


def numbers(stream: Stream, count: int = 32) -> list[float]:
    return [stream.random() for _ in range(count)]


def stream(number: int = 0, *, seed: int = 3, epoch: int = 2, index: int = 5) -> Stream:
    return Stream(seed, epoch=epoch, index=index, number=number)


@pytest.mark.parametrize(
    ("seed", "epoch", "index", "number"),
    [(0, 0, 0, 0), (3, 2, 5, 7), (-1, 0, 2**40, 1), (10**30, 2**33, 1, 0), (7, 1, 2**64 - 1, 301)],
)
def test_stream_gives_numpys_philox_sixteen_numbers_a_block(
    seed: int, epoch: int, index: int, number: int
) -> None:
    """Guards the generator beside NumPy's, and with it the views of every run there has been."""
    key = np.array([seed % 2**64, epoch], np.uint64)
    own = stream(number, seed=seed, epoch=epoch, index=index)
    for block in range(5):
        counter = np.array([4 * number, block, index, 0], np.uint64)
        words = np.random.Philox(key=key, counter=counter).random_raw(16)
        assert numbers(own, 16) == [int(word) // 2**11 / 2**53 for word in words]


def test_methods_turn_the_same_numbers_into_what_they_say() -> None:
    """Guards each method beside plain Python: one number is taken from the stream for each."""
    taken, own = iter(numbers(stream(), 40)), stream()
    assert own.uniform(-2.0, 5.0) == -2.0 + 7.0 * next(taken)
    assert own.integer(498) == int(498 * next(taken))
    assert own.chance(0.5) == (next(taken) < 0.5)
    order = list(range(9))
    for last in range(8, 0, -1):
        other = int(next(taken) * (last + 1))
        order[last], order[other] = order[other], order[last]
    assert own.permutation(9) == order
    assert own.permutation(1) == [0]
    assert own.permutation(0) == []
    assert own.random() == next(taken)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda own: own.uniform(1.0),
        lambda own: own.uniform("low", 1.0),
        lambda own: own.uniform(0.0, None),
        lambda own: own.integer("many"),
        lambda own: own.chance(None),
        lambda own: own.permutation(2.5),
        lambda own: Stream(0.5, epoch=0, index=0, number=0),
        lambda own: Stream(0, epoch=0, index=0),
        lambda own: Stream(0, 1, 2, 3),
    ],
)
def test_wrong_arguments_of_a_stream_are_refused(wrong: Callable[[Stream], object]) -> None:
    """Guards the C: what it is not told to check, it takes for a number."""
    with pytest.raises(TypeError):
        wrong(stream())


def test_stream_asked_for_twice_gives_equal_numbers_whatever_was_drawn_between() -> None:
    """Guards against state that is kept between streams, such as a shared position."""
    first = numbers(stream(3), 70)
    numbers(stream(4), 50)
    assert numbers(stream(3), 70) == first


def test_stream_in_another_process_gives_the_same_numbers() -> None:
    """Guards against a hash, an id or a global generator in the seed of a worker."""
    code = (
        "from massrl.randomness import Stream\n"
        "s = Stream(3, epoch=2, index=5, number=7)\n"
        "print(','.join(s.random().hex() for _ in range(40)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ",".join(n.hex() for n in numbers(stream(7), 40))


def test_stream_differs_by_seed_epoch_index_and_number() -> None:
    """Guards against a word of the key or counter that is left out: all views would be equal."""
    seen = {
        tuple(numbers(stream(n, seed=s, epoch=e, index=i), 4))
        for s, e, i, n in itertools.product(range(4), range(4), range(4), range(8))
    }
    assert len(seen) == 4 * 4 * 4 * 8


def test_streams_of_many_images_never_share_a_number() -> None:
    """Guards against overlapping counters: a block that starts within another's would repeat it."""
    taken = [
        number
        for index in range(10)
        for which in range(16)
        for number in numbers(stream(which, index=index), 96)
    ]
    assert len(set(taken)) == len(taken)


def test_stream_beyond_its_first_block_goes_on_without_repetition() -> None:
    """Guards the refill: a policy that draws more than 16 numbers must not see the first again."""
    taken = numbers(stream(2), 1000)
    assert len(set(taken)) == 1000
    assert abs(np.corrcoef(taken[:-32], taken[32:])[0, 1]) < 0.1


def test_numbers_are_uniform_on_the_unit_interval() -> None:
    """Guards the conversion of words: a lost or an added bit gives half the range, or a one."""
    taken = [n for index in range(300) for n in numbers(stream(1, index=index), 40)]
    assert 0.0 <= min(taken) < 0.001
    assert 0.999 < max(taken) < 1.0
    assert stats.kstest(taken, "uniform").pvalue > 0.01


@pytest.mark.parametrize("count", [2, 3, 14, 498])
def test_integers_fall_on_every_value_equally_often(count: int) -> None:
    """Guards against a value that is never drawn, such as the last of a list."""
    own = stream()
    seen = np.bincount([own.integer(count) for _ in range(20 * count + 2000)], minlength=count)
    assert len(seen) == count
    assert stats.chisquare(seen).pvalue > 0.01


def test_permutations_of_three_come_equally_often() -> None:
    """Guards the shuffle: an off-by-one in Fisher-Yates favours some orders."""
    own = stream()
    orders = [tuple(own.permutation(3)) for _ in range(3000)]
    counts = [orders.count(order) for order in itertools.permutations(range(3))]
    assert sum(counts) == 3000
    assert stats.chisquare(counts).pvalue > 0.01


def test_chance_of_zero_never_and_of_one_always_comes_true() -> None:
    """Guards the comparison: with ``<=`` a probability of 0 would sometimes come true."""
    own = stream()
    assert not stream().chance(own.random())
    assert not any(own.chance(0.0) for _ in range(200))
    assert all(own.chance(1.0) for _ in range(200))


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**31, 2**63, 2**64 - 2, 10**30])
def test_seed_negative_or_huge_gives_numbers_of_its_own(seed: int) -> None:
    """Guards against an OverflowError, and against every odd seed ending at one and the same."""
    taken = numbers(stream(seed=seed))
    assert taken == numbers(stream(seed=seed))
    assert taken != numbers(stream(seed=0))
    assert sorted(epoch_permutation(seed, epoch=0, count=9)) == list(range(9))


def test_numbers_of_numpys_own_types_mean_what_pythons_do() -> None:
    """Guards against an overflow on ``np.int64``, which indices and seeds often are."""
    theirs = Stream(np.int64(3), epoch=np.int64(2), index=np.int64(5), number=np.int64(1))
    assert numbers(theirs) == numbers(stream(1))


@pytest.mark.parametrize("count", [1, 2, 17, 1000])
def test_epoch_permutation_holds_every_image_once(count: int) -> None:
    """Guards against images that an epoch leaves out or shows twice."""
    order = epoch_permutation(7, epoch=3, count=count)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(count))


def test_epoch_permutation_differs_by_epoch_and_seed_only() -> None:
    """Guards against one order for all epochs, and against an order that is drawn anew."""
    base = epoch_permutation(7, epoch=3, count=100)
    assert np.array_equal(base, epoch_permutation(7, epoch=3, count=100))
    for other in (
        epoch_permutation(7, epoch=4, count=100),
        epoch_permutation(8, epoch=3, count=100),
    ):
        assert np.mean(base == other) < 0.1


def test_epoch_permutation_puts_every_image_in_every_place_equally_often() -> None:
    """Guards against an order that favours some images early in every epoch."""
    first = [int(epoch_permutation(0, epoch=epoch, count=10)[0]) for epoch in range(2000)]
    assert stats.chisquare(np.bincount(first, minlength=10)).pvalue > 0.01


def test_epoch_permutation_is_apart_from_the_views_of_an_image() -> None:
    """Guards against one sequence for the order and for the views of image 0: they would be tied."""
    own = numbers(stream(seed=7, epoch=3, index=0), 32)
    assert not np.array_equal(
        np.argsort(own, kind="stable"), epoch_permutation(7, epoch=3, count=32)
    )
