"""Attacks count units, not rows: who is attacked, and what several rows of a unit are worth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dpsynth.evaluation.custodian.attacks.copies import copies
from dpsynth.evaluation.custodian.attacks.judging import RARE
from dpsynth.evaluation.custodian.attacks.space import Space
from dpsynth.evaluation.custodian.attacks.targets import RARE_SHARE, Targets, choose
from dpsynth.evaluation.custodian.reading import read_tables
from dpsynth.schema import Schema
from tests.evaluation.custodian.attacks.visits import case_of, schema, tables, visits


def chosen(of, seed=0) -> Targets:
    return case_of(of, seed).targets


def test_attacked_rows_are_all_rows_of_the_attacked_units_unit_by_unit():
    of = tables(0.0, 0, patients=150)
    targets = chosen(of)
    for name, side in (("train", targets.train), ("holdout", targets.holdout)):
        units = of.units[name][side.rows]
        first = units[side.starts]
        assert len(np.unique(first)) == len(first)
        assert sorted(side.rows) == np.flatnonzero(np.isin(of.units[name], first)).tolist()
        assert (np.repeat(first, np.diff(np.append(side.starts, len(units)))) == units).all()
        assert side.frame.index.tolist() == side.rows.tolist()


def test_a_unit_counts_by_its_most_telling_row():
    targets = chosen(tables(0.0, 1, patients=90))
    side = targets.train
    scores = np.random.default_rng(0).normal(size=len(side.rows))
    sizes = np.diff(np.append(side.starts, len(scores)))
    cut = np.split(scores, side.starts[1:])
    assert sizes.max() == 2
    assert side.most(scores).tolist() == [part.max() for part in cut]
    assert side.mean(scores) == pytest.approx([part.mean() for part in cut])


def test_the_reference_shares_no_unit_with_the_attacked_and_both_tables_give_as_many_units():
    of = tables(0.0, 2, patients=90)
    targets = chosen(of)
    attacked = set(of.units["holdout"][targets.holdout.rows])
    reference = set(of.units["holdout"][targets.population.index])
    assert not attacked & reference
    assert len(attacked | reference) == len(set(of.units["holdout"]))
    counts = [len(set(of.units["train"][targets.train_rows])), len(set(of.units["holdout"][targets.holdout_rows]))]
    assert counts[0] == counts[1]
    assert set(targets.train.rows) <= set(targets.train_rows)


def test_a_tenth_of_the_holdout_units_is_rare_and_they_are_the_outliers():
    rng = np.random.default_rng(3)
    train, holdout = visits(200, rng), visits(200, rng, start=200)
    holdout["cost"] = holdout["cost"].mask(holdout["patient"] == 205, 99_999.9)
    for frame in (train, holdout):
        frame.loc[frame["patient"] % 200 == 7, ["age", "weight", "pulse", "cost"]] = [110, 299.0, 240, 99_000.0]
    of = read_tables(schema(), train.drop(columns="patient"), train, holdout, rng)[0]
    targets = chosen(of)
    rare = targets.rare(targets.holdout)
    assert rare.mean() == pytest.approx(RARE_SHARE, abs=0.02)
    for side, name in ((targets.train, "train"), (targets.holdout, "holdout")):
        names = {"train": train, "holdout": holdout}[name]["patient"].to_numpy()[side.rows[side.starts]]
        extreme = names % 200 == 7
        assert extreme.sum() <= 1
        assert (targets.rare(side) | ~extreme).all()


def test_one_copied_row_of_a_unit_makes_one_copied_unit():
    rng = np.random.default_rng(4)
    train, holdout = visits(120, rng), visits(120, rng, start=120)
    twice = train[train["patient"].duplicated(keep=False)]
    released = pd.concat([visits(100, rng), twice.iloc[[0, 2, 3]]], ignore_index=True)
    of = read_tables(schema(), released.drop(columns="patient"), train, holdout, rng)[0]
    exact = next(each for each in copies(case_of(of), rng) if (each.measure, each.subject) == ("copies", ""))
    assert exact.value == pytest.approx(2 / 120)
    assert "2 of 120 training units and 0 of 120 holdout units" in exact.note


def test_a_leak_of_rare_units_alone_shows_among_the_rare():
    rng = np.random.default_rng(5)
    train, holdout, fresh = (visits(900, rng, start=at) for at in (0, 900, 1800))
    rare = train[(train["age"] > 80) | (train["cost"] > 12_000)]
    assert 20 < len(rare) < 150
    released = pd.concat([fresh.iloc[len(rare) :], rare], ignore_index=True)
    of = read_tables(schema(), released.drop(columns="patient"), train, holdout, rng)[0]
    shown = {each.subject: each for each in copies(case_of(of), rng) if each.measure == "copies"}
    assert shown[RARE].low > shown[RARE].baseline
    assert shown[RARE].value > 1.5 * shown[""].value


def test_units_that_are_numbered_alike_in_both_tables_are_not_mixed_up():
    of = tables(0.0, 6, patients=90)
    again = {name: np.unique(units, return_inverse=True)[1] for name, units in of.units.items()}
    mixed = replace(of, units=again)
    share = next(each for each in copies(case_of(mixed), np.random.default_rng(0)) if "DCR" in each.measure)
    assert share.baseline == pytest.approx(90 / 150)


def test_too_few_units_are_no_target():
    declared = Schema.loads("columns: {a: {type: integer, min: 0, max: 9}}")
    frame = pd.DataFrame({"a": [1, 2, 3]})
    of = read_tables(declared, frame, frame, frame, np.random.default_rng(0))[0]
    assert "needs at least 4 on both" in choose(of, Space(of, np.random.default_rng(0)), np.random.default_rng(0))
