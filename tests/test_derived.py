"""Columns encoded relative to others of their row: which, how, and what a release of them keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dpsynth as dp
from accountants import Ledger, SigningKey
from dpsynth.columns import Date, Datetime, Float, Integer
from dpsynth.constraints import Implies, Order, Total
from dpsynth.constraints.checking import check
from dpsynth.encoding import OUTSIDE_LABEL, Encoder
from dpsynth.errors import BundleError
from dpsynth.generators.drawing import draw_rows
from dpsynth.release import ModelStore, admit
from dpsynth.release.given import encode_given
from dpsynth.schema import Schema
from dpsynth.testing.synthesis import synthesize_without_privacy
from tests.constraints.drawing import ignorant

COLUMNS = """
columns:
  ward: {type: categorical, values: [general, intensive]}
  admitted: {type: date, min: 2020-01-01, max: 2023-12-31, bins: auto}
  discharged: {type: date, min: 2020-01-01, max: 2024-12-31, bins: auto, missing: true}
  drugs: {type: float, min: 0, max: 5000, decimals: 2, bins: auto, scale: log, missing: true}
  care: {type: float, min: 0, max: 20000, decimals: 2, bins: auto, scale: log}
  cost: {type: float, min: 0, max: 25000, decimals: 2, bins: auto, scale: log, missing: true}
