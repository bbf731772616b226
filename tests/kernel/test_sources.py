"""Sources: the same rows from every kind of table, structure checked first, and no cell in any error."""

from __future__ import annotations

import csv
import gzip
import os
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpsynth.columns import BinnedBase
from dpsynth.encoding import Encoder, unit_tokens
from dpsynth.errors import SourceError
from dpsynth.kernel.sources import Source, check_structure, open_source
from dpsynth.kernel.sources import csv as csv_module
from dpsynth.schema import Schema
from tests.strategies import CELLS, SURROGATES, codes, schemas, series

SCHEMA = Schema.loads(
    """
    unit: who
    at_most: 2
    columns:
      sex: {type: categorical, values: [F, M], missing: true}
      age: {type: integer, min: 0, max: 110, missing: true}
      cost: {type: float, min: 0, max: 1000, missing: true}
      flag: {type: boolean}
      seen: {type: date, min: 2020-01-01, max: 2024-12-31, missing: true}
      at: {type: datetime, min: 2020-01-01, max: 2024-12-31}
    """
)


def table(rows: int = 300) -> pd.DataFrame:
    """A well-behaved table with nulls, a column too many and its own column order."""
    rng = np.random.default_rng(rows)
    frame = Encoder(SCHEMA).decode(codes(SCHEMA, rows, 1), rng)
    frame.insert(2, "who", rng.integers(0, 50, rows).astype(float))
    frame.loc[frame.index % 9 == 0, "who"] = np.nan
    frame["notes"] = 'a "quoted", long note'
    return frame


class Stream:
    """Some other library's table, known only by its Arrow stream."""

    def __init__(self, held: pa.Table) -> None:
        self._held = held

    def __arrow_c_stream__(self, requested: object = None) -> object:
        return self._held.__arrow_c_stream__(requested)


class Exporting:
    """Some other library's table, known only by its ``to_arrow``."""

    def __init__(self, held: pa.Table) -> None:
        self.to_arrow = lambda: held


def _ipc_stream(frame: pd.DataFrame, path: Path) -> Path:
    held = pa.Table.from_pandas(frame)
    with pa.ipc.new_stream(path, held.schema) as writer:
        writer.write_table(held, max_chunksize=70)
    return path


def _feather(frame: pd.DataFrame, path: Path) -> Path:
    pyarrow.feather.write_feather(frame, str(path), chunksize=70)
    return path


def _written(write: Callable[[Path], None], path: Path) -> Path:
    write(path)
    return path


MAKERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "pandas": lambda f, d: f,
    "objects": lambda f, d: f.astype(object),
    "arrow-backed": lambda f, d: f.convert_dtypes(dtype_backend="pyarrow"),
    "arrow": lambda f, d: pa.Table.from_pandas(f),
    "record batch": lambda f, d: pa.RecordBatch.from_pandas(f),
    "arrow stream": lambda f, d: Stream(pa.Table.from_pandas(f)),
    "to_arrow": lambda f, d: Exporting(pa.Table.from_pandas(f)),
    "parquet": lambda f, d: _written(lambda p: f.to_parquet(p, row_group_size=70), d / "t.parquet"),
    "csv": lambda f, d: str(_written(lambda p: f.to_csv(p, index=False), d / "t.csv")),
    "csv.gz": lambda f, d: _written(lambda p: f.to_csv(p, index=False), d / "T.CSV.GZ"),
    "windows csv": lambda f, d: _written(
        lambda p: f.to_csv(p, index=False, lineterminator="\r\n", encoding="utf-8-sig", quoting=1), d / "t.csv"
    ),
    "feather": lambda f, d: _feather(f, d / "t.feather"),
    "arrow file": lambda f, d: _ipc_stream(f, d / "t.arrow"),
}


