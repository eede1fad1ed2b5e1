"""The gate of 8 bits knows what its images can tell: by hand, by enumeration, and by how often it is right."""

from __future__ import annotations

import functools
import itertools
import math
import re
from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from idsnn_export.gates.paired import Paired, clopper_pearson, in_words


def multinomial(n: int, b: int, c: int, p_b: Fraction, p_c: Fraction) -> Fraction:
    ways = math.comb(n, b) * math.comb(n - b, c)
    return ways * p_b**b * p_c**c * (1 - p_b - p_c) ** (n - b - c)


@functools.cache
def bounds(n: int, b: int, c: int) -> tuple[float, float]:
    return Paired(n, b, c).bounds


def test_mcnemar_by_hand() -> None:
    assert Paired(100, 0, 0).p == 1
    assert Paired(100, 5, 5).p == 1
    assert Paired(100, 1, 5).p == 2 * (1 + 6) / 64
    assert Paired(100, 10, 0).p == 2 / 1024


def test_clopper_pearson_by_hand() -> None:
    """None of n: 1 - (risk / 2)**(1/n), the rule of three; one of two: the roots of (1 - p)**2 and p**2."""
    low, high = clopper_pearson(0, 60, 0.05)
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 60), abs=1e-5)
    low, high = clopper_pearson(1, 2, 0.05)
    assert low == pytest.approx(1 - math.sqrt(0.975), abs=1e-5)
    assert high == pytest.approx(math.sqrt(0.975), abs=1e-5)
    assert clopper_pearson(4, 4, 0.05) == (pytest.approx(0.025**0.25, abs=1e-5), 1)
    assert clopper_pearson(5, 20, 0.05) == (pytest.approx(0.0866, abs=1e-4), pytest.approx(0.4910, abs=1e-4))


@pytest.mark.parametrize(("p_b", "p_c"), [(0, 0), (1, 0), (1, 1), (8, 2), (1, 12)])
def test_each_bound_is_right_in_95_of_100_cases(p_b: int, p_c: int) -> None:
    """Every outcome of 12 images, weighted by how often it comes up."""
    n, first, second = 12, Fraction(p_b, 32), Fraction(p_c, 32)
    loss, below, above = float(first - second), Fraction(0), Fraction(0)
    for b, c in itertools.product(range(n + 1), repeat=2):
        chance = multinomial(n, b, c, first, second) if b + c <= n else Fraction(0)
        if chance > Fraction(1, 10**6):
            low, high = bounds(n, b, c)
            below += chance * (loss < low - 1e-9)
            above += chance * (loss > high + 1e-9)
    assert below <= Fraction(5, 100)
    assert above <= Fraction(5, 100)


@hypothesis.given(st.integers(1, 800), st.floats(0, 1), st.floats(0, 1))
@hypothesis.settings(max_examples=10)
def test_bounds_hold_what_was_seen_and_change_sides_with_the_networks(n: int, part: float, side: float) -> None:
    different = int(part * min(n, 60))
    lost = int(side * different)
    there, back = Paired(n, lost, different - lost), Paired(n, different - lost, lost)
    low, high = there.bounds
    assert -1 <= low <= there.loss + 1e-9
    assert there.loss - 1e-9 <= high <= 1
    assert back.bounds == (-high, -low)


def test_two_images_of_360_decide_nothing() -> None:
    found = Paired(360, 2, 0)
    assert found.outcome(0.005) == "undecided"
    low, high = found.bounds
    assert low < 0.005 < high < 0.03


def test_ten_images_of_360_that_only_go_are_a_loss() -> None:
    assert Paired(360, 10, 0).outcome(0.005) == "bad"


def test_as_many_come_as_go_and_images_are_many() -> None:
    assert Paired(2000, 4, 5).outcome(0.005) == "good"
    assert Paired(4000, 28, 28).outcome(0.005) == "good"
    assert Paired(360, 4, 5).outcome(0.005) == "undecided"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            Paired(360, 2, 1),
            r"1\.\d\d points lower to 0\.\d\d points higher .*: 360 are too few .* 0\.5 points .* about [\d,]+ would",
        ),
        (Paired(400, 2, 0), r": 400 are too few .*; these lost just that, so only others can settle it"),
        (
            Paired(2000, 4, 5),
            r"0\.\d\d points lower to 0\.\d\d points higher on other images \(95 % either way\), where at most 0\.5",
        ),
        (
            Paired(2000, 90, 5),
            r"[56]\.\d\d points lower to 3\.\d\d points lower .*, where at most 0\.5 points may be lost",
        ),
    ],
    ids=["undecided", "on the limit", "good", "bad"],
)
def test_words_say_what_other_images_may_show_and_what_settles_it(seen: Paired, words: str) -> None:
    figures = {"samples": seen.images, **seen.judged(0.005)}
    assert re.fullmatch(f".*{words}.*", in_words(figures)), in_words(figures)


def test_as_many_images_as_it_asks_for_settle_it() -> None:
    for seen in (Paired(360, 4, 5), Paired(360, 2, 1), Paired(500, 6, 2)):
        needed = seen.images_needed(0.005)
        assert needed is not None
        times = 1.15 * needed / seen.images
        more = Paired(round(seen.images * times), round(seen.lost * times), round(seen.gained * times))
        assert seen.outcome(0.005) == "undecided"
        assert more.outcome(0.005) != "undecided"
    assert Paired(400, 2, 0).images_needed(0.005) is None


def test_counts_are_of_images_that_one_alone_gets_right() -> None:
    first, second, labels = (np.array(each) for each in ([0, 1, 2, 0], [0, 2, 1, 1], [0, 1, 1, 2]))
    assert Paired.of(first, second, labels) == Paired(4, 1, 1)
