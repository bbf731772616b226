"""The nearest combination of codes that satisfies a component: branch and bound with unit propagation and intervals.

It decides whether constraints can hold together, whether columns that are given leave a row possible, and it is the
last resort for a drawn row that sampling could not mend. It is deterministic, and it ends: after `MOST_STEPS` steps at
the latest with the best combination found so far.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dpsynth.constraints.boxes import Boxes, place, possible
from dpsynth.constraints.literals import Mask
from dpsynth.constraints.rules import Bounded, Comparison, Component, Integers

MOST_STEPS = 5000
_NEAR = 0.5
"""Most that the distance of an ordered code adds to the cost of changing a column, which is 1."""


class SearchEnded(Exception):
    """Steps ran out before a combination was found, or shown not to exist."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A combination that satisfies everything.

    Attributes:
        codes: by column.
        points: common grid units, for compared columns (0 where the cell is empty).
        cost: columns changed, each 1 and up to a half more for the distance of an ordered code.
    """

    codes: Mapping[str, int]
    points: Mapping[str, int]
    cost: float


def nearest(
    component: Component,
    wanted: Mapping[str, int] | None = None,
    keep: Mapping[str, int | None] | None = None,
    *,
    steps: int = MOST_STEPS,
) -> Found | None:
    """The combination that changes the fewest columns of `wanted`, None if there is none.

    Out-of-domain codes are considered only where `wanted` has them.

    Args:
        component: columns and their ties.
        wanted: a code for every column; by default any combination does.
        keep: columns whose code in `wanted` must stay, each with the grid point it stands for, or None.
        steps: most combinations of columns looked at.

    Raises:
        SearchEnded: no combination after so many steps.
    """
    return _Search(component, wanted, keep or {}, steps).run()


@dataclass(slots=True, eq=False)
class _Search:
    component: Component
    wanted: Mapping[str, int] | None
    keep: Mapping[str, int | None]
    steps: int
    best: Found | None = field(default=None, init=False)
    ended: bool = field(default=False, init=False)
    costs: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, init=False)

    def run(self) -> Found | None:
        domains = {}
        for name in self.component.columns:
            domain = np.ones(self.component.sizes[name], dtype=bool)
            domain[self.component.outside[name]] = False
            if self.wanted is not None:
                domain[self.wanted[name]] = True
            if name in self.keep and self.wanted is not None:
                domain[:] = self._agreeing(name)
            domains[name] = domain
        self.costs = {name: self._costs(name) for name in self.component.columns}
        stack = [iter([domains])]
        while stack and not self.ended:
            branch = next(stack[-1], None)
            if branch is None:
                stack.pop()
            else:
                stack.append(self._below(branch))
        if self.best is None and self.ended:
            raise SearchEnded
        return self.best

    def _agreeing(self, name: str) -> Mask:
        """The codes that a column to be kept may have: the one it has, or any step that leads to a derived value."""
        assert self.wanted is not None
        code, point, each = self.wanted[name], self.keep[name], self.component.derived.get(name)
        if each is None or point is None:
            return np.asarray(np.arange(self.component.sizes[name]) == code)
        at = int(np.searchsorted(each.own.partition.edges, point // self.component.grids[name].step, side="right"))
        return each.agreeing(at - 1)

    def _below(self, domains: dict[str, Mask]) -> Iterator[dict[str, Mask]]:
        """The branches of one column, the likeliest code first; none where they cannot beat the best."""
        if self.steps <= 0:
            self.ended = True
            return
        self.steps -= 1
        if not self._propagate(domains) or (self.best is not None and self._bound(domains) >= self.best.cost):
            return
        cheapest = {name: _cheapest(self.costs[name], domain) for name, domain in domains.items()}
        if self._settle(cheapest):
            return  # no combination in here costs less
        undecided = [name for name, domain in domains.items() if domain.sum() > 1]
        if not undecided:
            return
        troubled = self._troubled(cheapest)
        name = min(
            [name for name in undecided if name in troubled] or undecided, key=lambda each: int(domains[each].sum())
        )
        codes = np.flatnonzero(domains[name])
        costs = self.costs[name][codes]
        others = self._bound(domains) - float(costs.min())
        for at in np.argsort(costs, kind="stable"):
            if self.best is not None and others + costs[at] >= self.best.cost:
                return
            yield {**domains, name: np.arange(len(domains[name])) == codes[at]}

    def _troubled(self, codes: Mapping[str, int]) -> set[str]:
        """The columns of ties that a combination breaks on their own."""
        troubled: set[str] = set()
        for clause in self.component.clauses:
            if not any(mask[codes[name]] for name, mask in zip(clause.columns, clause.allowed, strict=True)):
                troubled.update(clause.columns)
        for tie in self.component.numeric:
            cells = [(self.component.grids[name], codes[name]) for name in tie.columns]
            if any(grid.null[code] for grid, code in cells):
                continue
            low, high = [int(g.low[code]) for g, code in cells], [int(g.high[code]) for g, code in cells]
            if isinstance(tie, Comparison):
                broken = low[0] + tie.gap > high[1]
            elif isinstance(tie, Bounded):
                at = self.keep.get(tie.derived)
                floor, ceiling = (tie.low, tie.high) if at is None else (at, at)
                least = sum(a if s > 0 else -b for a, b, s in zip(low, high, tie.signs, strict=True))
                most = sum(b if s > 0 else -a for a, b, s in zip(low, high, tie.signs, strict=True))
                broken = least > ceiling or most < floor
            else:
                broken = sum(low[1:]) > high[0] or sum(high[1:]) < low[0]
            if broken:
                troubled.update(tie.columns)
        return troubled

    def _costs(self, name: str) -> NDArray[np.float64]:
        """What each code of a column costs, shape (size,)."""
        size = self.component.sizes[name]
        if self.wanted is None:
            return np.zeros(size)
        away = np.abs(np.arange(size) - self.wanted[name])
        near = _NEAR * away / size if name in self.component.ordered else np.where(away > 0, _NEAR, 0.0)
        return np.where(away > 0, 1 + near, 0.0)

    def _bound(self, domains: Mapping[str, Mask]) -> float:
        """The least that any combination inside the domains costs."""
        return float(sum(self.costs[name][domain].min() for name, domain in domains.items()))

    def _settle(self, codes: dict[str, int]) -> bool:
        """Take a combination for the best one, if it satisfies everything."""
        rows = {name: np.array([code]) for name, code in codes.items()}
        kept = {name: np.array([point]) for name, point in self.keep.items() if point is not None}
        if not possible(self.component, rows, kept)[0]:
            return False
        cost = float(sum(self.costs[name][code] for name, code in codes.items()))
        points: dict[str, int] = {}
        if self.component.numeric:
            placed, held = place(self.component, rows, kept, np.random.default_rng(0))
            if not held[0]:
                return False
            points = {name: int(at[0]) for name, at in placed.items()}
        if self.best is None or cost < self.best.cost:
            self.best = Found(codes, points, cost)
        return True

    def _propagate(self, domains: dict[str, Mask]) -> bool:
        """Take out codes that no combination can have, until nothing changes. False if a column has none left."""
        while True:
            before = sum(int(domain.sum()) for domain in domains.values())
            if not self._clauses(domains) or not self._numbers(domains):
                return False
            if sum(int(domain.sum()) for domain in domains.values()) == before:
                return True

    def _clauses(self, domains: dict[str, Mask]) -> bool:
        for clause in self.component.clauses:
            pairs = list(zip(clause.columns, clause.allowed, strict=True))
            if any(not (domains[name] & ~mask).any() for name, mask in pairs):
                continue
            hopeful = [(name, mask) for name, mask in pairs if (domains[name] & mask).any()]
            if not hopeful:
                return False
            if len(hopeful) == 1:
                name, mask = hopeful[0]
                domains[name] = domains[name] & mask
        return all(domain.any() for domain in domains.values())

    def _numbers(self, domains: dict[str, Mask]) -> bool:
        """Bounds consistency between columns that cannot be empty."""
        grids = self.component.grids
        if not grids:
            return True
        low: dict[str, Integers] = {}
        high: dict[str, Integers] = {}
        null: dict[str, Mask] = {}
        for name, grid in grids.items():
            full = domains[name] & ~grid.null
            null[name] = np.array([bool((domains[name] & grid.null).any())])
            point = self.keep.get(name)
            low[name] = np.array([grid.low[full].min() if full.any() else 0])
            high[name] = np.array([grid.high[full].max() if full.any() else 0])
            if point is not None and full.any() and name not in self.component.derived:
                low[name] = high[name] = np.array([point])
        live = [~np.logical_or.reduce([null[name] for name in tie.columns]) for tie in self.component.numeric]
        values = {n: np.array([at]) for n in self.component.derived if (at := self.keep.get(n)) is not None}
        boxes = Boxes(self.component, low, high, null, live, values)
        boxes.narrow()
        for tie, binds in zip(self.component.numeric, live, strict=True):
            for name in tie.columns if binds[0] else ():
                inside = (grids[name].low <= boxes.high[name][0]) & (grids[name].high >= boxes.low[name][0])
                domains[name] = domains[name] & inside
                if not domains[name].any():
                    return False
        return True


def _cheapest(costs: NDArray[np.float64], domain: Mask) -> int:
    return int(np.where(domain, costs, np.inf).argmin())


@dataclass(frozen=True, slots=True, order=True)
class Conflict:
    """The first constraint that cannot hold with those before it.

    Attributes:
        source: its place.
        proved: False if the search ended without an answer.
        alone: whether it cannot hold even by itself.
    """

    source: int
    proved: bool
    alone: bool


def first_conflict(components: tuple[Component, ...], steps: int = MOST_STEPS) -> Conflict | None:
    """What keeps the constraints from holding together, None if they can.

    A component of more than 20 ties gets fewer steps, so that no schema, whoever wrote it, is read for minutes.
    """
    found: list[Conflict] = []
    for component in components:
        sources = sorted({tie.source for tie in (*component.clauses, *component.numeric)})
        if _holds(component, steps) is True:
            continue
        last = sources[bisect_left(sources, True, key=partial(_fails, component, steps))]
        proved = _holds(_of(component, range(last + 1)), steps) is False
        found.append(Conflict(last, proved, _holds(_of(component, (last,)), steps) is False))
    return min(found, default=None)


def _fails(component: Component, steps: int, last: int) -> bool:
    return _holds(upto(component, last), steps) is not True


def _holds(component: Component, steps: int) -> bool | None:
    ties = len(component.clauses) + len(component.numeric)
    try:
        return nearest(component, steps=max(100 + len(component.columns), steps * 20 // max(20, ties))) is not None
    except SearchEnded:
        return None


def upto(component: Component, last: int) -> Component:
    """The component as the constraints up to that place make it."""
    return _of(component, range(last + 1))


def _of(component: Component, sources: Container[int]) -> Component:
    return replace(
        component,
        clauses=tuple(c for c in component.clauses if c.source in sources),
        comparisons=tuple(c for c in component.comparisons if c.source in sources),
        sums=tuple(s for s in component.sums if s.source in sources),
        bounded=tuple(b for b in component.bounded if b.source in sources),
    )


__all__ = ["MOST_STEPS", "Conflict", "Found", "SearchEnded", "first_conflict", "nearest", "upto"]