def read(source: Source, schema: Schema, size: int) -> tuple[dict[str, list[int]], list[bytes | None]]:
    """All codes and units of a source, batch by batch."""
    names = [*schema.names, *([schema.unit] if schema.unit else [])]
    encoder = Encoder(schema)
    out: dict[str, list[int]] = {name: [] for name in schema.names}
    units: list[bytes | None] = []
    for batch in source.batches(names, size):
        assert batch.num_rows <= size
        assert batch.schema.names == names
        for name, held in encoder.encode(batch).items():
            out[name] += held.tolist()
        if schema.unit:
            units += unit_tokens(batch.column(schema.unit))
    return out, units


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_of_table_gives_the_same_codes_in_any_batches(kind, tmp_path):
    frame = table()
    expected = read(open_source(frame), SCHEMA, 10**6)
    assert expected[0] == {name: held.tolist() for name, held in codes(SCHEMA, 300, 1).items()}
    source = open_source(MAKERS[kind](frame, tmp_path))
    check_structure(source, SCHEMA)
    assert sorted(source.columns) == sorted(frame.columns)
    for size in (1000, 300, 64, 7):
        assert read(source, SCHEMA, size) == expected


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("rows", [0, 1])
def test_tables_with_no_row_or_one(kind, rows, tmp_path):
    source = open_source(MAKERS[kind](table(5).iloc[:rows], tmp_path))
    check_structure(source, SCHEMA)
    found, units = read(source, SCHEMA, 10)
    assert [len(held) for held in found.values()] == [rows] * len(SCHEMA.columns)
    assert len(units) == rows


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(schemas(), st.integers(0, 2**32 - 1))
def test_csv_gives_back_what_any_schema_decodes_to(tmp_path_factory, schema, seed):
    names = [name.strip() for name in schema.names]
    if len(set(names)) < len(names) or "" in names:
        return
    held = codes(schema, 20, seed)
    frame = Encoder(schema).decode(held, np.random.default_rng(seed))
    if frame.astype(str).apply(lambda column: column.str.contains("\n")).any(axis=None):
        return  # one line is one row (docs/schema.md): such cells need Parquet
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    frame.set_axis([f"c{i}" for i in range(len(names))], axis=1).to_csv(path, index=False)
    source = open_source(path)
    encoder = Encoder(schema)
    for batch in source.batches(source.columns):
        for i, name in enumerate(schema.names):
            np.testing.assert_array_equal(encoder.encode_column(name, batch.column(f"c{i}")), held[name])


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(CELLS, CELLS), max_size=10), st.integers(1, 11))
def test_columns_of_mixed_objects_in_any_batches(pairs, size):
    frame = pd.DataFrame({"sex": series([a for a, _ in pairs]), "age": series([b for _, b in pairs])})
    schema = Schema(columns=(SCHEMA.columns[0], SCHEMA.columns[1]))
    assert read(open_source(frame), schema, size) == read(open_source(frame), schema, 1000)


def test_pandas_storage_types():
    frame = pd.DataFrame(
        {
            "sex": pd.Categorical(["F", None, "X"]),
            "age": pd.array([5, None, 200], dtype="Int16"),
            "cost": pd.arrays.SparseArray([0.0, np.nan, 7.5]),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "seen": pd.Series(pd.to_datetime(["2020-01-01 23:30", None, "2024-12-31 23:30"])).dt.tz_localize(
                "US/Hawaii"
            ),
            "at": pd.PeriodIndex(["2020-01", "2020-02", None], freq="M"),
            "who": pd.Categorical([1.0, None, 2.0]),
        }
    )
    found, units = read(open_source(frame), SCHEMA, 2)
    assert found["sex"] == [0, 2, 3]
    assert found["age"] == [0, 16, 15]
    assert found["cost"] == [0, 16, 0]
    assert found["flag"] == [1, 2, 0]
    assert found["seen"] == [0, 16, 15]
    assert found["at"] == [16, 16, 16]
    assert units == [b"1", None, b"2"]


BROKEN = (
    b"sex,age,who\n"
    b"\x00,\xff\xfe,\xff\n"
    b"F\n"
    b"M,3,b,surplus\n"
    b"\n"
    b'"F",4,"b"\r\n'
    b'"F",4,"b\n'
    b'"F\n'
    b'M"x,"5"6,c\r\n'
    b",,\n"
    b'"F,",7,""\n'
    b"M,8,d"
)


