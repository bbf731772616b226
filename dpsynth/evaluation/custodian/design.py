"""Columns as a matrix of numbers for models, by an encoding learnt from one table and used on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpsynth.evaluation.custodian.cells import as_numbers

MOST_LEVELS = 20
"""Indicators of one listed column at most; rarer levels are in none."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Term:
    """One column of the matrix.

    Attributes:
        column: of the table.
        level: code of the level it indicates; -1 for an empty cell, None for the number itself.
        label: what it is called.
        center, scale: of a number.
    """

    column: str
    level: int | None
    label: str
    center: float = 0.0
    scale: float = 1.0


@final
@dataclass(frozen=True, slots=True)
class Design:
    """Numbers standardised, an empty one at its mean with an indicator beside; listed values as indicators.

    Attributes:
        terms: the columns of the matrix.
    """

    terms: tuple[Term, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame, names: Sequence[str], *, reference: bool = False) -> Design:
        """Learn the encoding.

        Args:
            frame: a table of `Tables`.
            names: its columns to use.
            reference: leave each listed column's most frequent level out, for models without a penalty.
        """
        terms: list[Term] = []
        for name in names:
            cells = frame[name]
            empty = bool(cells.isna().any())
            if isinstance(cells.dtype, pd.CategoricalDtype):
                counts = np.bincount(cells.cat.codes.to_numpy() + 1, minlength=len(cells.cat.categories) + 1)
                levels = [int(at) - 1 for at in np.argsort(-counts, kind="stable") if counts[at]][:MOST_LEVELS]
                labels = ["empty", *map(str, cells.cat.categories)]
                terms += [Term(name, level, f"{name} = {labels[level + 1]}") for level in levels[int(reference) :]]
                continue
            values = as_numbers(cells)
            known = values[~np.isnan(values)]
            spread = float(known.std()) if len(known) else 0.0
            if spread > 0:
                terms.append(Term(name, None, name, float(known.mean()), spread))
            if empty and len(known):
                terms.append(Term(name, -1, f"{name} = empty"))
        return cls(tuple(terms))

    def matrix(self, frame: pd.DataFrame) -> Floats:
        """Shape (rows, terms)."""
        out = np.zeros((len(frame), len(self.terms)))
        held: dict[str, Any] = {}
        for at, term in enumerate(self.terms):
            cells = frame[term.column]
            if isinstance(cells.dtype, pd.CategoricalDtype):
                if term.column not in held:
                    held[term.column] = cells.cat.codes.to_numpy()
                out[:, at] = held[term.column] == term.level
                continue
            if term.column not in held:
                held[term.column] = as_numbers(cells)
            values = held[term.column]
            if term.level is None:
                out[:, at] = np.nan_to_num((values - term.center) / term.scale, nan=0.0)
            else:
                out[:, at] = np.isnan(values)
        return out


def plain(frame: pd.DataFrame, names: Sequence[str]) -> Floats:
    """Numbers and codes as they are, NaN where empty, for trees; shape (rows, columns)."""
    if not names:
        return np.zeros((len(frame), 0))
    return np.column_stack([as_numbers(frame[name]) for name in names])


def varied(*matrices: Floats) -> NDArray[np.bool_]:
    """Columns that vary and that no columns before them explain, in all of the matrices; shape (columns,)."""
    kept = np.ones(matrices[0].shape[1], dtype=bool)
    for matrix in matrices:
        at = np.flatnonzero(kept)
        centered = matrix[:, at] - matrix[:, at].mean(axis=0)
        norms = np.sqrt((centered**2).sum(axis=0))
        left = np.zeros(len(at))
        diagonal = np.abs(np.diag(np.linalg.qr(centered, mode="r")))
        left[: len(diagonal)] = diagonal
        kept[at] = (norms > 0) & (left > 1e-4 * norms)
    return kept


__all__ = ["Design", "Term", "plain", "varied"]
