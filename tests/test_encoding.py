"""Encoding: every cell has a code, by itself alone; decoding gives the codes back."""

from __future__ import annotations

import time
import warnings
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpsynth import cells as cells_module
from dpsynth.columns import Float, Integer
from dpsynth.encoding import Encoder, code_dtype, unit_tokens
from dpsynth.errors import SourceError
from dpsynth.schema import Schema
from dpsynth.text import canonical
from tests.strategies import CELLS, TEXTS, codes, columns, schemas, series

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def encoded(spec: str, held: object) -> list[int]:
    """Codes of one column under one column description."""
    return Encoder(Schema.loads(f"columns: {{a: {spec}}}")).encode_column("a", held).tolist()


def objects(*held: object) -> pd.Series:
    return series(list(held))


@pytest.fixture
def bare(monkeypatch):
    """Encoding without its last safety net: an unexpected library error shows."""
    as_series, flat = cells_module._series_array, cells_module._flat

    def encode(encoder: Encoder, name: str, held: object) -> np.ndarray:
        array = as_series(held) if isinstance(held, pd.Series) else flat(held)
        inside, nulls = encoder._codecs[name].encode(array)
        assert not nulls[inside >= 0].any()
        return encoder.encode_column(name, held)

    return encode


# Round trip


@settings(deadline=None, max_examples=60, suppress_health_check=SLOW)
@given(schemas(), st.integers(0, 2**32 - 1))
def test_decoding_then_encoding_gives_the_codes_back(schema, seed):
    encoder = Encoder(schema)
    given_codes = codes(schema, 60, seed)
    frame = encoder.decode(given_codes, np.random.default_rng(seed))
    assert list(frame.columns) == list(schema.names)
    for again in (encoder.encode(frame), encoder.encode(pa.Table.from_pandas(frame))):
        for name, held in given_codes.items():
            np.testing.assert_array_equal(again[name], held)
            assert again[name].dtype == code_dtype(schema.domain[name])


@settings(deadline=None, max_examples=40)
@given(columns(), st.integers(0, 2**32 - 1))
def test_out_of_domain_codes_decode_to_nulls(column, seed):
    schema = Schema(columns=(column,))
    encoder = Encoder(schema)
    frame = encoder.decode(codes(schema, 40, seed, outside=True), np.random.default_rng(seed))
    held = codes(schema, 40, seed, outside=True)[column.name]
    np.testing.assert_array_equal(frame[column.name].isna(), held >= column.cells)


def test_numbers_stay_inside_bounds_bins_and_decimals():
    for column in (
        Float(name="a", min=0.05, max=9.95, bins=7, decimals=2),
        Float(name="a", min=0, max=1000, bins=9, decimals=1, scale="log"),
        Integer(name="a", min=3, max=1000, bins=9, scale="log"),
    ):
        encoder = Encoder(Schema(columns=(column,)))
        held = np.repeat(np.arange(column.cells), 2000)
        drawn = encoder.decode({"a": held}, np.random.default_rng(0))["a"].to_numpy(dtype=float)
        assert drawn.min() >= column.min
        assert drawn.max() <= column.max
        np.testing.assert_array_equal(encoder.encode_column("a", pd.Series(drawn)), held)
        if isinstance(column, Float):
            np.testing.assert_array_equal(np.round(drawn, column.decimals), drawn)


def test_draws_are_even_on_their_scale():
    linear = Encoder(Schema(columns=(Integer(name="a", min=0, max=9, bins=1),)))
    drawn = linear.decode({"a": np.zeros(50_000, int)}, np.random.default_rng(1))["a"]
    assert np.bincount(drawn.to_numpy(dtype=int)) == pytest.approx(np.full(10, 5000), rel=0.08)
    log = Encoder(Schema(columns=(Float(name="a", min=1, max=10_000, bins=1, scale="log"),)))
    drawn = np.log10(log.decode({"a": np.zeros(50_000, int)}, np.random.default_rng(1))["a"].to_numpy(dtype=float))
    assert np.histogram(drawn, 4, (0, 4))[0] == pytest.approx(np.full(4, 12_500), rel=0.04)


