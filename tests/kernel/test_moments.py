"""Second moments: exact sums, the norm rows are held to, what a unit can move, the noise, and what comes before it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from accountants import AdaptivePlan, FixedPlan, Gaussian, Meter, UnplannedEvent
from dpsynth.domain import Domain
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel import table as table_module
from dpsynth.kernel.moments import clipped, exact_moments, moment_scales
from dpsynth.kernel.noise import Noise
from dpsynth.measurement import MAX_NORM, MAX_SCORE, NoisyMoments, Score
from dpsynth.release.transcript import dump, load
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits

SIZES = {"a": 3, "b": 2}
SCORES = (Score("a", np.array([-100, 0, 300, 0])), Score("b", np.array([50, -50, 0])))


def opened(rows, plan, *, at_most=None, unit=None, seed=None):
    data = pd.DataFrame(rows, columns=list(SIZES))
    if unit is not None:
        data["who"] = unit
    schema = Schema.from_domain(SIZES, unit="who" if unit is not None else None, at_most=at_most or 1)
    meter = Meter(plan)
    return PrivateTable(Rows(data, schema), meter, Noise(SeededBits(seed)) if seed is not None else None), meter


def moved(vector, max_norm):
    """The upper triangle that one row adds, in fractions: off the diagonal, and on it."""
    (held,) = clipped(np.array([vector], dtype=np.int64), max_norm)
    y = [int(v) for v in held]
    return [y[i] * y[j] for i in range(len(y)) for j in range(i)], [v * v for v in y]


vectors = st.lists(st.integers(-MAX_SCORE, MAX_SCORE), min_size=1, max_size=30)


@settings(deadline=None, max_examples=400)
@given(vectors, st.integers(1, 3000) | st.sampled_from([MAX_NORM, 1]))
def test_no_row_is_longer_than_the_norm_and_short_ones_stay(vector, max_norm):
    (held,) = clipped(np.array([vector], dtype=np.int64), max_norm)
    assert sum(int(v) ** 2 for v in held) <= max_norm**2
    assert all(h * v >= 0 and abs(h) <= abs(v) for h, v in zip(held.tolist(), vector, strict=True))
    norm = sum(v * v for v in vector)
    if norm <= max_norm**2:
        assert held.tolist() == vector
    else:  # never more than one unit short of the exact multiple
        for h, v in zip(held.tolist(), vector, strict=True):
            assert abs(v) * max_norm / math.sqrt(norm) - abs(h) < 1 + 1e-6


@settings(deadline=None, max_examples=300)
@given(vectors, st.integers(1, 3000), st.floats(0.05, 500.0), st.integers(1, 7))
def test_a_unit_moves_the_answer_by_at_most_what_is_charged(vector, max_norm, z, at_most):
    """k equal rows, weighed by each entry's noise, in exact fractions: at most 1/z in L2, so at most (1/z)-GDP."""
    off, on = moved(vector, max_norm)
    sigma, diagonal = (Fraction(s) for s in moment_scales(Gaussian(z), at_most, max_norm))
    square = sum((at_most * v / sigma) ** 2 for v in off) + sum((at_most * v / diagonal) ** 2 for v in on)
    assert square <= 1 / Fraction(Gaussian(z).noise_multiplier) ** 2


@pytest.mark.parametrize("vector", [[1000], [1000, 1000], [700] * 25])
def test_the_noise_is_no_larger_than_it_need_be(vector):
    """One row at the norm attains the bound, whichever way it points: the diagonal costs nothing and wastes nothing."""
    norm = math.isqrt(sum(v * v for v in vector))
    off, on = moved(vector, norm)
    sigma, diagonal = moment_scales(Gaussian(2.0), 1, norm)
    assert math.sqrt(sum((v / sigma) ** 2 for v in off) + sum((v / diagonal) ** 2 for v in on)) > 0.5 * 0.99


def test_sums_are_exact_and_do_not_depend_on_blocks():
    rng = np.random.default_rng(0)
    codes = {"a": rng.integers(0, 4, 40_000), "b": rng.integers(0, 3, 40_000)}
    scores = (*SCORES, Score("b", np.array([MAX_SCORE, -MAX_SCORE, 7])))
    held = clipped(np.stack([s.values[codes[s.attribute]] for s in scores], axis=1), 400)
    assert (exact_moments(codes, scores, 400) == held.T @ held).all()


def values_of(answers):
    stacked = np.stack([a.values for a in answers])
    assert (stacked == stacked.transpose(0, 2, 1)).all()
    return stacked


@pytest.mark.parametrize("at_most", [None, 3])
def test_the_noise_is_that_of_the_event(at_most):
    """Variances over 4,000 seeded looks at no rows; a factor of 1.12 off would show."""
    z, looks, k = 1.5, 4_000, at_most or 1
    private, _ = opened([], FixedPlan([Gaussian(z)] * looks), at_most=at_most, unit=[] if at_most else None, seed=5)
    answers = [private.moments(SCORES, 20, Gaussian(z)) for _ in range(looks)]
    values = values_of(answers)
    assert answers[0].sigma == pytest.approx(z * k * 400 / math.sqrt(2), rel=1e-12)
    assert answers[0].sigma_diagonal == pytest.approx(z * k * 400, rel=1e-12)
    for entry, sigma in (((0, 1), answers[0].sigma), ((0, 0), answers[0].sigma_diagonal)):
        noise = values[:, entry[0], entry[1]].astype(float)
        square = np.sum(noise**2) / sigma**2
        assert chi2.ppf(1e-7, looks) < square < chi2.isf(1e-7, looks)
        assert square * 1.12**2 > chi2.isf(1e-7, looks)
    assert abs(np.corrcoef(values[:, 0, 0], values[:, 1, 1])[0, 1]) < 0.09


