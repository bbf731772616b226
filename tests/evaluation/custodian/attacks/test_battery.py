"""Every attack finds what was planted, and nothing where there is nothing to find."""

from math import isnan

import numpy as np
import pytest

from dpsynth.evaluation.custodian.attacks import battery, run_attacks
from dpsynth.evaluation.custodian.attacks.battery import UNCAUGHT
from dpsynth.evaluation.custodian.attacks.judging import RARE
from tests.evaluation.custodian.attacks.visits import flagged, sound, tables

SENSITIVE = ("weight", "cost")
AUROC = "membership inference: AUROC"
ONE_IN_A_HUNDRED = "membership inference: TPR at 1 % FPR"
DENSITY = "density ratio, neighbours"
TREES = "density ratio, classifier"
EVERYWHERE = {
    ("copies", ""),
    ("closest released row alone (1 - NNDR)", ""),
    (ONE_IN_A_HUNDRED, "distance"),
    (ONE_IN_A_HUNDRED, DENSITY),
    (ONE_IN_A_HUNDRED, TREES),
    ("linkage of two halves", ""),
    ("completion of half a record", ""),
}
"""What finds five copies in a hundred rows."""
WHOLE = EVERYWHERE | {
    ("closer to training rows than to the holdout's (DCR share)", ""),
    ("attribute inference", "weight"),
    ("attribute inference", "cost"),
    ("singling out", "univariate"),
    ("singling out", "multivariate"),
    ("singling out", f"multivariate, {RARE}"),
    ("copies", RARE),
    ("closest released row alone (1 - NNDR)", RARE),
    ("attribute inference", f"cost, {RARE}"),
    ("attribute inference", f"weight, {RARE}"),
    ("linkage of two halves", RARE),
    ("completion of half a record", RARE),
    *((AUROC, subject) for subject in ("distance", DENSITY, TREES)),
    *((AUROC, f"{subject}, {RARE}") for subject in ("distance", DENSITY, TREES)),
}
"""What finds a release that is the training rows."""


def attacked(share, seed, patients=1200):
    return run_attacks(tables(share, seed, patients), rng=np.random.default_rng([seed, 1]), sensitive=SENSITIVE)


@pytest.fixture(scope="module")
def five():
    return attacked(0.05, 1)


def test_a_release_of_the_training_rows_is_found_by_every_attack():
    found = attacked(1.0, 0)
    sound(found)
    assert flagged(found) >= WHOLE
    assert {each.measure for each in found if not isnan(each.value)} == {measure for measure, _ in flagged(found)}


def test_five_copies_in_a_hundred_are_found(five):
    sound(five)
    assert flagged(five) >= EVERYWHERE


def test_every_planted_leak_is_caught(five):
    found = [each for each in five if not isnan(each.value)]
    assert [each for each in found if not each.control > each.baseline] == []
    assert not [each for each in found if UNCAUGHT in each.note]


def test_of_fresh_rows_no_more_is_said_than_by_chance():
    found = [each for seed in range(4) for each in attacked(0.0, seed, 600)]
    figures = [each for each in found if not isnan(each.value)]
    assert len(figures) > 100
    assert len([each for each in figures if each.low > each.baseline]) <= 0.05 * len(figures)
    assert not flagged([each for each in found if each.measure.startswith("copies")])
    assert np.mean([each.high < each.baseline for each in figures]) <= 0.05


def test_an_attack_that_misses_the_planted_leak_says_that_it_says_nothing(monkeypatch):
    whole = tables(0.0, 3, 300)
    monkeypatch.setattr(battery, "planted", lambda tables, targets: whole.synthetic)
    found = run_attacks(whole, rng=np.random.default_rng([3, 1]), sensitive=SENSITIVE)
    assert len([each for each in found if UNCAUGHT in each.note]) > 20
    assert len([each for each in found if each.low > each.baseline]) <= 2


def test_the_same_generator_gives_the_same_findings():
    once, again = attacked(0.05, 4, 60), attacked(0.05, 4, 60)
    assert repr(once) == repr(again)


def test_the_named_columns_are_guessed_or_the_target_or_the_hardest():
    of = tables(0.0, 5, patients=120)

    def guessed(**options):
        found = run_attacks(of, rng=np.random.default_rng(0), **options)
        return {each.subject for each in found if each.measure == "attribute inference" and RARE not in each.subject}

    assert guessed(target="stage") == {"stage"}
    assert guessed(target="stage", sensitive=("ward", "sex")) == {"ward", "sex"}
    assert {"age", "pulse", "weight"} <= guessed()