def test_decoded_types_and_values():
    schema = Schema.loads(
        """
        columns:
          word: {type: categorical, values: [F, '01'], missing: true}
          number: {type: categorical, values: [3, 1]}
          fraction: {type: ordinal, values: [0.5, 1]}
          truth: {type: categorical, values: [true, false]}
          mixed: {type: categorical, values: [1, x]}
          flag: {type: boolean}
          age: {type: integer, min: 5, max: 6}
          cost: {type: float, min: 0, max: 1, bins: 1, decimals: 0}
          day: {type: date, min: 2020-01-01, max: 2020-01-02}
          at: {type: datetime, min: 2020-01-01, max: 2020-01-02, bins: [2020-01-01, 2020-01-02]}
          code: {type: coded, cardinality: 7}
        """
    )
    rows = {name: np.array([0, size - 1]) for name, size in schema.domain.sizes.items()}
    frame = Encoder(schema).decode(rows, np.random.default_rng(0))
    assert [str(t) for t in frame.dtypes] == [
        "string", "Int64", "Float64", "boolean", "string", "boolean", "Int64", "Float64",
        "datetime64[s]", "datetime64[s]", "Int64",
    ]  # fmt: skip
    first = frame.iloc[0].tolist()
    assert first[:7] == ["F", 3, 0.5, True, "1", False, 5]
    assert first[8] == pd.Timestamp("2020-01-01")
    assert first[10] == 0
    assert frame.iloc[1].isna().all()


def test_decode_is_a_function_of_codes_and_generator_and_checks_its_codes():
    schema = Schema.loads("columns: {a: {type: integer, min: 0, max: 99}, b: {type: boolean}}")
    encoder = Encoder(schema)
    held = codes(schema, 100, 3)
    one, two = (encoder.decode(held, np.random.default_rng(5)) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    assert list(encoder.decode({"b": held["b"]}, np.random.default_rng(0)).columns) == ["b"]
    with pytest.raises(ValueError, match=r"codes of 'b' must lie in \[0, 3\), got 3 to 3"):
        encoder.decode({"b": np.array([3])}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="'c'"):
        encoder.decode({"c": np.array([0])}, np.random.default_rng(0))
    assert len(encoder.decode({"a": np.array([], int)}, np.random.default_rng(0))) == 0


# Every cell has a code


@settings(deadline=None, suppress_health_check=SLOW, max_examples=70)
@given(data=st.data())
def test_any_cell_has_a_code_whatever_its_neighbours(data):
    column = data.draw(columns())
    held = data.draw(st.lists(CELLS, min_size=1, max_size=12))
    encoder = Encoder(Schema(columns=(column,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = encoder.encode_column(column.name, series(held))
        alone = [encoder.encode_column(column.name, series([cell]))[0] for cell in held]
        at = data.draw(st.integers(0, len(held)))
        parts = [encoder.encode_column(column.name, series(part)) for part in (held[:at], held[at:])]
        tokens = unit_tokens(series(held))
        assert tokens == [unit_tokens(series([cell]))[0] for cell in held]
    assert (whole < column.size).all()
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@settings(deadline=None, suppress_health_check=[*SLOW, HealthCheck.function_scoped_fixture], max_examples=70)
@given(data=st.data())
def test_no_cell_needs_the_safety_net(bare, data):
    column = data.draw(columns())
    bare(Encoder(Schema(columns=(column,))), column.name, series(data.draw(st.lists(CELLS, max_size=12))))


TYPED = st.one_of(
    st.tuples(st.just("int64"), st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 30), max_size=8)),
    st.tuples(st.just("uint8"), st.lists(st.integers(0, 255), max_size=8)),
    st.tuples(st.just("Int64"), st.lists(st.none() | st.integers(-3, 2**62), max_size=8)),
    st.tuples(st.just("float64"), st.lists(st.none() | st.floats() | st.integers(-3, 30), max_size=8)),
    st.tuples(st.just("float32"), st.lists(st.none() | st.floats(width=32), max_size=8)),
    st.tuples(st.just("Float64"), st.lists(st.none() | st.floats(allow_nan=False), max_size=8)),
    st.tuples(st.just("bool"), st.lists(st.booleans(), max_size=8)),
    st.tuples(st.just("boolean"), st.lists(st.none() | st.booleans(), max_size=8)),
    st.tuples(st.just("str"), st.lists(st.none() | TEXTS | st.sampled_from(["F", "1", "2020-01-01"]), max_size=8)),
    st.tuples(st.just("category"), st.lists(st.none() | TEXTS, max_size=8)),
    st.tuples(st.just("category"), st.lists(st.none() | st.integers(0, 9), max_size=8)),
    st.tuples(
        st.just("datetime64[s]"),
        st.lists(st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 1, 1)), max_size=8),
    ),
)