def test_at_most_k_rows_of_a_unit_are_summed():
    rows, unit = [(2, 0)] * 50 + [(0, 1)], ["p"] * 50 + ["q"]
    private, _ = opened(rows, FixedPlan([Gaussian(1e-6)]), at_most=3, unit=unit, seed=1)
    values = private.moments(SCORES, MAX_NORM, Gaussian(1e-6)).values
    scale = 3 * MAX_NORM**2 * 1e-6 * 6
    assert abs(values[0, 0] - (3 * 300**2 + 100**2)) < scale
    assert abs(values[0, 1] - (3 * 300 * 50 + 100 * 50)) < scale


def test_recoded_views_are_asked_over_their_own_codes():
    private, _ = opened([(0, 0), (2, 1)], FixedPlan([Gaussian(1e-9)]), seed=1)
    view = private.recoded({"a": np.array([1, 0, 0, 0])})
    answer = view.moments([Score("a", np.array([3, 5]))], 100, Gaussian(1e-9))
    assert answer.values.tolist() == [[34]]
    assert answer.recoding is not None
    assert list(answer.recoding) == ["a"]
    assert private.transcript == (answer,)


def test_the_charge_comes_before_the_look(monkeypatch):
    private, meter = opened([(0, 0)], FixedPlan([Gaussian(1.0)]))
    touched = []
    monkeypatch.setattr(
        table_module, "exact_moments", lambda *a: touched.append(meter.charged) or np.zeros((2, 2), np.int64)
    )
    with pytest.raises(UnplannedEvent):
        private.moments(SCORES, 10, Gaussian(0.5))
    assert touched == []
    private.moments(SCORES, 10, Gaussian(1.0))
    assert touched == [(Gaussian(1.0),)]


@pytest.mark.parametrize(
    ("scores", "norm", "noise"),
    [
        ([], 10, Gaussian(9.0)),
        ([Score("nobody", np.zeros(4, np.int64))], 10, Gaussian(9.0)),
        ([Score("a", np.zeros(3, np.int64))], 10, Gaussian(9.0)),
        ([Score("a", np.zeros(4))], 10, Gaussian(9.0)),
        ([Score("a", np.full(4, MAX_SCORE + 1))], 10, Gaussian(9.0)),
        ([Score("a", np.array([0, 0, 0, -(2**63)]))], 10, Gaussian(9.0)),
        ([Score("a", np.array([0, 0, 0, 2**63], np.uint64))], 10, Gaussian(9.0)),
        (SCORES, 0, Gaussian(9.0)),
        (SCORES, MAX_NORM + 1, Gaussian(9.0)),
        (SCORES, 10.0, Gaussian(9.0)),
        (SCORES, True, Gaussian(9.0)),
        (SCORES, MAX_NORM, Gaussian(1e6)),
        (SCORES * 300, 10, Gaussian(9.0)),
    ],
)
def test_bad_requests_cost_nothing(scores, norm, noise):
    private, meter = opened([(0, 0)], AdaptivePlan(1.0))
    with pytest.raises((KeyError, ValueError)):
        private.moments(scores, norm, noise)
    assert meter.charged == ()


def test_scores_are_the_kernels_own_copies():
    mine = np.array([1, 2, 3, 4])
    private, _ = opened([(0, 0)], FixedPlan([Gaussian(1e-9)]), seed=1)
    answer = private.moments([Score("a", mine)], 10, Gaussian(1e-9))
    mine[:] = 0
    assert answer.scores[0].values.tolist() == [1, 2, 3, 4]
    for held in (answer.values, answer.scores[0].values):
        with pytest.raises(ValueError, match="read-only"):
            held[0] = 9


@pytest.mark.parametrize("recoded", [False, True])
def test_transcripts_keep_moments(recoded):
    private, _ = opened([(0, 0), (1, 1)], FixedPlan([Gaussian(1.0)] * 2), seed=2)
    view = private.recoded({"a": np.array([0, 1, 2, 2])}) if recoded else private
    scores = (Score("a", np.arange(3)), SCORES[1]) if recoded else SCORES
    view.moments(scores, 30, Gaussian(1.0))
    view.count(("a",), Gaussian(1.0))
    header, arrays = dump(private.transcript)
    found, counted = load(header, arrays)
    (asked, _) = private.transcript
    assert isinstance(found, NoisyMoments)
    assert isinstance(asked, NoisyMoments)
    assert [s.attribute for s in found.scores] == ["a", "b"]
    for one, two in zip(found.scores, asked.scores, strict=True):
        assert (one.values == two.values).all()
    assert (found.values == asked.values).all()
    assert (found.max_norm, found.sigma, found.sigma_diagonal) == (30, asked.sigma, asked.sigma_diagonal)
    assert (found.recoding is not None) is recoded
    assert counted.clique == ("a",)


def test_no_row_is_answered_like_any():
    domain = Domain.of({"a": 4, "b": 3})
    private, _ = opened([], FixedPlan([Gaussian(1.0)]), seed=3)
    assert private.domain == domain
    assert private.moments(SCORES, 10, Gaussian(1.0)).values.shape == (2, 2)
