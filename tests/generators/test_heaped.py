"""Heaped columns and looks at columns together with a target: what is asked, what bins follow, what comes of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from accountants import Allowance, Budget, Gaussian, Meter
from dpsynth.analysis import Analysis
from dpsynth.analysis.refits import Refits
from dpsynth.encoding import Encoder
from dpsynth.errors import NotSupported
from dpsynth.generators import AIM, one_ways
from dpsynth.generators.heaped import heaped, rebinned
from dpsynth.generators.target_looks import TargetLooks
from dpsynth.graphical import Measurement
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.measurement import NoisyCounts, NoisyMoments, Selected
from dpsynth.release.measurements import Measurements
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits

SCHEMA = Schema.loads(
    """
columns:
  gain: {type: integer, min: 0, max: 99999, bins: auto, scale: log, missing: true}
  age: {type: integer, min: 0, max: 99, bins: auto}
  bought: {type: boolean}
  group: {type: categorical, values: [A, B, C, D]}
"""
)


def table(rows, seed=0):
    """Most gains are zero, some small, and one row in forty far out, where everybody bought."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, rows, p=[0.9, 0.075, 0.025])
    gain = np.choose(kind, [np.zeros(rows), rng.integers(1000, 3000, rows), rng.integers(15_000, 20_000, rows)])
    bought = rng.random(rows) < np.choose(kind, [0.2, 0.2, 0.97])
    gain[rng.random(rows) < 0.02] = np.nan
    frame = {"gain": gain, "age": rng.integers(18, 90, rows), "bought": bought}
    return pd.DataFrame(frame | {"group": np.where(bought, "A", rng.choice(list("BCD"), rows))})


class Run:
    def __init__(self, recipe, frame, epsilon=1, schema=SCHEMA):
        self.plan = recipe.plan(schema.domain, Allowance(Budget(str(epsilon), "1e-9")), schema.hints)
        self.meter = Meter(self.plan)
        self.private = PrivateTable(Rows(frame, schema), self.meter, Noise(SeededBits(0)))
        self.model = recipe.fit(self.private, self.plan, schema.hints)
        self.counts = [a for a in self.private.transcript if isinstance(a, NoisyCounts)]


@pytest.fixture(scope="module")
def predicting():
    return Run(AIM(target="bought"), table(30_000))


def test_a_column_is_heaped_where_one_cell_of_its_grid_has_most_rows():
    fine = {"a": (0.0, 1.0, 2.0, 3.0), "b": (0.0, 1.0, 2.0, 3.0)}

    def one_way(name, *values):
        return Measurement((name,), np.array(values, float), np.array(1.0))

    most, half = one_way("a", 60, 10, 10, 20), one_way("b", 45, 25, 10, 20)
    assert heaped([most, half, one_way("listed", 99, 1)], fine) == ("a",)
    assert heaped([one_way("a", 10, 10, 10, 70)], fine) == ()  # what is not on the grid is no heap


def test_bins_end_where_the_classes_change():
    """Forty cells of equal mass beside a heap: the first half buys rarely, the second half does."""
    rows = np.zeros((41, 2))
    rows[0] = 9000, 1000
    rows[1:21], rows[21:] = (45, 5), (5, 45)
    rng = np.random.default_rng(0)
    counts, one_way = rows + rng.normal(0, 8, rows.shape), rows.sum(axis=1) + rng.normal(0, 25, 41)
    found = rebinned(counts, 8.0, one_way, np.full(41, 25.0**2), np.arange(42.0), 3.0)
    assert found.codes.tolist() == [0] + [1] * 20 + [2] * 20
    np.testing.assert_allclose(found.held, [10_000, 1000, 1000], atol=100)
    np.testing.assert_allclose(np.bincount(found.codes, found.weights), 1.0)
    alike = counts.sum(axis=1, keepdims=True) / 2 * np.ones((1, 2))
    assert rebinned(alike, 8.0, one_way, np.full(41, 25.0**2), np.arange(42.0), 3.0).codes.max() == 1