@settings(deadline=None, suppress_health_check=[*SLOW, HealthCheck.function_scoped_fixture], max_examples=80)
@given(data=st.data())
def test_storage_does_not_matter(bare, data):
    column = data.draw(columns())
    kind, held = data.draw(TYPED)
    frame = pd.DataFrame({"a": pd.Series(held, dtype=kind)})
    encoder = Encoder(Schema(columns=(column,)))
    name = column.name
    plain = bare(encoder, name, frame["a"])
    array = pa.array(frame["a"])
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    np.testing.assert_array_equal(plain, bare(encoder, name, array))
    if not pa.types.is_dictionary(array.type):
        np.testing.assert_array_equal(plain, bare(encoder, name, array.dictionary_encode()))
    assert unit_tokens(array) == unit_tokens(frame["a"])
    if kind != "float32":  # as Python objects these become doubles: 0.1 becomes 0.10000000149
        np.testing.assert_array_equal(plain, bare(encoder, name, frame["a"].astype(object)))
        assert unit_tokens(array) == unit_tokens(frame["a"].astype(object))
    if kind != "datetime64[s]" or column.type in ("date", "datetime"):
        printed = [None if pd.isna(cell) else str(cell) for cell in frame["a"].to_numpy()]
        np.testing.assert_array_equal(plain, bare(encoder, name, pa.array(printed, pa.string())))


# What reads as what


def test_categories_match_by_canonical_text():
    spec = "{type: categorical, values: [1, '02', Yes, é, true], missing: true}"
    assert encoded(spec, objects(1, 1.0, "1", " 1.0 ", np.int8(1), Decimal("1.00"), b"1")) == [0] * 7
    assert encoded(spec, objects("02", "2", 2, "2.0")) == [1, 6, 6, 6]
    assert encoded(spec, objects("Yes", "yes", "Yes ", "é", "e\u0301")) == [2, 6, 2, 3, 3]
    assert encoded(spec, objects(True, "True", "TRUE", "true", np.True_, "t")) == [4, 4, 4, 4, 4, 6]
    assert encoded(spec, objects(None, np.nan, pd.NaT, pd.NA, "", "  ")) == [5] * 6
    assert encoded(spec, objects("nan", "None", [1], b"\xff", float("inf"))) == [6] * 5
    assert encoded("{type: ordinal, values: [lo, hi]}", objects("hi", None, "mid")) == [1, 2, 2]


def test_integer_categories_stored_as_floats_keep_apart():
    frame = pd.DataFrame({"a": [1, 2, None, 3]})
    assert frame["a"].dtype == float
    assert encoded("{type: categorical, values: [1, 2, 3], missing: true}", frame["a"]) == [0, 1, 3, 2]


def test_single_precision_reads_as_its_shortest_decimal():
    held = pd.Series([0.1, 0.5, None], dtype="float32")
    assert encoded("{type: categorical, values: [0.1, 0.5], missing: true}", held) == [0, 1, 2]
    assert unit_tokens(held) == unit_tokens(held.astype("category")) == [b"0.1", b"0.5", None]


def test_flags():
    yes, no = ("true", "T", "yes", "Y", 1, 1.0, "1", True, "1.0"), ("False", "f", "NO", "n", 0, -0.0, "0", False)
    assert encoded("{type: boolean}", objects(*yes)) == [1] * len(yes)
    assert encoded("{type: boolean}", objects(*no)) == [0] * len(no)
    assert encoded("{type: boolean, missing: true}", objects(None, "maybe", 2, "on")) == [2, 3, 3, 3]


def test_numbers_fall_into_their_bin_or_the_nearest():
    spec = "{type: integer, min: 0, max: 99, bins: [0, 20, 60, 99], missing: true}"
    assert encoded(spec, objects(0, 19, 19.99, 20, "59", 60, 99)) == [0, 0, 0, 1, 1, 2, 2]
    assert encoded(spec, objects(-5, 100, 10**400, -(10**400), "1e999", "-1e999", 99.5)) == [0, 2, 2, 0, 2, 0, 2]
    assert encoded(spec, objects(None, np.nan, "nan", "NaN", "")) == [3] * 5
    assert encoded(spec, objects(np.inf, "-inf", "x", "1,5", "1_0", "0x1", [1], date(2020, 1, 1))) == [4] * 8
    assert encoded(spec, objects(True, "TRUE", "+7", " 7. ", ".5e1", "٣")) == [0, 0, 0, 0, 0, 4]
    fine = "{type: float, min: 0, max: 1, decimals: 1, bins: [0, 0.7, 1]}"
    assert encoded(fine, pd.Series([0.7, 0.699], dtype="float32")) == [1, 0]
    assert encoded(fine, pa.array([Decimal("0.7"), Decimal("0.6")])) == [1, 0]


