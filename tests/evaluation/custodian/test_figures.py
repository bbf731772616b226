"""Figures held against brute force, other libraries, and what theory says they are."""

from __future__ import annotations

from itertools import combinations
from math import isnan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import r2_score, roc_auc_score
from statsmodels.duration.survfunc import SurvfuncRight

from dpsynth.evaluation.custodian.associations import associations
from dpsynth.evaluation.custodian.cells import in_cells
from dpsynth.evaluation.custodian.coefficients import Fit, overlaps
from dpsynth.evaluation.custodian.design import Design, varied
from dpsynth.evaluation.custodian.distinguishing import distinguishing
from dpsynth.evaluation.custodian.fairness import fairness
from dpsynth.evaluation.custodian.fidelity import distance, fidelity
from dpsynth.evaluation.custodian.resampling import auroc, interval, r_squared, weights
from dpsynth.evaluation.custodian.survival import concordance, kaplan_meier, survival
from dpsynth.evaluation.custodian.utility import utility
from tests.evaluation.custodian.conftest import released, rows, tables_of

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def tables():
    return tables_of(released(), rows(900, 1), rows(400, 2).assign(patient=lambda t: "h" + t["patient"]))


def by_measure(findings):
    return {(each.measure, each.subject): each for each in findings}


def test_distances_by_brute_force(tables):
    synthetic, train, _ = in_cells(tables)
    for clique in combinations(("ward", "age", "cost"), 2):
        a, b = ({}, {})
        for table, shares in ((synthetic, a), (train, b)):
            for cell in zip(*(table.codes[name].tolist() for name in clique), strict=True):
                shares[cell] = shares.get(cell, 0) + 1 / table.rows
        expected = sum(abs(a.get(cell, 0) - b.get(cell, 0)) for cell in a.keys() | b.keys()) / 2
        assert distance(synthetic.counts(clique), train.counts(clique)) == pytest.approx(expected)


def test_a_table_against_itself_has_no_distance():
    real = rows(600, 1)
    same = tables_of(real.drop(columns="patient"), real.assign(patient=range(600)), rows(200, 2).assign(patient="h"))
    found = by_measure(fidelity(same, rng=RNG(0)))
    # Released rows are cut to as many as the holdout has (two of the one unit), so distances remain; columns are whole.
    assert all(abs(each.value) < 1e-12 for (m, _), each in found.items() if "relative difference" in m)
    few, train, held = in_cells(same)
    for each in associations(same, few, train, held):
        assert each.value == pytest.approx(0, abs=1e-12)


def test_correlations_by_scipy(tables):
    found = by_measure(associations(tables, *in_cells(tables)))
    frames = [frame[["age", "cost"]].dropna() for frame in (tables.synthetic, tables.train)]
    ours, real = (spearmanr(frame["age"], frame["cost"]).statistic for frame in frames)
    gap = found.get(("Spearman correlation, difference", "age × cost"))
    assert gap is None or gap.value == pytest.approx(ours - real, abs=0.02)  # ranks are those among all of a column
    assert found["Spearman correlation, mean absolute difference", ""].value < 0.1


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.booleans())
@settings(max_examples=40, deadline=None)
def test_areas_by_scikit_learn(seed, n, tied):
    rng = RNG(seed)
    y = (rng.random(n) < 0.4).astype(float)
    score = rng.integers(0, 4, n) / 4 if tied else rng.random(n)
    weight = rng.integers(0, 3, n).astype(float)
    if len(set(y[weight > 0])) < 2:
        assert isnan(auroc(y, score, weight))
    else:
        assert auroc(y, score, weight) == pytest.approx(roc_auc_score(y, score, sample_weight=weight))
    if np.ptp(y) > 0:
        assert r_squared(y, score) == pytest.approx(r2_score(y, score))


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_survival_curves_by_statsmodels(seed, n):
    rng = RNG(seed)
    time, event = rng.integers(1, 12, n).astype(float), (rng.random(n) < 0.6).astype(float)
    event[0] = 1.0
    order = np.argsort(time, kind="stable")
    oracle = SurvfuncRight(time, event)
    ours = kaplan_meier(time[order], event[order], np.ones(n), np.asarray(oracle.surv_times, dtype=float))
    assert ours == pytest.approx(oracle.surv_prob)
    twice = kaplan_meier(time[order], event[order], np.full(n, 2.0), np.asarray(oracle.surv_times, dtype=float))
    assert twice == pytest.approx(ours)