def test_broken_csv_lines_harm_themselves_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(BROKEN)
    schema = Schema(columns=(SCHEMA.columns[0], SCHEMA.columns[1]), unit="who")
    for size in (4, 100):
        found, units = read(open_source(path), schema, size)
        assert found["sex"] == [3, 2, 2, 0, 2, 2, 3, 2, 3, 1]
        assert found["age"] == [17, 16, 16, 0, 16, 16, 8, 16, 1, 1]
        assert units == ["ÿ".encode(), None, None, b"b", None, None, b"c", None, None, b"d"]


def test_a_carriage_return_in_a_cell_begins_no_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'sex,who\r\nF\rM,a\r\n"F","b\rc"\r\nM,d\r\n\r\n')
    found, units = read(open_source(path), Schema(columns=SCHEMA.columns[:1], unit="who"), 10)
    assert found["sex"] == [3, 0, 1]
    assert units == [b"a", b"b c", b"d"]


@pytest.mark.parametrize("limit", [csv.field_size_limit(), 2**31 - 1, 10])
@pytest.mark.parametrize("packed", [False, True])
def test_a_quote_left_open_or_a_giant_line_takes_no_other_row_along(tmp_path, limit, packed):
    """Whatever limit another library has set for the whole process."""
    damage = [b'"X,1', b'X,"', b'X,"1', b'"X",1"', b"X", b'"' + b"a" * 3_000_000, b"X," + b"1" * 200_000, b"X,1,2"]
    damage += [b'"X,' + b"1" * 140_000 + b'"', b"a," * 2_000_000, b"X," * 500_000]
    good = [b"u%d,1" % i for i in range(9_000)]
    lines = [b"who,age", *good]
    for i, each in enumerate(damage):
        lines.insert(1 + i * 700, each)
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    with gzip.open(path, "wb") if packed else path.open("wb") as file:
        file.write(b"\n".join(lines))
    before = csv.field_size_limit(limit)
    try:
        found, units = read(open_source(path), Schema(columns=(SCHEMA.columns[1],), unit="who"), 65_536)
    finally:
        csv.field_size_limit(before)
    assert [unit for unit in units if unit not in (None, b"x")] == [b"u%d" % i for i in range(9_000)]
    assert units.count(b"x") == 1  # of `"X",1"`, a row like any other
    assert found["age"].count(17) == 1
    assert found["age"].count(16) == len(damage) - 1
    assert len(units) == len(good) + len(damage)


_TORN = [b'"', b',"', b'",', b'"\r', b'a,"b""', b"\r", b" ", b"\xef\xbb\xbfF,1,a", b"\0", *BROKEN.split(b"\n")]
_PIECES = [b'"', b",", b"F", b"1", b"\r", b"\xc3", b"\xa9", b" ", b"'", b"\\"]
LINES = st.one_of(
    st.sampled_from(_TORN),
    st.lists(st.sampled_from(_PIECES), max_size=9).map(b"".join),
    st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")),
)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(LINES, max_size=6), st.integers(0, 6), LINES, st.sampled_from([b"\n", b"\r\n"]))
def test_a_line_more_changes_no_other_row(tmp_path_factory, lines, at, line, ending):
    schema = Schema(columns=(SCHEMA.columns[0], SCHEMA.columns[1]), unit="who")
    path = tmp_path_factory.mktemp("csv") / "t.csv"

    def rows(body):
        path.write_bytes(ending.join([b"sex,age,who", *body]) + ending)
        found, units = read(open_source(path), schema, 3)
        return list(zip(found["sex"], found["age"], units, strict=True))

    parts = [rows(lines[:at]), rows([line]), rows(lines[at:])]
    assert rows([*lines[:at], line, *lines[at:]]) == [row for part in parts for row in part]
    assert len(parts[1]) <= 1


def test_types_do_not_vary_by_batch(tmp_path):
    frame = pd.DataFrame({"a": series([1, "x", None, 2.5, [1], b"\xff"]), "b": ["", "é", "1", "2", "3", "4"]})
    for held in (frame, _written(lambda p: frame.to_csv(p, index=False), tmp_path / "t.csv")):
        source = open_source(held)
        assert {str(batch.schema.types) for batch in source.batches(source.columns, 1)} == {
            str([pa.string(), next(source.batches(["b"])).schema.types[0]])
        }