def test_codes_of_research_tables():
    spec = "{type: coded, cardinality: 3, missing: true}"
    assert encoded(spec, objects(0, 2, "1", 1.0, 3, -1, 1.5, "x", None, np.inf)) == [0, 2, 1, 1, 4, 4, 4, 4, 3, 4]
    assert encoded(spec, pd.Series([0, 1, 2, 3])) == [0, 1, 2, 4]


def test_dates_are_wall_clock():
    spec = "{type: date, min: 2020-01-01, max: 2020-01-04, missing: true}"
    same = [
        date(2020, 1, 2),
        datetime(2020, 1, 2, 23, 59),
        datetime(2020, 1, 2, 1, tzinfo=UTC),
        pd.Timestamp("2020-01-02 00:30", tz="Europe/Paris"),
        np.datetime64("2020-01-02"),
        "2020-01-02",
        " 2020-01-02T00:30:00.25+02:00",
        "2020-01-02 23:59Z",
        "20200102",
        20200102,
        20200102.0,
    ]
    assert encoded(spec, objects(*same)) == [1] * len(same)
    assert encoded(spec, pd.Series(same[3:4]).dt.tz_convert("Europe/Paris")) == [1]
    assert encoded(spec, objects(date(1, 1, 1), "9999-12-31")) == [0, 3]
    assert encoded(spec, objects(None, pd.NaT, "NaT", "", np.datetime64("NaT"))) == [4] * 5
    assert encoded(spec, objects("2020-02-30", "2020-1-2", "02.01.2020", 5, True, "2020-01-02 25:00")) == [5] * 6
    at = "{type: datetime, min: 2020-01-01, max: 2020-01-02, bins: [2020-01-01, 2020-01-01 12:00:00, 2020-01-02]}"
    assert encoded(at, objects("2020-01-01T11:59:59.999", "2020-01-01T12:00-08:00")) == [0, 1]


@pytest.mark.parametrize(
    "kind",
    [
        pa.null(), pa.list_(pa.int8()), pa.struct([("x", pa.int8())]), pa.map_(pa.string(), pa.int8()),
        pa.time32("s"), pa.time64("ns"), pa.duration("s"), pa.month_day_nano_interval(), pa.float16(),
        pa.decimal128(5, 2), pa.decimal256(50, -2), pa.date64(), pa.string_view(), pa.binary_view(),
        pa.large_string(), pa.binary(3), pa.dictionary(pa.int8(), pa.string()), pa.timestamp("ns", "Europe/Paris"),
        pa.timestamp("us", "Nowhere/Land"), pa.timestamp("s", "+02:00"), pa.uuid(),
        pa.run_end_encoded(pa.int32(), pa.string()),
    ],
    ids=str,
)  # fmt: skip
def test_every_arrow_type_is_taken(bare, kind):
    schema = Schema.loads(
        """
        columns:
          a: {type: categorical, values: [x], missing: true}
          b: {type: float, min: 0, max: 1, missing: true}
          c: {type: date, min: 2020-01-01, max: 2020-02-01, missing: true}
          d: {type: coded, cardinality: 2, missing: true}
          e: {type: boolean, missing: true}
        """
    )
    encoder = Encoder(schema)
    for name in schema.names:
        nulls = pa.nulls(3, kind)
        assert bare(encoder, name, nulls).tolist() == [schema.column(name).missing_code] * 3
        assert bare(encoder, name, nulls[:0]).tolist() == []
    assert unit_tokens(pa.nulls(2, kind)) == [None, None]


def test_text_that_is_not_utf_8_in_arrow_columns(bare):
    held = pa.array([b"F", b"\xff\xfe", None], pa.binary()).view(pa.string())
    encoder = Encoder(
        Schema.loads("columns: {a: {type: categorical, values: [F]}, b: {type: integer, min: 0, max: 9}}")
    )
    assert bare(encoder, "a", held).tolist() == [0, 1, 1]
    assert bare(encoder, "b", held).tolist() == [10, 10, 10]
    first, second, third = unit_tokens(held)
    assert (first, third) == (b"f", None)
    assert second is not None


