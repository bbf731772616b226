"""Copies of private tables without a stamp: what is known again, and what is anybody's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from accountants import GateRefused
from dpsynth import private
from dpsynth.cli import main
from dpsynth.evaluation.custodian.split import TRAIN, split
from dpsynth.schema import Schema
from tests.evaluation.custodian.conftest import SCHEMA, rows
from tests.evaluation.custodian.test_gate import REPORT

TELLING = ["age", "cost", "admitted", "days"]  # of many values; in order, ward, stage, smoker, sex and died as well


@pytest.fixture
def plain(at_home):
    """The rows to release from, without a stamp."""
    frame = pd.read_parquet(at_home.train)
    frame.attrs.clear()
    assert len(frame) > 600
    return frame


@pytest.mark.parametrize("suffix", [".csv", ".parquet", "arrow"])
def test_a_copy_without_the_unit(suffix, at_home, plain, tmp_path):
    copy = plain.drop(columns="patient")
    if suffix == "arrow":
        assert private.is_private(pa.Table.from_pandas(copy).replace_schema_metadata(None))
        return
    path = tmp_path / f"copy{suffix}"
    copy.to_csv(path, index=False) if suffix == ".csv" else copy.to_parquet(path)
    out = tmp_path / "more"
    args = ["sample", str(at_home.release), "--given-table", str(path), "--out", str(out)]
    result = CliRunner().invoke(main, args)
    assert (result.exit_code, out.exists()) == (4, False)
    assert "Refused (private)" in result.output


def test_a_merge_that_loses_the_stamp(at_home):
    held = pd.read_parquet(at_home.train)
    merged = held.merge(pd.DataFrame({"ward": held["ward"].unique(), "beds": 9}), on="ward")
    merged.attrs.clear()
    assert private.is_private(merged[[*TELLING, "beds"]])


@pytest.mark.parametrize("name", TELLING)
def test_each_telling_column_in_any_order_and_format(name, at_home, plain, tmp_path):
    column = plain[name].sample(frac=1, random_state=1)
    column.to_frame("renamed").to_csv(tmp_path / "column.csv")
    assert private.is_private(tmp_path / "column.csv")
    for copy in (column, column.astype("category"), column.tolist(), column.to_numpy(), pa.array(column)):
        assert private.is_private(copy)
        assert private.is_private({name: copy})
        assert private.is_private(pd.DataFrame({"public": range(len(plain)), name: copy}))
    with pytest.raises(GateRefused, match="private"):
        at_home.model.sample(given={name: column.tolist(), "sex": "F"})


@pytest.mark.parametrize("name", ["sex", "ward", "stage", "smoker", "died"])
def test_columns_of_few_values_in_their_order(name, at_home, plain, tmp_path):
    plain[[name]].to_csv(tmp_path / "column.csv", index=False)
    assert private.is_private(tmp_path / "column.csv")
    assert private.is_private({name: plain[name].tolist()})
    assert not private.is_private(plain[[name]].sort_values(name))


def test_a_small_table_whole_or_without_its_unit(tmp_path, monkeypatch):
    monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "home"))
    few = Schema.loads(SCHEMA)
    folder = split(rows(16, seed=5)[["patient", *few.domain.attributes]], few, 0.25, tmp_path / "split")
    plain = pd.read_parquet(folder / TRAIN)
    plain.attrs.clear()
    assert all(private.column_digest(plain[name]) is None for name in plain)
    assert private.is_private(plain.sample(frac=1))
    without = plain.drop(columns="patient")
    assert private.is_private(without)
    assert private.is_private({name: without[name].tolist() for name in without})
    assert private.is_private({name: without[name].to_numpy() for name in without})
    assert not private.is_private(without.head(5))
    monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "another"))  # which knows no digest
    assert not private.is_private(without)


def test_what_anybody_may_hold_is_not_known_by_its_column():
    n = 1000
    constant, periodic, ordered = ["a"] * n, ["a", "b", "c", "d"] * (n // 4), ["a"] * 400 + ["b"] * 600
    for column in (constant, periodic, ordered, list("abc"), [], [None] * n, range(19)):
        assert private.column_digest(pd.Series(column)) is None
    rng = np.random.default_rng(0)
    one, other = (pd.Series(rng.integers(0, 30, n)) for _ in range(2))
    assert private.column_digest(one) == private.column_digest(one[::-1].astype(float).astype(str))
    assert private.column_digest(one) != private.column_digest(other)


def test_public_columns_stay_public(at_home):
    other = rows(900, seed=9)
    assert not any(private.is_private(other[name]) for name in other)
    assert not private.is_private(other)
    assert not private.is_private({"age": list(range(101)), "ward": ["north"] * 101})


def test_the_json_of_a_report_by_its_key():
    assert private.is_private(REPORT.to_json())
    assert private.is_private({"nested": REPORT.to_json()})
    assert not private.is_private({private.MARK: "yes"})  # a column may be named so
    assert not private.is_private({private.MARK: ["yes", "no"]})
