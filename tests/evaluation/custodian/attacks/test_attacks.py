"""What single attacks count, on tables small enough to count by hand, and how long all of them take."""

import re
import time

import numpy as np
import pandas as pd
import pytest

from dpsynth.evaluation.custodian.attacks import run_attacks
from dpsynth.evaluation.custodian.attacks.attributes import attributes
from dpsynth.evaluation.custodian.attacks.completion import completion
from dpsynth.evaluation.custodian.attacks.singling import Predicate, _judged, _multivariate, _univariate
from dpsynth.evaluation.custodian.reading import read_tables
from dpsynth.schema import Schema
from tests.evaluation.custodian.attacks.visits import case_of, sound, tables


def test_a_predicate_is_met_by_rows_that_meet_all_its_tests():
    values = np.array([[1.0, 2.0, 3.0, np.nan], [0.0, 1.0, 1.0, 1.0]])
    assert Predicate(((0, np.greater_equal, 2.0),)).rows(values).tolist() == [1, 2]
    assert Predicate(((0, np.greater_equal, 2.0), (1, np.equal, 1.0))).rows(values).tolist() == [1, 2]
    assert Predicate(((0, np.equal, np.nan), (1, np.equal, 1.0))).rows(values).tolist() == [3]
    assert Predicate(((0, np.equal, np.nan), (1, np.equal, 0.0))).rows(values).tolist() == []


def test_every_predicate_isolates_one_released_row():
    rng = np.random.default_rng(0)
    values = np.stack([rng.integers(0, 9, 300), rng.normal(size=300), rng.integers(0, 2, 300)]).astype(float)
    values[1, ::7] = np.nan
    ordered = np.array([True, True, False])
    made = [*_univariate(values, ordered), *_multivariate(values, ordered, np.arange(200), rng)]
    assert len(made) > 265
    assert all(len(predicate.rows(values)) == 1 for predicate in made)
    assert any(compare is np.less_equal for predicate in made for _, compare, _ in predicate.tests)


def test_a_unit_is_singled_out_once_however_many_rows_it_has_and_predicates_find_it():
    values = np.array([[1.0, 1.0, 2.0, 3.0, 4.0, 4.0]])
    units = np.array([7, 7, 8, 9, 10, 11])
    tried = [Predicate(((0, np.equal, value),)) for value in (1.0, 1.0, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0)]
    nobody = (np.array([[0.0]]), np.array([1]))
    found = _judged("", tried, [(values, units), nobody], np.random.default_rng(0))
    assert found.value == 0.2  # units 7 and 8; the row of value 4 is of two units
    assert found.baseline == 0


@pytest.fixture(scope="module")
def copied_noise():
    """A release that is the training rows, of columns that say nothing of each other."""
    rng = np.random.default_rng(1)
    declared = Schema.loads(
        "columns: {" + ", ".join(f"c{i}: {{type: coded, cardinality: 16}}" for i in range(12)) + "}"
    )
    train, holdout = (pd.DataFrame(rng.integers(0, 16, (300, 12)), columns=declared.names) for _ in range(2))
    return case_of(read_tables(declared, train, train, holdout, rng)[0])


def test_half_a_record_of_the_training_rows_is_completed_and_that_of_others_is_not(copied_noise):
    found = completion(copied_noise, np.random.default_rng(0))
    assert found[0].value > 0.99
    assert found[0].baseline == pytest.approx(1 / 16, abs=0.02)


def test_a_column_of_the_training_rows_is_guessed_and_that_of_others_is_not(copied_noise):
    found = attributes(copied_noise, np.random.default_rng(0), ("c3",))
    assert found[0].value > 0.99
    assert found[0].baseline == pytest.approx(1 / 16, abs=0.05)
    blind = [float(figure) for figure in re.findall(r"0\.[0-9]{3}", found[0].note)]
    assert blind == pytest.approx([1 / 16, 1 / 16], abs=0.06)  # who saw neither side guesses neither


def test_units_that_anyone_guesses_better_are_told_as_such():
    """The training patients follow a rule of the population, the holdout's do not: an excess, and no leak."""
    rng = np.random.default_rng(3)
    declared = Schema.loads(
        "unit: who\ncolumns:\n  a: {type: coded, cardinality: 8}\n  b: {type: coded, cardinality: 8}\n"
    )

    def rows(n, ruled, start):
        a = rng.integers(0, 8, n)
        b = np.where(rng.random(n) < ruled, a, rng.integers(0, 8, n))
        return pd.DataFrame({"who": np.arange(start, start + n), "a": a, "b": b})

    of = read_tables(declared, rows(900, 0.8, 0), rows(600, 0.9, 0), rows(600, 0.6, 1000), rng)[0]
    (found, *_) = attributes(case_of(of), np.random.default_rng(0), ("b",))
    assert found.low > found.baseline
    ours, theirs = (float(figure) for figure in re.findall(r"0\.[0-9]{3}", found.note))
    assert ours - theirs == pytest.approx(found.value - found.baseline, abs=0.1)


def test_fifty_columns_take_seconds():
    """A fiftieth of the rows of the largest benchmark table, of which they take less than a minute."""
    rng = np.random.default_rng(2)
    names = [f"c{i}" for i in range(50)]
    kinds = ["{type: coded, cardinality: 8}", "{type: float, min: -9, max: 9, decimals: 2}", "{type: boolean}"]
    declared = Schema.loads("columns:\n" + "".join(f"  {name}: {kinds[i % 3]}\n" for i, name in enumerate(names)))

    def rows(n):
        cells = {
            n_: (rng.integers(0, 8, n), rng.normal(size=n), rng.random(n) < 0.5)[i % 3] for i, n_ in enumerate(names)
        }
        return pd.DataFrame(cells)

    of = read_tables(declared, rows(2000), rows(2000), rows(800), rng)[0]
    started = time.process_time()
    sound(run_attacks(of, rng=rng))
    assert time.process_time() - started < 15


def test_what_is_held_in_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("dpsynth.evaluation.custodian.attacks.case.MOST_NUMBERS", 5000)
    of = tables(0.05, 3, patients=300)
    case = case_of(of)
    assert case.points.size <= 5000
    assert len(case.release) == 5000 // case.targets.space.width
    sound(run_attacks(of, rng=np.random.default_rng(9)))
