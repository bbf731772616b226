"""Selection among a random number of runs, against its exact output distribution for small mechanisms."""

import math
from functools import lru_cache
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import norm

from accountants import (
    Claimed,
    EventError,
    ExponentialMechanism,
    Gaussian,
    Laplace,
    PoissonRuns,
    PrivateSelection,
    RandomizedResponse,
    TruncatedNegativeBinomial,
    compose,
)
from tests.accountants.exactly import worst

GEOMETRIC, LOGARITHMIC = TruncatedNegativeBinomial(1.0, 0.1), TruncatedNegativeBinomial(0.0, 0.1)
RUNS = [GEOMETRIC, LOGARITHMIC, TruncatedNegativeBinomial(2.5, 0.3), TruncatedNegativeBinomial(-0.5, 0.1)]
RUNS += [PoissonRuns(3.0), PoissonRuns(0.5)]


@lru_cache
def chances(runs, most=400):
    """P(K = 0), P(K = 1) ...: Papernot and Steinke 2022, Definition 1, term by term."""
    k = np.arange(1, most)
    if isinstance(runs, PoissonRuns):
        logs = k * math.log(runs.mean_runs) - runs.mean_runs - np.array([math.lgamma(i + 1) for i in k])
        return np.concatenate([[math.exp(-runs.mean_runs)], np.exp(logs)])
    shape, gamma = runs.shape, runs.gamma
    if shape == 0:
        return np.concatenate([[0.0], (1 - gamma) ** k / (k * math.log(1 / gamma))])
    # P(k) = (1-gamma)^k / (gamma^-shape - 1) * prod over l < k of (l + shape)/(l + 1)
    rising = np.cumprod((np.arange(most - 1) + shape) / (np.arange(most - 1) + 1))
    return np.concatenate([[0.0], (1 - gamma) ** k / (gamma**-shape - 1) * rising])


def best_of(p, runs):
    """Distribution of the best of K runs: outcomes in rising order of score, and first "nothing" (K = 0)."""
    k = chances(runs)
    assert k.sum() == pytest.approx(1, abs=1e-12)
    reach = np.concatenate([[0.0], np.minimum(np.cumsum(p), 1.0)])
    generating = np.polynomial.polynomial.polyval(reach, k)
    return np.concatenate([[generating[0]], np.diff(generating)])


@pytest.mark.parametrize("runs", RUNS)
def test_the_number_of_runs_is_a_distribution_with_the_mean_that_is_used(runs):
    import mpmath

    mean = float(np.dot(chances(runs), np.arange(400)))
    assert float(runs.mean(mpmath)) == pytest.approx(mean, rel=1e-9)


def pure_pairs(epsilon):
    """Mechanisms whose two distributions are within e^epsilon: two, three and four outcomes."""
    high = 1 / (1 + math.exp(-epsilon))
    yield (high, 1 - high), (1 - high, high)
    for rare in (1e-6, 1e-3, 0.02, 0.2):
        low = rare / math.exp(epsilon)
        yield (1 - rare, rare), (1 - low, low)
    growth = math.exp(epsilon)
    for a in (0.001, 0.05, 0.2):
        b = a / growth
        common = 1 - a - b
        yield (a, common, b), (b, common, a)
        yield (
            (a * common, b * common, common**2, a + b - (a + b) * a),
            (b * common, a * common, common**2, a + b - (a + b) * a),
        )


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_pure_bases_by_enumeration(runs, epsilon):
    """With delta 0 no outcome's odds move by more than the claimed epsilon, whatever the order of scores."""
    event = PrivateSelection([RandomizedResponse(epsilon)], runs, 0)
    largest = 0.0
    for p, q in pure_pairs(epsilon):
        p, q = np.array(p) / sum(p), np.array(q) / sum(q)
        for order in permutations(range(len(p))):
            a, b = best_of(p[list(order)], runs), best_of(q[list(order)], runs)
            kept = (a > 1e-13) & (b > 1e-13)
            largest = max(largest, float(np.abs(np.log(a[kept] / b[kept])).max()))
            assert worst(a, b, event.epsilon) <= 1e-12
    assert largest <= event.epsilon * (1 + 1e-9)
    assert largest >= 0.35 * event.epsilon  # the claim is a bound that small mechanisms come near