"""
RULES = "constraints: [{order: [admitted, discharged]}, {total: cost, parts: [drugs, care]}]"


def stays(rows=6000, seed=0):
    """Stays of some days over four years; care is often nothing, drugs are sometimes unknown."""
    rng = np.random.default_rng(seed)
    long = rng.random(rows) < 0.3
    admitted = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1400, rows), unit="D")
    stay = rng.poisson(np.where(long, 9, 2))
    drugs, care = rng.gamma(2, 60, rows).round(2), (rng.gamma(2, 100, rows) * (1 + stay)).clip(0, 20000).round(2)
    care[rng.random(rows) < 0.2] = 0
    table = pd.DataFrame(
        {
            "ward": np.where(long, "intensive", "general"),
            "admitted": admitted,
            "discharged": admitted + pd.to_timedelta(stay, unit="D"),
            "drugs": drugs,
            "care": care,
            "cost": (drugs + care).round(2),
        }
    )
    table.loc[rng.random(rows) < 0.1, "drugs"] = np.nan
    table.loc[rng.random(rows) < 0.05, "discharged"] = pd.NaT
    return table


def test_a_heap_on_the_last_day_stays():
    """Half of all rows end on the day the study does, which no distance would show."""
    rng = np.random.default_rng(0)
    start = np.datetime64("2020-01-01") + rng.integers(0, 1000, 5000)
    end = np.minimum(start + rng.exponential(1000, 5000).astype(int), np.datetime64("2023-06-30"))
    real = pd.DataFrame({"start": start.astype("datetime64[s]"), "end": end.astype("datetime64[s]")})
    schema = Schema.loads(
        "columns: {start: {type: date, min: 2020-01-01, max: 2022-12-31, bins: auto}, "
        "end: {type: date, min: 2020-01-01, max: 2023-06-30, bins: auto}}\nconstraints: [{order: [start, end]}]"
    )
    table = synthesize_without_privacy(real, schema, dp.Budget(1), generator="mst", noise="seeded", rows=5000).frame
    assert (table["end"] == "2023-06-30").mean() == pytest.approx((real["end"] == "2023-06-30").mean(), abs=0.02)


def days(table):
    return (table["discharged"] - table["admitted"]).dt.days


def broken(schema, table):
    return sum(found.broken for found in check(schema.columns, schema.constraints, table))


@pytest.mark.parametrize("generator", ["mst", "aim"])
@pytest.mark.parametrize("epsilon", [1, 10])
def test_lengths_zeros_and_empty_cells_are_those_of_the_table(generator, epsilon):
    """Without derived columns the median stay is weeks, and drugs are empty half as often again."""
    real, schema = stays(), Schema.loads(COLUMNS + RULES)
    table = synthesize_without_privacy(
        real, schema, dp.Budget(epsilon), generator=generator, noise="seeded", seed=3, rows=6000
    ).frame
    assert broken(schema, table) == 0
    for quantile in (0.25, 0.5, 0.9):
        assert days(table).quantile(quantile) == pytest.approx(days(real).quantile(quantile), abs=1)
    assert table["drugs"].isna().mean() == pytest.approx(real["drugs"].isna().mean(), abs=0.012)
    assert table["discharged"].isna().mean() == pytest.approx(real["discharged"].isna().mean(), abs=0.012)
    assert (table["care"] == 0).mean() == pytest.approx((real["care"] == 0).mean(), abs=0.02)
    assert table["cost"].median() == pytest.approx(real["cost"].median(), rel=0.1)
    stay = days(table).astype(float).groupby(table["ward"].astype(str)).median()
    assert stay["intensive"] > 2 * stay["general"]


# Which columns

DATES = {
    name: Date(name=name, min=low, max=high, missing=missing)
    for name, low, high, missing in [
        ("born", "1920-01-01", "2023-12-31", False),
        ("came", "2020-01-01", "2023-12-31", False),
        ("left", "2020-01-01", "2023-12-31", False),
        ("died", "2020-01-01", "2023-12-31", True),
        ("seen", "2022-01-01", "2022-12-31", True),
    ]
}
NUMBERS = {
    name: Float(name=name, min=0.0, max=10.0, decimals=1, missing=name == "c") for name in ("a", "b", "c", "d")
} | {"n": Integer(name="n", min=0, max=9), "m": Integer(name="m", min=0, max=9)}
NUMBERS |= {"n2": Integer(name="n2", min=0, max=12)}
MOMENTS = {name: Datetime(name=name, min="2020-01-01", max="2020-12-31") for name in ("t", "u")}


def derived(*constraints):
    columns = (*DATES.values(), *NUMBERS.values(), *MOMENTS.values())
    found = Schema(columns=columns, constraints=constraints).derived
    return {name: (*each.base, each.sign) for name, each in found.items()}


@pytest.mark.parametrize(
    ("constraints", "found"),
    [
        ([Order(order=("came", "left"))], {"came": ("left", -1)}),
        ([Order(order=("died", "left"))], {"died": ("left", -1)}),  # what is never missing is the base
        ([Order(order=("born", "came"))], {"born": ("came", -1)}),  # what varies least is the base
        ([Order(order=("came", "seen"))], {"came": ("seen", -1)}),
        ([Order(order=("born", "came", "left"))], {"born": ("left", -1), "came": ("left", -1)}),
        ([Order(order=("came", "left", "died"))], {"came": ("left", -1), "died": ("left", 1)}),
        ([Order(order=("born", "came")), Order(order=("came", "left"))], {"born": ("came", -1), "left": ("came", 1)}),
        ([Order(order=("came", "left")), Order(order=("left", "died"))], {"came": ("left", -1), "died": ("left", 1)}),
        ([Order(order=("t", "u"), strict=True)], {"t": ("u", -1)}),
        ([Order(order=("came", "t"))], {}),  # a day and a moment
        ([Order(order=("a", "b"))], {}),  # numbers say more by themselves
        ([Order(order=("a", "b"), derive=True)], {"a": ("b", -1)}),
        ([Order(order=("c", "d", "b"), derive=True)], {"c": ("b", -1), "d": ("b", -1)}),
        ([Order(order=("n", "m", "n2"), derive=True)], {"n": ("n2", -1), "m": ("n2", -1)}),
        ([Order(order=("n", "a"), derive=True)], {}),  # in other decimals
        ([Order(order=("came", "left"), derive=False)], {}),
        ([Total(total="a", parts=("b", "c"), derive=False)], {}),
        ([Total(total="a", parts=("b", "c"))], {"a": ("b", "c", 1)}),
        ([Total(total="n", parts=("m",))], {"n": ("m", 1)}),
        ([Total(total="a", parts=("b", "c")), Total(total="d", parts=("a",))], {"d": ("a", 1)}),
        ([Total(total="a", parts=("b", "c")), Order(order=("a", "d"))], {}),
        ([Order(order=("came", "died")), Implies(when={"died": None}, then={"n": 0})], {"died": ("came", 1)}),
        ([Order(order=("a", "b")), Order(order=("came", "left"))], {"came": ("left", -1)}),
    ],
)
def test_which_columns_are_derived(constraints, found):
    assert derived(*constraints) == found


def test_what_the_schema_says_does_not_change():
    free, bound = Schema.loads(COLUMNS), Schema.loads(COLUMNS + RULES)
    assert free.encoded == free.columns == bound.columns
    assert {key: value for key, value in bound.to_json().items() if key != "constraints"} == free.to_json()
    assert Schema.from_json(bound.to_json()) == bound
    assert bound.domain.attributes == free.domain.attributes
    assert bound.hints.missing["cost"] == bound.domain["cost"] - 2


# How cells are read

SMALL = """
columns:
  came: {type: date, min: 2020-01-01, max: 2020-12-31, missing: true}
  left: {type: date, min: 2020-01-01, max: 2022-12-31, bins: [2020-01-01, 2020-07-01, 2022-12-31], missing: true}
  a: {type: integer, min: 0, max: 9, missing: true}
  b: {type: integer, min: 0, max: 9}
  t: {type: integer, min: 0, max: 20, bins: 2}
