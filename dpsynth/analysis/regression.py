"""Least squares from noisy margins: normal equations need no more than pairs of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from dpsynth.analysis.estimands import _APART, _FEW, Floats, Margins, Solved, _along, _distinct, _notes, _shift, _summed
from dpsynth.analysis.values import Values
from dpsynth.domain import Clique
from dpsynth.errors import NotSupported


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """A row's value of one regressor (or of the outcome): by the merged cell of a column, or 1."""

    name: str
    column: str | None
    values: Floats


def least_squares(margins: Margins, outcome: Values, terms: Sequence[Values]) -> dict[str, Solved]:
    """Coefficients of the regression of `outcome` on `terms` and a constant.

    Where all columns were counted together, rows without a value in one of them are left out, and the sampling variance
    is that of Huber and White. Where they were so only in pairs, sums of products are, and hardly any row may be
    without a value; the sampling variance is then not to be had from the margins.

    Raises:
        NotSupported: two of the columns were never counted together, too many rows are without a value, or noise leaves
            the terms indistinguishable.
    """
    columns = tuple(dict.fromkeys([outcome.column, *(term.column for term in terms)]))
    for term in terms:
        if term.column == outcome.column:
            _distinct(outcome, term)
    together = margins.evidence.covers(columns)
    return _together(margins, outcome, terms, columns) if together else _in_pairs(margins, outcome, terms, columns)


def _together(margins: Margins, outcome: Values, terms: Sequence[Values], columns: Sequence[str]) -> dict[str, Solved]:
    clique, rows = margins.joint(*columns)
    y, xs = margins.merged(outcome), [margins.merged(term) for term in terms]
    held = {each.column: each.valid for each in (y, *xs)}
    valid: Floats = np.ones(())
    for name, share in held.items():
        valid = valid * _along(clique, name, share)
    design = [
        np.broadcast_to(valid, rows.shape),
        *(np.broadcast_to(valid * _along(clique, x.column, x.mean), rows.shape) for x in xs),
    ]
    target = np.broadcast_to(_along(clique, y.column, y.mean), rows.shape)
    matrix = np.array([[(rows * a * b / np.where(valid > 0, valid, 1)).sum() for b in design] for a in design])
    right = np.array([(rows * a * target).sum() for a in design])
    inverse = _inverse(matrix, [x.name for x in xs])
    beta = inverse @ right
    residual = target - sum(
        b * (1.0 if i == 0 else _along(clique, xs[i - 1].column, xs[i - 1].mean)) for i, b in enumerate(beta)
    )
    spread = np.broadcast_to(_along(clique, y.column, y.variance), rows.shape)
    found = {}
    for k, name in enumerate(["(constant)", *(x.name for x in xs)]):
        lever = np.asarray(sum(c * each for c, each in zip(inverse[k], design, strict=True)))
        squares = np.square(lever) * (np.square(residual) + spread)
        sampling = float((np.maximum(rows, 0) * squares).sum())
        base: dict[str, Floats] = {}
        for i, (asked, merged) in enumerate(zip([*terms, outcome], [*xs, y], strict=True), start=1):
            own = inverse[k, i] * valid * residual if i < len(beta) else 0.0
            moved = rows * (own - (beta[i] if i < len(beta) else -1.0) * lever)
            _join(base, margins.drift(asked, merged, _summed(clique, merged.column, moved)))
        notes = _notes(margins, outcome, *terms)
        found[name] = Solved(
            float(beta[k]), {clique: lever * residual}, sampling, base, notes, shift=_shift(outcome, *terms)
        )
    return _stretched(margins, found, y, xs)