def test_batches_of_every_kind_and_missing_columns():
    encoder = Encoder(Schema.loads("columns: {a: {type: boolean}, b: {type: integer, min: 0, max: 9}}"))
    frame = pd.DataFrame({"z": [object()], "b": [3], "a": [True]})
    table = pa.table({"b": [3], "a": [True]})
    for batch in (frame, table, table.to_batches()[0], {"a": [True], "b": np.array([3])}):
        got = encoder.encode(batch)
        assert list(got) == ["a", "b"]
        assert [codes.tolist() for codes in got.values()] == [[1], [3]]
    with pytest.raises(SourceError, match="lacks column 'b'"):
        encoder.encode(frame[["a"]])
    assert encoder.encode(frame.iloc[:0])["a"].dtype == np.uint8
    assert [code_dtype(n) for n in (1, 256, 257, 2**16, 2**16 + 1)] == ["u1", "u1", "u2", "u2", "u4"]


def test_a_library_error_becomes_out_of_domain_cells(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("F is a cell")

    encoder = Encoder(Schema.loads("columns: {a: {type: categorical, values: [F], missing: true}}"))
    monkeypatch.setattr(cells_module, "distinct", fail)
    assert encoder.encode_column("a", pd.Series(["F", None])).tolist() == [2, 2]
    assert unit_tokens(pd.Series(["F"])) == [None]


BOMBED = ["F", "bomb", None, "M", "bomb", "F"]


@pytest.mark.parametrize(
    "held",
    [
        series(BOMBED),
        pd.Series(BOMBED, dtype="category"),
        pa.array(BOMBED),
        pa.array(BOMBED).dictionary_encode(),
        pa.chunked_array([BOMBED[:2], BOMBED[2:]]),
        pa.DictionaryArray.from_arrays(
            pa.array([0, 1, None, 2, 1, 0]), pa.array(["F", "bomb", "M"]).dictionary_encode()
        ),
    ],
    ids=["objects", "category", "arrow", "dictionary", "chunked", "nested"],
)
def test_a_library_error_costs_the_cell_that_caused_it_alone(monkeypatch, held):
    def explode(raw: bytes) -> str:
        if raw == b"bomb":
            raise RuntimeError("bomb is a cell")
        return raw.decode()

    monkeypatch.setattr(cells_module, "bytes_text", explode)
    assert encoded("{type: categorical, values: [F, M], missing: true}", held) == [0, 3, 2, 1, 3, 0]
    assert unit_tokens(held) == [b"f", None, None, b"m", None, b"f"]


@pytest.mark.parametrize(
    "held",
    [
        series(["F", 1, None, 2.5, b"1", "\udcff", date(2020, 1, 2), np.float32(0.1)]),
        pd.Series(["F", "1", None, "F"], dtype="category"),
        pd.Series(pd.Categorical.from_codes([0, 1, -1], pd.Index(["F", "\udcff"], dtype=object))),
        pd.Series([0.1, None, 7], dtype="float32"),
        pd.Series([0.1, None, 7], dtype=pd.ArrowDtype(pa.float32())),
        pd.Series([1, None, 2**62], dtype="Int64"),
        pd.Series(pd.to_datetime(["2020-01-02 10:00:00.25", None])),
        pd.Series(pd.to_datetime(["2020-01-02 10:00", None])).dt.tz_localize("Europe/Paris"),
        pd.array([True, None], dtype="boolean"),
        pa.array([0.1, None, 7], pa.float32()),
        pa.array([b"F", b"\xff", None]).dictionary_encode(),
        pa.chunked_array([["F"], [], [None, "1"]], pa.string()),
        pa.array([Decimal("0.10"), None]),
        pa.array([[1], None]),
        ["F", "\udcff", None],
    ],
    ids=lambda held: str(getattr(held, "dtype", getattr(held, "type", "list"))),
)
def test_cells_read_one_by_one_read_the_same(monkeypatch, held):
    schema = Schema.loads(
        """
        columns:
          a: {type: categorical, values: [F, 1, 0.1, 2020-01-02], missing: true}
          b: {type: float, min: 0, max: 9, missing: true}
          c: {type: date, min: 2020-01-01, max: 2020-02-01, missing: true}
          d: {type: boolean, missing: true}
        """
    )

    def read():
        return [Encoder(schema).encode_column(name, held).tolist() for name in schema.names], unit_tokens(held)

    expected = read()
    real, whole = cells_module._flat, cells_module._whole
    monkeypatch.setattr(cells_module, "_whole", lambda column: 1 / 0 if column is held else whole(column))
    assert read() == expected
    monkeypatch.setattr(cells_module, "_flat", lambda column: 1 / 0 if len(column) > 1 else real(column))
    assert read() == expected


def test_out_of_memory_is_said_without_a_size(monkeypatch):
    def exhausted(*_: object) -> None:
        raise MemoryError("Unable to allocate 941 KiB for an array with shape (123457,)")

    encoder = Encoder(Schema.loads("columns: {a: {type: categorical, values: [F]}}"))
    for place in ("distinct", "_series_array"):
        with monkeypatch.context() as patch:
            patch.setattr(cells_module, place, exhausted)
            for act in (lambda: encoder.encode_column("a", pd.Series(["F"])), lambda: unit_tokens(pd.Series(["F"]))):
                with pytest.raises(MemoryError) as caught:
                    act()
                assert caught.value.args == ("out of memory while a table was read",)
                assert caught.value.__context__ is None
                assert caught.value.__cause__ is None


def test_a_category_without_utf_8_costs_itself_alone():
    index = pd.Index(["x", "y", "y\udce9", b"\xff"], dtype=object)
    held = pd.Series(pd.Categorical.from_codes([0, 1, 2, 0, -1, 3], index))
    assert encoded("{type: categorical, values: [x, y], missing: true}", held) == [0, 1, 3, 0, 2, 3]
    assert unit_tokens(held) == [b"x", b"y", "yé".encode(), b"x", None, "ÿ".encode()]


# Units


def test_units_merge_their_spellings():
    same = [5, 5.0, "5", " 5 ", "5.0", np.int64(5), np.float32(5), Decimal(5), b"5", "5."]
    assert set(unit_tokens(series(same))) == {b"5"}
    assert unit_tokens(pd.Series([1, None, 2])) == [b"1", None, b"2"]
    assert unit_tokens(pa.array([1.0, float("nan"), 1e16])) == [b"1", None, b"10000000000000000"]
    assert unit_tokens(objects("1e+16", 10**16, 1e16)) == [b"10000000000000000"] * 3
    assert unit_tokens(pa.array([np.inf, -np.inf])) == unit_tokens(objects(np.inf, "-inf")) == [b"inf", b"-inf"]
    assert unit_tokens(objects(None, np.nan, "", " ", pd.NaT, pd.NA, [1], object())) == [None] * 8
    assert unit_tokens(pd.Series([], dtype=object)) == []
    odd = unit_tokens(objects(b"\xff", b"\xfe", b"\xff", "\udcff"))
    assert odd[0] == odd[2] == odd[3] != odd[1]
    assert None not in odd
    uuid = UUID(int=7)
    stored = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.bytes], pa.binary(16)))
    assert unit_tokens(stored) == unit_tokens(objects(uuid)) == unit_tokens(objects(str(uuid)))


