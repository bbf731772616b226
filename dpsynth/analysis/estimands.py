"""What is estimated, each as a smooth function of sums over rows, with the slope that carries noise and sampling.

The slope of an estimate is a weight for each row, by its cell: the first-order change of the estimate if one more such
row were there (an influence function over the number of rows). Its sum over noisy margins has a known variance
(`Evidence.sum`), and the sum of its squares over the rows is the sampling variance of the estimate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dpsynth.analysis.cuts import Cuts
from dpsynth.analysis.evidence import Evidence
from dpsynth.analysis.values import Values
from dpsynth.domain import Clique
from dpsynth.errors import NotSupported

Floats = NDArray[np.float64]

CLEAR = 5.0
"""Standard deviations of noise that the rows of a group must stand out by: a ratio over fewer is too skewed."""
_OVERLAP = 0.8
"""Least share of the rows in strata where both groups are clear, for an effect."""
_APART = 0.01
"""Least eigenvalue of the predictors' correlations at which they are told apart."""
_HIDDEN = 0.25
"""Most of a column's variance that merged cells may hide where groups are compared."""
_FEW = 0.01
"""Share of the rows without a value that is ignored where rows without one cannot be left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """An estimate with its slopes.

    Attributes:
        value: the estimate.
        weights, base: its slope, as `Evidence.sum` takes it.
        sampling: variance that the drawing of the rows from a population makes; None where the margins cannot say.
        notes: what else is to be known, a sentence each.
        merging: variance for what was counted together and is taken to lie apart as it does elsewhere.
        shift: how far it may lie off for where in their bins values lie; None where that was not reckoned.
    """

    value: float
    weights: Mapping[Clique, Floats]
    sampling: float | None
    base: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    merging: float = 0.0
    shift: float | None = 0.0

    def stretched(self, factor: float, around: float = 0.0) -> Solved:
        """The estimate and its slopes times a factor, from `around`; what that adds is a standard deviation, too."""
        moved = around + factor * (self.value - around)
        return replace(
            self,
            value=moved,
            weights={c: factor * w for c, w in self.weights.items()},
            sampling=None if self.sampling is None else factor**2 * self.sampling,
            base={a: factor * w for a, w in self.base.items()},
            merging=(moved - self.value) ** 2,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Margins:
    """The evidence, and how rows are spread inside merged cells.

    Attributes:
        evidence: sums over rows.
        weights: for every column the probability of each base code given its merged cell.
        moments: columns of which second moments were measured.
        cuts: what merging left to ask of each column beside others.
    """

    evidence: Evidence
    weights: Mapping[str, Floats]
    moments: Collection[str] = ()
    cuts: Mapping[str, Cuts] = field(default_factory=dict)

    def merged(self, values: Values, *, exact: bool = False) -> Values:
        """Values over the merged cells of their column.

        Rare values that were merged may lie far apart, and the release guesses how many rows each has. The mean of a
        merged cell is therefore taken from the noisy counts of its base cells, where its rows are clear of the noise.

        Raises:
            NotSupported: `exact`, and cells were merged that have different ones.
        """
        map_, weights = self.evidence.maps[values.column], self.weights[values.column]
        if (exact or values.question) and not values.same_inside(map_, weights):
            cuts = self.cuts.get(values.column)
            why = "cells with and without it were counted together, since one alone would have drowned in noise"
            if cuts and cuts.mixed:
                why = f"rows with a rare value of {values.column!r} and rows without one were counted together"
            beside = f", and beside other columns {cuts.near(values)}" if cuts and cuts.labels else ""
            raise NotSupported(
                f"{values.name!r} cannot be told apart beside other columns: {why}; its share of all rows can be asked"
                f"{beside}"
            )
        coarse = values.merged(map_, weights)
        if values.same_inside(map_, weights):
            return coarse
        noise = self.evidence.base_variance(values.column)
        if not np.isfinite(noise):
            return coarse
        rows = self.evidence.column(values.column) * values.valid
        held, cells = np.bincount(map_, rows), np.bincount(map_, values.valid)
        clear = held > CLEAR * np.sqrt(noise * cells)
        mean = np.bincount(map_, rows * values.mean) / np.where(clear, held, 1.0)
        low, high = np.full(len(held), np.inf), np.full(len(held), -np.inf)
        np.minimum.at(low, map_[values.valid > 0], values.mean[values.valid > 0])
        np.maximum.at(high, map_[values.valid > 0], values.mean[values.valid > 0])
        clear &= (cells > 1) & (mean >= low) & (mean <= high)
        known = np.where(clear, 1.0 / np.where(clear, held, 1.0), 0.0)
        return replace(coarse, mean=np.where(clear, mean, coarse.mean), known=known)

    def drift(self, values: Values, merged: Values, change: Floats) -> dict[str, Floats]:
        """The slope over base cells of an estimate that moves by `change` with the mean of each merged cell."""
        if merged.known is None:
            return {}
        map_ = self.evidence.maps[values.column]
        return {values.column: values.valid * (values.mean - merged.mean[map_]) * (change * merged.known)[map_]}

    def stretch(self, merged: Values) -> float:
        """How much larger differences of means are than those of the means of merged cells.

        Were one group's distribution the other's times ``exp(a + b y)``, as two normal ones are, means inside a cell
        would differ by ``b`` times its variance, where overall they do by ``b`` times all of it: of which cells show
        the part between them.

        Raises:
            NotSupported: cells hide more than `_HIDDEN` of the variance.
        """
        if merged.apart is None or merged.apart.max() <= 0:
            return 1.0
        rows = np.maximum(self.evidence.margin((merged.column,)), 0.0) * merged.valid
        shares = rows / rows.sum()
        between = float(shares @ np.square(merged.mean - shares @ merged.mean))
        hidden = float(shares @ merged.apart)
        if hidden > _HIDDEN * (hidden + between):
            raise NotSupported(
                f"{hidden / (hidden + between):.0%} of the variance of {merged.column!r} is inside cells that were "
                "merged before it was counted with other columns, so that its means in groups are not known; its mean "
                "over all rows is, and shares of its frequent values are in groups too"
            )
        return 1.0 + hidden / between

    def joint(self, *columns: str) -> tuple[Clique, Floats]:
        """The estimated margin of several columns.

        Raises:
            NotSupported: they were never counted together.
        """
        clique = self.evidence.base.clique(columns)
        self.require(clique)
        return clique, self.evidence.margin(clique)

    def require(self, columns: Sequence[str], hint: str = "") -> None:
        """Refuse columns that were never counted together.

        Raises:
            NotSupported: these were not.
        """
        if not self.evidence.covers(columns):
            with_ = {a: sorted({b for c in self.evidence.measured if a in c for b in c} - {a}) for a in columns}
            told = "; ".join(f"{a!r} with {', '.join(map(repr, others)) or 'none'}" for a, others in with_.items())
            names = ", ".join(map(repr, columns[:-1])) + f" and {columns[-1]!r}"
            if set(columns) <= set(self.moments):
                hint = (
                    "; their second moments were, of rows held to a norm, which tables of refitted models follow "
                    f"(--write-tables){hint}"
                )
            raise NotSupported(
                f"{names} were never counted together, so nothing is known of them; counted was {told}{hint}"
            )

    def clear(self, clique: Clique, held: Floats, what: str) -> None:
        """Refuse a group of rows that noise would drown.

        Raises:
            NotSupported: its estimated rows are within `CLEAR` standard deviations of none.
        """
        rows = self.evidence.sum({clique: held})
        if rows.value <= CLEAR * rows.variance**0.5:
            raise NotSupported(
                f"{what} cannot be told from none: about {max(rows.value, 0):.0f} rows, with noise of "
                f"{rows.variance**0.5:.0f}"
            )


def average(margins: Margins, values: Values) -> Solved:
    """The mean of a column, or the share of a question, over the rows that have a value: a ratio of two sums.

    Taken over base cells, which nothing was merged in; over merged ones where no others were counted.
    """
    evidence, a = margins.evidence, values.column
    merged = values.merged(evidence.maps[a], margins.weights[a])
    margins.clear((a,), merged.valid, f"the rows with a value of {a!r}")
    exact = values.same_inside(evidence.maps[a], margins.weights[a])
    if exact or not np.isfinite(evidence.base_variance(a)):
        if not exact and values.question:
            raise NotSupported(f"{values.name!r} was counted together with other values only, never alone")
        counts, own = evidence.margin((a,)), merged
    else:
        counts, own = evidence.column(a), values
    held = float(counts @ own.valid)
    value = _ratio(counts, own.valid, own.mean)
    slope = own.valid * (own.mean - value) / held
    if values.question:
        sampling = value * (1 - value) / held if 0 < value < 1 else 0.0
    else:  # by merged cells: those of base cells are mostly noise where values are large and rare
        squares = np.square(merged.mean - value) + merged.variance
        sampling = float(np.maximum(evidence.margin((a,)), 0) @ (merged.valid * squares)) / held**2
    notes: tuple[str, ...] = ()
    most = 0.0
    if own.reach.max() > 0:
        inside = np.maximum(counts, 0) * own.valid
        most = float(inside @ own.reach / inside.sum())
        notes = (f"values are known to their bin only: where inside they lie may shift it by up to {most:.3g}",)
    if own is merged:
        return Solved(value, {(a,): slope}, sampling, notes=notes, shift=most)
    return Solved(value, {}, sampling, {a: slope}, notes, shift=most)


_LYING = (
    "values were merged before other columns were counted with them: inside, groups are taken to differ as elsewhere"
)
_BINNED = "numbers are taken at the middle of their bins"


def difference(margins: Margins, values: Values, first: Values, second: Values) -> Solved:
    """The mean (or share) of `values` in the rows of `first` less that in the rows of `second`."""
    _distinct(values, first)
    y, groups = margins.merged(values), [margins.merged(each, exact=True) for each in (first, second)]
    clique, rows = margins.joint(values.column, first.column)
    outcome, valid, spread = (_along(clique, values.column, each) for each in (y.mean, y.valid, y.variance))
    value, slope, extra, held_in = 0.0, np.zeros(rows.shape), np.zeros(rows.shape), np.zeros(rows.shape)
    for sign, group, asked in ((1.0, groups[0], first), (-1.0, groups[1], second)):
        inside = valid * _along(clique, asked.column, group.mean * group.valid)
        margins.clear(clique, np.broadcast_to(inside, rows.shape), f"the rows with {asked.name!r}")
        held, mean = float((rows * inside).sum()), _ratio(rows, inside, outcome)
        value += sign * mean
        slope = slope + sign * inside * (outcome - mean) / held
        held_in = held_in + sign * inside * rows / held
        extra = extra + inside * spread / held**2
    sampling = float((np.maximum(rows, 0) * (np.square(slope) + extra)).sum())
    base = margins.drift(values, y, _summed(clique, values.column, held_in))
    found = Solved(value, {clique: slope}, sampling, base, _notes(margins, values), shift=_shift(values))
    return found.stretched(margins.stretch(y))


def effect(margins: Margins, values: Values, first: Values, second: Values, given: Sequence[str]) -> Solved:
    """The difference in each stratum of the columns `given`, averaged by the strata's rows (Robins 1986, g-formula).

    Strata where one of the groups cannot be told from none are left out, and the share of the rest is said.

    Raises:
        NotSupported: the columns were never counted together, or most rows lie in such strata.
    """
    _distinct(values, first, *given)
    y, groups = margins.merged(values), [margins.merged(each, exact=True) for each in (first, second)]
    columns = (values.column, first.column, *given)
    if not margins.evidence.covers(columns):
        margins.require(columns, _instead(margins, values, first, second, given))
    clique, rows = margins.joint(*columns)
    strata = margins.evidence.base.clique(given)
    others = tuple(axis for axis, a in enumerate(clique) if a not in strata)
    shape = tuple(n if a in strata else 1 for a, n in zip(clique, rows.shape, strict=True))
    outcome, valid, spread = (_along(clique, values.column, each) for each in (y.mean, y.valid, y.variance))
    inside = [np.broadcast_to(valid * _along(clique, g.column, g.mean * g.valid), rows.shape) for g in groups]
    held = [(rows * each).sum(axis=others).reshape(shape) for each in inside]
    clear = np.ones(shape, dtype=bool)
    for stratum in np.ndindex(*shape):
        for each, n in zip(inside, held, strict=True):
            asked = np.zeros(rows.shape)
            at = tuple(slice(None) if size == 1 else i for i, size in zip(stratum, shape, strict=True))
            asked[at] = each[at]
            clear[stratum] &= n[stratum] > CLEAR * margins.evidence.sum({clique: asked}).variance ** 0.5
    kept = np.where(clear, held[0] + held[1], 0.0)
    everything, total = float((rows * (inside[0] + inside[1])).sum()), float(kept.sum())
    if total <= _OVERLAP * everything:
        raise NotSupported(
            f"only {max(total, 0) / max(everything, 1):.0%} of the rows lie in strata of {', '.join(given)} where both "
            "groups stand out of the noise; give fewer or coarser columns"
        )
    safe = [np.where(clear, n, 1.0) for n in held]
    means = [(rows * each * outcome).sum(axis=others).reshape(shape) / n for each, n in zip(inside, safe, strict=True)]
    apart = np.where(clear, means[0] - means[1], 0.0)
    value = float((kept * apart).sum()) / total
    slope = clear * (inside[0] + inside[1]) * (apart - value) / total
    extra, held_in = np.zeros(rows.shape), np.zeros(rows.shape)
    for sign, each, n, mean in zip((1.0, -1.0), inside, safe, means, strict=True):
        share = kept / total / n * clear
        slope = slope + sign * share * each * (outcome - mean)
        held_in = held_in + sign * share * each * rows
        extra = extra + np.square(share) * each * spread
    notes = [*_notes(margins, values)]
    if total < everything * (1 - 1e-9):
        notes.append(f"about {total / everything:.0%} of the rows: in other strata a group cannot be told from noise")
    sampling = float((np.maximum(rows, 0) * (np.square(slope) + extra)).sum())
    base = margins.drift(values, y, _summed(clique, values.column, held_in))
    found = Solved(value, {clique: slope}, sampling, base, tuple(notes), shift=_shift(values))
    return found.stretched(margins.stretch(y))


def _instead(margins: Margins, values: Values, first: Values, second: Values, given: Sequence[str]) -> str:
    """What can be asked where an effect's columns were never counted together."""
    covers, columns = margins.evidence.covers, (values.column, first.column, *given)
    sets = [f"({', '.join(c)})" for c in margins.evidence.measured if values.column in c and len(c) > 1]
    told = f"; sets with {values.column!r} are {', '.join(sets) or 'none'}"
    if all(covers(pair) for pair in combinations(columns, 2)):
        term = first.name if second.name == f"not {first.name}" else first.column
        told += (
            f"; pairs are enough for regression, where the coefficient of {first.column!r} is adjusted for what stands "
            f"beside it: {values.name} ~ {term} + {' + '.join(given)}"
        )
    return told