def _in_pairs(margins: Margins, outcome: Values, terms: Sequence[Values], columns: Sequence[str]) -> dict[str, Solved]:
    for pair in combinations(columns, 2):
        margins.require(pair)
    evidence = margins.evidence
    total = evidence.sum({(): np.array(1.0)})
    listed = [_Term("(constant)", None, np.array(1.0))]
    without, noise = 0.0, 0.0
    seen: set[str] = set()
    asked = [*terms, outcome]
    held = [margins.merged(each) for each in asked]
    for each, merged in zip(asked, held, strict=True):
        if each.column not in seen:
            seen.add(each.column)
            lacking = evidence.sum({(each.column,): 1.0 - merged.valid})
            without, noise = without + lacking.value, noise + lacking.variance
        rows = evidence.margin((each.column,))
        centre = float((rows * merged.valid * merged.mean).sum() / (rows * merged.valid).sum())
        values = np.where(merged.valid > 0, merged.valid * merged.mean + (1 - merged.valid) * centre, centre)
        listed.append(_Term(each.name, each.column, values))
    if without - 2 * noise**0.5 > _FEW * total.value:
        raise NotSupported(
            f"about {without / total.value:.0%} of the rows are without a value in {', '.join(map(repr, columns))}, "
            "and columns that were counted in pairs only cannot leave them out together"
        )
    size = len(listed)
    moments = np.zeros((size, size))
    for i in range(size):
        for j in range(i, size):
            clique, product = _product(margins, listed[i], listed[j])
            moments[i, j] = moments[j, i] = evidence.sum({clique: product}).value
    inverse = _inverse(moments[:-1, :-1], [term.name for term in listed[1:-1]])
    beta = inverse @ moments[:-1, -1]
    contrast = np.append(-beta, 1.0)
    sums = [_by_cell(margins, each.column, listed) for each in asked]
    found = {}
    for k, term in enumerate(listed[:-1]):
        weights: dict[Clique, Floats] = {}
        for i in range(size - 1):
            for j in range(size):
                clique, product = _product(margins, listed[i], listed[j])
                part = inverse[k, i] * contrast[j] * product
                weights[clique] = weights[clique] + part if clique in weights else part
        base: dict[str, Floats] = {}
        for i, (own_values, merged, by_cell) in enumerate(zip(asked, held, sums, strict=True), start=1):
            own = inverse[k, i] * (by_cell @ contrast) if i < size - 1 else 0.0
            moved = merged.valid * (own + contrast[i] * (by_cell[:, :-1] @ inverse[k]))
            _join(base, margins.drift(own_values, merged, moved))
        notes = _notes(margins, *asked)
        found[term.name] = Solved(float(beta[k]), weights, None, base, notes, shift=_shift(*asked))
    return _stretched(margins, found, held[-1], held[:-1])


def _stretched(
    margins: Margins, found: dict[str, Solved], outcome: Values, terms: Sequence[Values]
) -> dict[str, Solved]:
    """Slopes are larger for an outcome of merged cells, about its mean, and less certain for terms of merged cells."""
    factor, slopes = margins.stretch(outcome), list(found.values())
    wider = {}
    for i, (name, each) in enumerate(found.items()):
        merging = 0.0
        for term, slope in zip(terms, slopes[1:], strict=True):
            hidden = (margins.stretch(term) - 1.0) * slope.value
            if i == 0:
                merging += (hidden * _mean(margins, term)) ** 2
            elif each is slope:
                merging += hidden**2
        moved = each.stretched(factor, _mean(margins, outcome) if i == 0 else 0.0)
        wider[name] = replace(moved, merging=moved.merging + factor**2 * merging)
    return wider


def _mean(margins: Margins, merged: Values) -> float:
    rows = margins.evidence.margin((merged.column,)) * merged.valid
    return float((rows * merged.mean).sum() / rows.sum())


def _by_cell(margins: Margins, column: str, terms: Sequence[_Term]) -> Floats:
    """Sums of every term over the rows in each merged cell of a column, shape (cells, terms)."""
    found = []
    for term in terms:
        one = _Term(column, column, np.ones(margins.evidence.domain[column]))
        clique, product = _product(margins, one, term)
        found.append(_summed(clique, column, margins.evidence.margin(clique) * product))
    return np.stack(found, axis=1)


def _join(base: dict[str, Floats], more: Mapping[str, Floats]) -> None:
    for column, slope in more.items():
        base[column] = base[column] + slope if column in base else slope


def _product(margins: Margins, one: _Term, other: _Term) -> tuple[Clique, Floats]:
    """A product of two terms over the cells of their columns."""
    columns = {term.column for term in (one, other) if term.column is not None}
    clique = margins.evidence.base.clique(columns)
    shaped = [
        np.asarray(term.values) if term.column is None else _along(clique, term.column, term.values)
        for term in (one, other)
    ]
    return clique, np.asarray(np.broadcast_to(shaped[0] * shaped[1], margins.evidence.domain.shape_of(clique)))


def _inverse(matrix: Floats, names: Sequence[str]) -> Floats:
    diagonal = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    if (diagonal <= 0).any():
        raise NotSupported(f"{', '.join(names)}: noise leaves nothing of one of them")
    scaled = matrix / np.outer(diagonal, diagonal)
    if len(matrix) > 1:
        centred = matrix[1:, 1:] - np.outer(matrix[0, 1:], matrix[0, 1:]) / matrix[0, 0]
        spread = np.sqrt(np.maximum(np.diag(centred), 0.0))
        apart = np.linalg.eigvalsh(centred / np.outer(spread, spread))[0] if (spread > 0).all() else 0.0
        if apart < _APART:
            raise NotSupported(f"{', '.join(names)} cannot be told apart; leave one out")
    return np.asarray(np.linalg.inv(scaled) / np.outer(diagonal, diagonal))


__all__ = ["least_squares"]
