"""Contribution bounding: at most k rows a unit, and no unit touches another's."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.encoding import unit_tokens
from dpsynth.kernel import Rows
from dpsynth.kernel.contribution import bound
from dpsynth.kernel.table import _bounded, _Content
from dpsynth.schema import Schema

KEY = bytes(32)
TABLES = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c", "d"]), st.integers(0, 3)), max_size=40)


def kept(table, at_most, key=KEY):
    """Kept row contents by unit, from [(unit, value)]; the empty unit means none."""
    names = sorted({u for u, _ in table if u}, key=lambda u: [v for v, _ in table].index(u))
    units = np.array([names.index(u) if u else -1 for u, _ in table], np.int64)
    content = np.array([[v] for _, v in table], np.uint8).reshape(len(table), 1)
    keep = bound(units, [n.encode() for n in names], content, at_most, key)
    result: dict[str, Counter] = {}
    for (unit, value), k in zip(table, keep, strict=True):
        if k:
            result.setdefault(unit, Counter())[value] += 1
    return result


@given(TABLES, st.integers(1, 4))
def test_at_most_k_rows_of_a_unit_and_none_without_one(table, at_most):
    result = kept(table, at_most)
    assert "" not in result
    sizes = Counter(u for u, _ in table if u)
    assert {u: sum(c.values()) for u, c in result.items()} == {u: min(n, at_most) for u, n in sizes.items()}


@given(TABLES, st.integers(1, 4), st.sampled_from("abcd"))
def test_removing_a_unit_leaves_every_other_units_rows_unchanged(table, at_most, gone):
    whole = kept(table, at_most)
    without = kept([row for row in table if row[0] != gone], at_most)
    assert without == {u: rows for u, rows in whole.items() if u != gone}


@given(TABLES, st.integers(1, 4), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_row_order_has_no_say(table, at_most, random):
    shuffled = list(table)
    random.shuffle(shuffled)
    assert kept(shuffled, at_most) == kept(table, at_most)


def test_the_first_rows_are_not_the_ones_that_stay():
    table = [(u, v) for v in range(40) for u in "ab"]
    assert kept(table[::-1], 3) == kept(table, 3)
    assert kept(table, 3) != {u: Counter([0, 1, 2]) for u in "ab"}


def test_the_choice_depends_on_the_key_and_the_unit():
    table = [(u, v) for u in "abcd" for v in range(40)]
    first, second = kept(table, 3), kept(table, 3, bytes(31) + b"\1")
    assert first != second
    assert len({tuple(sorted(rows)) for rows in first.values()}) > 1


def test_every_row_is_as_likely_to_stay():
    """Uniform over distinct rows: 2,000 keys, three of six rows; chi-square with a false alarm below 1e-9."""
    table = [("a", v) for v in range(6)]
    rng = np.random.default_rng(5)
    counts = Counter()
    for _ in range(2000):
        counts.update(kept(table, 3, rng.bytes(32))["a"])
    assert all(abs(counts[v] - 1000) < 6.5 * (2000 * 0.25) ** 0.5 for v in range(6))


SCHEMA = Schema.from_domain({"v": 4, "w": 3}, unit="who", at_most=2)
ROWS = st.lists(
    st.tuples(st.sampled_from([None, "a", "b", "c", "7", "e"]), st.integers(0, 4), st.integers(0, 2)), max_size=30
)


def kept_of_a_source(table, cuts):
    """Kept contents by unit of a table that arrives in batches, through reading, encoding and bounding."""
    edges = sorted({0, len(table), *(c % (len(table) + 1) for c in cuts)})
    types = pa.schema({"who": pa.string(), "v": pa.int64(), "w": pa.int64()})
    parts = [
        pa.Table.from_pylist([dict(zip(("who", "v", "w"), row, strict=True)) for row in table[a:b]], schema=types)
        for a, b in pairwise(edges)
    ]
    rows = Rows(pa.concat_tables(parts) if parts else types.empty_table(), SCHEMA)
    codes, units, names = rows._open()
    keep = bound(units, names, _Content(codes), SCHEMA.at_most, KEY)
    left, whose = _bounded(rows, KEY)
    assert {a: c.tolist() for a, c in left.items()} == {a: c[keep].tolist() for a, c in codes.items()}
    assert whose.tolist() == units[keep].tolist()
    result: dict[bytes, Counter] = {}
    for unit, v, w in zip(units[keep], codes["v"][keep], codes["w"][keep], strict=True):
        result.setdefault(names[unit], Counter())[int(v), int(w)] += 1
    return result


@given(
    ROWS, st.lists(st.integers(0, 30), max_size=4), st.lists(st.integers(0, 30), max_size=4), st.sampled_from("abce7")
)
@settings(max_examples=60, deadline=None)
def test_batches_have_no_say_and_no_unit_touches_another(table, cuts, other_cuts, gone):
    whole = kept_of_a_source(table, cuts)
    assert kept_of_a_source(table, other_cuts) == whole
    token = unit_tokens(pa.array([gone]))[0]
    without = kept_of_a_source([row for row in table if row[0] != gone], other_cuts)
    assert without == {unit: rows for unit, rows in whole.items() if unit != token}


def test_content_gathered_in_blocks_keeps_the_same_rows(monkeypatch):
    rng = np.random.default_rng(0)
    units, content = rng.integers(-1, 40, 600), rng.integers(0, 5, (600, 3)).astype(np.uint8)
    names = [str(i).encode() for i in range(40)]
    whole = bound(units, names, content, 3, KEY)
    for block in (1, 20, 100):
        monkeypatch.setattr("dpsynth.kernel.contribution._BLOCK", block)
        np.testing.assert_array_equal(bound(units, names, content, 3, KEY), whole)