def _notes(margins: Margins, *values: Values) -> tuple[str, ...]:
    maps, weights = margins.evidence.maps, margins.weights
    apart = any(not each.same_inside(maps[each.column], weights[each.column]) for each in values)
    return (*([_LYING] if apart else []), *([_BINNED] if any(each.reach.max() > 0 for each in values) else []))


def _shift(*values: Values) -> float | None:
    """None where values are known to bins of several, 0 elsewhere."""
    return None if any(each.reach.max() > 0 for each in values) else 0.0


def _summed(clique: Clique, column: str, values: Floats) -> Floats:
    """Over the cells of one column."""
    return np.asarray(values.sum(axis=tuple(axis for axis, a in enumerate(clique) if a != column)))


def _distinct(values: Values, *others: Values | str) -> None:
    names = [values.column, *(each if isinstance(each, str) else each.column for each in others)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise NotSupported(f"{twice!r} is asked for twice in one question; name each column once")


def _ratio(rows: Floats, held: Floats, values: Floats) -> float:
    return float((rows * held * values).sum() / (rows * held).sum())


def _along(clique: Clique, column: str, values: Floats) -> Floats:
    """Values of one column's cells, shaped to broadcast against a margin."""
    return values.reshape([-1 if a == column else 1 for a in clique])


__all__ = ["CLEAR", "Margins", "Solved", "average", "difference", "effect"]
