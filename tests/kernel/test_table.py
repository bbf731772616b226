"""PrivateTable: what leaves, with which noise, and what never does."""

import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, norm

from accountants import AdaptivePlan, ExponentialMechanism, FixedPlan, Gaussian, Meter, UnplannedEvent
from dpsynth.domain import Domain
from dpsynth.errors import KernelError
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel import table as table_module
from dpsynth.kernel.count import exact_counts, noise_scale
from dpsynth.kernel.noise import Noise
from dpsynth.kernel.select import chunks, errors, rounded_estimates
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits

SIZES = {"a": 3, "b": 2}


def frame(rows, unit=None):
    data = pd.DataFrame(rows, columns=list(SIZES))
    if unit is not None:
        data["who"] = unit
    return data


def opened(data, plan, *, at_most=None, seed=None):
    schema = Schema.from_domain(SIZES, unit="who" if at_most else None, at_most=at_most or 1)
    meter = Meter(plan)
    return PrivateTable(Rows(data, schema), meter, Noise(SeededBits(seed)) if seed is not None else None), meter


class Zero:
    """A model that expects nothing."""

    def __init__(self, domain):
        self.domain = domain

    def project(self, clique):
        return np.zeros(self.domain.project(clique).shape)


def rounded_gaussian_tail(values, sigma):
    """Chi-square p-value of noise values against the exact rounded Gaussian."""
    edge = math.ceil(3 * sigma)
    inner = np.unique(np.linspace(-edge, edge, min(2 * edge + 1, 40)).round()) - 0.5
    expected = len(values) * np.diff(norm.cdf(np.r_[-np.inf, inner, np.inf] / sigma))
    observed = np.histogram(values, np.r_[-1e15, inner, 1e15])[0]
    return chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1)


@pytest.mark.parametrize("at_most", [None, 3])
@pytest.mark.parametrize("marginals", [1, 2])
def test_count_carries_the_stated_sigma_and_the_exact_distribution(at_most, marginals):
    """10^5 draws through the whole look; seeded, so without false alarms. A bound k left out would be off threefold."""
    k, z, looks = at_most or 1, 2.5, 17_000
    data = frame([(0, 0)] * 5 + [(1, 1)] * 2, unit=["p"] * 3 + ["q"] * 4)
    private, _ = opened(data, FixedPlan([Gaussian(z)] * looks), at_most=at_most, seed=7)
    cliques = [("a", "b")] if marginals == 1 else [("a", "b"), ("a",)]
    answers = [private.count_all(cliques, Gaussian(z))[0] for _ in range(looks)]
    sigma = answers[0].sigma
    assert sigma == pytest.approx(z * k * math.sqrt(marginals), rel=1e-12)
    assert sigma >= z * k * math.sqrt(marginals)
    values = np.stack([a.values for a in answers])
    assert values.dtype == np.int64
    empty = values[:, 2:, :].reshape(-1)  # cells no row falls in, with noise all the same
    assert rounded_gaussian_tail(empty, sigma) > 1e-7
    assert rounded_gaussian_tail(empty, sigma / k / math.sqrt(marginals) * 1.03) < 1e-7
    if at_most is None:  # five rows in the first cell; with a bound, which of q's stay depends on the key
        assert rounded_gaussian_tail(values[:, 0, 0] - 5, sigma) > 1e-7


def test_the_noise_scale_is_never_rounded_down():
    """sigma >= z k sqrt(m), in exact fractions; the nearest float is below it in half of all cases."""
    for z in (0.1, 1.0, 2.5, 7.3, 1234.5678):
        for k in (1, 3, 7):
            for m in (1, 2, 3, 10, 49):
                sigma = noise_scale(Gaussian(z), k, m)
                least = Fraction(z) ** 2 * k**2 * m
                assert Fraction(sigma) ** 2 >= least
                assert Fraction(math.nextafter(math.nextafter(sigma, 0.0), 0.0)) ** 2 < least  # nor wasted


def test_at_most_k_rows_of_a_unit_are_counted():
    data = frame([(0, 0)] * 50 + [(1, 1)] * 2, unit=["p"] * 50 + ["q", "q"])
    private, _ = opened(data, FixedPlan([Gaussian(0.01)]), at_most=3, seed=1)
    values = private.count(("a", "b"), Gaussian(0.01)).values
    assert values[0, 0] == 3
    assert values[1, 1] == 2
    assert values.sum() == 5


def test_rows_without_a_unit_are_dropped():
    data = frame([(0, 0)] * 4, unit=["p", None, np.nan, ""])
    private, _ = opened(data, FixedPlan([Gaussian(0.01)]), at_most=2, seed=1)
    assert private.count(("a",), Gaussian(0.01)).values.sum() == 1


def test_values_outside_the_domain_land_in_their_cell():
    private, _ = opened(frame([(0, 0), (99, 1), ("what", None)]), FixedPlan([Gaussian(0.01)]), seed=1)
    assert private.count(("a", "b"), Gaussian(0.01)).values.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize("rows", [[], [(0, 0)]])
