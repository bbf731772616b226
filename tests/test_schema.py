"""The schema language: round trips, defaults, and one clear sentence for whatever is wrong."""

from __future__ import annotations

import doctest
import json
import os
import re
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import rfc8785
from hypothesis import given, settings

from dpsynth.bins import Bins
from dpsynth.columns import Boolean, Categorical, Coded, Date, Float, Integer, Ordinal
from dpsynth.encoding import Encoder
from dpsynth.errors import DpsynthError, SchemaError
from dpsynth.schema import Schema
from tests.strategies import schemas

EXAMPLE = """\
name: patients
unit: patient_id
at_most: 3
about_rows: 20000
columns:
  sex: {type: categorical, values: [F, M], missing: true}
  stage: {type: ordinal, values: [I, II, III, IV]}
  smoker: {type: boolean}
  age: {type: integer, min: 0, max: 110, bins: 22}
  cost: {type: float, min: 0.0, max: 100000.0, scale: log, decimals: 2}
  seen: {type: date, min: 2020-01-01, max: 2024-12-31, bins: 60}
  at: {type: datetime, min: 2020-01-01 00:00:00, max: 2020-12-31 12:00:00}
  hours: {type: integer, min: 0, max: 99, bins: [0, 20, 35, 41, 60, 99]}
"""


def one(spec: str) -> object:
    """The only column of a schema."""
    return Schema.loads(f"columns: {{a: {spec}}}").columns[0]


def test_the_example_reads_and_writes_itself():
    schema = Schema.loads(EXAMPLE)
    assert schema.to_yaml() == EXAMPLE
    assert schema.names == ("sex", "stage", "smoker", "age", "cost", "seen", "at", "hours")
    assert schema.domain.sizes == {
        "sex": 4, "stage": 5, "smoker": 3, "age": 23, "cost": 17, "seen": 61, "at": 17, "hours": 6,
    }  # fmt: skip
    hints = schema.hints
    assert (hints.at_most, hints.about_rows) == (3, 20000)
    assert hints.ordered == {"stage", "age", "cost", "seen", "at", "hours"}
    assert hints.missing == {"sex": 2}
    assert hints.logarithmic == frozenset()  # its one such column has 16 bins, not a fine grid
    fine = "columns: {a: {type: integer, min: 0, max: 999, scale: log, bins: auto}, b: {type: integer, min: 0, max: 9}}"
    assert Schema.loads(fine).hints.logarithmic == {"a"}
    assert all(code == schema.domain[name] - 1 for name, code in hints.out_of_domain.items())


@settings(deadline=None, max_examples=60)
@given(schemas())
def test_round_trips(schema):
    text = schema.to_yaml()
    assert Schema.loads(text) == schema
    assert Schema.loads(text).to_yaml() == text
    data = schema.to_json()
    assert Schema.from_json(json.loads(json.dumps(data))) == schema
    again = Schema.from_json(json.loads(rfc8785.dumps(data)))
    assert (again.digest, again.domain, again.hints) == (schema.digest, schema.domain, schema.hints)


def test_digest_follows_the_content():
    schema = Schema.loads(EXAMPLE)
    assert schema.digest == Schema.loads(EXAMPLE + "\n# a comment\n").digest
    assert len(schema.digest) == 64
    assert schema.digest != Schema.loads(EXAMPLE.replace("bins: 22", "bins: 21")).digest
    assert schema.digest != Schema.loads(EXAMPLE.replace("[F, M]", "[M, F]")).digest


def test_a_schema_written_before_fine_grids_keeps_its_digest():
    assert Schema.loads(EXAMPLE).digest == "1e382cd7a3c354229df6f3ed5c317164a57ee2534e32a62b15a91879d0e3434a"


def test_values_are_frozen():
    schema = Schema.loads(EXAMPLE)
    with pytest.raises(ValueError, match="frozen"):
        schema.at_most = 4
    assert hash(schema) == hash(Schema.loads(EXAMPLE))


def test_yaml_1_2_words_and_quotes():
    column = one("{type: categorical, values: [no, yes, on, '1', 2, 2.5, true, ~x, 2020-01-01]}")
    assert column.values == ("no", "yes", "on", "1", 2, 2.5, True, "~x", "2020-01-01")


