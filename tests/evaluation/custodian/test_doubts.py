"""Tables that are not what they were said to be are told as such, and the right ones are not."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from dpsynth.evaluation.custodian import doubts as doubts_module
from dpsynth.evaluation.custodian.doubts import doubts
from dpsynth.evaluation.custodian.page import page
from dpsynth.evaluation.custodian.reading import read_tables
from dpsynth.evaluation.custodian.split import HOLDOUT, TRAIN, split
from dpsynth.schema import Schema
from tests.evaluation.custodian.conftest import SCHEMA, released, rows, schema
from tests.evaluation.custodian.test_gate import ABOUT

ROWS_ALONE = Schema.loads(SCHEMA.replace("unit: patient\nat_most: 2\n", ""))


def said(release, train, holdout, of=None):
    tables, left_out = read_tables(of or schema(), released(50), train, holdout, np.random.default_rng(0))
    return doubts(tables, left_out, release, train, holdout)


def test_a_public_table_that_the_model_knows_is_no_holdout(at_home, monkeypatch):
    digest = hashlib.sha256(at_home.holdout.read_bytes()).hexdigest()
    monkeypatch.setattr(doubts_module, "read_predicate", lambda folder: {"public_table": {"sha256": digest}})
    assert said(at_home.release, at_home.train, at_home.holdout) == [
        "--holdout is the public table that the model was trained on without noise: no figure holds for it."
    ]


def test_the_right_tables_are_not_doubted(at_home):
    assert said(at_home.release, at_home.train, at_home.holdout) == []


def test_another_number_of_rows_is_told(at_home):
    half = pd.read_parquet(at_home.train).iloc[::2]
    (doubt,) = said(at_home.release, half, at_home.holdout)
    assert "seems to have been made from another table" in doubt


def test_as_many_other_rows_are_told(at_home):
    train = pd.read_parquet(at_home.train)
    train["ward"] = "north"
    (doubt,) = said(at_home.release, train, at_home.holdout)
    assert "in 1 of 5 listed columns: it seems to have been made from other rows" in doubt


def test_of_right_counts_none_is_doubted_by_chance(at_home, tmp_path):
    """A hundred reports with true counts and noise anew."""
    shutil.copy(at_home.release / "report.json", tmp_path / "report.json")
    body = json.loads((tmp_path / "report.json").read_text())
    tables, left_out = read_tables(schema(), released(50), at_home.train, at_home.holdout, np.random.default_rng(0))
    column = next(each for each in body["columns"] if each["name"] == "smoker")
    sigma, rng = 20.0, np.random.default_rng(0)
    exact = np.append(np.bincount(tables.train["smoker"].cat.codes, minlength=2), 0)
    for _ in range(100):
        noisy = np.rint(exact + rng.normal(0, sigma, 3))
        bars = [{"label": "x", "measured": float(n), "sigma": sigma} for n in noisy]
        made = {**body, "total": 1.0, "columns": [{**column, "bars": bars, "cells": 3}]}
        (tmp_path / "report.json").write_text(json.dumps(made))
        assert doubts(tables, left_out, tmp_path, at_home.train, at_home.holdout) == []


@pytest.mark.parametrize(("kept", "told"), [(0, False), (40, True), (300, True)])
def test_rows_of_the_holdout_that_are_in_train_are_told_without_a_unit(tmp_path, kept, told):
    table = rows(1200).drop(columns="patient")
    table = pd.concat([table, table.head(60)], ignore_index=True).sample(frac=1, random_state=0)  # some by right
    holdout = table.iloc[:300]
    train = pd.concat([table.iloc[300:], holdout.head(kept)])
    found = [each for each in said(tmp_path, train, holdout, ROWS_ALONE) if "cell by cell" in each]
    assert bool(found) == told


def test_a_coarse_table_has_the_same_rows_everywhere(tmp_path):
    coarse = Schema.loads("columns:\n  a: {type: boolean}\n  b: {type: boolean}\n")
    rng = np.random.default_rng(0)
    train, holdout = (pd.DataFrame({name: rng.random(n) < 0.3 for name in "ab"}) for n in (500, 200))
    tables, left_out = read_tables(coarse, train, train, holdout, rng)
    assert not any("cell by cell" in each for each in doubts(tables, left_out, tmp_path, train, holdout))


def test_files_of_split_are_known_to_belong_together(at_home, tmp_path):
    assert "the wrong way round" in " ".join(said(at_home.release, at_home.holdout, at_home.train))
    other = split(rows(), schema(), 0.25, tmp_path / "other", seed=2)
    assert "not written by one" in " ".join(said(at_home.release, other / TRAIN, at_home.holdout))
    assert "not written by one" not in " ".join(said(at_home.release, other / TRAIN, other / HOLDOUT))


def test_a_check_that_cannot_be_made_is_a_sentence(at_home, tmp_path):
    (doubt,) = said(tmp_path, at_home.train, at_home.holdout)
    assert doubt == "One check of the tables could not be made (FileNotFoundError)."


def test_the_page_says_it_first():
    html = page([], {**ABOUT, "doubts": ["<i>wrong</i>"]})
    assert "&lt;i&gt;wrong&lt;/i&gt;" in html
    assert html.index("Are these the right tables?") < html.index("<nav>")
