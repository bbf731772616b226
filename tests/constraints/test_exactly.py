"""Against enumeration of every row: what is possible, what is nearest, and which constraints cannot hold together."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dpsynth.constraints.boxes import place, possible
from dpsynth.constraints.enforcement import Impossible, enforce
from dpsynth.constraints.rules import Rules
from dpsynth.constraints.search import SearchEnded, first_conflict, nearest
from dpsynth.errors import SchemaError
from dpsynth.schema import Schema
from tests.constraints.drawing import constrained_schemas

MOST = 4000


def cells_of(component):
    """Every combination of codes, shape (combinations,) by column."""
    names = component.columns
    grid = np.indices([component.sizes[name] for name in names]).reshape(len(names), -1)
    return dict(zip(names, grid, strict=True))


def truly_possible(component, codes):
    """Whether one combination of codes has points that satisfy everything, by trying them all."""
    if not component.meets_clauses({name: np.array([code]) for name, code in codes.items()})[0]:
        return False
    spans = {}
    for name, grid in component.grids.items():
        null = grid.null[codes[name]]
        low, high = int(grid.low[codes[name]]), int(grid.high[codes[name]])
        spans[name] = [None] if null else range(low, high + 1, grid.step)
    if np.prod([float(len(span)) for span in spans.values()]) > 20_000:
        return None
    return any(_satisfies(component, dict(zip(spans, points, strict=True))) for points in product(*spans.values()))


def _satisfies(component, at):
    for tie in component.comparisons:
        if None not in (at[tie.low], at[tie.high]) and at[tie.low] + tie.gap > at[tie.high]:
            return False
    for tie in component.sums:
        parts = [at[part] for part in tie.parts]
        if None not in (at[tie.total], *parts) and at[tie.total] != sum(parts):
            return False
    for tie in component.bounded:
        parts = [at[part] for part in tie.parts]
        if None not in parts and not tie.low <= sum(map(int.__mul__, tie.signs, parts)) <= tie.high:
            return False
    return True


def cyclic(component):
    """Whether intervals alone may be too hopeful: two ties share two columns, or ties close a longer cycle."""
    ties = [tie.columns for tie in component.numeric]
    links, nodes = sum(map(len, ties)), len(ties) + len({name for tie in ties for name in tie})
    groups = 1 if ties else 0
    return bool(component.sums or component.bounded) and links > nodes - groups


@settings(deadline=None, max_examples=80)
@given(constrained_schemas(max_columns=4), st.integers(0, 2**16))
def test_possible_combinations_are_those_with_points(schema, seed):
    for component in schema.rules.components:
        cells = cells_of(component)
        count = len(cells[component.columns[0]])
        told = possible(component, cells, {})
        for at in np.random.default_rng(seed).permutation(count)[:60]:
            truth = truly_possible(component, {name: int(codes[at]) for name, codes in cells.items()})
            if truth is not None:
                assert told[at] == truth or (told[at] and cyclic(component))


@settings(deadline=None, max_examples=60)
@given(constrained_schemas(max_columns=4), st.integers(0, 2**16))
def test_the_nearest_combination_is_the_nearest_there_is(schema, seed):
    rng = np.random.default_rng(seed)
    for component in schema.rules.components:
        cells = cells_of(component)
        count = len(cells[component.columns[0]])
        if count > MOST or cyclic(component):
            continue
        inside = np.logical_and.reduce([cells[name] != component.outside[name] for name in component.columns])
        allowed = np.flatnonzero(possible(component, cells, {}) & inside)
        wanted = {name: int(rng.integers(0, component.outside[name])) for name in component.columns}
        found = nearest(component, wanted)
        assert found is not None
        costs = np.zeros(count)
        for name in component.columns:
            away = np.abs(cells[name] - wanted[name])
            near = 0.5 * away / component.sizes[name] if name in component.ordered else 0.5 * (away > 0)
            costs += (away > 0) * (1 + near)
        assert found.cost == pytest.approx(costs[allowed].min())
        codes = {name: np.array([code]) for name, code in found.codes.items()}
        assert possible(component, codes, {})[0]
        if component.numeric:
            at = {n: None if component.grids[n].null[found.codes[n]] else p for n, p in found.points.items()}
            assert _satisfies(component, at)


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_what_cannot_hold_is_refused_and_nothing_else(data):
    schema = data.draw(constrained_schemas(max_columns=3, max_constraints=2))
    other = data.draw(constrained_schemas(max_columns=3, max_constraints=2))
    assume(len(other.columns) <= len(schema.columns))
    try:
        rules = Rules(schema.columns, (*schema.constraints, *other.constraints))
        components = rules.components
    except ValueError:  # about columns of other types
        return
    conflict = first_conflict(components)
    for component in components:
        assume(not cyclic(component))
        cells = cells_of(component)
        inside = np.logical_and.reduce([cells[name] != component.outside[name] for name in component.columns])
        assume(len(inside) <= MOST * 10)
        if not (possible(component, cells, {}) & inside).any():
            assert conflict is not None
            assert conflict.proved
            return
    assert conflict is None


def two(low="{type: integer, min: 0, max: 99, bins: 1}", high="{type: integer, min: 0, max: 99, bins: 1}", rule=None):
    return Schema.loads(f"columns: {{a: {low}, b: {high}}}\nconstraints: [{rule or '{order: [a, b]}'}]")


def test_points_in_one_bin_are_those_of_independent_columns_in_order():
    """Both columns are one bin: the points are two independent ones, given that they are in order."""
    component = two().rules.components[0]
    codes = {name: np.zeros(40_000, dtype=np.int64) for name in "ab"}
    points, held = place(component, codes, {}, np.random.default_rng(0))
    assert held.all()
    expected = np.arange(100, 0, -1) / 5050  # P(a): as many b as are at least a
    counts = np.bincount(points["a"], minlength=100) / 40_000
    assert 0.5 * np.abs(counts - expected).sum() < 0.03
    assert (points["a"] <= points["b"]).all()
    assert (points["a"] == points["b"]).mean() == pytest.approx(100 / 5050, abs=0.004)


def test_points_of_a_total_are_those_of_its_parts():
    spec = "{type: float, min: 0, max: 9.9, decimals: 1, bins: 1}"
    schema = Schema.loads(
        f"columns: {{a: {spec}, b: {spec}, t: {{type: float, min: 0, max: 19.8, decimals: 1, bins: 2}}}}\n"
        "constraints: [{total: t, parts: [a, b]}]"
    )
    (component,) = Rules(schema.columns, schema.constraints).components
    codes = {"a": np.zeros(20_000, int), "b": np.zeros(20_000, int), "t": np.ones(20_000, int)}
    points, held = place(component, codes, {}, np.random.default_rng(0))
    assert held.all()
    assert (points["a"] + points["b"] == points["t"]).all()
    edge = schema.column("t").partition.edges[1]
    assert points["t"].min() >= edge
    every = np.add.outer(np.arange(100), np.arange(100))
    assert points["a"].mean() == pytest.approx(np.argwhere(every >= edge)[:, 0].mean(), abs=1)


def test_fixed_points_stay():
    (component,) = two(rule="{order: [a, b], strict: true}").rules.components
    codes = {name: np.zeros(100, dtype=np.int64) for name in "ab"}
    fixed = {"a": np.full(100, 98)}
    points, held = place(component, codes, fixed, np.random.default_rng(0))
    assert held.all()
    assert set(points["b"]) == {99}
    assert not possible(component, codes, {"a": np.full(100, 99)}).any()


def test_a_search_that_takes_too_long_says_so():
    component = two().rules.components[0]
    with pytest.raises(SearchEnded):
        nearest(component, steps=0)


@pytest.mark.parametrize(
    ("constraints", "says"),
    [
        ("[{forbid: {a: [0, 1, 2]}}]", "'never a is 0 or 1 or 2' cannot hold in any row of the declared values;"),
        (
            "[{if: {a: 0}, then: {b: 1}}, {if: {a: [1, 2]}, then: {b: 2}}, {name: odd, forbid: {b: [1, 2]}}]",
            "'odd' cannot hold in any row of the declared values together with the constraints before it",
        ),
        ("[{order: [a, b], strict: true}, {order: [b, a]}]", "'b <= a' cannot hold"),
        ("[{order: [c, a]}]", "'c <= a' cannot hold in any row of the declared values;"),
        ("[{total: a, parts: [b, c]}]", "'a = b + c' cannot hold"),
    ],
)
def test_constraints_that_cannot_hold_are_named(constraints, says):
    coded = "{type: coded, cardinality: 3}"
    columns = f"columns: {{a: {coded}, b: {coded}, c: {{type: integer, min: 5, max: 9}}}}"
    with pytest.raises(SchemaError) as refused:
        Schema.loads(f"{columns}\nconstraints: {constraints}")
    assert says in str(refused.value)


def test_many_columns_around_one_are_decided_at_once():
    """As in a table of 60 drugs and a flag that says whether any was taken."""
    drugs = [f"drug{i}" for i in range(60)]
    columns = "\n".join(f"  {d}: {{type: ordinal, values: [No, Down, Steady, Up]}}" for d in drugs)
    none = ", ".join(f"{d}: No" for d in drugs)
    schema = Schema.loads(
        f"columns:\n  any: {{type: boolean}}\n{columns}\nconstraints:\n  - {{if: {{any: false}}, then: {{{none}}}}}"
    )
    (component,) = schema.rules.components
    wanted = dict.fromkeys(component.columns, 0) | {"drug3": 2, "drug9": 2}
    found = nearest(component, wanted)
    assert found.codes == wanted | {"any": 1}
    assert nearest(component, wanted, {"any": None}).codes == dict.fromkeys(component.columns, 0)


def test_a_fine_total_that_no_model_holds_follows_its_parts():
    """1,500 bins each: too many cells for a model, and codes drawn independently almost never agree."""
    spec = "{type: integer, min: 0, max: 1499, bins: 1500}"
    schema = Schema.loads(f"columns: {{a: {spec}, b: {spec}}}\nconstraints: [{{total: b, parts: [a]}}]")

    def independent(rows, rng, given):
        return {name: given.get(name, rng.integers(0, 1500, rows)) for name in schema.names}

    rng = np.random.default_rng(0)
    rules = Rules(schema.columns, schema.constraints)
    held = enforce(rules, independent(5000, rng, {}), rng, independent)
    assert (held.codes["a"] == held.codes["b"]).all()
    assert held.tally.redrawn == held.tally.broken
    assert np.unique(held.codes["a"]).size > 1400
    fixed = {"b": np.full(50, 7)}
    rows = independent(50, rng, {"b": np.full(50, 7)})
    kept = enforce(rules, rows, rng, independent, fixed=fixed)
    assert set(kept.codes["a"]) == set(kept.codes["b"]) == {7}
    assert kept.tally.repaired > 0


def test_equal_rows_are_repaired_alike():
    """A model that only ever draws what is forbidden: the nearest combination, and the same each time."""
    schema = Schema.loads(
        "columns: {a: {type: ordinal, values: [I, II, III]}, b: {type: boolean}}\n"
        "constraints: [{if: {b: true}, then: {a: [II, III]}}]"
    )

    def stubborn(rows, rng, given):
        return {"a": given.get("a", np.zeros(rows, int)), "b": given.get("b", np.ones(rows, int))}

    rng = np.random.default_rng(0)
    held = enforce(schema.rules, stubborn(9, rng, {}), rng, stubborn)
    assert set(zip(held.codes["a"].tolist(), held.codes["b"].tolist(), strict=True)) == {(1, 1)}
    assert (held.tally.broken, held.tally.redrawn, held.tally.repaired) == (9, 0, 9)
    with pytest.raises(Impossible, match="with a, b as given no row can satisfy the constraint 'if b is true"):
        enforce(schema.rules, stubborn(2, rng, {}), rng, stubborn, fixed={"a": None, "b": None})


def test_a_search_that_ends_early_falls_back_on_a_row_that_exists(monkeypatch):
    schema = two()

    def backwards(rows, rng, given):
        return {"a": np.zeros(rows, int), "b": np.zeros(rows, int)}

    def never(component, wanted=None, keep=None, **_):
        if wanted is not None:
            raise SearchEnded
        return nearest(component)

    monkeypatch.setattr("dpsynth.constraints.enforcement.nearest", never)
    monkeypatch.setattr("dpsynth.constraints.enforcement.possible", lambda component, codes, fixed: codes["a"] > 5)
    rng = np.random.default_rng(0)
    held = enforce(schema.rules, backwards(3, rng, {}), rng, backwards)
    assert held.tally.repaired == 3
    assert (held.points["a"] <= held.points["b"]).all()
    with pytest.raises(Impossible, match="no row was found that satisfies"):
        enforce(schema.rules, backwards(3, rng, {}), rng, backwards, fixed={"a": None})


def test_a_chain_of_four_hundred_columns_is_no_problem():
    names = [f"x{i}" for i in range(400)]
    columns = "".join(f"  {name}: {{type: boolean}}\n" for name in names)
    schema = Schema.loads(f"columns:\n{columns}constraints:\n  - {{order: [{', '.join(names)}]}}")
    (component,) = schema.rules.components
    found = nearest(component, dict.fromkeys(names, 0) | {"x150": 1})
    assert sum(found.codes.values()) == 0