def test_bins():
    assert len(one("{type: integer, min: 0, max: 110}").partition) == 16
    assert len(one("{type: integer, min: 1, max: 10}").partition) == 10
    assert one("{type: integer, bins: [0, 5, 99]}") == one("{type: integer, min: 0, max: 99, bins: [0, 5, 99]}")
    assert one("{type: integer, min: 0, max: 99, bins: [0, 5, 99]}").partition.edges == (0, 5, 100)
    assert one("{type: integer, min: 0, max: 9, bins: 2}").partition.edges == (0, 5, 10)
    assert one("{type: float, min: 0, max: 1, decimals: 1, bins: 2}").partition.edges == (0, 5, 11)
    assert one("{type: date, min: 2020-01-01, max: 2020-01-03, bins: 9}").cells == 3
    assert one("{type: datetime, min: 2020-01-01, max: 2020-01-02, bins: 24}").cells == 24


def test_fine_grids_are_told_to_plans_and_their_atoms_to_nobody_else():
    schema = Schema.loads(
        "columns: {a: {type: integer, min: 0, max: 9, bins: auto}, b: {type: float, min: 0, max: 9, bins: 4}, "
        "c: {type: float, min: 1, max: 1000, bins: auto, scale: log, decimals: 0, atoms: [999, 50]}}"
    )
    a, _, c = schema.columns
    assert a.partition.edges == tuple(range(11))
    assert c.atoms == (50, 999)
    assert {1, 2, 50, 51, 999, 1000, 1001} <= set(c.partition.edges)
    assert set(schema.hints.fine) == {"a", "c"}
    assert schema.hints.fine["a"] == tuple(range(11))
    assert schema.hints.fine["c"] == pytest.approx(np.log(c.partition.edges))
    assert schema.to_json()["columns"][0]["bins"] == "auto"
    assert "atoms" not in schema.to_json()["columns"][0]
    assert one("{type: float, min: 0, max: 9, bins: auto, atoms: [0.125]}").decimals == 3


def test_log_bins_widen_from_zero_and_from_a_positive_minimum():
    from_zero = np.diff(one("{type: integer, min: 0, max: 99999, scale: log}").partition.edges)
    assert from_zero[0] == 1
    assert (np.diff(from_zero) > 0).all()
    decades = one("{type: float, min: 1, max: 10000, bins: 4, scale: log, decimals: 0}").partition
    assert decades.edges == (1, 10, 100, 1000, 10001)
    tight = one("{type: integer, min: 0, max: 20, bins: 20, scale: log}").partition
    assert len(tight) == 20
    assert tight.edges[-1] == 21


