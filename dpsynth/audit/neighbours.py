"""Surrogate tables drawn from a schema's domain, and the neighbours of them on which a false claim breaks first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dpsynth.encoding import Encoder
from dpsynth.kernel import Rows
from dpsynth.schema import Schema

SCHEMA = """
name: surrogate
unit: patient
at_most: 3
about_rows: 120
columns:
  sex: {type: categorical, values: [F, M], missing: true}
  stage: {type: ordinal, values: [I, II, III, IV]}
  smoker: {type: boolean}
  age: {type: integer, min: 0, max: 100, bins: 5}
  cost: {type: float, min: 0, max: 1000, bins: auto}
"""
"""What is audited where no schema is named: three rows a unit, missing cells, bins and a fine grid."""

ROWS = 60
"""Of a surrogate table."""
_JUNK = "\u2603 none of these"


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two surrogate tables that differ by one unit, all of whose rows stand last.

    Attributes:
        name: what the unit is like.
        fewer, more: without and with it.
        back: whether the smaller table is replayed on as well.
    """

    name: str
    fewer: Rows
    more: Rows
    back: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A random table of a schema's domain, and what may be added to it. It has nothing of any real table.

    Attributes:
        schema: with `about_rows`, the size of the surrogate where none is declared.
        frame: units of one to k rows. No cell is the last of its column, so that one is empty.
        base: the same, read.
        encoder: of the schema.
        seed: what it was drawn from.
    """

    schema: Schema
    frame: pd.DataFrame
    base: Rows
    encoder: Encoder
    seed: int

    @classmethod
    def of(cls, schema: Schema, seed: int = 0, rows: int = ROWS) -> Surrogate:
        """Draw one."""
        if schema.about_rows is None:
            fields = {name: getattr(schema, name) for name in Schema.model_fields}
            schema = Schema(**{**fields, "about_rows": rows})
        encoder, rng = Encoder(schema), np.random.default_rng(seed)
        inside = {column.name: column.cells for column in schema.encoded}
        codes = {name: rng.integers(0, max(1, cells - 1), rows) for name, cells in inside.items()}
        frame = encoder.decode(codes, rng).astype(object)
        if schema.unit is not None:
            sizes = rng.integers(1, schema.at_most + 1, rows)
            frame[schema.unit] = [f"u{i}" for i in np.repeat(np.arange(rows), sizes)[:rows]]
        return cls(schema, frame, Rows(frame, schema), encoder, seed)

    def rows(self, *units: pd.DataFrame) -> Rows:
        """The table with further units below it."""
        return self._read(self.frame, *units)

    def empty(self, *units: pd.DataFrame) -> Rows:
        """These units alone."""
        return self._read(self.frame.iloc[:0], *units)

    def like_another(self, name: str = "new") -> pd.DataFrame:
        """A unit of k rows, all like the table's first."""
        return self._unit(pd.concat([self.frame.iloc[:1]] * self.schema.at_most), name)

    def rare(self) -> pd.DataFrame:
        """A unit of k rows in the one cell that nobody else is in, in every column."""
        last = {column.name: np.full(1, column.cells - 1) for column in self.schema.encoded}
        frame = self.encoder.decode(last, np.random.default_rng(self.seed)).astype(object)
        return self._unit(pd.concat([frame] * self.schema.at_most), "new")

    def junk(self) -> pd.DataFrame:
        """A unit of k rows that no codebook has."""
        return self._filled(_JUNK)

    def missing(self) -> pd.DataFrame:
        """A unit of k rows without a value."""
        return self._filled(None)

    def heavy(self) -> pd.DataFrame:
        """A unit of many more rows than k, all different."""
        rng = np.random.default_rng(self.seed + 1)
        count = 4 * self.schema.at_most + 1
        codes = {column.name: rng.integers(0, column.cells, count) for column in self.schema.encoded}
        return self._unit(self.encoder.decode(codes, rng).astype(object), "new")

    def neighbours(self) -> tuple[Neighbours, ...]:
        """The worst cases. Without a unit column k is 1, and there is no heavy unit."""
        units = {
            "k rows like another": self.like_another(),
            "k rows in a cell of their own": self.rare(),
            "k rows of no codebook": self.junk(),
            "k rows without a value": self.missing(),
        }
        if self.schema.unit is not None:
            units["a unit of many more rows than k"] = self.heavy()
        pairs = [Neighbours(name, self.base, self.rows(unit)) for name, unit in units.items()]
        few = Neighbours(
            "k rows beside k others", self.empty(self.rare()), self.empty(self.rare(), self.like_another("newer"))
        )
        return (*pairs, few, Neighbours("k rows and none", self.empty(), self.empty(self.like_another()), back=True))

    def two_units(self) -> Neighbours:
        """No neighbours: two units apart, as if everything were counted twice. For a control."""
        return Neighbours("two units", self.base, self.rows(self.like_another(), self.like_another("newer")))

    def _filled(self, cell: str | None) -> pd.DataFrame:
        cells = {name: [cell] * self.schema.at_most for name in self.schema.names}
        return self._unit(pd.DataFrame(cells, dtype=object), "new")

    def _unit(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        return frame if self.schema.unit is None else frame.assign(**{self.schema.unit: name})

    def _read(self, *frames: pd.DataFrame) -> Rows:
        return Rows(pd.concat(frames, ignore_index=True), self.schema)


__all__ = ["ROWS", "SCHEMA", "Neighbours", "Surrogate"]
