"""Rows drawn from a calibrated junction tree: rounded to lower variance, shuffled to keep independence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsynth.domain import Codes
from dpsynth.graphical.belief_propagation import Calibrated
from dpsynth.graphical.factor import Array, Factor

Integers = NDArray[np.int64]

_CHUNK_CELLS = 4_000_000


def sample(calibrated: Calibrated, rows: int, rng: np.random.Generator, given: Codes | None = None) -> Codes:
    """Draw `rows` rows, from the root of the tree down.

    Rows that agree on a bag's separator form a group of ``m``. How many of them get each residual value is
    ``m`` times the conditional probability, rounded systematically (one uniform offset per group), so every
    count is within 1 of its expectation and unbiased; **which** of them get it is a fresh random permutation
    of the group, for every bag. Without the permutation two children of one parent would be filled in
    the same order and come out comonotone, although the model says they are independent given the parent.

    With `given`, each row is drawn from the exact conditional distribution given its own given codes:
    evidence is sent up the tree once for every distinct combination of given codes (all combinations at a
    time, in chunks of bounded memory), then rows are drawn downwards in groups that agree on combination
    and separator. Where the model gives a combination probability zero, the bag in which that shows
    falls back to a uniform choice.

    Args:
        calibrated: the distribution.
        rows: how many rows, at least 0.
        rng: drives offsets and permutations; the result is a pure function of it and the other arguments.
        given: for some attributes, `rows` codes each, kept as they are.

    Returns:
        int64 codes for every attribute, in domain order, `rows` each.

    Raises:
        ValueError: `rows` is negative, a given column has another length or a code outside its domain.
        KeyError: a given column is not in the domain.
    """
    if rows < 0:
        raise ValueError(f"rows must be at least 0, got {rows}")
    domain = calibrated.tree.domain
    fixed = {a: _checked(a, codes, domain[a], rows) for a, codes in _in_domain(calibrated, given or {})}
    out = {a: fixed[a] if a in fixed else np.zeros(rows, dtype=np.int64) for a in domain.attributes}
    if not rows:
        return out
    if not fixed:
        _downwards(calibrated.tree.separators, calibrated.conditionals, out, np.arange(rows), None, rng)
        return out
    evidence = np.stack(list(fixed.values()), axis=1)
    distinct, which = np.unique(evidence, axis=0, return_inverse=True)
    which = which.reshape(-1)
    open_cells = [prod(s for a, s in f.domain.sizes.items() if a not in fixed) for f in calibrated.conditionals]
    chunk = max(1, _CHUNK_CELLS // max(open_cells))
    by_combination = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[by_combination], np.arange(len(distinct) + 1))
    for first in range(0, len(distinct), chunk):
        last = min(first + chunk, len(distinct))
        members = by_combination[bounds[first] : bounds[last]]
        observed = _Evidence(dict(zip(fixed, distinct[first:last].T, strict=True)), which[members] - first)
        tables = observed.condition(calibrated)
        separators = [tuple(a for a in s if a not in fixed) for s in calibrated.tree.separators]
        _downwards(separators, tables, out, members, observed.which, rng)
    return out


def _in_domain(calibrated: Calibrated, given: Codes) -> list[tuple[str, NDArray[Any]]]:
    domain = calibrated.tree.domain
    unknown = set(given) - set(domain.attributes)
    if unknown:
        raise KeyError(f"given columns not in the domain: {sorted(unknown)}; it has {list(domain.attributes)}")
    return [(a, np.asarray(given[a])) for a in domain.attributes if a in given]


def _checked(attribute: str, codes: NDArray[Any], size: int, rows: int) -> Integers:
    if codes.shape != (rows,):
        raise ValueError(f"given {attribute!r} has shape {codes.shape}, expected ({rows},): one code per row")
    if rows and not (codes.min() >= 0 and codes.max() < size):
        raise ValueError(f"given {attribute!r} has codes outside its domain; allowed are 0 to {size - 1}")
    return codes.astype(np.int64)


def _downwards(
    separators: Sequence[tuple[str, ...]],
    tables: Sequence[Factor],
    out: Mapping[str, Integers],
    members: Integers,
    which: Integers | None,
    rng: np.random.Generator,
) -> None:
    """Fill `out` at `members`, bag by bag. With `which`, tables carry a leading axis of combinations."""
    for separator, table in zip(separators, tables, strict=True):
        own = [a for a in table.domain.attributes if a != _BATCH]
        residual = tuple(a for a in own if a not in separator)
        if not residual:
            continue
        lead = separator if which is None else (_BATCH, *separator)
        ordered = table.transpose((*lead, *residual))
        lead_shape = ordered.domain.project(lead).shape
        residual_shape = ordered.domain.project(residual).shape
        columns = [which if a == _BATCH else out[a][members] for a in lead]
        group = _ravel([c for c in columns if c is not None], lead_shape, len(members))
        drawn = draw(group, ordered.values.reshape(prod(lead_shape), prod(residual_shape)), rng)
        for attribute, codes in zip(residual, np.unravel_index(drawn, residual_shape), strict=True):
            out[attribute][members] = codes


def _ravel(columns: Sequence[Integers], shape: Sequence[int], rows: int) -> Integers:
    index = np.zeros(rows, dtype=np.int64)
    for codes, size in zip(columns, shape, strict=True):
        index = index * size + codes
    return index


def draw(group: NDArray[np.integer[Any]], table: Array, rng: np.random.Generator) -> Integers:
    """One column of `table` for each row: counts rounded within every group, members in random order."""
    if table.shape[0] <= 2**16:
        group = group.astype(np.uint16)  # NumPy sorts 16-bit keys by radix, several times faster
    shuffled = rng.permutation(len(group))
    order = shuffled[np.argsort(group[shuffled], kind="stable")]
    present, sizes = np.unique(group, return_counts=True)
    ends = np.cumsum(sizes)
    width = table.shape[1]
    out = np.empty(len(group), dtype=np.int64)
    step = max(1, _CHUNK_CELLS // width)
    for first in range(0, len(present), step):
        last = min(first + step, len(present))
        counts = _rounded(table[present[first:last]], sizes[first:last], rng)
        codes = np.repeat(np.broadcast_to(np.arange(width), counts.shape).ravel(), counts.ravel())
        out[order[(ends[first - 1] if first else 0) : ends[last - 1]]] = codes
    return out


def _rounded(weights: Array, sizes: Integers, rng: np.random.Generator) -> Integers:
    """Integers within 1 of ``sizes * weights / row sums``, each row summing to its size, unbiased.

    Systematic rounding: the running sum of expectations, shifted by one uniform offset, rounded down.
    """
    running = np.cumsum(weights, axis=1)
    whole = running[:, -1:]
    flat = np.arange(1, weights.shape[1] + 1) / weights.shape[1]
    running = np.where(whole > 0, running / np.where(whole > 0, whole, 1.0), flat)
    edges = np.floor(running * sizes[:, None] + rng.random((len(sizes), 1))).astype(np.int64)
    np.minimum(edges, sizes[:, None], out=edges)
    edges[:, -1] = sizes
    return np.diff(edges, axis=1, prepend=0)


_BATCH = "\0combination"


@dataclass(frozen=True, slots=True, eq=False)
class _Evidence:
    """Distinct combinations of given codes, and which combination each row has."""

    codes: Mapping[str, Integers]
    which: Integers

    def condition(self, calibrated: Calibrated) -> list[Factor]:
        """For each bag P(residual | separator, evidence) up to a factor, one slice for each combination."""
        tree = calibrated.tree
        tables: list[Factor] = [self._sliced(f) for f in calibrated.conditionals]
        for index in range(len(tables) - 1, 0, -1):
            separator = [a for a in tree.separators[index] if a not in self.codes]
            message = tables[index].project((_BATCH, *separator))
            axes = tuple(range(1, message.values.ndim))
            peak = message.values.max(axis=axes, keepdims=True)
            scaled = np.where(peak > 0, message.values / np.where(peak > 0, peak, 1.0), 1.0)
            parent = tree.parents[index]
            tables[parent] = tables[parent] * Factor(message.domain, scaled)
        return tables

    def _sliced(self, factor: Factor) -> Factor:
        """The factor at every combination's codes: observed axes go, a leading axis of combinations comes."""
        observed = [a for a in factor.domain.attributes if a in self.codes]
        free = [a for a in factor.domain.attributes if a not in self.codes]
        count = len(next(iter(self.codes.values())))
        values = factor.transpose((*observed, *free)).values
        taken = values[tuple(self.codes[a] for a in observed)] if observed else values[None]
        sizes = {_BATCH: count} | {a: factor.domain[a] for a in free}
        return Factor(type(factor.domain).of(sizes), np.broadcast_to(taken, (count, *taken.shape[1:])))


__all__ = ["draw", "sample"]
