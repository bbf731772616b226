"""Tables on which an attack has nothing to work with: a sentence instead of a figure, never an error."""

from dataclasses import replace
from math import isnan

import numpy as np
import pandas as pd
import pytest

from dpsynth.evaluation.custodian.attacks import run_attacks
from dpsynth.evaluation.custodian.reading import read_tables
from dpsynth.schema import Schema
from tests.evaluation.custodian.attacks.visits import sound, tables


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """What is said does not depend on how many trees or predicates there are."""
    monkeypatch.setattr("dpsynth.evaluation.custodian.attacks.attributes.TREES", 2)
    monkeypatch.setattr("dpsynth.evaluation.custodian.attacks.membership.TREES", 2)
    monkeypatch.setattr("dpsynth.evaluation.custodian.attacks.singling.TRIES", 100)


def found(of, **options):
    findings = run_attacks(of, rng=np.random.default_rng(0), **options)
    sound(findings)
    return findings


def cut(of, **rows):
    """The tables with some of them cut to their first rows."""
    frames = {name: getattr(of, name).iloc[:n] for name, n in rows.items()}
    units = {name: of.units[name][: rows.get(name)] for name in ("train", "holdout")}
    return replace(of, **frames, units=units)


@pytest.mark.parametrize("name", ["synthetic", "train", "holdout"])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 9, 40])
def test_a_table_of_few_rows(name, rows):
    findings = found(cut(tables(0.05, 0, patients=120), **{name: rows}))
    if rows <= 3 and not (name == "synthetic" and rows):
        (only,) = findings
        assert only.measure == "attacks"
        assert ("no rows" if name == "synthetic" else "at least 4 on both") in only.note


def test_all_tables_empty():
    (only,) = found(cut(tables(0.0, 0, patients=60), synthetic=0, train=0, holdout=0))
    assert isnan(only.value)


def test_few_rows_everywhere():
    for rows in (4, 6, 12):
        found(cut(tables(0.05, 0, patients=60), synthetic=rows, train=rows, holdout=rows))


@pytest.mark.parametrize("where", [("synthetic",), ("train", "holdout"), ("synthetic", "train", "holdout")])
@pytest.mark.parametrize("column", ["ward", "stage", "cost", "age", "admitted", "died"])
def test_a_constant_or_all_missing_column(where, column):
    of = tables(0.05, 1, patients=90)
    for constant in (True, False):
        frames = {}
        for name in where:
            frame = getattr(of, name).copy()
            cells = frame[column]
            one = cells.dropna().iloc[0]
            frame[column] = (
                cells.where(np.zeros(len(cells), dtype=bool), one) if constant else cells.where(cells != cells)
            )
            frames[name] = frame
        findings = found(replace(of, **frames), sensitive=(column,))
        guesses = [each for each in findings if each.measure == "attribute inference"]
        if "synthetic" in where:
            (guess,) = guesses
            assert "one value only" in guess.note


def test_every_column_but_one_or_all_constant():
    of = tables(0.05, 2, patients=90)
    for kept in ((), ("age",), ("ward",), ("age", "ward")):
        frames = {}
        for name in ("synthetic", "train", "holdout"):
            frame = getattr(of, name).copy()
            for column in frame.columns.difference(list(kept)):
                frame[column] = frame[column].where(np.zeros(len(frame), dtype=bool))
            frames[name] = frame
        notes = " ".join(each.note for each in found(replace(of, **frames), target="age"))
        assert ("No column tells records apart." in notes) == (not kept)
        assert ("One column alone has no halves." in notes) == (len(kept) == 1)


def test_levels_that_the_holdout_lacks_and_numbers_beyond_the_bounds():
    of = tables(0.05, 3, patients=120)
    held = of.holdout["ward"].isin(["north"]).to_numpy()
    holdout = of.holdout[held]
    wild = of.synthetic.assign(
        cost=of.synthetic["cost"] * 1e200, age=np.where(np.arange(len(of.synthetic)) % 2, np.inf, -5)
    )
    found(replace(of, holdout=holdout, synthetic=wild, units={**of.units, "holdout": of.units["holdout"][held]}))


def test_records_that_are_all_the_same_but_for_a_rare_flag():
    declared = Schema.loads("columns: {a: {type: boolean}, b: {type: boolean}, c: {type: integer, min: 0, max: 9}}")
    frame = pd.DataFrame({"a": [False] * 199 + [True], "b": [True] * 200, "c": [3] * 199 + [4]})
    found(read_tables(declared, frame, frame, frame, np.random.default_rng(0))[0])


def test_one_unit_with_most_rows():
    of = tables(0.05, 4, patients=120)
    units = of.units["train"].copy()
    units[40:] = units[40]
    found(replace(of, units={**of.units, "train": units}))


def test_a_target_that_is_not_there():
    notes = [each.note for each in found(tables(0.05, 5, patients=90), target="no such")]
    assert "The column has one value only, or is not in the schema." in notes


def test_wide_lists_and_wide_tables():
    rng = np.random.default_rng(0)
    columns = {"code": {"type": "coded", "cardinality": 5000}, **{f"c{i}": {"type": "boolean"} for i in range(60)}}
    declared = Schema.from_json({"format": 1, "columns": [{"name": name, **spec} for name, spec in columns.items()]})
    frames = [
        pd.DataFrame({"code": rng.integers(0, 5000, 90), **{f"c{i}": rng.random(90) < 0.5 for i in range(60)}})
        for _ in range(3)
    ]
    found(read_tables(declared, *frames, rng)[0])


def test_without_a_way_to_refit_there_are_no_shadow_models():
    notes = [each.note for each in found(tables(0.0, 6, patients=60), deep=True)]
    assert any(note.startswith("Nothing was given to fit the generator again") for note in notes)
