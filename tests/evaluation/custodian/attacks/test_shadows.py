"""Shadow models: a generator that leaks softly is found, one that does not look at its rows is not."""

import numpy as np
import pandas as pd
import pytest

from dpsynth.evaluation.custodian.attacks import run_attacks
from dpsynth.evaluation.custodian.attacks.membership import membership
from dpsynth.evaluation.custodian.attacks.shadows import SUBJECT, shadows
from dpsynth.evaluation.custodian.finding import Tables
from tests.evaluation.custodian.attacks.visits import case_of, flagged, sound, tables

AUROC = "membership inference: AUROC"


def swapping(share: float, population: pd.DataFrame):
    """A generator that gives rows back with a share of their cells swapped for those of public rows."""

    def refit(rows, units, rng):
        out = rows.reset_index(drop=True).copy()
        other = population.iloc[rng.integers(0, len(population), len(out))].reset_index(drop=True)
        for column in out:
            out[column] = out[column].mask(rng.random(len(out)) < share, other[column])
        return out

    return refit


def attacked(share, seed=0):
    of = tables(0.0, seed, patients=500)
    refit = swapping(share, of.synthetic)
    rng = np.random.default_rng(seed)
    leaky = Tables(of.schema, refit(of.train, of.units["train"], rng), of.train, of.holdout, of.units)
    return leaky, refit


def test_a_soft_leak_is_found_as_well_as_by_distance():
    of, refit = attacked(0.3)
    found = shadows(case_of(of), np.random.default_rng(0), refit, models=8)
    sound(found)
    assert (AUROC, SUBJECT) in flagged(found)
    without = membership(case_of(of), np.random.default_rng(0))
    area = {each.subject: each.value for each in [*found, *without] if each.measure == AUROC}
    assert area[SUBJECT] > area["distance"] - 0.02


def test_a_generator_that_does_not_look_is_not_accused():
    of, refit = attacked(1.0)
    found = shadows(case_of(of), np.random.default_rng(0), refit, models=8)
    sound(found)
    assert not flagged(found)


def test_shadow_models_are_part_of_a_deep_run_with_their_control():
    of, refit = attacked(1.0)
    found = run_attacks(of, rng=np.random.default_rng(0), deep=True, refit=refit, sensitive=("age",))
    (area,) = (each for each in found if (each.measure, each.subject) == (AUROC, SUBJECT))
    assert area.control > 0.95
    assert not area.note


def test_every_unit_is_inside_half_of_the_models():
    of, _ = attacked(1.0)
    seen = []

    def refit(rows, units, rng):
        seen.append(set(units.tolist()))
        assert len(rows) == len(units)
        return rows

    shadows(case_of(of), np.random.default_rng(0), refit, models=6)
    everyone = set.union(*seen)
    assert len(everyone) == len(np.unique(of.units["train"])) + len(np.unique(of.units["holdout"]))
    assert all(sum(unit in part for part in seen) == 3 for unit in everyone)
    assert [len(part) for part in seen] == pytest.approx([len(everyone) / 2] * 6, rel=0.15)