def test_default_decimals():
    assert one("{type: float, min: 0, max: 100000}").decimals == 2
    assert one("{type: float, min: 0, max: 1}").decimals == 3
    assert one("{type: float, min: 0, max: 0.0005}").decimals == 7
    assert one("{type: float, min: 0.12345, max: 99}").decimals == 5
    assert one("{type: float, min: 0, max: 1.0e+14}").decimals == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["mapping", "columns", "nothing"]),
        ("- 1", ["mapping", "a list"]),
        ("columns: [", ["not valid YAML", "line 1"]),
        ("columns: *x", ["not valid YAML", "undefined alias"]),
        ("name: x", ["'columns'", "not there"]),
        ("columns: {}", ["empty", "at least one"]),
        ("columns: {a: {type: boolean}, a: {type: boolean}}", ["duplicate key", '"a"', "line 1"]),
        ("colums: {}", ["unknown key 'colums'", "did you mean 'columns'"]),
        ("columns: {a: boolean}", ["'a'", "mapping"]),
        ("columns: {1: {type: boolean}}", ["column 1", "quotes"]),
        ("columns: {'': {type: boolean}}", ["printable"]),
        ("columns: {a: {min: 1}}", ["'a'", "'type' is required"]),
        ("columns: {a: {type: integre}}", ["'a'", "unknown type 'integre'", "'integer'"]),
        ("columns: {a: {type: [1]}}", ["'a'", "unknown type"]),
        ("columns: {a: {type: boolean, vlaues: []}}", ["'a'", "unknown key 'vlaues'"]),
        ("columns: {a: {type: integer, mx: 1}}", ["'a'", "did you mean 'max'"]),
        ("columns: {a: {type: integer, min: 5}}", ["'a'", "'max' is required"]),
        ("columns: {a: {type: integer, min: 5, max: 5}}", ["'a'", "less than", "5 and 5"]),
        ("columns: {a: {type: integer, min: x, max: 5}}", ["'a'", "'min'", "an integer", "'x'"]),
        ("columns: {a: {type: integer, min: 0, max: 1.5}}", ["'a'", "'max'", "an integer", "1.5"]),
        ("columns: {a: {type: integer, min: true, max: 5}}", ["'a'", "'min'", "an integer"]),
        ("columns: {a: {type: integer, min: 0, max: 10000000000000000}}", ["'a'", "15 digits"]),
        ("columns: {a: {type: float, min: .nan, max: 1}}", ["'a'", "finite", "nan"]),
        ("columns: {a: {type: float, min: 0, max: .inf}}", ["'a'", "finite", "inf"]),
        ("columns: {a: {type: float, min: 0, max: 1, decimals: 16}}", ["'a'", "decimals", "16"]),
        ("columns: {a: {type: float, min: 0, max: 1.25, decimals: 1}}", ["'a'", "1.25", "decimals: 1"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: 0}}", ["'a'", "'bins'", "between 1", "0"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: 2.5}}", ["'a'", "'bins'", "2.5"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: atuo}}", ["'a'", "'bins'", "auto", "'atuo'"]),
        ("columns: {a: {type: integer, min: 0, max: 9, atoms: [1]}}", ["'a'", "'atoms'", "'bins: auto'"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: auto, atoms: []}}", ["'a'", "'atoms'", "list"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: auto, atoms: [1, 1]}}", ["'a'", "'atoms'", "1 twice"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: auto, atoms: [1.5]}}", ["'a'", "'atoms'", "whole"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: auto, atoms: [11]}}", ["'a'", "'atoms'", "11", "'max' 9"]),
        (f"columns: {{a: {{type: date, min: 2020-01-01, max: 2021-01-01, bins: auto, atoms: {[1] * 101}}}}}", ["100"]),
        ("columns: {a: {type: float, min: 0, max: 9, bins: auto, decimals: 1, atoms: [0.25]}}", ["'a'", "0.25"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: true}}", ["'a'", "'bins'", "True"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: [0]}}", ["'a'", "two edges"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: [0, 5, 5, 9]}}", ["'a'", "increase", "5 before 5"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: [0, 5]}}", ["'a'", "run from", "9"]),
        ("columns: {a: {type: integer, min: 0, max: 9, bins: [0, 1.5, 9]}}", ["'a'", "whole numbers", "1.5"]),
        ("columns: {a: {type: float, min: 0, max: 9, bins: [0, .nan, 9]}}", ["'a'", "finite"]),
        ("columns: {a: {type: integer, min: -1, max: 9, scale: log}}", ["'a'", "log", "-1"]),
        ("columns: {a: {type: integer, min: 0, max: 9, scale: cube}}", ["'a'", "'linear' or 'log'", "'cube'"]),
        ("columns: {a: {type: date, min: 1, max: 2020-01-01}}", ["'a'", "2020-12-31", "'1'"]),
        ("columns: {a: {type: datetime, min: 2020-01-01T00:00:00Z, max: 2020-01-02}}", ["'a'", "no zone"]),
        ("columns: {a: {type: categorical, values: []}}", ["'a'", "empty"]),
        ("columns: {a: {type: categorical, values: x}}", ["'a'", "list", "'x'"]),
        ("columns: {a: {type: categorical, values: [x, ~]}}", ["'a'", "missing: true"]),
        ("columns: {a: {type: categorical, values: [x, ' ']}}", ["'a'", "missing: true"]),
        ("columns: {a: {type: categorical, values: [1, '1.0']}}", ["'a'", "1 and '1.0'", "same"]),
        ("columns: {a: {type: categorical, values: [x, ' x ']}}", ["'a'", "same"]),
        ('columns: {a: {type: categorical, values: ["x\\0"]}}', ["'a'", "without NUL"]),
        ('columns: {a: {type: categorical, values: ["x\\ry"]}}', ["'a'", "carriage return"]),
        ("columns: {a: {type: categorical, values: [[1]]}}", ["'a'", "[1]"]),
        ("columns: {a: {type: categorical, values: [.inf]}}", ["'a'", "finite"]),
        ("columns: {a: {type: boolean, missing: maybe}}", ["'a'", "true or false", "'maybe'"]),
        ("columns: {a: {type: coded, cardinality: 0}}", ["'a'", "cardinality", "0"]),
        ("unit: a\ncolumns: {a: {type: boolean}}", ["unit column 'a'", "remove"]),
        ("unit: 1\ncolumns: {a: {type: boolean}}", ["'unit'", "text", "1"]),
        ("at_most: 2\ncolumns: {a: {type: boolean}}", ["'at_most' is 2", "unit"]),
        ("unit: u\nat_most: 0\ncolumns: {a: {type: boolean}}", ["'at_most'", "between 1", "0"]),
        ("about_rows: 0\ncolumns: {a: {type: boolean}}", ["'about_rows'", "0"]),
        ("about_rows: many\ncolumns: {a: {type: boolean}}", ["'about_rows'", "integer", "'many'"]),
    ],
)
def test_each_mistake_is_one_clear_sentence(text, parts):
    with pytest.raises(SchemaError) as caught:
        Schema.loads(text)
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message
    assert len(message) < 250
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert isinstance(caught.value, DpsynthError)


