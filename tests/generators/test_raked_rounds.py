"""Rounds beyond the junction tree: what they cost, what they mend, when there are none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from accountants import Allowance, Budget, Meter
from dpsynth.domain import Domain
from dpsynth.generators import AIM
from dpsynth.generators.raked_rounds import LEAST_PARTICLES, MOST_PARTICLES, Allotment, RakedRounds, particles_for
from dpsynth.generators.round import Round
from dpsynth.graphical import Measurement, RakedModel, estimate
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.measurement import NoisyCounts, NoisyMoments
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits

SIZES = {"u": 12, "v": 12, "w": 12, "x": 3}


def table(rows=40_000, seed=0):
    """Three numbers of twelve steps, each pair correlated, and a column apart."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=rows)

    def steps():
        value = 0.5 * common + np.sqrt(0.75) * rng.normal(size=rows)
        return np.clip(((value + 3) * 2).astype(int), 0, 11)

    return pd.DataFrame({"u": steps(), "v": steps(), "w": steps(), "x": rng.integers(0, 3, rows)})


def fit(recipe, frame, epsilon="1", ordered=("u", "v", "w"), seed=0):
    schema = Schema.from_domain(SIZES, ordered=list(ordered))
    plan = recipe.plan(schema.domain, Allowance(Budget(epsilon, "1e-9")), schema.hints)
    meter = Meter(plan)
    private = PrivateTable(Rows(frame, schema), meter, Noise(SeededBits(seed)))
    return recipe.fit(private, plan, schema.hints), meter, plan, private


def correlations(codes):
    return np.corrcoef(np.stack([codes[a] for a in ("u", "v", "w")]))[np.triu_indices(3, 1)]


def test_pairs_that_the_tree_has_no_room_for_are_mended():
    frame, small = table(), {"max_cells": 175}  # a pair has 169 cells, and no room
    without = fit(AIM(**small, beyond_share=0.0, moment_share=0.0), frame, epsilon="10")[0]
    with_them = fit(AIM(**small, beyond_share=0.6, moment_share=0.0), frame, epsilon="10")[0]
    rng = np.random.default_rng(0)
    assert np.abs(correlations(without.sample(40_000, rng))).max() < 0.1
    true = correlations(frame)
    np.testing.assert_allclose(correlations(with_them.sample(40_000, rng)), true, atol=0.25 * true.min())


def test_all_of_the_budget_is_spent_and_no_more():
    _, meter, plan, private = fit(AIM(), table())
    assert meter.remaining <= plan.capacity / 10**6
    assert sum(isinstance(a, NoisyMoments) for a in private.transcript) == 1


class Asked:
    """A view that records the penalties of choices, and answers with what is expected."""

    def __init__(self, domain):
        self.domain, self.penalties = domain, []

    def select(self, candidates, model, noise, *, weights, penalties):
        self.penalties.append(penalties)
        return candidates[0]

    def count(self, clique, noise):
        return NoisyCounts(clique, np.zeros(self.domain.shape_of(clique), dtype=np.int64), 1.0, None)


def test_candidates_pay_for_the_noise_of_k_rows():
    domain = Domain.of({"a": 2, "b": 3, "c": 2})
    known = [Measurement((a,), np.full(size, 60.0 / size), 1.0) for a, size in domain.sizes.items()]
    prior, asked = estimate(domain, known), []
    for at_most in (1, 3):
        settings = {"smoothing": 0.2, "tolerance": 0.1}
        rounds = RakedRounds(prior, known, 500, np.random.default_rng(0), at_most=at_most, **settings)
        view = Asked(domain)
        rounds.spend(Allotment(view, {("a", "b"): 1, ("b", "c"): 2}, Round.of(0.02), 1, 1))
        asked.append(view.penalties[0])
    sigma = 1 / np.sqrt(0.9 * 0.02)
    assert asked[0] == [round(w * 6 * sigma * np.sqrt(2 / np.pi)) for w in (1, 2)]
    assert asked[1] == [round(w * 6 * 3 * sigma * np.sqrt(2 / np.pi)) for w in (1, 2)]


class Even:
    """A prior that is no graphical model: columns apart, cells even, as a network is that learnt nothing."""

    domain, total, potentials, order = Domain.of({"a": 4, "b": 4}), 1000.0, {}, ("a", "b")

    def sample(self, rows, rng, given=None):
        return {a: rng.integers(0, 4, rows) if given is None or a not in given else given[a] for a in "ab"}


class Diagonal(Asked):
    """A view that answers, with hardly any noise, that a and b are equal."""

    def count(self, clique, noise):
        return NoisyCounts(clique, np.diag(np.full(4, 250)), 0.1, None)


@pytest.mark.parametrize("effective", [0.0, 0.5, 0.9])
def test_weights_keep_as_much_of_the_priors_variety_as_asked(effective):
    settings = {"at_most": 1, "smoothing": 0.2, "tolerance": 0.1, "effective": effective}
    known = [Measurement((a,), np.full(4, 250.0), 5.0) for a in "ab"]
    rounds = RakedRounds(Even(), known, 20_000, np.random.default_rng(0), **settings)
    rounds.spend(Allotment(Diagonal(Even.domain), {("a", "b"): 1}, Round.of(1.0), 1, 1))
    model = rounds.last()
    found, share = 1 / np.square(model.weights).sum() / 20_000, np.trace(model.project(("a", "b"))) / 1000
    if effective:
        assert effective <= found < 0.99
        assert 0.26 < share < 0.9
    else:
        assert found < 0.3  # a quarter of the particles is on the diagonal
        assert share > 0.95


def test_where_the_signal_is_weak_the_tree_keeps_the_budget():
    assert not isinstance(fit(AIM(), table(2000), epsilon="0.2")[0].graphical, RakedModel)
    assert isinstance(fit(AIM(), table())[0].graphical, RakedModel)


def test_no_more_particles_than_can_be_afforded():
    assert particles_for(1.0, 10) == LEAST_PARTICLES
    assert particles_for(100_000, 10) == 200_000
    assert particles_for(MOST_PARTICLES, 10) == 0
    assert particles_for(1.0, 0) == 0
    assert particles_for(1.0, 31_125) == 0


@pytest.mark.parametrize("settings", [{"beyond_share": 1.0}, {"moment_share": -0.1}, {"moment_share": 1.0}])
def test_shares_leave_something_for_the_tree(settings):
    with pytest.raises(ValueError, match="share"):
        AIM(**settings)