def test_no_row_and_one_row_are_answered_like_any(rows):
    private, _ = opened(frame(rows), FixedPlan([Gaussian(1.0), ExponentialMechanism(1.0)]), seed=3)
    assert private.count(("a", "b"), Gaussian(1.0)).values.shape == (4, 3)
    assert private.select([("a",), ("b",)], Zero(private.domain), ExponentialMechanism(1.0)) in {("a",), ("b",)}


def test_the_charge_comes_before_the_look(monkeypatch):
    private, meter = opened(frame([(0, 0)]), FixedPlan([Gaussian(1.0)]))
    touched = []
    monkeypatch.setattr(
        table_module, "exact_counts", lambda *a: touched.append(meter.charged) or np.zeros((4,), np.int64)
    )
    with pytest.raises(UnplannedEvent):
        private.count(("a",), Gaussian(0.5))
    with pytest.raises(UnplannedEvent):
        private.select([("a",)], Zero(private.domain), ExponentialMechanism(1.0))
    assert touched == []
    private.count(("a",), Gaussian(1.0))
    assert touched == [(Gaussian(1.0),)]


def test_bad_requests_cost_nothing():
    private, meter = opened(frame([(0, 0)]), AdaptivePlan(1.0))
    model, eta = Zero(private.domain), ExponentialMechanism(0.1)

    class Broken(Zero):
        def project(self, clique):
            return super().project(clique) * np.nan

    class Huge(Zero):  # each cell fits 64 bits, their sum does not
        def project(self, clique):
            return super().project(clique) + 2.0**59

    class Misshapen(Zero):
        def project(self, clique):
            return np.zeros(7)

    requests = [
        lambda: private.count(("nobody",), Gaussian(9.0)),
        lambda: private.count((), Gaussian(9.0)),
        lambda: private.count(("a", "a"), Gaussian(9.0)),
        lambda: private.count_all((), Gaussian(9.0)),
        lambda: private.count(("a",), Gaussian(1e12)),
        lambda: private.count(("a",), eta),
        lambda: private.select([("a",)], model, Gaussian(9.0)),
        lambda: private.select([("a",)], Huge(private.domain), eta),
        lambda: private.recoded({"a": np.array([0, 1, 2, 2**64 - 1], np.uint64)}),
        lambda: private.select([], model, eta),
        lambda: private.select([("a",)], Broken(private.domain), eta),
        lambda: private.select([("a",)], Misshapen(private.domain), eta),
        lambda: private.select([("a",)], model, eta, weights=[0]),
        lambda: private.select([("a",)], model, eta, weights=[1.5]),
        lambda: private.select([("a",)], model, eta, weights=[1, 1]),
        lambda: private.select([("a",)], model, eta, penalties=[float("inf")]),
        lambda: private.recoded({"a": np.array([0, 1])}),
        lambda: private.recoded({"a": np.array([0, 1, -1, 0])}),
        lambda: private.recoded({"a": np.array([0.0, 1, 1, 0])}),
    ]
    for request in requests:
        with pytest.raises((KeyError, ValueError, OverflowError)):
            request()
    assert meter.charged == ()


def test_large_marginals_are_refused_before_the_charge():
    schema = Schema.from_domain({"a": 20_000, "b": 20_000})
    meter = Meter(AdaptivePlan(1.0))
    private = PrivateTable(Rows(pd.DataFrame({"a": [1], "b": [2]}), schema), meter)
    with pytest.raises(ValueError, match="cells"):
        private.count(("a", "b"), Gaussian(9.0))
    assert meter.charged == ()


def worst_log_ratio(left, right, weights, eta, at_most):
    """Spread over candidates of log P(i | left) - log P(i | right), from 4,000 seeded choices' exact probabilities."""
    spread = []
    for data in (left, right):
        private, _ = opened(data, FixedPlan([ExponentialMechanism(eta)]), at_most=at_most, seed=0)
        seen = {}

        def spy(self, scores, rate, sensitivity, seen=seen):
            seen["log"] = rate * np.array(scores, float) / (2 * sensitivity)
            return 0

        original, Noise.choose = Noise.choose, spy
        try:
            private.select([("a",), ("b",)], Biased(private.domain), ExponentialMechanism(eta), weights=weights)
        finally:
            Noise.choose = original
        spread.append(seen["log"] - np.logaddexp.reduce(seen["log"]))
    gap = spread[0] - spread[1]
    return gap.max() - gap.min()


class Biased(Zero):
    """Expects the first cell of 'a' full and of 'b' empty: adding a row lowers one error and raises the other."""

    def project(self, clique):
        estimate = np.zeros(self.domain.project(clique).shape)
        estimate.flat[0] = 100 if clique == ("a",) else -100
        return estimate


