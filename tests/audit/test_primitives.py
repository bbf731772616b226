"""Tier 1: statistics of each look. Seeded, so that neither a false alarm nor an unlucky control can happen here."""

from itertools import count

import numpy as np
import pytest
from scipy.special import ndtr

from accountants import ExponentialMechanism, FixedPlan, Gaussian, Meter, SubsampledGaussian
from dpsynth.audit import FALSE_ALARM, Audits
from dpsynth.audit.auditing import statistics
from dpsynth.audit.draws import HONEST, Drawing, Faulty, K, choices, counts, steps, table
from dpsynth.audit.enumeration import Asked, widest
from dpsynth.audit.primitives import LOOKS, TRAININGS, audit_repeats
from dpsynth.kernel import PrivateTable
from dpsynth.kernel.noise import Noise
from dpsynth.testing import NoNoise, SeededBits

DRAWS = 5_000


def seeds(first=0):
    """Noise of a new seed for each table that is opened."""
    numbers = count(first)
    return lambda: Noise(SeededBits(next(numbers)))


def test_no_look_is_refuted_and_every_planted_fault_is_noticed():
    """All of tier 1, ten statistical audits: with system noise false alarms would be below 10^-6 together."""
    found = Audits(tuple(job() for _, job in statistics(Drawing(DRAWS, seeds()))))
    assert found.passed, "\n".join(found.lines())
    assert [f.audit for f in found if f.verdict != "not refuted"] == []
    assert len([f for f in found if f.confidence < 1.0]) * FALSE_ALARM <= 1.1e-6
    assert {f.audit for f in found} >= {look.name for look in (*LOOKS, *TRAININGS)}
    by_name = {f.audit: f for f in found}
    assert by_name["count"].bound > 0.8  # of 2.3
    assert by_name["select"].bound > 1.4  # of 2.9
    assert by_name["selections enumerated"].bound == by_name["selections enumerated"].claimed
    faults = {control.fault for f in found for control in f.controls}
    for planted in (
        "k ignored",
        "half the noise",
        "doubled sensitivity",
        "shuffled",
        "one-sided",
        "charged once for k",
    ):
        assert any(planted in fault for fault in faults), planted


def test_noise_of_the_system_never_repeats():
    """False alarm below 10^-7."""
    finding = audit_repeats(Drawing(DRAWS))
    assert finding.passed, finding
    same = audit_repeats(Drawing(DRAWS, lambda: Noise(SeededBits(1))))
    assert same.verdict == "refuted"
    assert same.bound > 0.99


def test_draws_are_made_with_the_systems_noise_unless_told_otherwise():
    private = Drawing(1).opened(HONEST, [], (0, 0, 0), True, FixedPlan([Gaussian(1.0)]))
    assert private.numerics == "exact"


def test_a_counts_statistic_has_the_mean_and_deviation_of_its_event():
    noise, draws = Gaussian(2.0), 4_000
    for cliques in ([("a", "b", "c")], [("a",), ("b",), ("a", "b"), ("c",)]):
        fewer, more = counts(cliques, noise, Drawing(draws, seeds()), HONEST)
        sigma = 2.0 * K * len(cliques)  # each of m counts has sqrt(m) times the noise of one, and so has their sum
        for values in (fewer, more):
            assert values.std() == pytest.approx(sigma, rel=0.06)
        assert more.mean() - fewer.mean() == pytest.approx(K * len(cliques), abs=5 * sigma * (2 / draws) ** 0.5)


def test_a_choice_is_as_rare_without_the_unit_as_it_was_asked_to_be():
    """And the unit multiplies its odds by e^eta: the worst case of a selection."""
    noise, odds = ExponentialMechanism(2.0), 0.05
    fewer, more = choices(noise, 3, odds, Drawing(5_000, seeds()), HONEST)
    for values, expected in ((fewer, odds), (more, odds * np.exp(2.0))):
        assert values.mean() == pytest.approx(expected / (1 + expected), abs=0.03)


def test_a_step_is_a_mixture_of_the_norm_and_nothing():
    noise = SubsampledGaussian(0.5, 0.3, 1)
    fewer, more = steps(noise, 0, Drawing(1500, seeds()), HONEST)
    assert fewer.mean() == pytest.approx(0, abs=0.07)
    assert more.mean() == pytest.approx(0.3, abs=0.09)
    assert np.mean(more > 0.5) == pytest.approx(0.3 * ndtr(1.0) + 0.7 * ndtr(-1.0), abs=0.06)
    others, _ = steps(noise, 3, Drawing(300, seeds()), HONEST)
    assert others.mean() == pytest.approx(-0.9, abs=0.25)  # other units pull the other way


def test_faulty_noise_is_faulty_in_what_is_planted_alone():
    def honest():
        return Noise(SeededBits(1))

    same = Faulty(honest())
    assert (same.rounded_gaussian(5.0, 50) == honest().rounded_gaussian(5.0, 50)).all()
    assert (same.poisson(0.3, 50) == _skip(honest(), 50).poisson(0.3, 50)).all()
    assert Faulty(honest(), spread=0.5).rounded_gaussian(500.0, 4000).std() == pytest.approx(250, rel=0.05)
    assert len(Faulty(honest(), shuffled=True).poisson(0.3, 50)) == 15
    assert all(49 in Faulty(Noise(SeededBits(s)), favoured=True).poisson(0.1, 50) for s in range(20))


def _skip(noise, words):
    noise.rounded_gaussian(5.0, words)
    return noise


def test_tables_opened_apart_have_no_bound():
    unit = [[(0, 0, 0)] * 5]
    kept = [
        PrivateTable(table(unit, apart=apart), Meter(FixedPlan([Gaussian(1.0)])), NoNoise()).count(
            ("a",), Gaussian(1.0)
        )
        for apart in (False, True)
    ]
    assert [counts.values.sum() for counts in kept] == [K, 5]
    assert [counts.sigma for counts in kept] == pytest.approx([K, 1])


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 3, 3), (2, 5, 1)])
def test_selections_on_every_tiny_table_stay_within_their_range(weights):
    noise = ExponentialMechanism(0.9)
    spread, pairs = widest(Asked(noise, weights))
    assert spread <= noise.eta
    assert pairs == 15 * 34  # tables of at most two other rows, units of at most three
    if len(set(weights)) == 1:
        assert float(spread) == noise.eta  # attained, in fractions
    assert widest(Asked(noise, weights, 2.0))[0] == 2 * spread
