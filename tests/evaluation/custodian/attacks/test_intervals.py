"""Intervals against other code, and their coverage."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from dpsynth.evaluation.custodian.attacks.intervals import (
    Estimate,
    auroc,
    clustered_share,
    excess,
    hits_at,
    mean,
    proportion,
)


@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (7, 7), (3, 11), (1, 1000), (999, 1000)])
def test_a_proportion_has_the_exact_interval(hits, trials):
    exact = binomtest(hits, trials).proportion_ci(method="exact")
    ours = proportion(hits, trials)
    assert (ours.value, ours.low, ours.high) == pytest.approx((hits / trials, exact.low, exact.high))


def test_a_mean_covers():
    rng = np.random.default_rng(0)
    drawn = [mean(rng.beta(0.6, 2, 60)) for _ in range(800)]
    covered = np.mean([each.low <= 0.6 / 2.6 <= each.high for each in drawn])
    assert 0.92 <= covered <= 0.98
    assert mean(np.ones(50)) == proportion(50, 50)
    assert mean(np.full(50, 0.5)).low < 0.4
    assert mean(np.array([0.3])).high > 0.9


def test_the_area_is_that_of_the_curve_and_covers():
    rng = np.random.default_rng(1)
    members, others = rng.normal(0.3, 1, 70).round(1), rng.normal(0, 1, 50).round(1)
    labels = np.repeat([1, 0], [70, 50])
    assert auroc(members, others).value == pytest.approx(roc_auc_score(labels, np.concatenate([members, others])))
    drawn = [auroc(rng.normal(1, 1, 60), rng.normal(0, 1, 40)) for _ in range(800)]
    truth = 0.7602499
    assert 0.92 <= np.mean([each.low <= truth <= each.high for each in drawn]) <= 0.98


@pytest.mark.parametrize("shift", [-10.0, 10.0])
def test_an_area_at_the_end_still_has_an_interval(shift):
    ours = auroc(np.arange(30) / 30 + shift, np.arange(20) / 20)
    assert ours.value == float(shift > 0)
    assert 0.1 < ours.high - ours.low < 0.3


def test_ties_are_neither_hits_nor_false_alarms():
    hits, false = hits_at(np.ones(40), np.ones(100), 0.01)
    assert hits.value == false.value == 0
    assert auroc(np.ones(40), np.ones(100)).value == 0.5


def test_hits_are_those_of_the_curve():
    rng = np.random.default_rng(2)
    members, others = rng.normal(1, 1, 300), rng.normal(0, 1, 200)
    hits, false = hits_at(members, others, 0.05)
    rates, true, _ = roc_curve(
        np.repeat([1, 0], [300, 200]), np.concatenate([members, others]), drop_intermediate=False
    )
    assert false.value == 0.05
    assert hits.value == pytest.approx(true[rates <= 0.05].max())


def test_an_excess_over_an_estimated_baseline_is_rarely_seen_where_there_is_none():
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(2000):
        hits, false = hits_at(rng.normal(size=300), rng.normal(size=200), 0.01)
        wrong += excess(hits, false).low > false.value
    assert wrong / 2000 <= 0.03
    assert excess(Estimate(0.5, 0.4, 0.6), Estimate(0.3, 0.3, 0.3)) == Estimate(
        0.5, pytest.approx(0.4), pytest.approx(0.6)
    )
    assert excess(Estimate(0.5, 0.4, 0.6), Estimate(0.3, 0.2, 0.5)).low < 0.3


def test_clusters_count_as_few():
    labels = np.array([True, False] * 10)
    assert clustered_share(labels, np.ones(20)) == proportion(10, 20)
    assert clustered_share(labels, np.full(20, 100)) == proportion(10, 20)
    uneven = clustered_share(labels, np.array([1000, 1] * 10))
    assert uneven.value > 0.99
    assert uneven.low < 0.8