MERGED = {
    "7": [
        "7",
        "07",
        "+7",
        "7e0",
        "7.0",
        7,
        7.0,
        Decimal("7"),
        b"7",
        "0.7e1",
        "70E-1",
        "\uff17",
        "٧",
        " 7 ",
        np.float32(7),
    ],
    "1.5": ["1.50", 1.5, "1.5", Decimal("1.50"), "+01.5", "15e-1", np.float32(1.5), "1.50000000000000000000000001"],
    "100000": ["1e5", 100000, 1e5, "1E5", "1e+5", "100000.00", Decimal("1E+5")],
    "123456789012345678901234567890": [123456789012345678901234567890, Decimal("123456789012345678901234567890")],
    str(int(1e23)): [10**23, Decimal("1E+23"), 1e23, "1e23", "1e+23", int(1e23), float(10**23)],
    str(2**60): [2**60, float(2**60), repr(float(2**60)), str(2**60)],
    str(2**24 + 2): [2**24 + 2, np.float32(2**24 + 2), float(2**24 + 2)],
    "123456792": [np.float32(123456789), 123456792],
    "0.1": ["0.1", 0.1, np.float32(0.1), float(np.float32(0.1)), Decimal("0.10")],
    "0": [0, -0.0, "-0", "0e99", "0.00", False, "FALSE"],
    "1": [1, True, "true", "True", np.True_],
    "müller": [
        "Müller",
        " Müller",
        "MÜLLER",
        "Mu\u0308ller",
        b"M\xfcller",
        b" M\xfcller",
        "M\udcfcller ",
        "Mü\u200bller",
    ],
    "ann lee": ["Ann Lee", "ann  lee", "ANN\u00a0LEE", "\ufeffAnn\tLee", "Ann Lee\x00", "Ａｎｎ Lee"],
    "strasse": ["Straße", "STRASSE", "strasse"],
    "20200101": [date(2020, 1, 1), datetime(2020, 1, 1), "2020-01-01", "2020-01-01 00:00:00", "20200101", 20200101],
    "2020-01-01 10:00:00": [
        *("2020-01-01T10:00:00", "2020-01-01 10:00", "2020-01-01 10:00:00.25", "20200101T100000Z"),
        *(pd.Timestamp("2020-01-01 10:00:00.25"), datetime(2020, 1, 1, 10, 0, 0, 750000), "2020-01-01t10:00:00,75"),
        *(np.datetime64("2020-01-01T10:00"), pd.Timestamp("2020-01-01 10:00", tz="Europe/Paris")),
    ],
    "inf": [np.inf, "inf", "Infinity", "+inf", Decimal("Infinity"), np.float32("inf")],
}


