"""A schema, looked at with a budget in mind: roles of columns, cells that noise will drown, generators that fit.

It reads the schema and declared figures, never a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import pi, prod, sqrt
from typing import Any

from accountants import Budget, mu_squared_cap
from dpsynth.columns import BinnedBase, ColumnBase
from dpsynth.derived import Derived
from dpsynth.hints import too_loose
from dpsynth.inspection.roles import Role, Suggested, roles_of
from dpsynth.schema import Schema

ONE_WAY_SHARE = 0.15
"""Share of mu^2 that marginal methods spend on single columns, about."""
PAIR_LOOKS = 2.0
"""Pairs counted for each column by the rest, about."""
BLURRED = 0.1
"""Share of the rows misplaced by noise from which a column, or a pair, is lost."""
WIDE = 300
"""Columns from which the search of AIM takes hours."""
MANY_ROWS = 20_000
"""Rows from which a network under DP-SGD has something to learn from."""


@dataclass(frozen=True, slots=True)
class ColumnNote:
    """One column.

    Attributes:
        name, kind: as declared.
        cells: all, those for missing and out-of-domain cells included.
        roles: what it may be; heuristic.
        blur: share of the rows that noise alone misplaces in its counts; None without a budget or a number of rows.
        too_fine: what to do where noise drowns its cells; None where it does not.
    """

    name: str
    kind: str
    cells: int
    roles: tuple[Suggested, ...]
    blur: float | None
    too_fine: str | None


@dataclass(frozen=True, slots=True)
class Advice:
    """Which generator fits.

    Attributes:
        generator: its name, None where none would help.
        because: why.
        others: what else may be worth a thought, by name.
    """

    generator: str | None
    because: str
    others: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the schema says.

    Attributes:
        columns: a note for each.
        unit: who is protected.
        rows: the number of rows that was reckoned with; None where nobody declared any.
        sigma: noise of a one-way count, in rows; None without a budget.
        pair_sigma: the same of a pair.
        advice: a generator; None without a budget and a number of rows.
        warnings: what should be mended first, a sentence each.
    """

    columns: tuple[ColumnNote, ...]
    unit: str
    rows: int | None
    sigma: float | None
    pair_sigma: float | None
    advice: Advice | None
    warnings: tuple[str, ...]

    def having(self, role: Role) -> tuple[ColumnNote, ...]:
        """The columns that may have a role."""
        return tuple(note for note in self.columns if any(each.role is role for each in note.roles))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": "dpsynth inspection", "version": 1, "heuristic": True, **asdict(self)}


def inspect(schema: Schema, budget: Budget | None = None, about_rows: int | None = None) -> Inspection:
    """Look at a schema.

    Args:
        schema: the public description of the table.
        budget: of the release that is considered.
        about_rows: a rough, publicly known number of rows; by default the schema's.

    Raises:
        PlanError: the budget leaves nothing to spend.
    """
    rows = about_rows or schema.about_rows
    sigma = pair_sigma = None
    if budget is not None:
        mu_squared, columns = float(mu_squared_cap(budget)), len(schema.domain)
        sigma = schema.at_most * sqrt(columns / (ONE_WAY_SHARE * mu_squared))
        pair_sigma = schema.at_most * sqrt(PAIR_LOOKS * columns / ((1 - ONE_WAY_SHARE) * mu_squared))
    notes = tuple(_noted(column, schema.column(column.name), sigma, rows) for column in schema.encoded)
    return Inspection(
        columns=notes,
        unit=f"one {schema.unit}, at most {schema.at_most} rows of it" if schema.unit else "one row",
        rows=rows,
        sigma=sigma,
        pair_sigma=pair_sigma,
        advice=None
        if sigma is None or pair_sigma is None or rows is None
        else _advice(schema, rows, sigma, pair_sigma),
        warnings=tuple(_warnings(schema, notes, budget, rows)),
    )


def blur(cells: int, sigma: float, rows: int) -> float:
    """Mean total variation distance that noise alone makes in so many cells, at most 1."""
    return min(1.0, 0.5 * sqrt(2 / pi) * cells * sigma / rows)


