"""MST: one-way marginals, and the pairs on a maximum spanning tree of the strongest dependencies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accountants import Allowance, ExponentialMechanism, FixedPlan, Gaussian, Plan
from dpsynth.domain import Clique, Domain
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.marginal_model import MarginalModel
from dpsynth.generators.one_ways import Cleaning, OneWays, one_way_looks
from dpsynth.generators.settings import flag, planned, positive, room_for, suggesting, whole
from dpsynth.graphical import GraphicalModel, JunctionTree, estimate, measured
from dpsynth.hints import Hints
from dpsynth.progress import report


@suggesting
@dataclass(frozen=True, slots=True)
class MST:
    """McKenna, Miklau, Sheldon 2021, "Winning the NIST contest", algorithm 1.

    All one-ways in one stacked look (two where the schema has fine grids, see `OneWays`); then ``d - 1`` private
    choices, each joining two components by the pair that independence fits worst; then the chosen pairs in one
    stacked look. Number and noise of the looks are fixed in advance, which pairs they ask about is not. `MST.paper`
    has the settings of the paper; the defaults did better wherever we measured.

    Attributes:
        one_way_share: share of mu squared for the one-ways.
        select_share: share of mu squared for all choices together; the pairs get the rest.
        denoise: whether one-ways are denoised before they are used (see `denoised`).
        merge_below: cells whose noisy count is below this many sigma are merged (see `Recoding`).
        group_below: neighbours in ordered columns are grouped until they hold this many sigma (see `grouped`).
        smoothing: weight of the entropy in estimation (see `estimate`).
        max_cells: limit on the size of the model.

    Raises:
        ValueError: a setting is outside its range.
    """

    one_way_share: float = 0.6
    select_share: float = 0.1
    denoise: bool = True
    merge_below: float = 3.0
    group_below: float = 70.0
    smoothing: float = 0.2
    max_cells: int = 2_000_000

    def __post_init__(self) -> None:
        positive("one_way_share", self.one_way_share, below=1)
        positive("select_share", self.select_share, below=1)
        positive("one_way_share + select_share", self.one_way_share + self.select_share, below=1)
        positive("merge_below", self.merge_below, zero=True)
        positive("group_below", self.group_below, zero=True)
        flag("denoise", self.denoise)
        positive("smoothing", self.smoothing)
        whole("max_cells", self.max_cells, least=1)

    @classmethod
    def paper(cls, **settings: Any) -> MST:
        """The settings of the paper, but for any given: a third of the budget for each step, rare cells merged."""
        published: dict[str, Any] = {
            "one_way_share": 1 / 3,
            "select_share": 1 / 3,
            "denoise": False,
            "merge_below": 3.0,
            "group_below": 0.0,
            "smoothing": 0.01,
        }
        return cls(**(published | settings))

    @property
    def _cleaning(self) -> Cleaning:
        return Cleaning(self.denoise, self.merge_below, self.group_below)

    @property
    def name(self) -> str:
        """``mst``."""
        return "mst"

    def parameters(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return {
            "one_way_share": self.one_way_share,
            "select_share": self.select_share,
            "denoise": self.denoise,
            "merge_below": self.merge_below,
            "group_below": self.group_below,
            "smoothing": self.smoothing,
            "max_cells": self.max_cells,
        }

    def plan(self, domain: Domain, allowance: Allowance, hints: Hints) -> Plan:
        """One-ways, d - 1 choices, pairs. A choice that could only go one way (two columns) is not planned.

        Raises:
            PlanError: `max_cells` is too small for the one-ways alone.
        """
        room_for(domain, self.max_cells)
        columns = len(domain)
        choices = columns - 1 if columns > 2 else 0

        def build(scale: float) -> FixedPlan:
            if columns == 1:
                return FixedPlan(events=tuple(one_way_looks(scale, hints)))
            for_choices = self.select_share if choices else 0.0
            events = one_way_looks(scale / math.sqrt(self.one_way_share), hints)
            last = Gaussian(noise_multiplier=scale / math.sqrt(1 - self.one_way_share - for_choices))
            if not choices:
                return FixedPlan(events=(*events, last))
            choice = ExponentialMechanism.from_mu(math.sqrt(for_choices / choices) / scale)
            return FixedPlan(events=(*events, *[choice] * choices, last))

        return allowance.calibrate(build)

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints) -> MarginalModel:
        """The planned looks, then the model. Where no pair fits the model, one-ways are asked in its place."""
        noise, choices = planned(plan, Gaussian), planned(plan, ExponentialMechanism)
        singles: list[Clique] = [(a,) for a in private.domain.attributes]
        looks = len(one_way_looks(1.0, hints))
        found = OneWays.planned(private, noise[:looks], hints, self._cleaning)
        recoding, measurements = found.recoding, found.merged
        report("MST", self.one_way_share, f"{len(singles)} one-ways, {found.error:.1%} of the rows misplaced by noise")
        domain, view = recoding.domain, private.recoded(recoding.maps)
        if len(noise) > looks:
            product = _Product(estimate(domain, measurements, smoothing=self.smoothing), domain)
            pairs = self._tree(view, product, choices)
            answers = view.count_all(pairs or singles, noise[looks])
            report("MST", 1.0, f"{len(pairs)} pairs, noise of {answers[0].sigma:.1f} rows")
            measurements += measured(answers)
        model = estimate(domain, measurements, smoothing=self.smoothing, max_cells=self.max_cells)
        return MarginalModel(recoding, model)

    def _tree(self, view: PrivateTable, product: _Product, choices: tuple[ExponentialMechanism, ...]) -> list[Clique]:
        """Kruskal's algorithm with a private choice of the next edge; what is connected or too large is not asked."""
        domain = view.domain
        component = {a: i for i, a in enumerate(domain.attributes)}
        tree = JunctionTree.of(domain, ())
        chosen: list[Clique] = []
        for step in range(len(domain) - 1):
            apart = (p for p in combinations(domain.attributes, 2) if component[p[0]] != component[p[1]])
            candidates = tree.fitting(apart, self.max_cells)
            if not choices:
                return candidates
            if not candidates:  # the plan's looks are asked whatever the answers were; this one decides nothing
                view.select([(a,) for a in domain.attributes], product, choices[step])
                continue
            edge = view.select(candidates, product, choices[step])
            chosen.append(edge)
            kept, merged = component[edge[0]], component[edge[1]]
            component = {a: kept if c == merged else c for a, c in component.items()}
            tree = tree.grown(edge)
            share = self.one_way_share + self.select_share * (step + 1) / len(choices)
            report("MST", share, f"pair {step + 1} of {len(choices)}")
        return chosen


class _Product:
    """Expected counts if all columns were independent: what the choices compare with."""

    def __init__(self, model: GraphicalModel, domain: Domain) -> None:
        self._total = model.total
        self._shares: Mapping[str, NDArray[np.float64]] = {
            a: model.project((a,)) / model.total for a in domain.attributes
        }
        self._known: dict[Clique, NDArray[np.float64]] = {}

    def project(self, clique: Clique) -> NDArray[np.float64]:
        """Counts over `clique`: the product of the one-way shares, times the total."""
        if clique in self._known:
            return self._known[clique]
        counts: NDArray[np.float64] = np.array(self._total)
        for attribute in clique:
            counts = np.multiply.outer(counts, self._shares[attribute])
        self._known[clique] = counts
        return counts


__all__ = ["MST"]