@pytest.mark.parametrize("token", MERGED)
def test_a_unit_is_never_split_by_how_it_is_written(token):
    assert set(unit_tokens(series(MERGED[token]))) == {token.encode()}
    assert {unit_tokens(series([cell]))[0] for cell in MERGED[token]} == {token.encode()}
    texts = pa.array([cell for cell in MERGED[token] if isinstance(cell, bytes)], pa.binary())
    assert set(unit_tokens(texts)) <= {token.encode()}


def test_units_that_differ_stay_apart():
    apart = [2**53, 2**53 + 1, 10**400, 10**400 + 1, -5, 5, "1.5", "1.6", 0.5, 0.25, "12345678.01", "12345678.02"]
    apart += [
        "a",
        "b",
        "a b",
        "ab",
        "12345678-01",
        "12345678-02",
        "20200101-01",
        "20200101 01",
        "ä",
        "a"[:0] + "é",
        "1_0",
    ]
    apart += ["12e4567", "13e4567", "0x10", "1,5", "nan", "e5", ".", "+", "-", "2020-01-02", "2020-01-01 10:00:01"]
    apart += ["2020-13-45", "1e999999999", "1e999999998", "1e-999999999"]
    tokens = unit_tokens(series(apart))
    assert None not in tokens
    assert len(set(tokens)) == len(apart)


def test_hostile_units_cost_little():
    hostile = ["1e999999999", "1" * 10**6, "1e" + "9" * 10**6, "0." + "0" * 10**6 + "1", "1." + "3" * 10**6, 10**5000]
    hostile += [
        "-" + "9" * 10**6 + ".5",
        Decimal("1E+999999"),
        "9" * 400,
        "1e400",
        "1e-330",
        "9" * 309,
        1.7e308,
        5e-324,
    ]
    start = time.process_time()
    tokens = unit_tokens(series(hostile))
    assert time.process_time() - start < 5
    assert None not in tokens
    assert max(len(token) for token in tokens) < 10**6 + 20
    assert unit_tokens(objects(1.7e308, 5e-324)) == unit_tokens(pa.array([1.7e308, 5e-324]))


TYPED_UNITS = [
    pd.Series([pd.Timestamp(f"2020-01-01 08:00:00{fraction}") for fraction in (".25", ".75", "")]),
    pd.Series([datetime(2020, 1, 1, 8, 0, 0, 250000), datetime(2020, 1, 1)], dtype="datetime64[us]"),
    pd.Series(np.array([0, 2**40, -(2**40)], dtype="datetime64[s]")),
    pd.Series([0.1, 0.7, 1e-9, 3.4e38, 123456789, 0.5, np.inf], dtype="float32"),
    pd.Series([0.1, 1e23, 5e-324, 2.0**70, -0.0, 1e16, np.nan]),
    pd.Series([1, 2**62, -5]),
    pd.Series([True, False]),
    pd.Series(["a", "B", "07"]),
    pd.Series([1, None, 2**60], dtype="Int64"),
    pd.Series(["2020-01-01 10:00:00.5", "2020-01-01T10:00:00.75Z"]),
]


@pytest.mark.parametrize("held", TYPED_UNITS, ids=lambda s: str(s.dtype))
@pytest.mark.parametrize("odd", ["?", "\udcff", None])
def test_a_unit_that_changes_how_the_column_is_stored_changes_no_other_unit(held, odd):
    """As when records become a frame: one odd cell makes it a column of objects."""
    assert unit_tokens(series([*held.astype(object), odd]))[:-1] == unit_tokens(held)