def test_mistakes_in_python_are_schema_errors_too():
    with pytest.raises(SchemaError, match=r"column 'a': 'min' must be less than 'max', got 5 and 1"):
        Integer(name="a", min=5, max=1)
    with pytest.raises(SchemaError, match=r"column 'a' is declared twice"):
        Schema(columns=(Boolean(name="a"), Boolean(name="a")))
    with pytest.raises(SchemaError, match="format"):
        Schema.from_json({"columns": []})
    with pytest.raises(SchemaError, match="format"):
        Schema.from_json([1])
    with pytest.raises(ValueError, match="increasing"):
        Bins((3, 3))


def test_unreadable_files(tmp_path):
    with pytest.raises(SchemaError, match=r"cannot read the schema file .*none\.yaml'"):
        Schema.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(SchemaError, match="not UTF-8"):
        Schema.from_yaml(tmp_path / "latin.yaml")
    with pytest.raises(SchemaError, match="directory"):
        Schema.from_yaml(str(tmp_path))
    (tmp_path / "good.yaml").write_text(EXAMPLE, encoding="utf-8-sig")
    assert Schema.from_yaml(os.fspath(tmp_path / "good.yaml")) == Schema.loads(EXAMPLE)


def test_from_domain():
    schema = Schema.from_domain({"age": 85, "sex": 2}, unit="person", at_most=2)
    assert schema.columns == (Coded(name="age", cardinality=85), Coded(name="sex", cardinality=2))
    assert schema.domain.sizes == {"age": 86, "sex": 3}
    assert schema.origin == "declared"
    with pytest.raises(SchemaError, match="cardinality"):
        Schema.from_domain({"age": 0})


def test_from_public_says_so_and_encodes_its_frame_without_loss():
    rng = np.random.default_rng(0)
    n = 500
    frame = pd.DataFrame(
        {
            "who": np.arange(n),
            "age": rng.integers(0, 90, n),
            "grade": rng.integers(1, 4, n).astype(float),
            "cost": rng.gamma(2, 100, n).round(2),
            "flag": rng.random(n) < 0.5,
            "town": rng.choice(["Ulm", "Bonn"], n),
            "size": pd.Categorical(rng.choice(["S", "L"], n), categories=["S", "L"], ordered=True),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, n), unit="D"),
        }
    )
    frame.loc[::7, "cost"] = np.nan
    frame.loc[::5, "town"] = None
    schema = Schema.from_public(frame, unit="who", at_most=1)
    assert schema.origin == "public-frame"
    assert schema.to_json()["origin"] == "public-frame"
    assert "origin: public-frame" in schema.to_yaml()
    assert Schema.loads(schema.to_yaml()) == schema
    kinds = [type(column) for column in schema.columns]
    assert kinds == [Integer, Ordinal, Float, Boolean, Categorical, Ordinal, Date]
    assert schema.column("grade").values == (1, 2, 3)
    assert schema.column("cost").decimals == 2
    assert schema.column("size").values == ("S", "L")
    assert set(schema.hints.missing) == {"cost", "town"}
    codes = Encoder(schema).encode(frame)
    assert all((codes[name] < column.outside_code).all() for name, column in zip(codes, schema.columns, strict=True))
    assert Schema.from_public(pa.Table.from_pandas(frame.drop(columns="size"))).origin == "public-frame"


