"""Constraints between columns, declared in the schema: what no row of a synthetic table may break. Public, never data.

`declared` holds the types, `literals` reads them against the columns, `rules` is what they say about codes, `boxes`
places numbers inside their bins, `search` finds the nearest row that satisfies them, `enforcement` makes drawn rows
satisfy them, and `checking`, which shares nothing with those, checks a finished table.
"""

from dpsynth.constraints.declared import Constraint, Forbid, Implies, Order, Range, Total, parse_constraint

__all__ = ["Constraint", "Forbid", "Implies", "Order", "Range", "Total", "parse_constraint"]