@given(CELLS)
def test_units_are_folded_once(cell):
    for token in unit_tokens(series([cell])):
        assert token is None or unit_tokens(series([token.decode()])) == [token]


@given(st.text())
def test_canonical_text_is_its_own_canonical_text(text):
    once = canonical(text)
    assert once is None or canonical(once) == once


# Labels and speed


def test_labels():
    schema = Schema.loads(
        """
        columns:
          a: {type: categorical, values: [F, 2, 2.5, true], missing: true}
          b: {type: integer, min: 0, max: 9, bins: [0, 5, 8, 9]}
          c: {type: float, min: 0, max: 2.5, bins: 2}
          d: {type: date, min: 2020-01-01, max: 2020-01-02}
          e: {type: integer, min: 1, max: 2}
          f: {type: boolean}
        """
    )
    encoder, outside = Encoder(schema), "(outside the codebook)"
    assert encoder.decode_labels("a") == ["F", "2", "2.5", "true", "missing", outside]
    assert encoder.decode_labels("b") == ["[0, 5)", "[5, 8)", "[8, 9]", outside]
    assert encoder.decode_labels("c") == ["[0, 1.25)", "[1.25, 2.5]", outside]
    assert encoder.decode_labels("d") == ["2020-01-01", "2020-01-02", outside]
    assert encoder.decode_labels("e") == ["1", "2", outside]
    assert encoder.decode_labels("f") == ["false", "true", outside]


def test_fifty_columns_of_a_hundred_thousand_rows_take_seconds():
    rng = np.random.default_rng(0)
    n, frame, spec = 100_000, {}, []
    for i in range(10):
        frame[f"i{i}"] = rng.integers(0, 110, n)
        frame[f"f{i}"] = rng.random(n)
        frame[f"s{i}"] = rng.choice(np.array(["F", "M", "X"]), n)
        frame[f"o{i}"] = rng.choice(np.array(["F", "M", None], dtype=object), n)
        frame[f"d{i}"] = np.datetime64("2020-01-01", "s") + rng.integers(0, 10**8, n)
        spec += [f"  i{i}: {{type: integer, min: 0, max: 110}}", f"  f{i}: {{type: float, min: 0, max: 1}}"]
        spec += [f"  {c}{i}: {{type: categorical, values: [F, M], missing: true}}" for c in "so"]
        spec += [f"  d{i}: {{type: date, min: 2020-01-01, max: 2024-01-01}}"]
    table = pd.DataFrame(frame)
    encoder = Encoder(Schema.loads("columns:\n" + "\n".join(spec)))
    start = time.process_time()
    encoder.encode(table)
    assert time.process_time() - start < 6  # about 0.5 s on an idle core


MILLION = "1" * 1_000_000


@pytest.mark.parametrize(
    "cell",
    [MILLION + "x", "." + MILLION + "x", "a" + "\u0301" * 500_000 + "\u0316" * 500_000, MILLION],
    ids=["digits", "decimals", "marks", "number"],
)
def test_a_long_cell_takes_no_longer_than_it_is_long(cell):
    """Quadratic time in one cell would tell, by a run that does not end, that the cell is there."""
    frame = pd.DataFrame({"n": ["1", cell], "c": ["a", cell], "when": ["2020-01-01", cell]}, dtype=object)
    encoder = Encoder(
        Schema.loads(
            "columns: {n: {type: integer, min: 0, max: 9}, c: {type: categorical, values: [a]}, "
            "when: {type: date, min: 2020-01-01, max: 2020-12-31}}"
        )
    )
    start = time.process_time()
    codes = encoder.encode(frame)
    unit_tokens(pa.array([cell]))
    assert time.process_time() - start < 10  # quadratic: minutes to days
    assert codes["c"].tolist()[0] == 0
    assert codes["c"].tolist()[1] == encoder.domain["c"] - 1


def test_an_index_beyond_its_dictionary_is_a_null_of_its_own_row():
    broken = pa.DictionaryArray.from_arrays(pa.array([0, 1, 99, -1]), pa.array(["a", "b"]), safe=False)
    schema = Schema.loads("columns: {c: {type: categorical, values: [a, b], missing: true}}")
    assert Encoder(schema).encode_column("c", broken).tolist() == [0, 1, 2, 2]
    assert unit_tokens(broken)[:2] == unit_tokens(pa.array(["a", "b"]))