def test_the_earlier_look_counts_as_much_as_it_knows():
    """A run that the looks by class would drop as noise stays where the one-way is sure of it."""
    counts, one_way = np.zeros((6, 3)), np.array([900.0, 3.0, 3.0, 40.0, 40.0, 40.0])
    counts[0] = 300
    sure = rebinned(counts, 20.0, one_way, np.full(6, 1.0), np.arange(7.0), 3.0)
    assert sure.codes.tolist() == [0, 1, 1, 2, 2, 2]
    assert sure.held == pytest.approx([900, 6, 120], abs=2)
    unsure = rebinned(counts, 20.0, one_way, np.full(6, 1e9), np.arange(7.0), 3.0)
    assert unsure.held.sum() == pytest.approx(900, abs=2)


def test_a_run_of_less_than_its_noise_is_empty():
    counts = np.concatenate([[[500.0, 500.0]], np.full((20, 2), 0.5)])
    found = rebinned(counts, 10.0, counts.sum(axis=1), np.full(21, 400.0), np.arange(22.0), 3.0)
    assert found.mass[1:].sum() == 0


def test_what_is_small_joins_the_heap_last():
    """Ten rows of the heap's classes beside it: they lie with their other neighbours, and the heap stays one value."""
    rows = np.array([[9000.0, 1000.0], [9.0, 1.0], [50.0, 450.0]])
    found = rebinned(rows, 0.5, rows.sum(axis=1), np.full(3, 0.25), np.arange(4.0), 40.0)
    assert found.codes.tolist() == [0, 1, 1]


def test_small_runs_join_those_of_the_same_classes():
    rows = np.array([[1000.0, 0.0], [80.0, 0.0], [0.0, 12.0], [0.0, 300.0]])
    found = rebinned(rows, 2.0, rows.sum(axis=1), np.full(4, 1.0), np.arange(5.0), 20.0)
    assert found.codes.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize("classes", [1, 2, 7])
@pytest.mark.parametrize("kind", ["nothing", "negative", "noise", "one cell"])
def test_no_counts_upset_it(classes, kind):
    cells = 1 if kind == "one cell" else 30
    values = {"nothing": 0.0, "negative": -50.0, "one cell": 9.0}.get(kind, np.random.default_rng(0).normal(0, 5, 30))
    counts = np.broadcast_to(np.asarray(values).reshape(-1, 1), (cells, classes))
    found = rebinned(counts, 5.0, counts.sum(axis=1), np.full(cells, 4.0), np.arange(cells + 1.0), 3.0)
    assert len(found.codes) == cells
    assert set(np.diff(found.codes)) <= {0, 1}
    assert (found.mass >= 0).all()
    np.testing.assert_allclose(np.bincount(found.codes, found.weights), 1.0)


def test_columns_are_counted_with_the_target_after_the_heaped_ones(predicting):
    cliques = [c.clique for c in predicting.counts]
    singles = [(name,) for name in SCHEMA.names]
    pairs = [("gain", "bought"), ("age", "bought"), ("bought", "group")]
    assert cliques[:8] == [*singles, ("gain", "bought"), *pairs]
    grid, merged = predicting.counts[4], predicting.counts[5]
    assert grid.values.shape[0] == SCHEMA.domain["gain"]
    assert merged.values.shape[0] == predicting.model.recoding.domain["gain"] < 20
    budget = sum(float(e.mu_squared) for e in predicting.meter.charged)
    spent = [float(e.mu_squared) / budget for e in predicting.meter.charged if isinstance(e, Gaussian)]
    assert spent[:3] == pytest.approx([0.1, 0.07, 0.49], rel=1e-3)
    assert predicting.meter.remaining <= predicting.plan.capacity / 10**9


