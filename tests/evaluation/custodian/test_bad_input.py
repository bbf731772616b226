"""Whatever is wrong with the tables or the question becomes a sentence in the report, never an error."""

from __future__ import annotations

from math import isnan

import numpy as np
import pandas as pd
import pytest

from dpsynth.evaluation.custodian.finding import Finding
from dpsynth.evaluation.custodian.page import page
from dpsynth.evaluation.custodian.report import Questions, findings
from dpsynth.evaluation.custodian.task import task_of
from dpsynth.schema import Schema
from tests.evaluation.custodian.conftest import released, rows, schema, tables_of
from tests.evaluation.custodian.test_gate import ABOUT

ALL = Questions(target="died", sensitive="ward", time="days", event="died")


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    """Sentences do not depend on how well anything is predicted."""
    monkeypatch.setattr("dpsynth.evaluation.custodian.learners.TREES", 2)
    monkeypatch.setattr("dpsynth.evaluation.custodian.distinguishing.TREES", 2)


def tables(synthetic=None, train=None, holdout=None, of=None):
    return tables_of(
        released(300) if synthetic is None else synthetic,
        rows(400, 1) if train is None else train,
        rows(250, 2).assign(patient=lambda t: "h" + t["patient"]) if holdout is None else holdout,
        of,
    )


def said(tables, questions: Questions = ALL) -> list[Finding]:
    """All findings, after the page was made of them."""
    found = findings(tables, questions, rng=np.random.default_rng(0))
    assert not [each for each in found if "defect" in each.note]
    assert "PRIVATE" in page(found, ABOUT)
    assert all(each.note for each in found if isnan(each.value) and isnan(each.baseline))
    return found


def sentences(found: list[Finding]) -> str:
    return "\n".join(f"{each.measure} | {each.subject} | {each.note}" for each in found)


def test_a_level_the_holdout_lacks():
    holdout = rows(250, 2).assign(patient=range(250)).query("ward != 'east'")
    found = said(tables(holdout=holdout))
    assert "Released levels that the holdout lacks: 'east'." in sentences(found)
    nowhere = said(tables(holdout=holdout, train=rows(400, 1).query("ward != 'east'")))
    assert "1 of them are not in the training rows either" in sentences(nowhere)


@pytest.mark.parametrize("column", ["ward", "age", "admitted"])
def test_a_constant_column(column):
    value = {"ward": "north", "age": 40, "admitted": pd.Timestamp("2021-01-01")}[column]
    text = sentences(said(tables(train=rows(400, 1).assign(**{column: value}))))
    assert f"divergence of a variable | {column} | The column is constant in the training rows." in text
    said(tables(released(300).assign(**{column: value})))
    said(tables(*(frame.assign(**{column: value}) for frame in (released(300), rows(400, 1), rows(250, 2)))))


@pytest.mark.parametrize("column", ["ward", "age"])
def test_an_all_missing_column(column):
    empty = {column: None}
    assert f"{column} | Not computed: the column is empty in all released rows" in sentences(
        said(tables(released(300).assign(**empty)))
    )
    assert f"{column} | Not computed: the column is empty in all training rows" in sentences(
        said(tables(train=rows(400, 1).assign(**empty)))
    )
    said(tables(holdout=rows(250, 2).assign(patient=range(250), **empty)))
    said(tables(*(frame.assign(**empty) for frame in (released(300), rows(400, 1), rows(250, 2)))))


@pytest.mark.parametrize("where", ["synthetic", "train", "holdout"])
@pytest.mark.parametrize("value", [True, None])
def test_a_target_with_one_class_or_none(where, value):
    frames = {"synthetic": released(300), "train": rows(400, 1), "holdout": rows(250, 2).assign(patient=range(250))}
    frames[where] = frames[where].assign(died=value)
    text = sentences(said(tables(**frames)))
    what = {"synthetic": "released rows", "train": "training rows", "holdout": "holdout"}[where]
    assert (f"The {what} hold only one class" if value else f"The {what} hold no value") in text


@pytest.mark.parametrize("rows_left", [0, 1])
@pytest.mark.parametrize("where", ["synthetic", "train", "holdout"])
def test_a_table_of_hardly_any_rows(where, rows_left):
    frames = {"synthetic": released(300), "train": rows(400, 1), "holdout": rows(250, 2).assign(patient=range(250))}
    frames[where] = frames[where].iloc[:rows_left]
    text = sentences(said(tables(**frames)))
    if not rows_left and where == "synthetic":
        assert "the synthetic table has no rows" in text


def test_all_tables_empty():
    said(tables(released(300).iloc[:0], rows(400).iloc[:0], rows(200).iloc[:0]))


def test_cells_nobody_can_read():
    train = rows(400, 1).astype({"age": object, "ward": object, "cost": object, "admitted": object})
    train.loc[::3, "age"] = "?"
    train.loc[::4, "ward"] = "atlantis"
    train.loc[::5, "cost"] = np.inf
    train.loc[::6, "admitted"] = "someday"
    found = said(tables(train=train))
    missing = {each.subject: each for each in found if each.measure == "missingness, difference in share"}
    assert {"age", "ward", "cost", "admitted"} <= missing.keys()
    assert missing["ward"].value == pytest.approx(-0.25, abs=0.03)


@pytest.mark.parametrize(
    ("questions", "says"),
    [
        (Questions(target="height"), "The schema has no column 'height'"),
        (Questions(target="ward=atlantis"), "has no level 'atlantis'"),
        (Questions(target="age", sensitive="ward"), "the target is a number"),
        (Questions(target="died", sensitive="height"), "The schema has no column 'height'"),
        (Questions(target="died", sensitive="died"), "the sensitive column is the target itself"),
        (Questions(time="ward", event="died"), "holds no numbers"),
        (Questions(time="days", event="ward"), "is no flag"),
        (Questions(time="height", event="died"), "The schema has no column 'height'"),
        (Questions(), "no target was named"),
    ],
)
def test_questions_that_cannot_be_answered(questions, says):
    assert says in sentences(said(tables(), questions))


def test_nobody_dies():
    never = (frame.assign(died=False) for frame in (released(300), rows(400, 1), rows(250, 2)))
    assert "fewer than 20 events" in sentences(said(tables(*never)))


def test_follow_up_of_no_length():
    at_once = (frame.assign(days=0) for frame in (released(300), rows(400, 1), rows(250, 2)))
    assert "nobody is followed beyond time zero" in sentences(said(tables(*at_once)))


def test_strata_too_small_to_be_judged():
    holdout = rows(250, 2).assign(patient=range(250), ward="north")
    holdout.loc[:5, "ward"] = "south"
    text = sentences(said(tables(holdout=holdout)))
    assert "fewer than two strata of 'ward' have enough rows" in text


def test_one_column():
    one = Schema.loads("columns: {died: {type: boolean}}")
    frames = [frame[["died"]] for frame in (released(300), rows(400, 1), rows(250, 2))]
    said(tables(*frames, one), Questions(target="died", sensitive="died"))


def test_the_positive_level():
    assert task_of(tables(), "died").title == "died = true"
    assert task_of(tables(), "ward=south").title == "ward = south"
    rare = rows(400, 1)
    rare["sex"] = np.where(np.arange(400) % 10 == 0, "M", "F")
    assert task_of(tables(train=rare), "sex").title == "sex = M"
    assert schema().names[0] == "sex"