def test_a_source_is_a_source_and_can_be_read_again():
    source = open_source(table(5))
    assert open_source(source) is source
    assert read(source, SCHEMA, 2) == read(source, SCHEMA, 2)
    assert "2020" not in repr(source)


# One row more changes no other row

EVERY = Schema.loads(
    """
    unit: who
    columns:
      cat: {type: categorical, values: [F, '1', 0.1, true, 2020-01-01], missing: true}
      boo: {type: boolean}
      int: {type: integer, min: 0, max: 100}
      flo: {type: float, min: 0, max: 1, bins: [0, 0.1, 0.7, 1]}
      day: {type: date, min: 2020-01-01, max: 2021-01-01, missing: true}
      mom: {type: datetime, min: 2020-01-01, max: 2020-01-02, bins: 48}
      cod: {type: coded, cardinality: 10, missing: true}
    """
)


def _frame(column: Callable[[list], object]) -> Callable[[list], pd.DataFrame]:
    return lambda cells: pd.DataFrame({name: column(cells) for name in (*EVERY.names, "who")})


def _arrow(column: Callable[[list], pa.Array]) -> Callable[[list], pa.Table]:
    return lambda cells: pa.table({name: column(cells) for name in (*EVERY.names, "who")})


def _categories(cells: list) -> pd.Series:
    found = list(dict.fromkeys(cell for cell in cells if cell is not None))
    where = {cell: at for at, cell in enumerate(found)}
    marks = [-1 if cell is None else where[cell] for cell in cells]
    return pd.Series(pd.Categorical.from_codes(marks, pd.Index(found, dtype=object)))


def _raw_strings(cells: list) -> pa.Array:
    return pa.array(cells, pa.binary()).view(pa.string())


def _chunks(column: Callable[[list], pa.Array]) -> Callable[[list], pa.ChunkedArray]:
    """Two cells a chunk; dictionaries then differ from chunk to chunk."""
    return lambda cells: pa.chunked_array(
        [column(cells[at : at + 2]) for at in range(0, len(cells), 2)], column([None]).type
    )


_BYTES = st.none() | st.binary(max_size=4) | st.sampled_from([b"F", b"1", b" M\xfcller", b"\xff", b"0.1"])
_TEXT = st.none() | st.text(max_size=4) | st.sampled_from(["F", "1", "0.1", "true", "2020-01-01T10:00:00.5", "\ufeffF"])
_DOUBLE = st.none() | st.floats(allow_nan=False) | st.sampled_from([0.1, 0.7, 1e23, 5e-324, 2.0**53])
_SINGLE = st.none() | st.floats(width=32, allow_nan=False)
_WHOLE = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 12)
_MOMENT = st.none() | st.datetimes() | st.datetimes(datetime(2020, 1, 1), datetime(2020, 1, 3))
_NARROW = st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
_HASHED = st.none() | SURROGATES | _BYTES | st.integers() | st.datetimes()