def _noted(encoded: ColumnBase, declared: ColumnBase, sigma: float | None, rows: int | None) -> ColumnNote:
    kind = str(getattr(declared, "type", ""))
    lost = None if sigma is None or rows is None else blur(encoded.size, sigma, rows)
    return ColumnNote(
        declared.name, kind, encoded.size, roles_of(declared), lost, _too_fine(encoded, declared, sigma, rows, lost)
    )


def _too_fine(
    encoded: ColumnBase, declared: ColumnBase, sigma: float | None, rows: int | None, lost: float | None
) -> str | None:
    if sigma is None or rows is None or lost is None or lost <= BLURRED:
        return None
    if isinstance(encoded, BinnedBase | Derived) and encoded.fine:
        return None  # its cells are merged into bins by their own noisy counts
    beside = encoded.size - declared.cells if not isinstance(encoded, Derived) else 0  # missing, out of the codebook
    most = int(BLURRED * rows / (0.5 * sqrt(2 / pi) * sigma)) - beside
    if isinstance(declared, BinnedBase):
        return f"noise would misplace {lost:.0%} of its rows: declare 'bins: auto', or at most {max(most, 2)} bins"
    if most < 2 or most >= declared.cells:
        return f"noise would misplace {lost:.0%} of its rows: leave it out, or spend more"
    return f"noise would misplace {lost:.0%} of its rows: group its values into about {most}, or leave it out"


def _advice(schema: Schema, rows: int, sigma: float, pair_sigma: float) -> Advice:
    columns, k = len(schema.domain), schema.at_most
    per_unit = f" ({k} rows a unit make {k} times the noise)" if k > 1 else ""
    single, pair = blur(5, sigma, rows), blur(16, pair_sigma, rows)
    if single > BLURRED:
        return Advice(
            None,
            f"even a column of five cells would have {single:.0%} of its rows misplaced by noise{per_unit}: spend more "
            "epsilon, release fewer columns, or do not release",
            {},
        )
    if columns == 1:
        return Advice("independent", "there is one column, so nothing to relate it to", {})
    if pair > BLURRED:
        return Advice(
            "mst",
            f"a pair of columns in four groups each would have {pair:.0%} of its rows misplaced by noise{per_unit}: "
            "there is room for a tree of the strongest relations, not for more",
            {"independent": "if no relation between columns matters: all budget goes into single columns"},
        )
    others = {}
    if rows / k >= MANY_ROWS:
        others["made"] = "for training a classifier on the release; a network, needs the extra 'deep'"
    if columns > WIDE:
        return Advice(
            "mst",
            f"{columns} columns: AIM weighs {columns * (columns - 1) // 2:,} pairs each round and takes hours",
            {**others, "aim": "if hours do not matter"},
        )
    return Advice(
        "aim",
        f"noise misplaces about {pair:.1%} of the rows in a pair of four groups each: there is room for many "
        "relations, and AIM spends the budget where its model is most wrong",
        {**others, "mst": "where seconds matter more than accuracy"},
    )


def _warnings(schema: Schema, notes: tuple[ColumnNote, ...], budget: Budget | None, rows: int | None) -> list[str]:
    found = []
    direct = [note.name for note in notes if any(each.role is Role.DIRECT for each in note.roles)]
    if direct:
        found.append(
            f"{_some(direct)} may name people: leave such columns out. Listed values are public with the schema, and "
            "made-up names help nobody."
        )
    if schema.unit is None:
        found.append(
            "no unit is declared, so a person with several rows is not protected as a person: name the column that "
            "tells people apart in 'unit', if there is one."
        )
    if budget is None:
        found.append("without --epsilon nothing can be said of noise: give a budget.")
    elif rows is None:
        found.append("without a number of rows nothing can be said of noise: give --rows, or about_rows in the schema.")
    if budget is not None and (loose := too_loose(budget, rows)):
        found.append(f"{loose}.")
    cells = prod(note.cells for note in notes)
    if schema.origin == "public-frame":
        found.append("the schema was read off a table declared public: it must not be the table to protect.")
    if rows is not None and cells < rows / 10:
        found.append(
            f"all columns together have {cells:,} combinations for about {rows:,} rows: one table of counts would do."
        )
    return found


def _some(names: list[str], most: int = 6) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


__all__ = ["Advice", "ColumnNote", "Inspection", "blur", "inspect"]