def test_both_looks_at_heaped_columns_are_used(monkeypatch):
    """The grid of the first look goes into the bins, and what was counted of the grid with the target into the fit."""
    given, told = [], []
    bins, measured = one_ways.rebinned, TargetLooks.measured

    def rebinned_of(*arguments):
        given.append(arguments)
        return bins(*arguments)

    def measured_of(*arguments):
        told.extend(measured(*arguments))
        return told

    monkeypatch.setattr(one_ways, "rebinned", rebinned_of)
    monkeypatch.setattr(TargetLooks, "measured", measured_of)
    run = Run(AIM(target="bought"), table(10_000))
    first, grid = run.counts[0], run.counts[4]
    ((counts, sigma, one_way, variance, positions, _),) = given
    np.testing.assert_array_equal(counts, grid.values[: len(positions) - 1])
    np.testing.assert_array_equal(one_way, first.values[: len(positions) - 1])
    assert sigma == pytest.approx(grid.sigma)
    np.testing.assert_allclose(variance, first.sigma**2)
    assert [m.clique for m in told] == [("gain", "bought"), *(c.clique for c in run.counts[5:8])]
    assert told[0].values.shape == told[1].values.shape


def test_columns_left_out_are_not_looked_at_twice(monkeypatch):
    """A heaped column whose pair would drown keeps its bins; and where all would at first, none is asked later."""
    pairs = TargetLooks.pairs
    monkeypatch.setattr(TargetLooks, "pairs", lambda *given: [p for p in pairs(*given) if "gain" not in p])
    assert [c.clique for c in Run(AIM(target="bought"), table(3000)).counts[4:6]] == [
        ("age", "bought"),
        ("bought", "group"),
    ]
    asked = []
    monkeypatch.setattr(TargetLooks, "pairs", lambda *given: asked.append(1) or (pairs(*given) if asked[1:] else []))
    run = Run(AIM(target="bought"), table(3000))
    assert [len(c.clique) for c in run.counts[:8]] == [1] * 8
    budget = float(run.plan.capacity)
    assert max(float(e.mu_squared) / budget for e in run.meter.charged[2:]) < 0.4


def test_what_few_rows_far_out_say_is_kept(predicting):
    rng = np.random.default_rng(0)
    encoder = Encoder(SCHEMA)
    frame = encoder.decode(predicting.model.sample(30_000, rng), rng)
    gain, bought = frame["gain"].astype(float), frame["bought"].astype(bool)
    far = gain > 10_000
    assert far.mean() == pytest.approx(0.0245, abs=0.003)
    assert bought[far].mean() > 0.9
    assert bought[(gain > 500) & ~far].mean() == pytest.approx(0.2, abs=0.06)
    assert bought[gain == 0].mean() == pytest.approx(0.2, abs=0.02)
    assert frame["gain"].isna().mean() == pytest.approx(0.02, abs=0.004)


@pytest.mark.parametrize("recipe", [AIM(), AIM(target="bought", target_share=0.0), AIM.paper(target="bought")])
def test_without_a_target_or_a_share_grids_are_looked_at_twice(recipe):
    run = Run(recipe, table(3000))
    assert [c.clique for c in run.counts[:8]] == [(name,) for name in SCHEMA.names] * 2


def test_pairs_that_noise_would_drown_are_not_asked():
    """Sizes and noise are public: a column of too many cells is left out, and with nothing left all is as without."""
    sizes = {"wide": 400, "narrow": 3, "target": 2}
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({a: rng.integers(0, size, 4000) for a, size in sizes.items()})
    schema = Schema.from_domain(sizes)
    whole = {"target": "target", "merge_below": 0.0, "group_below": 0.0}
    some = [c.clique for c in Run(AIM(**whole), frame, 0.3, schema).counts]
    assert some[3] == ("narrow", "target")
    assert ("wide", "target") not in some[3:5]
    none = [c.clique for c in Run(AIM(**whole), frame[:40], 0.05, schema).counts]
    assert none[3:6] == [("wide",), ("narrow",), ("target",)]
    small = [c.clique for c in Run(AIM(**whole, max_cells=500), frame, 8, schema).counts]
    assert small[3] == ("narrow", "target")
    assert ("wide", "target") not in small