STORES: dict[str, tuple[st.SearchStrategy, Callable[[list], object]]] = {
    "objects": (CELLS, _frame(series)),
    "categories": (_HASHED, _frame(_categories)),
    "text categories": (st.none() | SURROGATES, _frame(_categories)),
    "surrogates": (st.none() | SURROGATES, _frame(lambda c: pd.Series(c, dtype=pd.StringDtype("python")))),
    "strings": (_TEXT, _frame(lambda c: pd.Series(c, dtype="str"))),
    "Int64": (_WHOLE, _frame(lambda c: pd.Series(c, dtype="Int64"))),
    "Float64": (_DOUBLE, _frame(lambda c: pd.Series(c, dtype="Float64"))),
    "float32": (_SINGLE, _frame(lambda c: pd.Series(c, dtype="float32"))),
    "boolean": (st.none() | st.booleans(), _frame(lambda c: pd.Series(c, dtype="boolean"))),
    "datetime64[ns]": (_NARROW, _frame(lambda c: pd.Series(c, dtype="datetime64[ns]"))),
    "datetime64[s]": (_MOMENT, _frame(lambda c: pd.Series(c, dtype="datetime64[s]"))),
    "datetime64[us, zone]": (_NARROW, _frame(lambda c: pd.Series(c, dtype="datetime64[us, Europe/Paris]"))),
    "arrow-backed": (_TEXT, _frame(lambda c: pd.Series(c, dtype=pd.ArrowDtype(pa.string())))),
    "arrow dictionary-backed": (
        _TEXT,
        _frame(
            lambda c: pd.Series(
                pa.array(c, pa.string()).dictionary_encode(),
                dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
            )
        ),
    ),
    "arrow int": (_WHOLE, _arrow(lambda c: pa.array(c, pa.int64()))),
    "arrow float": (_SINGLE, _arrow(lambda c: pa.array(c, pa.float32()))),
    "arrow moment": (_MOMENT, _arrow(lambda c: pa.array(c, pa.timestamp("us", "America/New_York")))),
    "arrow decimal": (
        st.none() | st.decimals(-(10**9), 10**9, places=3),
        _arrow(lambda c: pa.array(c, pa.decimal128(20, 3))),
    ),
    "arrow bytes": (_BYTES, _arrow(lambda c: pa.array(c, pa.binary()))),
    "arrow strings without utf-8": (_BYTES, _arrow(_raw_strings)),
    "arrow dictionary": (_BYTES, _arrow(lambda c: pa.array(c, pa.binary()).dictionary_encode())),
    "arrow dictionary without utf-8": (_BYTES, _arrow(lambda c: _raw_strings(c).dictionary_encode())),
    "arrow chunks": (_BYTES, _arrow(_chunks(_raw_strings))),
    "arrow dictionary chunks": (_TEXT, _arrow(_chunks(lambda c: pa.array(c, pa.string()).dictionary_encode()))),
}
_FILED = [name for name in STORES if name.startswith("arrow ") and name != "arrow dictionary-backed"]


def _check_one_row_more(data, store: tuple, keep: Callable[[object], object]) -> None:
    cell, build = store
    cells = data.draw(st.lists(cell, max_size=6))
    at, odd, size = data.draw(st.integers(0, len(cells))), data.draw(cell), data.draw(st.integers(1, 8))

    def rows(held: list) -> list[tuple]:
        found, units = read(open_source(keep(build(held))), EVERY, size)
        return list(zip(*found.values(), units, strict=True))

    found = rows([*cells[:at], odd, *cells[at:]])
    assert found[:at] + found[at + 1 :] == rows(cells)


@pytest.mark.parametrize("store", STORES)
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_one_row_more_changes_no_other_row(store, data):
    _check_one_row_more(data, STORES[store], lambda table: table)


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
@pytest.mark.parametrize("store", _FILED)
@settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_one_row_more_changes_no_other_row_of_a_file(store, suffix, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("file") / f"t.{suffix}"

    def keep(table: pa.Table) -> Path:
        if suffix == "parquet":
            pq.write_table(table, path, row_group_size=2)
        else:
            pyarrow.feather.write_feather(table, str(path), chunksize=2)
        return path

    _check_one_row_more(data, STORES[store], keep)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_one_row_more_changes_no_other_row_of_a_csv(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "t.csv"

    def keep(cells: list[bytes]) -> Path:
        quoted = [b'"' + cell.replace(b'"', b'""') + b'"' for cell in cells]
        rows = [b",".join([cell] * (len(EVERY.names) + 1)) for cell in quoted]
        path.write_bytes(b"\n".join([",".join([*EVERY.names, "who"]).encode(), *rows]))
        return path

    cells = _BYTES.map(lambda cell: (cell or b"").replace(b"\n", b""))
    _check_one_row_more(data, (cells, lambda held: held), keep)


# Structure


def test_schema_columns_that_are_not_there():
    frame = table(3)
    for lacking, message in (
        (["age"], "the table lacks column 'age', which the schema declares"),
        (["age", "sex"], "lacks columns 'sex', 'age'"),
        (["who"], "lacks the unit column 'who'"),
    ):
        source = open_source(frame.drop(columns=lacking))
        with pytest.raises(SourceError, match=message):
            check_structure(source, SCHEMA)
    said = set()
    for other in (" Age", "AGE", "x"):
        with pytest.raises(SourceError, match="lacks column 'age'") as caught:
            check_structure(open_source(frame.rename(columns={"age": other})), SCHEMA)
        said.add(str(caught.value))
    assert len(said) == 1


def test_names_that_clash(tmp_path):
    twice = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    with pytest.raises(SourceError, match="two columns of the table have the same name; rename"):
        open_source(twice)
    with pytest.raises(SourceError, match="the same name"):
        open_source(pa.table([[1], [2], [3]], names=["a", "b", "a"]))
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="the same name"):
        open_source(tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="the same name"):
        open_source(pd.DataFrame([[1, 2]], columns=[1, "1"]))
    with pytest.raises(SourceError, match="column 1 is not text but tuple"):
        open_source(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])))
    assert open_source(pd.DataFrame([[1, 2]])).columns == ("0", "1")


