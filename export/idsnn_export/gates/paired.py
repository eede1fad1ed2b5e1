"""What two classifiers' answers to the same images say about what is lost by taking the second.

    b, c       images that only the first, and that only the second, gets right, of n
    (B, C, n - B - C) ~ Multinomial(n; p_b, p_c, 1 - q),    q = p_b + p_c,    loss = p_b - p_c
    score(b, c; loss) = (b - c - n loss) / sqrt(n (2 p + loss (1 - loss))),    p the likeliest p_c given the loss

    upper      the largest loss under which a score as low as the one seen still has a probability of ALPHA
    lower      the same with the two exchanged, negated
    p          2 P(Binomial(b + c, 1/2) <= min(b, c)), at most 1: McNemar's exact test of loss = 0

Only the images about which the two disagree carry information, which is why few are enough where few change. The score
is Tango's (Statistics in Medicine 17, 1998), its distribution the exact one: how many images they disagree about, q, is
unknown too, and the bounds hold for every q in its Clopper-Pearson interval, whose own risk `GAMMA` is taken from ALPHA
(Berger and Boos, JASA 89, 1994). Each bound is right in 95 of 100 cases, however few the images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from idsnn_deploy.arrays import Array

ALPHA, GAMMA = 0.05, 0.001
SHARES = 5  # values of q that are tried, evenly from end to end of its interval
HALVINGS = 20  # to a millionth of an interval


@dataclass(frozen=True)
class Paired:
    """A comparison: on how many images, and how many of them only the first and only the second gets right."""

    images: int
    lost: int
    gained: int

    @staticmethod
    def of(first: Array, second: Array, labels: Array) -> Paired:
        """From the classes that both gave, and the right ones, each `(N,)`."""
        was, now = first == labels, second == labels
        return Paired(len(labels), int((was & ~now).sum()), int((~was & now).sum()))

    @property
    def loss(self) -> float:
        """The accuracy lost on these images."""
        return (self.lost - self.gained) / self.images

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which the loss on all images lies: each end with a confidence of 95 %."""
        return -_upper(self.gained, self.lost, self.images), _upper(self.lost, self.gained, self.images)

    @property
    def p(self) -> float:
        """McNemar's exact test of the two being right equally often."""
        different = self.lost + self.gained
        tail = sum(math.comb(different, k) for k in range(min(self.lost, self.gained) + 1))
        return min(1.0, float(Fraction(2 * tail, 2**different)))

    def outcome(self, limit: float) -> str:
        """`good`: less than `limit` is lost, `bad`: more is, at 95 %; `undecided` where neither is known."""
        low, high = self.bounds
        return "good" if high < limit else "bad" if low > limit else "undecided"

    def images_needed(self, limit: float) -> int | None:
        """About how many images would settle it if these were typical; None where they lie on the limit.

        Intervals shrink with the root of the number of images.
        """
        low, high = self.bounds
        if self.loss == limit:
            return None
        end = high if self.loss < limit else low
        return math.ceil(self.images * max(1.0, ((end - self.loss) / (limit - self.loss)) ** 2))

    def judged(self, limit: float) -> dict[str, Any]:
        """The figures of a gate that lets `limit` be lost, as a manifest holds them."""
        (low, high), outcome = self.bounds, self.outcome(limit)
        needed = self.images_needed(limit) if outcome == "undecided" else None
        bounds = {"lost_at_least": low, "lost_at_most": high, "allowed": limit}
        return {**bounds, "outcome": outcome, "images_needed": needed}


def in_words(figures: Mapping[str, Any]) -> str:
    """What `Paired.judged` found on `samples` images: what others may show, and whether that settles it."""
    low, high = _moved(figures["lost_at_least"]), _moved(figures["lost_at_most"])
    likely, allowed = f"{high} to {low} on other images (95 % either way)", f"{100 * figures['allowed']:g} points"
    if figures["outcome"] != "undecided":
        return f"{likely}, where at most {allowed} may be lost"
    needed = figures["images_needed"]
    more = f"about {needed:,} would settle it" if needed else "these lost just that, so only others can settle it"
    return f"{likely}: {figures['samples']:,} are too few to say whether more than {allowed} are lost; {more}"


def _moved(loss: float) -> str:
    return f"{abs(100 * loss):.2f} points {'lower' if loss > 0 else 'higher'}"


def clopper_pearson(k: int, n: int, risk: float) -> tuple[float, float]:
    """The exact interval of a share of which k of n were seen, wrong with a probability of `risk` / 2 at either end."""
    low = 0.0 if k == 0 else _root(lambda p: 1 - _binomial_cdf(k - 1, n, p) < risk / 2, 0.0, k / n)
    high = 1.0 if k == n else _root(lambda p: _binomial_cdf(k, n, p) > risk / 2, k / n, 1.0)
    return low, high


def _upper(b: int, c: int, n: int) -> float:
    low, high = clopper_pearson(b + c, n, GAMMA)

    def possible(loss: float) -> bool:
        if abs(loss) > high:
            return False
        many, few = _likely(n, (high + loss) / 2)[:, None], _likely(n, (high - loss) / 2)[None, :]
        as_low = (many + few <= n) & (_score(many, few, n, loss) <= _score(np.array(b), np.array(c), n, loss) + 1e-9)
        first, second = np.nonzero(as_low)
        shares = np.linspace(max(low, abs(loss)), high, SHARES)
        return any(_chance(many[first, 0], few[0, second], n, q, loss) > ALPHA - GAMMA for q in shares)

    return _root(possible, (b - c) / n, high)


def _score(b: Array, c: Array, n: int, loss: float) -> Array:
    linear = (2 * n - b + c) * loss - b - c
    p_c = (np.sqrt(np.maximum(0, linear**2 + 8 * n * c * loss * (1 - loss))) - linear) / (4 * n)
    spread = np.sqrt(n * np.maximum(2 * p_c + loss * (1 - loss), 1e-300))
    return np.asarray((b - c - n * loss) / spread)


def _chance(b: Array, c: Array, n: int, q: float, loss: float) -> float:
    """P((B, C) is one of these)"""
    rest, factorials = n - b - c, _log_factorials(n)
    ways = factorials[n] - factorials[b] - factorials[c] - factorials[rest]
    return float(np.exp(ways + b * _log((q + loss) / 2) + c * _log((q - loss) / 2) + rest * _log(1 - q)).sum())


def _root(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that holds at `low` stops to, going to `high`; `high` where it never does."""
    if holds(high):
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high


def _binomial_cdf(k: int, n: int, p: float) -> float:
    counts = np.arange(k + 1)
    factorials = _log_factorials(n)
    chances = factorials[n] - factorials[counts] - factorials[n - counts]
    return float(np.exp(chances + counts * _log(p) + (n - counts) * _log(1 - p)).sum())


def _likely(n: int, p: float) -> Array:
    """The counts that Binomial(n, p or less) gives but for one time in 10**10."""
    return np.arange(min(n, math.ceil(n * p + 7 * math.sqrt(n * p * (1 - p)) + 20)) + 1)


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -1e300


@lru_cache(maxsize=8)
def _log_factorials(n: int) -> Array:
    """log(k!) of 0..n."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
