"""Looks at fine grids through the real kernel: what is asked, what it costs, and that no table upsets it."""

import math

import numpy as np
import pandas as pd
import pytest

from accountants import Allowance, Budget, Gaussian, Meter
from dpsynth.encoding import Encoder
from dpsynth.generators import AIM, MST, Independent
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.measurement import NoisyCounts
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits

SCHEMA = Schema.loads(
    """
columns:
  gain: {type: integer, min: 0, max: 99999, bins: auto, scale: log, missing: true}
  age: {type: integer, min: 0, max: 99, bins: auto}
  born: {type: date, min: 1960-01-01, max: 1999-12-31, bins: auto, missing: true}
  share: {type: float, min: 0, max: 1, bins: auto, decimals: 2}
  sex: {type: categorical, values: [F, M, X]}
"""
)
EVERY = [Independent(), MST(), AIM()]
every_generator = pytest.mark.parametrize("generator", EVERY, ids=lambda g: g.name)


def table(rows):
    rng = np.random.default_rng(0)
    age = rng.integers(18, 90, rows)
    sex = np.where(rng.random(rows) < age / 100, "F", "M")
    return pd.DataFrame(
        {
            "gain": np.where(rng.random(rows) < 0.2, np.nan, (rng.random(rows) < 0.3) * rng.integers(1, 9000, rows)),
            "age": age,
            "born": np.where(rng.random(rows) < 0.3, "1980-01-01", "1975-05-20"),
            "share": (age / 100).round(2),
            "sex": sex,
        }
    )


TABLES = {
    "no rows": table(10).iloc[:0],
    "one row": table(1),
    "constant": pd.DataFrame({"gain": 0, "age": 40, "born": "1980-01-01", "share": 0.5, "sex": "F"}, index=range(3000)),
    "all missing": table(3000).assign(gain=None, born=None),
    "nothing decodes": pd.DataFrame({name: ["?"] * 3000 for name in SCHEMA.names}),
    "beyond the bounds": table(3000).assign(gain=10**9, age=-5),
}


class Run:
    def __init__(self, generator, frame, epsilon, seed=0):
        allowance = Allowance(Budget(str(epsilon), "1e-9"))
        self.plan = generator.plan(SCHEMA.domain, allowance, SCHEMA.hints)
        self.private = PrivateTable(Rows(frame, SCHEMA), Meter(self.plan), Noise(SeededBits(seed)))
        self.model = generator.fit(self.private, self.plan, SCHEMA.hints)
        self.encoder = Encoder(SCHEMA)

    def frame(self, rows=5000):
        rng = np.random.default_rng(0)
        return self.encoder.decode(self.model.sample(rows, rng), rng)


@every_generator
@pytest.mark.parametrize("frame", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("epsilon", [0.01, 3])
def test_no_table_upsets_it(generator, frame, epsilon):
    run = Run(generator, frame, epsilon)
    codes = run.model.sample(200, np.random.default_rng(0))
    decoded = run.encoder.decode(codes, np.random.default_rng(1))
    again = run.encoder.encode(decoded)
    for column in SCHEMA.columns:
        inside = np.asarray(codes[column.name]) != column.outside_code
        np.testing.assert_array_equal(again[column.name][inside], np.asarray(codes[column.name])[inside])
    for name in SCHEMA.names:
        assert run.model.project((name,)).sum() == pytest.approx(run.model.total)


@every_generator
def test_two_looks_cost_what_one_did(generator):
    run = Run(generator, table(4000), 1)
    answers = [a for a in run.private.transcript if isinstance(a, NoisyCounts) and len(a.clique) == 1]
    columns = len(SCHEMA.names)
    assert [a.clique for a in answers[: 2 * columns]] == [(name,) for name in SCHEMA.names] * 2
    first, second = answers[:columns], answers[columns : 2 * columns]
    assert all(a.recoding is None for a in first)
    assert [a.recoding is not None for a in second] == [True, True, True, True, False]
    if not isinstance(generator, AIM):
        events = [e for e in run.plan.events if isinstance(e, Gaussian)]
        assert events[0] == events[1]
        plain = generator.plan(SCHEMA.domain, Allowance(Budget("1", "1e-9")), Schema.from_domain({"a": 2}).hints)
        alone = next(e for e in plain.events if isinstance(e, Gaussian))
        assert events[0].noise_multiplier == pytest.approx(math.sqrt(2) * alone.noise_multiplier, rel=1e-3)


@every_generator
def test_zeros_dates_and_missing_cells_come_back(generator):
    run = Run(generator, table(20_000), 3)
    frame = run.frame()
    assert frame["gain"].isna().mean() == pytest.approx(0.2, abs=0.03)
    assert (frame["gain"] == 0).mean() == pytest.approx(0.7, abs=0.03)  # of those known
    assert (frame["born"] == "1980-01-01").mean() == pytest.approx(0.3, abs=0.03)
    assert frame["age"].mean() == pytest.approx(53.5, abs=1.5)


def test_neighbouring_columns_keep_their_correlation():
    frame = Run(AIM(), table(20_000), 1).frame()
    assert np.corrcoef(frame["age"].astype(float), frame["share"].astype(float))[0, 1] > 0.95


def test_few_bins_where_there_is_little_budget():
    sizes = [Run(MST(), table(20_000), epsilon).model.recoding.domain.sizes for epsilon in (0.02, 0.5, 10)]
    for name in ("gain", "age", "share"):
        few, some, many = (each[name] for each in sizes)
        assert few <= some <= many
        assert few <= 6
        assert many >= 8