def test_from_public_refuses_what_no_type_fits():
    with pytest.raises(SchemaError, match=r"'a' .* no value"):
        Schema.from_public(pd.DataFrame({"a": [None, None]}))
    with pytest.raises(SchemaError, match=r"'a' .* 2000 distinct texts"):
        Schema.from_public(pd.DataFrame({"a": [f"id{i}" for i in range(2000)]}))
    with pytest.raises(SchemaError, match="same name"):
        Schema.from_public(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(SchemaError, match="pandas, Polars or Arrow"):
        Schema.from_public(5)


@settings(deadline=None, max_examples=50)
@given(schemas())
def test_domain_counts_every_cell_once(schema):
    encoder = Encoder(schema)
    for column in schema.columns:
        labels = encoder.decode_labels(column.name)
        assert len(labels) == column.size == schema.domain[column.name]
        assert labels[-1] == "(outside the codebook)"
        assert column.outside_code == column.size - 1
        assert (column.missing_code is None) == (not column.missing)


def test_bounds_are_kept_as_declared():
    column = one("{type: date, min: 2020-01-01, max: 2020-12-31}")
    assert (column.min, column.max) == (date(2020, 1, 1), date(2020, 12, 31))
    at = one("{type: datetime, min: 2020-01-01, max: '2020-12-31T01:02:03'}")
    assert (at.min, at.max) == (datetime(2020, 1, 1), datetime(2020, 12, 31, 1, 2, 3))


def test_the_reference_page_is_true(tmp_path, monkeypatch):
    page = Path(__file__).parents[1] / "docs" / "schema.md"
    for language, name in (("yaml", "patients.yaml"), ("csv", "codebook.csv")):
        block = re.search(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        (tmp_path / name).write_text(block[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert (failed, tried > 10) == (0, True)


@pytest.mark.parametrize(
    ("kind", "written"),
    [("date", "2020-13-01"), ("date", "2021-02-29"), ("datetime", "2020-01-01 25:00:00"), ("date", "yesterday")],
)
def test_what_looks_like_a_date_and_is_none_is_told_with_its_column(kind, written):
    with pytest.raises(SchemaError, match=f"column 'came': a .* must be written like 2020-12-31.*got '{written}'"):
        Schema.loads(f"columns:\n  came: {{type: {kind}, min: {written}, max: 2022-01-01}}\n")


def test_codes_may_be_in_order():
    plain, ordered = (
        Schema.from_domain({"age": 85, "sex": 2}),
        Schema.from_domain({"age": 85, "sex": 2}, ordered=["age"]),
    )
    assert plain.hints.ordered == frozenset()
    assert ordered.hints.ordered == {"age"}
    assert "age: {type: coded, cardinality: 85, in_order: true}" in ordered.to_yaml()
    assert Schema.loads(ordered.to_yaml()) == Schema.from_json(ordered.to_json()) == ordered
    assert "in_order" not in json.dumps(plain.to_json()), "a schema without it has the digest it always had"
    assert Schema.loads("columns:\n  a: {type: coded, cardinality: 3, in_order: false}\n") == Schema.from_domain(
        {"a": 3}
    )
    assert plain.digest != ordered.digest
    with pytest.raises(SchemaError, match="'ordered' names an unknown column 'agee'; did you mean 'age'"):
        Schema.from_domain({"age": 85}, ordered=["agee"])


@pytest.mark.parametrize("written", ["10,000", "'10 000'", "10.000.000", '"500"'])
def test_a_number_of_rows_that_is_no_number_says_how_to_write_it(written):
    with pytest.raises(SchemaError, match="without quotes or separators") as error:
        Schema.loads(f"about_rows: {written}\ncolumns:\n  a: {{type: boolean}}\n")
    assert re.search(r"write [1-9][0-9]*,", str(error.value))


def test_a_plan_given_for_a_schema_is_told():
    with pytest.raises(SchemaError, match="this is a plan"):
        Schema.loads('{"format": 1, "schema": {}, "claim": {}}')


def test_a_schema_file_that_is_not_there_says_how_to_get_one(tmp_path):
    with pytest.raises(SchemaError, match="dpsynth schema draft"):
        Schema.from_yaml(tmp_path / "nowhere.yaml")
