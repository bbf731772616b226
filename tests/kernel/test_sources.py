"""Sources: the same rows from every kind of table, structure checked first, and no cell in any error."""

from __future__ import annotations

import gzip
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpsynth.encoding import Encoder, unit_tokens
from dpsynth.errors import SourceError
from dpsynth.kernel.sources import Source, check_structure, open_source
from dpsynth.kernel.sources import csv as csv_module
from dpsynth.schema import Schema
from tests.strategies import CELLS, codes, schemas, series

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
    frame["notes"] = 'a "quoted", long\nnote'
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


def test_broken_csv_rows_never_stop_the_reader(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        b"sex,age,who\n"
        b"\x00,\xff\xfe,\xff\n"
        b"F\n"
        b"M,3,b,surplus,more\n"
        b"\n"
        b'"F",4,"b\n"\n'
        b'M"x,"5"6,c\r\n'
        b",,\n"
        b'F,7,"never closed\n'
        b"M,8,d\n"
    )
    schema = Schema(columns=(SCHEMA.columns[0], SCHEMA.columns[1]), unit="who")
    found, units = read(open_source(path), schema, 4)
    assert found["sex"] == [3, 0, 1, 0, 3, 2, 0]
    assert found["age"] == [17, 16, 0, 0, 8, 16, 1]
    assert units[1:6] == [None, b"b", b"b", b"c", None]
    assert units[0] is not None


def test_a_carriage_return_in_a_cell_begins_no_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'sex,who\r\nF\rM,a\r\n"F\r\nM","b\rc"\r\nM,d\r\n')
    found, units = read(open_source(path), Schema(columns=SCHEMA.columns[:1], unit="who"), 10)
    assert found["sex"] == [3, 3, 1]
    assert units == [b"a", b"b c", b"d"]


def test_a_quote_left_open_costs_a_bounded_stretch(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('age\n"' + "5\n" * 200_000, encoding="utf-8")
    found, _ = read(open_source(path), Schema(columns=(SCHEMA.columns[1],)), 65_536)
    assert 120_000 < len(found["age"]) < 200_000


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
    with pytest.raises(SourceError, match="differs in case or spaces"):
        check_structure(open_source(frame.rename(columns={"age": " Age"})), SCHEMA)


def test_names_that_clash(tmp_path):
    twice = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    with pytest.raises(SourceError, match=r"columns 1 and 3 have the same name, 'a'"):
        open_source(twice)
    with pytest.raises(SourceError, match="columns 1 and 3"):
        open_source(pa.table([[1], [2], [3]], names=["a", "b", "a"]))
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="columns 1 and 2"):
        open_source(tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="columns 1 and 2 have the same name, '1'"):
        open_source(pd.DataFrame([[1, 2]], columns=[1, "1"]))
    with pytest.raises(SourceError, match="column 1 is not text but tuple"):
        open_source(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])))
    assert open_source(pd.DataFrame([[1, 2]])).columns == ("0", "1")


def test_a_csv_without_a_header_is_not_quoted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("secret1,secret2,secret1\n", encoding="utf-8")
    with pytest.raises(SourceError, match="columns 1 and 3 have the same name") as caught:
        open_source(path)
    assert "secret" not in str(caught.value)
    path.write_text("secret1,secret2\n", encoding="utf-8")
    with pytest.raises(SourceError, match="lacks") as caught:
        check_structure(open_source(path), SCHEMA)
    assert "secret" not in str(caught.value)


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


@pytest.mark.parametrize(("name", "unit"), [("adult", None), ("diabetes130", "patient_nbr")])
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
        assert (used > 0).mean() >= 0.5, (column.name, used)
    if unit:
        assert None not in units
        assert len(set(units)) == 71_518
