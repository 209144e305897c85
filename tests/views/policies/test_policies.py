"""What every policy draws: which operations, how often, with which numbers."""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np
import pytest
from scipy import stats
from torchvision import transforms
from torchvision.transforms.autoaugment import AutoAugmentPolicy

from massrl.errors import ConfigError
from massrl.randomness import Stream
from massrl.views.operations.base import Step, operations
from massrl.views.policies import autoaugment
from massrl.views.policies.autoaugment import AutoAugment, FastAutoAugment
from massrl.views.policies.base import Draw, Group, Policy
from massrl.views.policies.catalogue import parse_policy
from massrl.views.policies.colour import jitter, simclr
from massrl.views.policies.randaugment import RandAugment, TrivialAugment
from massrl.views.policies.tables import NAMES, policy_table

SIDE = 224
GEOMETRIC = {"shear_x", "shear_y", "translate_x", "translate_y", "rotate"}
FACTORS = {"brightness", "contrast", "saturation", "sharpness"}
DATASETS = ("imagenet", "cifar10", "svhn")


def sequences(policy: Policy | str, count: int, side: int = SIDE) -> list[tuple[Step, ...]]:
    policy = parse_policy(policy) if isinstance(policy, str) else policy
    streams = (Stream(11, epoch=0, index=i, number=0) for i in range(count))
    return [policy.draw(stream, side) for stream in streams]