def test_what_is_said_of_a_csv_without_a_header_does_not_depend_on_its_cells(tmp_path):
    path = tmp_path / "t.csv"
    said = set()
    for first in ("s1,s2,s1", "s1,s2", "s1", " AGE ,Sex", ",,", '"s1', "x" * 2_000_000, "\udcff,\udcff"):
        path.write_bytes((first + "\n1,2,3\n").encode("utf-8", "surrogateescape"))
        with pytest.raises(SourceError) as caught:
            check_structure(open_source(path), SCHEMA)
        assert caught.value.__context__ is None
        said.add(str(caught.value))
    assert len(said) == 1
    assert "s1" not in said.pop()


def test_a_csv_that_names_a_column_twice(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sex,age,sex,other,other\nF,1,M,1,2\n", encoding="utf-8")
    with pytest.raises(SourceError, match="lacks column 'sex', which the schema declares, or has more than one"):
        check_structure(open_source(path), Schema(columns=SCHEMA.columns[:2]))
    alone = Schema(columns=SCHEMA.columns[1:2])
    check_structure(open_source(path), alone)
    assert read(open_source(path), alone, 9)[0] == {"age": [0]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.parquet", None, "cannot read '.*': No such file or directory"),
        ("t.xlsx", b"x", r"must end in \.parquet"),
        ("t", b"x", r"must end in \.parquet"),
        ("t.parquet", b"not parquet", "is not a Parquet file"),
        ("t.parquet", b"", "is not a Parquet file"),
        ("t.feather", b"not feather", "is not a Feather or Arrow file"),
        ("t.csv", b"", "no header line"),
        ("t.csv", b"\n\n", "no header line"),
        ("t.csv.gz", b"not gzip", "not a complete gzip file"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9999, mtime=0)[:-9], "not a complete gzip file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(path)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "\n" not in str(caught.value)


def test_folders_locked_files_and_other_things(tmp_path):
    (tmp_path / "t.parquet").mkdir()
    with pytest.raises(SourceError, match="directory"):
        open_source(tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="cannot read"):
        open_source("nul\x00.csv")
    for thing in (5, None, [1], {"a": [1]}, np.zeros(3), pd.Series([1]), Exporting(5)):
        with pytest.raises(SourceError, match=f"got {type(thing).__name__}") as caught:
            open_source(thing)
        assert caught.value.__context__ is None
    locked = tmp_path / "locked.csv"
    locked.write_text("a\n", encoding="utf-8")
    locked.chmod(0)
    if not os.access(locked, os.R_OK):
        with pytest.raises(SourceError, match="Permission denied"):
            open_source(locked)


# No cell leaves


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _tokens(rows: int = 40) -> pd.DataFrame:
    return pd.DataFrame({n: [f"tok{i}x{j}" for i in range(rows)] for j, n in enumerate([*SCHEMA.names, "who"])})


@pytest.mark.parametrize("kind", ["pandas", "objects", "arrow", "parquet", "csv", "csv.gz", "feather"])
@pytest.mark.parametrize("fault", ["array", "batch", "read", "select"])
def test_no_cell_in_any_exception(kind, fault, tmp_path, monkeypatch, capfd, caplog):
    source = open_source(MAKERS[kind](_tokens(), tmp_path))

    def fail(*args: object, **kwargs: object) -> None:
        raise pa.ArrowInvalid(f"could not convert 'tok1x1': {args!r}")

    if fault == "array":
        monkeypatch.setattr(pa, "array", fail)
    elif fault == "batch":
        monkeypatch.setattr(pa, "RecordBatch", _Failing(fail))
    elif fault == "read":
        monkeypatch.setattr(pq, "ParquetFile", fail)
        monkeypatch.setattr(csv_module, "_records", fail)
        monkeypatch.setattr(pa.ipc, "open_file", fail)
        monkeypatch.setattr(pa.ipc, "open_stream", fail)
        monkeypatch.setattr("dpsynth.kernel.sources.frame.as_arrow", fail)
    else:
        monkeypatch.setattr("dpsynth.cells.distinct", fail)
    caught = None
    try:
        read(source, SCHEMA, 7)
    except SourceError as error:
        caught = error
    for link in _chain(caught):
        assert "tok" not in repr(link.args) + str(link) + "".join(traceback.format_exception(link))
        assert link is caught
    assert caught is not None or fault in ("array", "batch", "select") or kind in ("arrow", "objects", "pandas")
    out, err = capfd.readouterr()
    assert "tok" not in out + err + caplog.text


class _Failing:
    """Stands for a class whose constructors all fail."""

    def __init__(self, fail: Callable[..., None]) -> None:
        self.from_arrays = fail


def test_a_file_that_breaks_off_while_it_is_read(tmp_path):
    path = tmp_path / "t.parquet"
    _tokens(5000).to_parquet(path, row_group_size=500, compression=None)
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(SourceError, match="could not be read to its end") as caught:
        read(source, SCHEMA, 100)
    assert list(_chain(caught.value)) == [caught.value]


# Real tables


@pytest.mark.parametrize(
    ("name", "unit"),
    [("adult", None), ("diabetes130", "patient_nbr"), ("brfss2015_diabetes", None), ("support2", None)],
)
def test_real_tables_fit_their_schemas(data_folder, name, unit):
    schema = Schema.from_yaml(Path(__file__).parents[1] / "data" / f"{name}.yaml")
    assert schema.unit == unit
    source = open_source(data_folder / f"{name}.parquet")
    check_structure(source, schema)
    found, units = read(source, schema, 65_536)
    for column in schema.columns:
        outside = np.mean(np.array(found[column.name]) == column.outside_code)
        assert outside <= 0.02, (column.name, outside)
        used = np.bincount(found[column.name], minlength=column.size)[: column.cells]
        fine = isinstance(column, BinnedBase) and column.fine
        assert fine or (used > 0).mean() >= 0.5, (column.name, used)
    if unit:
        assert None not in units
        assert len(set(units)) == 71_518


def test_a_parquet_file_of_one_row_group_is_read_in_bounded_memory(tmp_path):
    rows, names = 400_000, [f"c{i}" for i in range(12)]
    rng = np.random.default_rng(0)
    table = pa.table({name: rng.integers(0, 2**62, rows) for name in names})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=rows, use_dictionary=False, compression="none")
    size = table.nbytes
    del table
    before, most, read = pa.total_allocated_bytes(), 0, 0
    for batch in open_source(tmp_path / "t.parquet").batches(names, 10_000):
        most = max(most, pa.total_allocated_bytes() - before)
        read += batch.num_rows
    assert read == rows
    assert most < size / 2  # it was all of it, and more


@pytest.mark.parametrize("text", ["a;sex\n1;F\n", "a\tsex\n", "private;cells\n", "nothing,here\n"])
def test_a_csv_file_without_the_columns_is_told_the_same_whatever_it_holds(tmp_path, text):
    """How columns are separated is said of every such file: what it has instead is not hinted at."""
    of = Schema.loads("columns:\n  sex: {type: categorical, values: [F, M]}\n")
    (tmp_path / "t.csv").write_text(text.replace("sex", "sex " if "," in text else "sex"))
    with pytest.raises(SourceError) as caught:
        check_structure(open_source(tmp_path / "t.csv"), of)
    said = str(caught.value)
    assert said.endswith(
        "correct the schema (columns of a CSV file are separated by commas, and its first line names them)"
    )
