"""Shared strategies: schemas, encoded tables, and cells of every odd kind. Deterministic and small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from dpsynth.columns import Boolean, Categorical, Coded, Date, Datetime, Float, Integer, Ordinal
from dpsynth.schema import Schema
from dpsynth.text import canonical, cell_text

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=8).filter(
    lambda t: t.strip() != ""
)
VALUES = st.one_of(
    TEXTS,
    st.sampled_from(["no", "yes", "1", "1.0", "01", "null", "~", "2020-01-01", "[0, 5)", "a: b", "#x", "1e5", "nan"]),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
_LABELS = st.none() | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)


def _reads_as(value: object) -> str | None:
    return canonical(cell_text(value) or "")


def _lists(values: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(values, min_size=1, max_size=6, unique_by=_reads_as).map(tuple)


_LISTED = st.one_of(_lists(VALUES), _lists(TEXTS), _lists(st.integers(-5, 50)), _lists(st.booleans()))


@st.composite
def _binned(draw, kind, points, lows, to_edge, extra=None):
    low = draw(lows)
    span = draw(st.one_of(st.integers(1, 40), st.integers(1, points)))
    spec = {"min": to_edge(low), "max": to_edge(low + span), **(extra or {})}
    if draw(st.booleans()):
        inner = draw(st.sets(st.integers(low + 1, low + span - 1), max_size=5)) if span > 1 else set()
        spec["bins"] = tuple(to_edge(edge) for edge in (low, *sorted(inner), low + span))
    elif draw(st.booleans()):
        spec["bins"] = draw(st.integers(1, 40) | st.just("auto"))
        if spec["bins"] == "auto" and draw(st.booleans()):
            atoms = draw(st.sets(st.integers(low, low + span), min_size=1, max_size=4))
            spec["atoms"] = tuple(to_edge(atom) for atom in sorted(atoms))
    if kind in (Integer, Float) and low >= 0:
        spec["scale"] = draw(st.sampled_from(["linear", "log"]))
    return kind, spec


@st.composite
def _floats(draw):
    decimals = draw(st.integers(0, 6))
    return draw(
        _binned(
            Float,
            10**8,
            st.integers(-(10**6), 10**6) | st.just(0),
            lambda g: float(Decimal(g).scaleb(-decimals)),
            {"decimals": decimals},
        )
    )


_EPOCH = datetime(1970, 1, 1)
SPECS = st.one_of(
    st.tuples(st.just(Categorical), _LISTED.map(lambda v: {"values": v})),
    st.tuples(st.just(Ordinal), _LISTED.map(lambda v: {"values": v})),
    st.tuples(st.just(Boolean), st.just({})),
    st.tuples(st.just(Coded), st.integers(1, 300).map(lambda n: {"cardinality": n})),
    _binned(Integer, 10**9, st.integers(-(10**6), 10**6) | st.integers(0, 3), int),
    _floats(),
    _binned(Date, 40_000, st.integers(-40_000, 40_000), lambda d: (_EPOCH + timedelta(days=d)).date()),
    _binned(Datetime, 10**9, st.integers(-(10**9), 2 * 10**9), lambda s: _EPOCH + timedelta(seconds=s)),
)


@st.composite
def columns(draw, name=NAMES):
    """Any column the schema language can declare."""
    kind, spec = draw(SPECS)
    return kind(name=draw(name), missing=draw(st.booleans()), label=draw(_LABELS), **spec)


@st.composite
def schemas(draw, max_columns=4):
    """Any schema, with or without a unit."""
    names = draw(st.lists(NAMES, min_size=2, max_size=max_columns + 1, unique=True))
    unit = names.pop() if draw(st.booleans()) else None
    names = names[:max_columns]
    return Schema(
        columns=tuple(draw(columns(name=st.just(name))) for name in names),
        name=draw(st.none() | NAMES),
        unit=unit,
        at_most=draw(st.integers(1, 9)) if unit is not None else 1,
        about_rows=draw(st.none() | st.integers(1, 10**9)),
    )


def codes(schema: Schema, rows: int, seed: int, *, outside: bool = False) -> dict[str, np.ndarray]:
    """Encoded rows drawn over every in-domain and missing cell, and the out-of-domain one if asked."""
    rng = np.random.default_rng(seed)
    sizes = {c.name: c.size if outside else c.size - 1 for c in schema.columns}
    return {name: rng.integers(0, size, rows) for name, size in sizes.items()}


class Hostile:
    """An object that raises whatever is asked of it."""

    def _fail(self, *_: object) -> object:
        raise RuntimeError("a hostile cell was consulted")

    __str__ = __repr__ = __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = __float__ = __int__ = _fail
    __index__ = __array__ = __arrow_array__ = __getattr__ = __format__ = __bytes__ = _fail
    __hash__ = None

    @property
    def __class__(self):
        raise RuntimeError("a hostile cell was consulted")


class HostileText(str):
    """A text whose own methods all raise."""

    __slots__ = ()
    __str__ = __eq__ = __hash__ = strip = encode = lower = Hostile._fail


class HostileInt(int):
    """A number whose own methods all raise."""

    __slots__ = ()
    __str__ = __eq__ = __hash__ = __float__ = __add__ = bit_length = Hostile._fail


_ODD: list[object] = [
    *(None, math.nan, math.inf, -math.inf, pd.NaT, pd.NA, "", "  ", True, False, np.True_, -0.0),
    *(10**400, -(10**5000), 2**63, "9" * 5000, "1e400", "-1e-400", "1_000", "٣", "\ud800", "\udcff", "\x00"),
    *(b"", b"1", b"\xff\xfe", bytearray(b"F"), [1], (), {}, {1}, object, len, 1j, Ellipsis, ["F"], "[1]"),
    *(Decimal("NaN"), Decimal("sNaN"), Decimal("1.0"), Decimal("1E+400"), Fraction(1, 3), UUID(int=7)),
    *(np.float32(0.1), np.float16(2), np.longdouble(0.5), np.int8(-3), np.uint64(2**64 - 1), np.str_("F")),
    *(np.datetime64("NaT"), np.datetime64("2020-02-29"), np.datetime64(2**62, "Y"), np.timedelta64(1, "D")),
    *(np.array([1]), np.array(1), np.array([]), timedelta(1), date.min, date.max, datetime.max),
    *(datetime(2020, 1, 1, 5, tzinfo=UTC), pd.Timestamp("2020-01-01", tz="Europe/Paris"), pd.Timestamp.max),
    *("2020-01-01", "20200101", "2020-01-01T10:00:00.5+02:00", "2020-02-30", "0000-01-01", "NaT", "nan"),
    *(pd.Period("2020-01", "M"), pd.Interval(0, 1), Hostile(), HostileText("F"), HostileInt(1)),
    *(" M\udcfcller", "M\udcfcller", b" M\xfcller", "M\u00fcller", "\ufeffF", "F\u200b", "\uff11", "\x00F", "F\x00"),
    *("07", "+7.0", "7e0", 7, "1.50", Decimal("1.50"), "1e999999999", Decimal("1E+23"), 10**23, 1e23, 2**53 + 1),
    *(pd.Timestamp("2020-01-01 10:00:00.25"), pd.Timestamp("2020-01-01 10:00:00.75"), "2020-01-01T10:00:00"),
    *(0.1, float(np.float32(0.1)), np.float32(2**24 + 2), float(2**24 + 2), "i\u0307", "\u0130", "\ufdfa"),
    *("F", " F ", "1", "1.0", "1.", "01", 1, 1.0, 1.5, "1.5", "true", "TRUE", "e\u0301", "\u00e9", 20200101),
]


SURROGATES = st.text(st.characters(categories=("Cs", "Ll", "Nd")), max_size=4) | st.sampled_from(["F", "1", "\udcff"])
"""Text that may have no UTF-8."""


class Cell:
    """A box around a cell, so that no report prints the cell itself."""

    def __init__(self, cell: object, told: str) -> None:
        self.cell = cell
        self.told = told

    def __repr__(self) -> str:
        return self.told


CELLS = st.one_of(
    st.integers(0, len(_ODD) - 1).map(lambda i: Cell(_ODD[i], f"odd cell {i}")),
    st.one_of(
        st.text(max_size=5),
        st.text(st.characters(categories=("Cs", "Cf", "Cc", "Nd", "Zs", "Ll")), max_size=5),
        st.binary(max_size=4),
        st.integers(),
        st.floats(),
        st.datetimes(),
        st.dates(),
        st.decimals(),
    ).map(lambda cell: Cell(cell, repr(cell))),
)
"""Cells of every kind a Python object column may hold, boxed."""


def series(cells: Sequence[object]) -> pd.Series:
    """A pandas column of Python objects, exactly as given."""
    held = np.empty(len(cells), dtype=object)
    for at, cell in enumerate(cells):
        held[at] = cell.cell if type(cell) is Cell else cell
    return pd.Series(held, dtype=object)