@pytest.mark.parametrize(("at_most", "weights"), [(None, [1, 1]), (3, [1, 1]), (3, [2, 5]), (2, [7, 7])])
def test_select_on_worst_case_neighbours_stays_within_its_range(at_most, weights):
    eta, k = 0.9, at_most or 1
    base = [(1, 1)] * 4
    unit = [f"u{i}" for i in range(4)]
    left = frame(base, unit)
    right = frame(base + [(0, 0)] * k, unit + ["new"] * k)
    spread = worst_log_ratio(left, right, weights, eta, at_most)
    assert spread <= eta * (1 + 1e-9)
    if len(set(weights)) == 1:
        assert spread == pytest.approx(eta)  # attained: a sensitivity one factor too small would break the claim


def test_recoded_views_merge_cells_and_charge_the_same_meter():
    private, meter = opened(frame([(0, 0), (1, 0), (2, 1)]), FixedPlan([Gaussian(0.01)] * 3), seed=2)
    view = private.recoded({"a": np.array([0, 0, 1, 1])})
    assert view.domain == Domain.of({"a": 2, "b": 3})
    answer = view.count(("a",), Gaussian(0.01))
    assert answer.values.tolist() == [2, 1]
    assert answer.recoding["a"].tolist() == [0, 0, 1, 1]
    again = view.recoded({"a": np.array([0, 0])}).count(("a",), Gaussian(0.01))
    assert again.values.tolist() == [3]
    assert again.recoding["a"].tolist() == [0, 0, 0, 0]
    assert private.count(("a",), Gaussian(0.01)).recoding is None
    assert len(meter.charged) == 3
    assert [len(t.values) for t in private.transcript] == [2, 1, 4]
    assert private.remaining == 0


def test_answers_cannot_be_edited_and_say_how_they_were_made():
    private, _ = opened(frame([(0, 0)]), AdaptivePlan(1.0))
    answer = private.count(("a",), Gaussian(9.0))
    with pytest.raises(ValueError, match="read-only"):
        answer.values[0] = 7
    assert private.numerics == "exact"
    assert opened(frame([]), AdaptivePlan(1.0), seed=1)[0].numerics == "seeded"


def test_a_view_that_does_not_fit_into_memory_does_not_say_how_large_it_is(monkeypatch):
    private, _ = opened(frame([(0, 0)] * 77), AdaptivePlan(1.0))

    def no_room(*args):
        raise MemoryError("Unable to allocate an array with shape (77,)")

    monkeypatch.setattr(table_module, "_recode", no_room)
    with pytest.raises(KernelError) as caught:
        private.recoded({"a": np.array([0, 0, 0, 0])})
    assert "77" not in str(caught.value)
    assert caught.value.__context__ is None


def test_nothing_but_answers_leaves():
    private, _ = opened(frame([(0, 0)] * 5), AdaptivePlan(1.0))
    rows = Rows(frame([(0, 0)] * 5), Schema.from_domain(SIZES))
    for holder in (private, rows):
        assert "5" not in repr(holder)
        for attempt in (len, iter, pickle.dumps, copy.copy, copy.deepcopy, vars):
            with pytest.raises(TypeError):
                attempt(holder)


def test_a_fault_inside_a_look_is_charged_and_says_nothing(monkeypatch):
    private, meter = opened(frame([(0, 0)]), FixedPlan([Gaussian(1.0)]))

    def fault(*args):
        raise ValueError("secret-token-17")

    monkeypatch.setattr(table_module, "exact_counts", fault)
    with pytest.raises(KernelError) as caught:
        private.count(("a",), Gaussian(1.0))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)
    assert meter.charged == (Gaussian(1.0),)


def test_counts_are_the_same_in_blocks(monkeypatch):
    domain = Domain.of({"a": 3, "b": 4, "c": 2})
    codes = {a: np.random.default_rng(1).integers(0, n, 1000).astype(np.uint8) for a, n in domain.sizes.items()}
    whole = [exact_counts(codes, domain, c) for c in (("a",), ("a", "c"), ("a", "b", "c"))]
    monkeypatch.setattr("dpsynth.kernel.count._BLOCK", 7)
    for clique, expected in zip((("a",), ("a", "c"), ("a", "b", "c")), whole, strict=True):
        counts = exact_counts(codes, domain, clique)
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts, expected)
        assert counts.sum() == 1000
    assert exact_counts({a: c[:0] for a, c in codes.items()}, domain, ("a",)).tolist() == [0, 0, 0]


def test_errors_of_many_candidates_at_a_time():
    rng = np.random.default_rng(2)
    shapes = [(3,), (2, 5), (1,), (4, 4)]
    exact = [rng.integers(0, 100, shape) for shape in shapes]
    model = [rng.normal(50, 40, shape) for shape in shapes]
    joined = rounded_estimates(model, shapes)
    assert errors(exact, joined) == [int(np.abs(e - np.rint(m)).sum()) for e, m in zip(exact, model, strict=True)]
    assert chunks([2**19, 2**19, 1, 2**21, 5]) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
    assert chunks([1]) == [slice(0, 1)]
