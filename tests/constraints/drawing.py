"""Strategies: small schemas with constraints that can hold, and models that know nothing of them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from hypothesis import strategies as st

from dpsynth.columns import Boolean, Categorical, Coded, Date, Datetime, Float, Integer, Ordinal
from dpsynth.constraints import Forbid, Implies, Order, Range, Total
from dpsynth.errors import SchemaError
from dpsynth.generators import MarginalModel
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import GraphicalModel
from dpsynth.schema import Schema

VALUES = ("p", "q", "r", "s")
_DAY = date(2020, 1, 1)


@st.composite
def _column(draw, name):
    missing = draw(st.booleans())
    kind = draw(st.sampled_from(["categorical", "ordinal", "boolean", "coded", "integer", "float", "date", "datetime"]))
    bins = draw(st.integers(1, 5))
    span = draw(st.integers(1, 12))
    low = draw(st.integers(0, 3))
    match kind:
        case "categorical":
            return Categorical(name=name, missing=missing, values=VALUES[: draw(st.integers(1, 4))])
        case "ordinal":
            return Ordinal(name=name, missing=missing, values=VALUES[: draw(st.sampled_from([3, 4]))])
        case "boolean":
            return Boolean(name=name, missing=missing)
        case "coded":
            return Coded(name=name, missing=missing, cardinality=draw(st.integers(1, 5)))
        case "integer":
            scale = draw(st.sampled_from(["linear", "log"]))
            return Integer(name=name, missing=missing, min=low, max=low + span, bins=bins, scale=scale)
        case "float":
            decimals = draw(st.sampled_from([0, 1]))
            return Float(
                name=name, missing=missing, min=float(low), max=float(low + span), bins=bins, decimals=decimals
            )
        case "date":
            first = _DAY + timedelta(days=low)
            return Date(name=name, missing=missing, min=first, max=first + timedelta(days=span), bins=bins)
    first = _DAY + timedelta(days=low)
    return Datetime(
        name=name, missing=missing, min=str(first), max=f"{first + timedelta(days=span)} 06:00:00", bins=bins
    )


def _number(column):
    return isinstance(column, (Integer, Float, Coded, Boolean))


@st.composite
def _conditions(draw, columns):
    chosen = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=3, unique_by=lambda c: c.name))
    return {column.name: draw(_items(column)) for column in chosen}


@st.composite
def _items(draw, column):
    """Values, or a range that ends where bins do; perhaps an empty cell too."""
    items = [None] if column.missing and draw(st.booleans()) else []
    if isinstance(column, (Categorical, Ordinal)):
        items += draw(st.lists(st.sampled_from(column.values), max_size=3, unique=True))
    elif isinstance(column, Boolean):
        items += draw(st.lists(st.booleans(), max_size=1))
    elif isinstance(column, Coded):
        items += draw(st.lists(st.integers(0, column.cardinality - 1), max_size=3, unique=True))
    elif isinstance(column, (Integer, Float)):
        edge = draw(st.sampled_from(column.partition.edges[:-1])) / column.unit
        edge = int(edge) if isinstance(column, Integer) else edge
        items += [Range(min=edge) if edge == column.min or draw(st.booleans()) else Range(below=edge)]
    elif isinstance(column, Date):
        items += [
            Range(
                min=_DAY.fromordinal(date(1970, 1, 1).toordinal() + draw(st.sampled_from(column.partition.edges[:-1])))
            )
        ]
    if not items:
        return draw(_whole(column))
    return items


def _whole(column):
    """A condition that every cell meets."""
    if isinstance(column, (Categorical, Ordinal)):
        return st.just(list(column.values))
    if isinstance(column, Boolean):
        return st.just([False, True])
    return st.just([0] if isinstance(column, Coded) else [Range(min=column.min)])


@st.composite
def _constraint(draw, columns):
    kind = draw(st.sampled_from(["forbid", "implies", "order", "total"]))
    if kind == "order":
        groups = [
            [c.name for c in columns if _number(c)],
            [c.name for c in columns if isinstance(c, (Date, Datetime))],
            *([c.name for c in columns if isinstance(c, Ordinal) and len(c.values) == size] for size in (3, 4)),
        ]
        groups = [group for group in groups if len(group) > 1]
        if groups:
            names = draw(st.permutations(draw(st.sampled_from(groups))))
            strict, derive = draw(st.booleans()), draw(st.sampled_from([None, True, False]))
            return Order(order=tuple(names[: draw(st.integers(2, 3))]), strict=strict, derive=derive)
    if kind == "total":
        whole = [c.name for c in columns if _number(c) and getattr(c, "decimals", 0) == 0]
        tenths = [c.name for c in columns if _number(c) and getattr(c, "decimals", 0) == 1]
        groups = [group for group in (whole, tenths) if len(group) > 1]
        if groups:
            names = draw(st.permutations(draw(st.sampled_from(groups))))
            derive = draw(st.sampled_from([None, False]))
            return Total(total=names[0], parts=tuple(names[1 : 1 + draw(st.integers(1, 2))]), derive=derive)
    if kind == "implies":
        return Implies(when=draw(_conditions(columns)), then=draw(_conditions(columns)))
    return Forbid(where=draw(_conditions(columns)))


@st.composite
def constrained_schemas(draw, max_columns=6, max_constraints=5):
    """A schema and constraints that can hold together; those that cannot were refused by the schema and left out."""
    names = ["a", "b", "c", "d", "e", "f"][: draw(st.integers(2, max_columns))]
    columns = tuple(draw(_column(name)) for name in names)
    schema = Schema(columns=columns)
    for _ in range(draw(st.integers(1, max_constraints))):
        try:
            schema = schema.with_constraints(*schema.constraints, draw(_constraint(columns)))
        except SchemaError as error:
            if not ("cannot hold" in str(error) or "no row was found" in str(error)):
                raise
    return schema


def ignorant(schema: Schema, seed: int, *, outside: bool = True) -> MarginalModel:
    """A model over the schema's domain with random potentials and merged cells."""
    rng = np.random.default_rng(seed)
    domain = schema.domain
    maps, weights = {}, {}
    for name, size in domain.sizes.items():
        maps[name] = np.unique(rng.integers(0, size, size), return_inverse=True)[1].astype(np.int64)
        raw = rng.random(size) + 1e-3
        if not outside and np.bincount(maps[name])[maps[name][-1]] > 1:
            raw[-1] = 0.0
        weights[name] = raw / np.bincount(maps[name], raw)[maps[name]]
    recoding = Recoding.of(domain, maps, weights)
    names = domain.attributes
    pairs = {domain.clique(rng.choice(names, 2, replace=False)) for _ in range(len(names) - 1)}
    cliques = [(name,) for name in names] + sorted(pairs)
    potentials = {c: rng.normal(0, 1, recoding.domain.project(c).shape) for c in cliques}
    return MarginalModel(recoding, GraphicalModel(recoding.domain, potentials, 500.0))