@pytest.mark.parametrize("share", [0.5, 0.6, 0.85])
def test_a_second_look_never_takes_more_than_there_is(share):
    """Too few rows for pairs with the target: the grids are looked at twice, and something is left for the rounds."""
    run = Run(AIM(target="bought", one_way_share=share, target_share=0.1), table(50), 0.1)
    assert [len(c.clique) for c in run.counts[:8]] == [1] * 8
    budget = float(run.plan.capacity)
    spent = [float(e.mu_squared) / budget for e in run.meter.charged if isinstance(e, Gaussian)]
    assert sum(spent[:2]) < 1 - (1 - share) / 2.1
    assert run.meter.remaining <= run.plan.capacity / 10**9


LEVELS = [f"c{i}" for i in range(200)]
WIDE = Schema.loads(
    f"""
columns:
  gain: {{type: integer, min: 0, max: 99999, bins: auto, scale: log}}
  code: {{type: categorical, values: [{", ".join(LEVELS)}]}}
  flag: {{type: boolean}}
"""
)


@pytest.mark.parametrize("max_cells", [4000, 32_000, 60_000])
def test_heaped_columns_fit_the_model_whatever_the_classes(max_cells):
    """Two hundred classes that differ in every cell of the grid: bins are as many as others', or are not looked for."""
    rng = np.random.default_rng(0)
    rows = 100_000
    gain = np.where(rng.random(rows) < 0.6, 0, np.exp(rng.uniform(0, 11.5, rows)).astype(int))
    code = (gain * 7919 + rng.integers(0, 3, rows)) % 200
    frame = pd.DataFrame({"gain": gain, "code": [f"c{c}" for c in code], "flag": rng.random(rows) < 0.5})
    run = Run(AIM(target="code", max_cells=max_cells), frame, 8, WIDE)
    grids = [c for c in run.counts[3:] if c.clique == ("gain", "code") and c.values.shape[0] == WIDE.domain["gain"]]
    assert len(grids) == (max_cells > 50_000)
    assert run.model.recoding.domain["gain"] <= 66
    assert run.meter.remaining <= run.plan.capacity / 10**9


EMPTY = table(1).iloc[:0]
TABLES = {
    "no rows": EMPTY,
    "one row": table(1),
    "constant": pd.DataFrame({"gain": 0, "age": 40, "bought": True, "group": "A"}, index=range(2000)),
    "all missing": table(2000).assign(gain=None, bought=None),
    "nothing decodes": pd.DataFrame({name: ["?"] * 2000 for name in SCHEMA.names}),
}