@given(st.integers(0, 2**32 - 1), st.integers(2, 25))
@settings(max_examples=40, deadline=None)
def test_concordance_by_counting(seed, n):
    rng = RNG(seed)
    time, event, risk = rng.integers(1, 9, n), rng.integers(0, 2, n), rng.integers(0, 4, n)
    right, pairs = 0.0, 0
    for i in range(n):
        for j in range(n):
            if event[i] and time[i] < time[j]:
                pairs += 1
                right += 1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0
    found = concordance(time.astype(float), event.astype(float), risk.astype(float))
    assert isnan(found) if not pairs else found == pytest.approx(right / pairs)


def test_overlap_of_intervals():
    one = Fit(np.zeros(4), np.array([0.0, 0, 0, 0]), np.array([1.0, 1, 1, 1]))
    other = Fit(np.zeros(4), np.array([0.0, 0.5, 2, -1]), np.array([1.0, 1.5, 3, 3]))
    assert overlaps(one, other) == pytest.approx([1.0, 0.5, 0.0, (1 + 0.25) / 2])


def test_columns_that_others_explain_are_found():
    rng = RNG(0)
    a, b = rng.normal(size=(2, 200))
    matrix = np.column_stack([a, b, a + b, np.ones(200), rng.normal(size=200)])
    assert varied(matrix).tolist() == [True, True, False, False, True]


def test_an_encoding_is_that_of_the_table_it_was_learnt_from(tables):
    design = Design.of(tables.train, ("ward", "cost", "admitted"))
    matrix = design.matrix(tables.train)
    number = [at for at, term in enumerate(design.terms) if term.level is None]
    assert matrix[:, number[0]].mean() == pytest.approx(0, abs=1e-9)
    assert {term.label for term in design.terms} >= {"ward = north", "cost", "cost = empty", "admitted"}
    assert len(Design.of(tables.train, ("ward",), reference=True).terms) == 3


def test_pmse_of_the_same_population_is_what_theory_says():
    """Two independent samples: the ratio's mean is 1 / (1 - c), here 2 (the score test of no difference)."""
    ratios, areas = [], []
    for seed in range(4):
        real, other = (rows(500, seed=10 * seed + i) for i in (1, 2))
        for frame in (real, other):
            frame["patient"] = range(len(frame))
        held = rows(500, seed=10 * seed + 3).assign(patient=lambda t: [f"h{i}" for i in range(len(t))])
        found = by_measure(distinguishing(tables_of(other.drop(columns="patient"), real, held), rng=RNG(seed)))
        ratios.append(found["pMSE, ratio to its expectation", ""].value)
        areas.append(found["area under the ROC curve, released against training rows", "gradient boosting"].value)
    assert np.mean(ratios) == pytest.approx(2.0, abs=0.7)
    assert np.mean(areas) == pytest.approx(0.5, abs=0.04)


def test_rows_that_differ_are_told_apart(tables):
    worse = tables_of(
        released().assign(cost=lambda t: RNG(0).permutation(t["cost"])),
        rows(900, 1),
        rows(400, 2).assign(patient=range(400)),
    )
    found = by_measure(distinguishing(worse, rng=RNG(0)))
    area = found["area under the ROC curve, released against training rows", "gradient boosting"]
    assert area.value > 0.7 > area.baseline


def test_models_of_good_rows_are_as_good_and_of_shuffled_rows_are_not(tables):
    good = by_measure(utility(tables, rng=RNG(0), target="died"))
    shuffled = released()
    shuffled["died"] = RNG(0).permutation(shuffled["died"])
    bad = by_measure(
        utility(tables_of(shuffled, rows(900, 1), rows(400, 2).assign(patient=range(400))), rng=RNG(0), target="died")
    )
    for model in ("logistic regression", "gradient boosting"):
        key = ("area under the ROC curve", f"died = true: {model}")
        assert good[key].low < good[key].value < good[key].high
        assert good[key].value > good[key].baseline - 0.08
        assert bad[key].value < good[key].value - 0.1
        lost = bad["area under the ROC curve, difference to real rows", f"died = true: {model}"]
        assert lost.high < 0