def values_by_operation(drawn: list[tuple[Step, ...]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = collections.defaultdict(list)
    for step in (step for steps in drawn for step in steps):
        found[step.operation].append(step.values[0] if step.values else math.nan)
    return found


def theirs(space: dict[str, Any], bins: list[int], side: int = SIDE) -> dict[str, set[float]]:
    """Torchvision's augmentation space as the values that our steps carry.

    torchvision applies a brightness of magnitude m as factor 1 + m and a translation in pixels; our
    numbers are the factor itself, and a fraction of the side.
    """
    found = {}
    for name, (magnitudes, signed) in space.items():
        ours = NAMES[name]
        values = [float(magnitudes[i]) for i in bins] if magnitudes.ndim else [math.nan]
        if ours.startswith("translate"):
            values = [value / side for value in values]
        centre = 1.0 if ours in FACTORS else 0.0
        signs = (1, -1) if signed else (1,)
        found[ours] = {round(centre + sign * value, 5) for value in values for sign in signs}
    return found


def assert_values(ours: dict[str, list[float]], wanted: dict[str, set[float]]) -> None:
    assert set(ours) == set(wanted)
    for name, values in ours.items():
        if operations[name].has_value:
            assert {round(value, 5) + 0.0 for value in values} == {v + 0.0 for v in wanted[name]}, (
                name
            )
        else:
            assert np.isnan(values).all()


# ---------------------------------------------------------------- RandAugment, TrivialAugment


@pytest.mark.parametrize(("n", "m"), [(2, 9), (1, 5), (3, 13), (2, 0), (1, 20), (2, 30)])
def test_randaugment_draws_torchvisions_operations_at_torchvisions_values(n: int, m: int) -> None:
    """Guards every number of the space: a sign, a scale, a rounding of the bits to keep."""
    drawn = sequences(f"randaugment({n},{m})", 1500)
    assert {len(steps) for steps in drawn} == {n}
    space = transforms.RandAugment(n, m)._augmentation_space(31, (SIDE, SIDE))
    assert_values(values_by_operation(drawn), theirs(space, [m]))


def test_randaugment_draws_each_operation_equally_often_and_each_sign_too() -> None:
    """Guards the frequencies: an operation listed twice, or signs that are always positive."""
    found = values_by_operation(sequences("randaugment(2,9)", 4000))
    assert len(found) == 14
    assert stats.chisquare([len(values) for values in found.values()]).pvalue > 0.01
    for name in GEOMETRIC | FACTORS:
        centre = 1.0 if name in FACTORS else 0.0
        up = sum(value > centre for value in found[name])
        assert stats.binomtest(up, len(found[name])).pvalue > 0.001, name


def test_randaugment_draws_its_operations_independently_with_replacement() -> None:
    """Guards against a draw without replacement: torchvision's may take one operation twice."""
    drawn = sequences("randaugment(2,9)", 4000)
    same = sum(first.operation == second.operation for first, second in drawn)
    assert stats.binomtest(same, len(drawn), 1 / 14).pvalue > 0.001


def test_randaugment_expanded_adds_six_operations_and_has_no_invert() -> None:
    """Guards the released code's expansion: brightness, contrast, saturation, hue, blur, grey."""
    found = values_by_operation(sequences("randaugment-expanded(2,9)", 5000))
    plain = set(values_by_operation(sequences("randaugment(2,9)", 500)))
    assert set(found) == plain | {"hue", "gaussian_blur", "grayscale"}
    assert "invert" not in found
    shares = {name: len(values) / 10_000 for name, values in found.items()}
    for name, share in shares.items():
        twice = name in ("brightness", "contrast", "saturation")
        assert share == pytest.approx((2 if twice else 1) / 20, abs=0.01), name
    assert -0.1 <= min(found["hue"]) < -0.09
    assert 0.09 < max(found["hue"]) < 0.1
    assert 0.1 <= min(found["gaussian_blur"]) < 0.2
    assert 1.9 < max(found["gaussian_blur"]) < 2.0


@pytest.mark.parametrize("side", [224, 96])
def test_trivialaugment_draws_torchvisions_operations_at_torchvisions_values(side: int) -> None:
    """Guards the wide space: its translation is in pixels, its posterize down to two bits."""
    drawn = sequences("trivialaugment", 16_000, side)
    assert {len(steps) for steps in drawn} == {1}
    space = transforms.TrivialAugmentWide()._augmentation_space(31)
    found = values_by_operation(drawn)
    assert_values(found, theirs(space, list(range(31)), side))
    assert stats.chisquare([len(values) for values in found.values()]).pvalue > 0.01
    bits = collections.Counter(found["posterize"])
    bins = collections.Counter((8 - round(i / 5)) for i in range(31))
    expected = [len(found["posterize"]) * bins[b] / 31 for b in sorted(bins)]
    assert stats.chisquare([bits[float(b)] for b in sorted(bins)], expected).pvalue > 0.01


def test_trivialaugment_on_a_tiny_view_keeps_its_shift_within_the_side() -> None:
    """Guards against a plan whose number lies outside the operation's range: 32 px on 8."""
    found = values_by_operation(sequences("trivialaugment", 3000, 8))
    assert max(map(abs, found["translate_x"] + found["translate_y"])) == 1.0


# ---------------------------------------------------------------- learnt tables


@pytest.mark.parametrize("dataset", DATASETS)
def test_autoaugment_table_equals_torchvisions(dataset: str) -> None:
    """Guards the transcription: one wrong probability or bin is a policy nobody published."""
    policy = AutoAugmentPolicy(dataset)
    wanted = transforms.AutoAugment(policy).policies
    ours = policy_table("autoaugment.json")["policies"][dataset]
    assert [tuple(tuple(step) for step in pair) for pair in ours] == [
        tuple(pair) for pair in wanted
    ]


@pytest.mark.parametrize("dataset", DATASETS)
def test_autoaugment_draws_torchvisions_sequences_with_their_frequencies(dataset: str) -> None:
    """Guards choice, probability, bins of ten, and signs, on exact sequences of steps.

    The expected frequencies come from torchvision's table and space by enumeration.
    """
    policies = transforms.AutoAugment(AutoAugmentPolicy(dataset)).policies
    space = transforms.AutoAugment()._augmentation_space(10, (SIDE, SIDE))

    def outcomes(name: str, prob: float, bin_index: int | None) -> dict[tuple[Any, ...], float]:
        magnitudes, signed = space[name]
        ours = NAMES[name]
        applied: dict[tuple[Any, ...], float] = collections.defaultdict(float)
        if bin_index is None or not operations[ours].has_value:
            applied[((ours,),)] += prob
        else:
            size = float(magnitudes[bin_index]) / (SIDE if ours.startswith("translate") else 1)
            centre = 1.0 if ours in FACTORS else 0.0
            for sign in (1, -1) if signed else (1,):
                value = round(centre + sign * size, 4) + 0.0
                applied[((ours, value),)] += prob / (2 if signed else 1)
        applied[()] += 1 - prob
        return applied

    expected: dict[tuple[Any, ...], float] = collections.defaultdict(float)
    for first, second in policies:
        for one, p in outcomes(*first).items():
            for two, q in outcomes(*second).items():
                expected[one + two] += p * q / len(policies)
    count = 12_000
    seen = collections.Counter(
        tuple((s.operation, *(round(v, 4) + 0.0 for v in s.values)) for s in steps)
        for steps in sequences(AutoAugment(dataset=dataset), count)
    )
    assert all(expected[sequence] > 0 for sequence in seen)
    often = [key for key, prob in expected.items() if prob * count > 10]
    observed = [seen[key] for key in often]
    wanted = [expected[key] * count for key in often]
    if count - sum(wanted) > 1e-6:  # all rare sequences together
        observed, wanted = [*observed, count - sum(observed)], [*wanted, count - sum(wanted)]
    assert stats.chisquare(observed, wanted).pvalue > 0.01


@pytest.mark.parametrize(("dataset", "count"), [("imagenet", 498), ("cifar10", 493), ("svhn", 497)])
def test_fast_autoaugment_table_holds_every_published_pair(dataset: str, count: int) -> None:
    """Guards against a cut table, an unknown operation, a probability or level outside [0, 1]."""
    table = policy_table("fast_autoaugment.json")
    pairs = table["policies"][dataset]
    assert len(pairs) == count
    assert {len(pair) for pair in pairs} == {2}
    steps = [step for pair in pairs for step in pair]
    assert {name for name, _, _ in steps} <= set(table["ranges"])
    assert {name for name, _, _ in steps} <= set(NAMES)
    assert all(0 <= prob <= 1 and 0 <= level <= 1 for _, prob, level in steps)


@pytest.mark.parametrize("file", ["autoaugment.json", "fast_autoaugment.json"])
def test_learnt_table_carries_its_source_and_licence(file: str) -> None:
    """Guards the notice that the tables' licences ask for."""
    text = resources.files("massrl.views.policies").joinpath(file).read_text(encoding="utf-8")
    content = json.loads(text)
    assert "arXiv" in content["source"]
    assert "Copyright" in content["licence"]


@pytest.fixture
def one_pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Replace Fast AutoAugment's table by a single pair."""

    def install(*steps: tuple[str, float, float]) -> FastAutoAugment:
        ranges = policy_table("fast_autoaugment.json")["ranges"]
        table = {"ranges": ranges, "policies": {"imagenet": [list(steps)]}}
        monkeypatch.setattr(autoaugment, "policy_table", lambda file: table)
        autoaugment._fast_autoaugment_table.cache_clear()
        return FastAutoAugment(dataset="imagenet")

    yield install
    monkeypatch.undo()
    autoaugment._fast_autoaugment_table.cache_clear()


@pytest.mark.parametrize(
    ("name", "level", "value", "mirrored"),
    [
        ("ShearX", 0.75, 0.15, True),
        ("TranslateY", 0.5, 0.0, True),
        ("TranslateX", 0.0, -0.45, True),
        ("Rotate", 1.0, 30.0, True),
        ("Solarize", 0.25, 64.0, False),
        ("Posterize", 0.5, 6.0, False),
        ("Posterize", 0.9, 7.0, False),
        ("Contrast", 0.0, 0.1, False),
        ("Color", 1.0, 1.9, False),
        ("Brightness", 0.5, 1.0, False),
        ("Sharpness", 0.25, 0.55, False),
        ("Cutout", 0.5, 0.1, False),
    ],
)
def test_fast_autoaugment_value_is_linear_in_its_level_and_mirrored_if_geometric(
    one_pair: Any, name: str, level: float, value: float, mirrored: bool
) -> None:
    """Guards the ranges of the released code, worked out by hand, and which signs are random."""
    drawn = sequences(one_pair((name, 1.0, level), ("Invert", 0.0, 0.5)), 400)
    found = [round(steps[0].values[0], 6) for steps in drawn]
    wanted = {value, -value} if mirrored else {value}
    assert {v + 0.0 for v in found} == {round(v, 6) + 0.0 for v in wanted}
    if mirrored and value:
        assert stats.binomtest(found.count(value), 400).pvalue > 0.001


def test_fast_autoaugment_applies_each_operation_with_its_own_probability(one_pair: Any) -> None:
    """Guards against one coin for both operations, or a probability taken for a level."""
    drawn = sequences(one_pair(("Invert", 0.3, 0.9), ("Equalize", 0.8, 0.1)), 4000)
    names = [tuple(step.operation for step in steps) for steps in drawn]
    counts = collections.Counter(names)
    wanted = {
        ("invert", "equalize"): 0.24,
        ("invert",): 0.06,
        ("equalize",): 0.56,
        (): 0.14,
    }
    expected = [4000 * prob for prob in wanted.values()]
    assert stats.chisquare([counts[key] for key in wanted], expected).pvalue > 0.01


def test_fast_autoaugment_draws_every_pair_equally_often() -> None:
    """Guards the choice among the sub-policies, by the operations' expected shares in the table."""
    pairs = policy_table("fast_autoaugment.json")["policies"]["imagenet"]
    shares: dict[str, float] = collections.defaultdict(float)
    for name, prob, _ in (step for pair in pairs for step in pair):
        shares[NAMES[name]] += prob / len(pairs)
    count = 6000
    found = values_by_operation(sequences("fast-autoaugment(imagenet)", count))
    assert set(found) == {name for name, share in shares.items() if share > 0}
    for name, share in shares.items():
        assert len(found[name]) / count == pytest.approx(share, abs=5 * math.sqrt(share / count))


def test_fast_autoaugment_cutout_has_a_centre_of_its_own_each_time(one_pair: Any) -> None:
    """Guards against a square that always covers the same place."""
    drawn = sequences(one_pair(("Cutout", 1.0, 1.0), ("Invert", 0.0, 0.0)), 1000)
    for axis in (1, 2):
        assert stats.kstest([steps[0].values[axis] for steps in drawn], "uniform").pvalue > 0.01


# ---------------------------------------------------------------- colour pipelines

PIPELINES = [
    ("simclr", 1.0, 0.0, 0.2),
    ("byol-1", 1.0, 0.0, 0.2),
    ("byol-2", 0.1, 0.2, 0.2),
    ("simclr(blur_prob=0.5,solarize_prob=0.3,grayscale_prob=0.4)", 0.5, 0.3, 0.4),
]


@pytest.mark.parametrize(("name", "blur", "solarize", "grey"), PIPELINES)
def test_colour_pipeline_applies_its_parts_with_their_probabilities(
    name: str, blur: float, solarize: float, grey: float
) -> None:
    """Guards BYOL's asymmetry and MASSRL's pipeline: blur 1.0 / 0.1, solarise 0 / 0.2, grey 0.2."""
    count = 4000
    drawn = sequences(name, count)
    found = values_by_operation(drawn)
    wanted = {"gaussian_blur": blur, "solarize": solarize, "grayscale": grey}
    wanted |= dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.8)
    for operation, prob in wanted.items():
        seen = len(found.get(operation, []))
        assert stats.binomtest(seen, count, prob).pvalue > 0.001, operation
    jittered = [len({"brightness", "hue"} & {s.operation for s in steps}) for steps in drawn]
    assert set(jittered) == {0, 2}  # the four come together or not at all


def test_colour_pipeline_draws_its_numbers_uniformly_from_their_ranges() -> None:
    """Guards jitter 0.4 / 0.4 / 0.2 / 0.1 and σ 0.1 to 2."""
    found = values_by_operation(sequences("byol-2", 4000) + sequences("simclr", 4000))
    ranges = {
        "brightness": (0.6, 1.4),
        "contrast": (0.6, 1.4),
        "saturation": (0.8, 1.2),
        "hue": (-0.1, 0.1),
        "gaussian_blur": (0.1, 2.0),
    }
    for name, (low, high) in ranges.items():
        assert stats.kstest(found[name], stats.uniform(low, high - low).cdf).pvalue > 0.001, name
    assert set(found["solarize"]) == {128.0}


def test_colour_pipeline_jitters_in_every_order_and_then_greys_blurs_and_solarizes() -> None:
    """Guards the random order of the four, as torchvision's ColorJitter, and the fixed rest."""
    four = {"brightness", "contrast", "saturation", "hue"}
    tail = ["grayscale", "gaussian_blur", "solarize"]
    orders: collections.Counter[tuple[str, ...]] = collections.Counter()
    for steps in sequences("byol-2", 5000):
        names = [step.operation for step in steps]
        jittered = tuple(name for name in names if name in four)
        assert names[len(jittered) :] == [name for name in tail if name in names]
        orders[jittered] += bool(jittered)
    counts = [count for order, count in orders.items() if order]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 0.01


def test_weak_draws_nothing() -> None:
    """Guards the weak view of directional methods: crop and flip alone."""
    assert set(sequences("weak", 50)) == {()}


def test_jitter_of_zero_strength_draws_no_such_operation() -> None:
    """Guards against a step that does nothing and costs time."""
    assert jitter(0.0, 0.0, 0.0, 0.0) == ()
    assert [draw.operation for draw in jitter(0.0, 0.5, 0.0, 0.1)] == ["contrast", "hue"]


def test_jitter_beyond_one_never_has_a_negative_factor() -> None:
    """Guards against a brightness below 0: every such view would be black."""
    (brightness,) = jitter(1.5, 0.0, 0.0, 0.0)
    assert (brightness.low, brightness.high) == (0.0, 2.5)


# ---------------------------------------------------------------- blocks and refusals


def test_group_that_chooses_draws_that_many_members_in_their_own_order() -> None:
    """Guards ``choose``: without replacement, every pair equally often, order kept."""
    members = tuple(Draw(operation=name) for name in ("invert", "equalize", "grayscale"))
    drawn = sequences(Group(members=members, choose=2), 3000)
    counts = collections.Counter(tuple(step.operation for step in steps) for steps in drawn)
    assert set(counts) == {
        ("invert", "equalize"),
        ("invert", "grayscale"),
        ("equalize", "grayscale"),
    }
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_group_that_shuffles_its_choice_draws_every_order() -> None:
    """Guards ``shuffle`` beside ``choose``: both orders of each pair."""
    members = tuple(Draw(operation=name) for name in ("invert", "equalize", "grayscale"))
    drawn = sequences(Group(members=members, choose=2, shuffle=True, prob=0.5), 6000)
    counts = collections.Counter(tuple(step.operation for step in steps) for steps in drawn)
    skipped = counts.pop(())
    assert stats.binomtest(skipped, 6000, 0.5).pvalue > 0.001
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


@pytest.mark.parametrize("policy", ["simclr", "randaugment(3,30)", "trivialaugment", "byol-2"])
@pytest.mark.parametrize("side", [1, 8, 224])
def test_every_number_drawn_lies_within_its_operations_range(policy: str, side: int) -> None:
    """Guards against plans that no executor promises to follow."""
    for step in (step for steps in sequences(policy, 300, side) for step in steps):
        known = operations[step.operation]
        assert len(step.values) == int(known.has_value)
        assert all(known.low <= value <= known.high for value in step.values), step


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Draw(operation="rotat"), "unknown operation 'rotat'.*'rotate'.*--views.policies"),
        (lambda: Draw(operation="rotate", low=-400, high=0), r"\[-400, 0\].*rotate.*\[-360, 360\]"),
        (lambda: Draw(operation="brightness", low=2, high=1), r"\[2, 1\] of brightness"),
        (lambda: Draw(operation="hue", low=0, high=math.nan), "hue"),
        (lambda: Draw(operation="invert", low=0, high=1), "invert takes no number"),
        (lambda: Draw(operation="invert", prob=1.2), "probability of invert is 1.2"),
        (lambda: Group(members=(), prob=-0.1), "probability of group is -0.1"),
        (lambda: Group(members=(), choose=1), "choose is 1, but the group has 0"),
        (lambda: RandAugment(num_operations=0), "n is 0, but 1 or more.*--views.policies"),
        (lambda: RandAugment(magnitude=31), "m is 31, but 0 to 30.*--views.policies"),
        (lambda: simclr(strength=-1.0), "strength is -1.*--views.policies"),
    ],
)
def test_policy_that_cannot_be_is_refused_in_one_line(make: Any, message: str) -> None:
    """Guards the messages: what is wrong, the value, what is accepted."""
    with pytest.raises(ConfigError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_step_prints_its_operation_and_numbers() -> None:
    """Guards what logs and plans show."""
    assert str(Step("rotate", (-26.666,))) == "rotate −26.7°"
    assert str(Step("invert")) == "invert"
    assert str(Step("cutout", (0.2, 0.5, 0.25))) == "cutout 20 % at 50 %, 25 %"


def test_trivialaugment_takes_its_strength_apart_from_its_operation() -> None:
    """Guards against one number for both draws: each operation would have one strength only."""
    found = values_by_operation(sequences(TrivialAugment(), 3000))
    assert all(len(set(found[name])) > 25 for name in GEOMETRIC | FACTORS)


@pytest.mark.parametrize(
    "policy",
    ["randaugment(2,9)", "autoaugment(svhn)", "fast-autoaugment(imagenet)", "trivialaugment"],
)
@pytest.mark.parametrize("side", [32, 224])
def test_translations_move_by_whole_pixels_and_not_by_fractions_of_one(
    policy: str, side: int
) -> None:
    """Guards a known bug of other libraries: a fraction of the side taken for a number of pixels."""
    found = values_by_operation(sequences(policy, 3000, side))
    shifts = [abs(value) * side for value in found["translate_x"] + found["translate_y"]]
    assert len(shifts) > 100
    assert np.mean([shift < 1 for shift in shifts]) <= 0.2  # levels that are next to nothing
    assert 0.03 * side <= np.median(shifts) <= 0.5 * side