@pytest.mark.parametrize("shape", [-0.5, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("epsilon", [0.01, 0.5, 2.0])
def test_pure_bases_cost_two_and_shape_times_epsilon(shape, epsilon):
    """Papernot and Steinke 2022, Corollary 3 (shape 1: Liu and Talwar 2019, Theorem 1.3): never more than that."""
    for base in (RandomizedResponse(epsilon), Laplace(1 / epsilon), ExponentialMechanism(epsilon)):
        claimed = PrivateSelection([base], TruncatedNegativeBinomial(shape, 0.01), 0).epsilon
        assert epsilon < claimed <= (2 + shape) * epsilon * (1 + 1e-9)


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize(("z", "looks"), [(4.0, 1), (3.0, 2)])
@pytest.mark.parametrize("delta", ["1e-6", "1e-3"])
def test_gaussian_bases_by_enumeration(runs, z, looks, delta):
    """The answer in 60 cells, scored in several orders: delta at the claimed epsilon is within the declared one."""
    event = PrivateSelection([Gaussian(z)] * looks, runs, delta)
    mu = math.sqrt(looks) / z
    edges = np.concatenate([[-np.inf], np.linspace(-5, 5 + mu, 59), [np.inf]])
    p, q = np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges, mu))
    rng = np.random.default_rng(0)
    orders = [np.arange(60), np.arange(60)[::-1], np.argsort(np.abs(np.arange(60) - 30)), rng.permutation(60)]
    found = max(worst(best_of(p[order], runs), best_of(q[order], runs), event.epsilon) for order in orders)
    assert found <= float(event.delta)
    # A claim at a third of that epsilon would be wrong.
    less = max(worst(best_of(p[order], runs), best_of(q[order], runs), event.epsilon / 3) for order in orders)
    assert less > float(event.delta)


@pytest.mark.parametrize("runs", [GEOMETRIC, LOGARITHMIC, PoissonRuns(3.0)])
def test_one_run_may_fail_and_so_many_runs_fail_more_often(runs):
    """A base that tells all with probability 1e-6, the telling outcome scored best: E[K] times that."""
    base, mean = [Claimed("0.1", "1e-6", "them")], float(np.dot(chances(runs), np.arange(400)))
    telling = float(best_of(np.array([1 - 1e-6, 1e-6]), runs)[-1])
    assert telling == pytest.approx(mean * 1e-6, rel=1e-4)
    with pytest.raises(EventError, match="no epsilon is enough"):
        PrivateSelection(base, runs, repr(telling * 0.9)).epsilon
    assert PrivateSelection(base, runs, repr(telling * 1.1)).epsilon > 0.1


def test_runs_cost_more_than_one_and_more_runs_cost_more():
    base = [Gaussian(8.0), ExponentialMechanism(0.2)]
    one = compose(base).epsilon(1e-9)
    costs = [PrivateSelection(base, TruncatedNegativeBinomial(1.0, gamma), 1e-9).epsilon for gamma in (0.5, 0.1, 1e-3)]
    assert one < costs[0] < costs[1] < costs[2]
    shapes = [PrivateSelection(base, TruncatedNegativeBinomial(shape, 0.1), 1e-9).epsilon for shape in (-0.5, 0, 1, 3)]
    assert shapes == sorted(shapes)


def test_a_selection_is_charged_as_a_claim():
    event = PrivateSelection([Gaussian(8.0)], GEOMETRIC, "1e-10")
    assert event.delta0 == event.delta
    assert event.mu_squared >= RandomizedResponse(event.epsilon).mu_squared
    assert compose([event]).epsilon(1e-5) <= event.epsilon
    assert compose([event]).delta(event.epsilon) == pytest.approx(1e-10, rel=0.05)


def test_no_selection_among_selections_and_no_delta_of_nothing():
    with pytest.raises(EventError, match="no selection"):
        PrivateSelection([PrivateSelection([Gaussian(8.0)], GEOMETRIC)], GEOMETRIC)
    with pytest.raises(EventError, match="at least one"):
        PrivateSelection([], GEOMETRIC)
    with pytest.raises(EventError, match="only where every look of a run is pure"):
        PrivateSelection([Gaussian(8.0)], GEOMETRIC, 0).epsilon
    with pytest.raises(EventError, match="protects nothing"):
        PrivateSelection([RandomizedResponse(60.0)], GEOMETRIC, 0).epsilon
    with pytest.raises(EventError, match="TruncatedNegativeBinomial or PoissonRuns"):
        PrivateSelection([Gaussian(8.0)], 7)