constraints: [{order: [came, left]}, {total: t, parts: [a, b]}]
"""


def labels(**cells):
    encoder = Encoder(Schema.loads(SMALL))
    whole = {name: cells.get(name, [None] * len(next(iter(cells.values())))) for name in encoder.schema.names}
    codes = encoder.encode(pd.DataFrame(whole).astype(object))
    return {name: [encoder.decode_labels(name)[code] for code in codes[name]] for name in ("left", "t")}


def test_a_date_reads_as_its_distance():
    came = ["2020-03-01"] * 6 + [None, "soon", None]
    left = ["2020-03-01", "2020-03-04", "2020-02-01", "2031-01-01", None, "late", "2020-03-04", "2020-08-01", None]
    assert labels(came=came, left=left)["left"] == [
        "came + 0 days",
        "came + 3 days",
        "came + 0 days",  # breaks the order: the nearest there is
        "came + 982 to 1039 days",  # beyond the bounds: the last day
        "missing",
        OUTSIDE_LABEL,
        "[2020-01-01, 2020-07-01)",  # nothing to be relative to
        "[2020-07-01, 2022-12-31]",
        "missing",
    ]


def test_a_total_reads_as_the_sum_of_its_parts():
    found = labels(a=[1, 1, None, "x", 1, 1], b=[2, 2, 2, 2, 2, None], t=[3, 9, 12, 3, None, 3])["t"]
    own = ["[0, 10)", "[10, 20]"]
    assert found == ["a + b", "a + b", own[1], own[0], OUTSIDE_LABEL, own[0]]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.integers(1, 30))
def test_a_code_depends_on_its_row_alone(seed, rows):
    schema = Schema.loads(SMALL)
    encoder, rng = Encoder(schema), np.random.default_rng(seed)
    _, table, _ = draw_rows(ignorant(schema, seed), encoder, rows, rng)
    cells = table.astype(object).mask(rng.random(table.shape) < 0.2, rng.choice(["?", "2020-05-05", "3"]))
    whole = encoder.encode(cells)
    order = rng.permutation(rows)
    mixed = encoder.encode(cells.iloc[order].reset_index(drop=True))
    alone = [encoder.encode(cells.iloc[[row]].reset_index(drop=True)) for row in range(rows)]
    for name in schema.names:
        np.testing.assert_array_equal(mixed[name], whole[name][order])
        assert [codes[name][0] for codes in alone] == whole[name].tolist()


ODD = [None, np.nan, 1e308, float("-inf"), "-1e400", "x", b"\xff", [1], {}, pd.NaT, True, 10**30, 2 + 3j, "1_000"]
ODD += ["2020-05-05", "20200505", "2021-05-05T25:00", pd.Timestamp("2200-01-01"), "0001-01-01", 4, "4.5", -0.0]


def test_no_cell_raises_warns_or_changes_how_another_row_reads():
    numbers = "  n: {type: float, min: -5, max: 50, decimals: 2}\n  m: {type: float, min: 0, max: 500, decimals: 2}\n"
    spec = SMALL.replace("constraints: [", f"{numbers}constraints: [{{order: [n, m], derive: true}}, ")
    schema = Schema.loads(spec)
    assert set(schema.derived) == {"left", "t", "m"}
    encoder, rng = Encoder(schema), np.random.default_rng(0)
    rows = [{name: ODD[rng.integers(len(ODD))] for name in schema.names} for _ in range(300)]
    whole = encoder.encode({name: pd.Series([row[name] for row in rows], dtype=object) for name in schema.names})
    for at, row in enumerate(rows):
        alone = encoder.encode({name: pd.Series([row[name]], dtype=object) for name in schema.names})
        assert all(alone[name][0] == whole[name][at] for name in schema.names), row
    assert all(whole[name].max() < size for name, size in schema.domain.sizes.items())


def test_a_number_reads_as_its_distance_where_the_order_says_so():
    spec = "{type: float, min: 0, max: 50, decimals: 1, missing: true}"
    schema = Schema.loads(
        f"columns: {{a: {spec}, b: {spec.replace('50', '150')}}}\n"
        "constraints: [{order: [a, b], derive: true, strict: true}]"
    )
    assert Schema.loads(schema.to_yaml()) == schema
    encoder = Encoder(schema)
    cells = {"a": [0.1, 1e300, "nan", 49.95, "7", 3], "b": [0.3, float("inf"), 2.0, 1e308, "6", None]}
    codes = encoder.encode(pd.DataFrame(cells).astype(object))["b"]
    read = [encoder.decode_labels("b")[code] for code in codes]
    assert read == ["a + 0.2", OUTSIDE_LABEL, "[0, 9.3)", "a + 95 to 100.9", "a + 0.1", "missing"]
    _, table, _ = draw_rows(ignorant(schema, 5), encoder, 400, np.random.default_rng(0))
    assert broken(schema, table) == 0


def test_codes_cannot_be_read_without_the_base():
    encoder = Encoder(Schema.loads(SMALL))
    with pytest.raises(ValueError, match="no codes for column 'came', which others are encoded relative to"):
        encoder.decode({"left": np.zeros(2, int)}, np.random.default_rng(0))


@pytest.mark.parametrize("strict", [False, True])
def test_a_chain_of_dates_is_in_order(strict):
    names = ("born", "came", "left", "died")
    schema = Schema(columns=tuple(DATES[n] for n in names), constraints=[Order(order=names, strict=strict)])
    assert set(schema.derived) == {"born", "came", "died"}
    _, table, _ = draw_rows(ignorant(schema, 5), Encoder(schema), 400, np.random.default_rng(0))
    assert broken(schema, table) == 0
    assert table.notna().all(axis=1).any()


# Given columns


@pytest.fixture(scope="module")
def model():
    """A fitted model of the stays, with an account of its own."""
    planned = dp.plan("aim", Schema.loads(COLUMNS + RULES), dp.Budget(10))
    account = Ledger("sqlite://", SigningKey.generate()).open("stays", dp.Budget(20, "1e-8"))
    return dp.fit(planned, stays(), account, store=ModelStore(None))


def drawn(model, **asked):
    return admit(model.sample(**asked), model.account).frame


def test_a_given_date_leaves_the_length_of_stay(model):
    table = drawn(model, rows=2000, given={"discharged": "2021-05-05"})
    assert (table["discharged"] == "2021-05-05").all()
    assert days(table).median() == pytest.approx(days(stays()).median(), abs=1)
    stay = days(table).astype(float).groupby(table["ward"].astype(str)).mean()
    assert stay["intensive"] > 2 * stay["general"]


def test_a_given_total_is_that_of_rows_that_have_it(model):
    """Rows of that cost: their wards as in the table, and parts that add up to the last cent."""
    real = stays()
    for cost in (150.25, 4000.0):
        table = drawn(model, rows=2000, given={"cost": cost})
        assert (table["cost"] == cost).all()
        full = table["drugs"].notna()
        np.testing.assert_allclose((table["drugs"] + table["care"])[full].astype(float), cost)
        near = real[real["cost"].between(cost / 1.2, cost * 1.2)]
        assert (table["ward"] == "general").mean() == pytest.approx((near["ward"] == "general").mean(), abs=0.2)


def test_a_given_column_and_its_base_bind_together(model):
    table = drawn(model, rows=50, given={"admitted": "2021-05-05", "discharged": "2021-05-09", "cost": 10.0})
    assert (days(table) == 4).all()
    assert (table["cost"] == 10.0).all()
    cells = pd.DataFrame({"cost": [None, 12.5, None, 99.0], "discharged": ["2021-05-09", None, None, "2020-01-01"]})
    table = drawn(model, given=cells)
    assert table["cost"].isna().tolist() == [True, False, True, False]
    assert table["discharged"].isna().tolist() == [False, True, True, False]


def test_a_value_out_of_the_codebook_is_told_as_declared(model):
    with pytest.raises(BundleError, match="given for column 'cost' are not in the schema; allowed"):
        encode_given({"cost": "dear"}, 3, Encoder(model.schema))


def test_the_report_shows_distances(model):
    report = admit(model.sample(500, seed=1), model.account).report
    assert "admitted + " in report
    assert "drugs + care" in report