def test_a_number_is_predicted_too(tables):
    found = by_measure(utility(tables, rng=RNG(0), target="cost"))
    assert found["R squared", "cost: ridge regression"].value > 0.8
    assert found["R squared", "cost: ridge regression"].baseline > 0.8
    assert found["confidence-interval overlap, mean over coefficients", "cost: linear regression"].value > 0.3
    slope = found["coefficient, linear regression", "cost: age"]
    assert slope.low < slope.baseline < slope.high
    shuffled = released().assign(cost=lambda t: RNG(0).permutation(t["cost"]))
    worse = tables_of(shuffled, rows(900, 1), rows(400, 2).assign(patient=range(400)))
    slope = by_measure(utility(worse, rng=RNG(0), target="cost"))["coefficient, linear regression", "cost: age"]
    assert slope.high < slope.baseline
    assert "Overlap 0.00" in slope.note


def test_survival_of_good_and_of_shuffled_rows(tables):
    good = by_measure(survival(tables, rng=RNG(0), time="days", event="died"))
    shuffled, order = released(), RNG(0).permutation(600)
    shuffled[["days", "died"]] = shuffled[["days", "died"]].assign(days=lambda t: t["days"] // 4).to_numpy()[order]
    worse = tables_of(shuffled, rows(900, 1), rows(400, 2).assign(patient=range(400)))
    bad = by_measure(survival(worse, rng=RNG(0), time="days", event="died"))
    curve, index = ("Kaplan-Meier divergence", "died by days"), ("concordance index", "died by days")
    assert good[curve].value < 0.08 < bad[curve].value
    assert good[index].value == pytest.approx(good[index].baseline, abs=0.06)
    assert good[index].value > 0.6 > bad[index].value
    ratio = ("coefficient, Cox log hazard ratios", "died by days: age")
    assert good[ratio].low < good[ratio].baseline < good[ratio].high
    assert bad[ratio].high < bad[ratio].baseline


def test_bias_that_a_release_adds_shows():
    """Real risk does not depend on the ward; in the released rows it does."""
    biased = rows(1500, 3).drop(columns="patient")
    biased["died"] = np.where(biased["ward"] == "north", True, biased["died"] & (RNG(0).random(1500) < 0.5))
    unfair = tables_of(biased, rows(1500, 1), rows(1500, 2).assign(patient=range(1500)))
    found = by_measure(fairness(unfair, rng=RNG(0), target="died", sensitive="ward"))
    for measure in ("demographic parity difference", "equalised odds difference"):
        added = found[f"{measure}, added by the release", "ward: logistic regression"]
        assert added.low > 0.2
        assert added.note == "The release amplifies it."
    fair = tables_of(released(1500, 5), rows(1500, 1), rows(1500, 2).assign(patient=range(1500)))
    found = by_measure(fairness(fair, rng=RNG(0), target="died", sensitive="ward"))
    assert found["demographic parity difference, added by the release", "ward: logistic regression"].low < 0.1


def test_numbers_make_strata(tables):
    found = by_measure(fairness(tables, rng=RNG(0), target="smoker", sensitive="age"))
    assert found["strata judged", "age"].value == 3


def test_units_are_drawn_whole():
    units = np.array([3, 3, 9, 9, 9, 4])
    for weight in weights(units, RNG(0), 20):
        assert weight[0] == weight[1]
        assert weight[2] == weight[3] == weight[4]
        assert weight[0] + weight[2] + weight[5] == 3
    assert interval([1.0] * 4) == (1.0, 1.0)
    assert isnan(interval([np.nan, np.nan, 1.0])[0])


def test_flags_say_what_diverges(tables):
    moved = released()
    moved["age"] = (moved["age"] * 0.8).astype(int)
    moved["ward"] = np.where(RNG(0).random(len(moved)) < 0.1, "east", moved["ward"])
    found = fidelity(tables_of(moved, rows(900, 1), rows(400, 2).assign(patient=range(400))), rng=RNG(0))
    flagged = {each.subject for each in found if "FLAGGED" in each.note}
    assert {"age", "ward"} <= flagged
    assert "sex" not in flagged
    assert pd.Series([each.subject for each in found]).notna().all()