@pytest.mark.parametrize("frame", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("target", ["bought", "gain"])
@pytest.mark.parametrize("epsilon", [0.01, 3])
def test_no_table_upsets_looks_with_a_target(frame, target, epsilon):
    run = Run(AIM(target=target), frame, epsilon)
    codes = run.model.sample(100, np.random.default_rng(0))
    decoded = Encoder(SCHEMA).decode(codes, np.random.default_rng(1))
    again = Encoder(SCHEMA).encode(decoded)
    for column in SCHEMA.columns:
        inside = np.asarray(codes[column.name]) != column.outside_code
        np.testing.assert_array_equal(again[column.name][inside], np.asarray(codes[column.name])[inside])


def test_the_answers_give_the_model_and_its_questions_back(predicting):
    """What `analyse` makes of a release's answers: the same bins, the same model, unbiased shares."""
    frame = table(30_000)
    answers = tuple(a for a in predicting.private.transcript if not isinstance(a, Selected))
    model = predicting.model
    bags = tuple({c for a in predicting.counts if len(c := a.clique) > 1})
    said = Measurements("d", "aim", AIM(target="bought").parameters(), model.total, answers, bags)
    analysis = Analysis.made(SCHEMA, said, frame.astype(object).where(frame.notna(), None), about="table")
    assert [c.clique for c in analysis.looked.heaped] == [("gain", "bought")]
    again = Refits(SCHEMA, said, analysis.looked).model(None)
    for a, map_ in model.recoding.maps.items():
        np.testing.assert_array_equal(again.recoding.maps[a], map_)
        np.testing.assert_allclose(again.recoding.weights[a], model.recoding.weights[a])
    for clique in [("gain", "bought"), ("bought", "group")]:
        assert np.abs(again.project(clique) - model.project(clique)).sum() < 0.02 * model.total
    noised = Refits(SCHEMA, said, analysis.looked).model(np.random.default_rng(0))
    assert noised.total == pytest.approx(model.total, rel=0.02)
    share = analysis.proportion("bought=true")
    assert abs(share.estimate - frame["bought"].mean()) < 5 * share.noise


@pytest.mark.parametrize("forged", ["wider", "narrower", "map", "target"])
def test_heaped_looks_that_do_not_fit_are_a_sentence(predicting, forged):
    """Whoever signs a release writes its answers: what no recipe asks is refused in words."""
    answers = [a for a in predicting.private.transcript if not isinstance(a, Selected)]
    i = next(i for i, a in enumerate(answers) if isinstance(a, NoisyCounts) and a.clique == ("gain", "bought"))
    heap = answers[i]
    classes = heap.values.shape[1]
    parameters = AIM(target="bought").parameters()
    if forged == "wider":
        answers[i] = replace(heap, values=np.hstack([heap.values, heap.values]))
    elif forged == "narrower":
        answers[i] = replace(heap, values=heap.values[:, :1])
    elif forged == "map":
        map_ = np.roll(np.arange(SCHEMA.domain["bought"]) % classes, 1)
        answers[i] = replace(heap, recoding={"bought": map_})
    else:
        parameters["target"] = "group"
    said = Measurements("d", "aim", parameters, predicting.model.total, tuple(answers), (("gain", "bought"),))
    analysis = Analysis.made(SCHEMA, said, table(300).astype(object).where(table(300).notna(), None))
    assert analysis.looked.heaped == ()
    with pytest.raises(NotSupported, match="no recipe of ours"):
        Refits(SCHEMA, said, analysis.looked)


@pytest.mark.parametrize("forged", ["zero", "short", "large", "unknown"])
def test_forged_moments_are_a_sentence(predicting, forged):
    answers = [a for a in predicting.private.transcript if not isinstance(a, Selected)]
    i = next(i for i, a in enumerate(answers) if isinstance(a, NoisyMoments))
    first, *rest = answers[i].scores
    change = {
        "zero": {"values": 0 * first.values},
        "short": {"values": first.values[:-1]},
        "large": {"values": first.values + 2**32},
        "unknown": {"attribute": "nobody"},
    }
    answers[i] = replace(answers[i], scores=(replace(first, **change[forged]), *rest))
    said = Measurements(
        "d", "aim", AIM(target="bought").parameters(), predicting.model.total, tuple(answers), (("gain", "bought"),)
    )
    analysis = Analysis.made(SCHEMA, said, table(300).astype(object).where(table(300).notna(), None))
    with pytest.raises(NotSupported, match="no recipe of ours"):
        Refits(SCHEMA, said, analysis.looked)


def test_answers_of_far_more_rows_than_the_release_has_are_a_sentence(predicting):
    answers = tuple(a for a in predicting.private.transcript if not isinstance(a, Selected))
    said = Measurements("d", "aim", AIM(target="bought").parameters(), 10.0, answers, (("gain", "bought"),))
    analysis = Analysis.made(SCHEMA, said, table(300).astype(object).where(table(300).notna(), None))
    with pytest.raises(NotSupported, match="contradict each other"):
        next(Refits(SCHEMA, said, analysis.looked).tables(2, np.random.default_rng(0)))
