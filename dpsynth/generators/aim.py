"""AIM: round by round, measure the marginal that the current model gets most wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from accountants import AdaptivePlan, Allowance, ExponentialMechanism, Gaussian, Plan, PlanError
from dpsynth.domain import Clique, Domain
from dpsynth.generators.base import PrivateTable
from dpsynth.generators.expected import Expected
from dpsynth.generators.marginal_model import MarginalModel
from dpsynth.generators.moment_look import moments_of, scored
from dpsynth.generators.one_ways import Cleaning, OneWays
from dpsynth.generators.raked_rounds import Allotment, RakedRounds, particles_for
from dpsynth.generators.round import SELECT_SHARE, Round
from dpsynth.generators.settings import flag, one_of, positive, room_for, suggesting, whole
from dpsynth.generators.target_looks import TargetLooks
from dpsynth.generators.workload import WORKLOADS, candidates_of
from dpsynth.graphical import GraphicalModel, JunctionTree, ModelTooLarge, RakedModel, measured
from dpsynth.graphical.estimation import fitted
from dpsynth.graphical.factor import Array
from dpsynth.graphical.moments import MOMENTS, Moments, significant, with_room
from dpsynth.hints import Hints
from dpsynth.progress import report

_WORTH_A_LOOK = 0.05
"""Share of mu squared below which the one-ways are not measured again, and nothing beyond the tree."""

_BEYOND_LOOKS, _BATCH = 1.5, 4
"""Looks for each column; looks between two fits."""

_BEYOND_SIGNAL = 4000.0
"""Rows over sigma (of a first round's measurement) from which the rounds beyond the tree get all of their share: where
there is less signal the tree has room for all that can be told from noise."""

FALSE, _MOMENT_ROOM = 0.1, 0.3
"""Share of the moments fitted that may be nothing but noise; share of the model's room for their pairs."""

_LITTLE = 0.2
"""Share of mu squared beside the looks with a target below which a plan warns."""

_NEGLIGIBLE = 1e-9
_HAIR = 1e-12
"""Share of mu squared not worth a look: what rounding leaves over."""


@suggesting
@dataclass(frozen=True)
class AIM:
    """McKenna, Mullins, Sheldon, Miklau 2022, "AIM", algorithm 4, in one GDP filter.

    Where it differs from the paper: the one-ways are denoised, then rare cells merged and neighbours in ordered
    columns grouped, so that pairs are asked over few cells; one-ways that came out too noisy for the number of
    rows are measured once more; candidates are scored by what one pass over the current model, or one low-variance
    sample of it, says of all of them (`Expected`; the model is public, so this costs nothing); estimation smooths
    (see `estimate`); the one-ways get a larger share of the budget, and rounds are fewer and larger; a candidate that
    takes much of the model's room must mend more than one that takes little. With a target every column is counted
    together with it first (`TargetLooks`). How ordered columns go together is asked first, as a matrix of second
    moments in one look, and fitted with the margins: where columns are many or rows few, a number for each pair can be
    told from noise when its cells cannot. The last rounds go beyond the junction tree: particles drawn from the model
    are weighted (see `rake`) to fit pairs and moments that it has no room for.
    `AIM.paper` has the settings of the paper.

    Attributes:
        workload: what the error is counted over: ``all-2way`` or ``all-3way``.
        target: a column whose margins count `TARGET_WEIGHT` times as much, such as what a classifier shall predict.
        one_way_share: share of mu squared for the first look at the one-ways.
        fine_share: the same where columns are on fine grids (``bins: auto``) and there is no target; the look at their
            bins takes as much.
        one_way_error: noise of the one-ways (mean total variation distance after the first look) that calls for
            measuring them again; their share then grows in proportion to the noise.
        one_way_most: largest share of mu squared for both looks at the one-ways.
        select_share: share of each round's mu squared for the choice; the measurement gets the rest.
        rounds_per_column: the budget of the first rounds would last for this many rounds a column.
        anneal: factor on a round's mu squared after a measurement that taught the model nothing.
        denoise: whether one-ways are denoised before they are used (see `denoised`).
        merge_below: cells whose noisy count is below this many sigma are merged (see `Recoding`).
        group_below: neighbours in ordered columns are grouped until they hold this many sigma (see `grouped`).
        smoothing: weight of the entropy in estimation (see `estimate`).
        max_cells: limit on the model's size, reached in proportion to the budget spent.
        cells_per_signal: the limit is lower where rows over sigma (of a first round's measurement), times
            this, is less: noise does not let a larger model be told from a smaller one.
        cell_price: a candidate pays for the cells by which the model grows: `max_cells` of them cost this share
            of the rows, in the currency of the error that it would mend.
        tolerance: how exactly the model is fitted between rounds, in sigma; the last fit is twice as exact.
        moment_share: share, of the mu squared that the one-ways leave, for the moments of ordered columns.
        beyond_share: share, of the mu squared that the one-ways leave, for pairs beyond the junction tree; less where
            rows are few for the noise.
        target_share: where there is a target, share of mu squared for looks at every column together with it.

    Raises:
        ValueError: a setting is outside its range.
    """

    workload: str = "all-2way"
    target: str | None = None
    one_way_share: float = 0.1
    fine_share: float = 0.15
    one_way_error: float = 0.002
    one_way_most: float = 0.5
    select_share: float = SELECT_SHARE
    rounds_per_column: float = 4.0
    anneal: float = 4.0
    denoise: bool = True
    merge_below: float = 3.0
    group_below: float = 70.0
    smoothing: float = 0.2
    max_cells: int = 4_000_000
    cells_per_signal: float = 570.0
    cell_price: float = 0.1
    tolerance: float = 0.1
    moment_share: float = 0.2
    beyond_share: float = 0.2
    target_share: float = 0.56

    def __post_init__(self) -> None:
        one_of("workload", self.workload, WORKLOADS)
        if self.target is not None and not isinstance(self.target, str):
            raise ValueError(f"target must be the name of a column, got {self.target!r}")
        positive("one_way_share", self.one_way_share, below=1)
        positive("fine_share", self.fine_share, below=0.5)
        positive("one_way_error", self.one_way_error)
        positive("one_way_most", self.one_way_most, below=1)
        positive("select_share", self.select_share, below=1)
        positive("rounds_per_column", self.rounds_per_column)
        positive("anneal - 1", self.anneal - 1)
        positive("merge_below", self.merge_below, zero=True)
        positive("group_below", self.group_below, zero=True)
        flag("denoise", self.denoise)
        positive("smoothing", self.smoothing)
        whole("max_cells", self.max_cells, least=1)
        positive("cells_per_signal", self.cells_per_signal)
        positive("cell_price", self.cell_price, zero=True)
        positive("tolerance", self.tolerance)
        positive("beyond_share", self.beyond_share, zero=True, below=1)
        positive("moment_share", self.moment_share, zero=True, below=1)
        positive("target_share", self.target_share, zero=True, below=1)
        if self.target is not None and self.one_way_share + self.target_share >= 1:
            raise ValueError(
                f"one_way_share and target_share must leave some of the budget, got {self.one_way_share} + "
                f"{self.target_share}; give less than 1 in all"
            )

    @classmethod
    def paper(cls, **settings: Any) -> AIM:
        """The settings of the paper, but for any given: a baseline to compare with.

        16 rounds a column, a tenth of each for the choice, one-ways at the noise of a first round, budgets that
        quadruple, models of 80 MB, every triple in the workload; nothing denoised, grouped or measured twice.
        Two differences stay: all looks share one GDP filter where the paper adds up zCDP, and estimation keeps a
        trace of smoothing, without which its problem has no unique solution.
        """
        share = 0.9 / 16
        published: dict[str, Any] = {
            "workload": "all-3way",
            "one_way_share": share,
            "fine_share": share,
            "one_way_error": 1e9,
            "select_share": 0.1,
            "rounds_per_column": 16 * (1 - share),
            "anneal": 4.0,
            "denoise": False,
            "merge_below": 0.0,
            "group_below": 0.0,
            "smoothing": 0.01,
            "max_cells": 10_000_000,
            "cells_per_signal": 1e12,
            "cell_price": 0.0,
            "beyond_share": 0.0,
            "moment_share": 0.0,
            "target_share": 0.0,
        }
        return cls(**(published | settings))

    @property
    def name(self) -> str:
        """``aim``."""
        return "aim"

    def parameters(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return asdict(self)

    def plan(self, domain: Domain, allowance: Allowance, hints: Hints) -> Plan:
        """A GDP filter with all of the allowance.

        Raises:
            PlanError: `max_cells` is too small for the one-ways alone, or `target` is not a column.
        """
        room_for(domain, self.max_cells)
        if self.target is not None and self.target not in domain:
            near = get_close_matches(self.target, domain.attributes, n=1)
            hint = f"did you mean {near[0]!r}? The" if near else "the"
            raise PlanError(f"the target {self.target!r} is not a column; {hint} columns are {list(domain.attributes)}")
        kinds = {Gaussian.kind, ExponentialMechanism.kind}
        return allowance.calibrate(lambda scale: AdaptivePlan(mu=1 / scale, kinds=kinds))

    def warnings(self, plan: Plan) -> list[str]:
        """What to expect little of."""
        left = 1.0 - self.one_way_share - self.target_share
        if self.target is None or not self.target_share or left >= _LITTLE:
            return []
        return [f"one_way_share and target_share leave {left:.0%} for everything else; leave a fifth or more"]

    def fit(self, private: PrivateTable, plan: Plan, hints: Hints) -> MarginalModel:
        """One-ways, then rounds of choosing and measuring until the filter is empty."""
        return _Run(self, private, hints).model()


class _Run:
    """One run of the recipe: what was measured so far, and the model fitted to it."""

    def __init__(self, recipe: AIM, private: PrivateTable, hints: Hints) -> None:
        self.recipe = recipe
        self.hints = hints
        self.budget = private.remaining
        self.rng = np.random.default_rng(0)  # samples the public model only; fixed, so that answers decide all
        self.with_target: TargetLooks | None = None
        if recipe.target is not None and recipe.target_share > 0.0:
            share = recipe.target_share * self.budget
            self.with_target = TargetLooks(recipe.target, share, hints.at_most, recipe.max_cells)
        one_ways = self._one_ways(private)
        self.recoding = one_ways.recoding
        self.domain = self.recoding.domain
        self.view = private.recoded(self.recoding.maps)
        self.measurements = one_ways.merged
        if self.with_target:
            self.measurements += self.with_target.measured(self.view, one_ways)
            self._report(f"columns with {recipe.target}")
        self.weights: Mapping[Clique, int] = candidates_of(recipe.workload, self.domain, recipe.target)
        self.cells = {clique: self.domain.size(clique) for clique in self.weights}
        self.potentials: dict[Clique, Array] = {}
        self.moments: Moments | None = None  # those told from noise
        self.in_tree: Moments | None = None
        self.graphical = self._estimated(JunctionTree.of(self.domain, ()), recipe.tolerance)
        self._ask_moments()
        self.round_mu_squared = self.view.remaining / (recipe.rounds_per_column * len(self.domain))
        signal = self.graphical.total / (
            Gaussian.from_mu_squared(self.round_mu_squared).noise_multiplier * hints.at_most
        )
        self.most_cells = min(recipe.max_cells, sum(self.domain.shape) + round(recipe.cells_per_signal * signal))
        if self.moments:
            self._fit_moments(self.moments)
        self.pairs: dict[Clique, int] = {
            c: w for c, w in self.weights.items() if len(c) == 2 and self.cells[c] <= recipe.max_cells
        }
        wanted = len(self.pairs) or bool(self.moments and self.moments.pairs)
        self.particles = particles_for(self.graphical.total, wanted)
        beyond = recipe.beyond_share * min(1.0, signal / _BEYOND_SIGNAL) if self.particles else 0.0
        self.kept = beyond * self.view.remaining if beyond > _WORTH_A_LOOK else 0.0
        """mu squared that is not the tree's."""

    def _ask_moments(self) -> None:
        """Second moments of ordered columns, where a correlation can be told from the noise."""
        recipe = self.recipe
        one_ways = {a: self.graphical.project((a,)) for a in self.domain.attributes}
        noise = Gaussian.from_mu_squared(recipe.moment_share * self.view.remaining) if recipe.moment_share else None
        scores = scored(self.recoding, self.hints, one_ways, noise) if noise else ()
        if not noise or not scores:
            return
        asked = moments_of(self.view, scores, one_ways, noise, self.hints.at_most)
        self.moments = asked.only(significant(asked, FALSE))
        columns = len(set(asked.attributes))
        self._report(f"moments of {columns} ordered columns, {len(self.moments.pairs)} of {len(asked.pairs)} clear")

    def _fit_moments(self, moments: Moments) -> None:
        """The clearest moments in the model, as far as a part of its room goes."""
        room = max(round(_MOMENT_ROOM * self.most_cells), self.graphical.tree.cells)
        tree, places = with_room(self.graphical.tree, moments, range(len(moments.pairs)), room)
        self.in_tree = moments.only(places)
        self.graphical = self._estimated(tree, self.recipe.tolerance)

    def _one_ways(self, private: PrivateTable) -> OneWays:
        """All one-ways over base cells, looked at once more if they are too noisy or on a fine grid."""
        recipe, hints = self.recipe, self.hints
        cleaning = Cleaning(recipe.denoise, recipe.merge_below, recipe.group_below)
        first = recipe.fine_share if hints.fine and not self.with_target else recipe.one_way_share
        found = OneWays.look(private, self._share(first), hints, cleaning)
        self._looked(private, found)
        if self.with_target and self.with_target.pairs(found):
            return self.with_target.rebinned(private, found, hints, cleaning)
        self.with_target = None
        error = found.error / (2 if hints.fine else 1)  # bins counted as such carry less noise than sums of cells
        share = min(recipe.one_way_most, first * error / recipe.one_way_error)
        more = max(share, min(2 * first, (1.0 + first) / 2) if hints.fine else 0.0) - first
        if more < _WORTH_A_LOOK:
            return found
        found = found.again(private, self._share(more), hints, cleaning)
        self._looked(private, found)
        return found

    def _share(self, share: float) -> Gaussian:
        return Gaussian.from_mu(math.sqrt(share * self.budget))

    def _looked(self, private: PrivateTable, found: OneWays) -> None:
        spent, columns = 1.0 - private.remaining / self.budget, len(private.domain)
        report("AIM", spent, f"{columns} one-ways, {found.error:.1%} of the rows misplaced by noise")

    @property
    def spent(self) -> float:
        """Share of mu squared spent."""
        return 1.0 - self.view.remaining / self.budget

    def model(self) -> MarginalModel:
        """Allotment until nothing is left, then the last and closest fit."""
        round_mu_squared = self.round_mu_squared
        while (left := self.view.remaining - self.kept) > _NEGLIGIBLE * self.budget:
            if left < 2 * round_mu_squared:
                round_mu_squared = left
            prices = self._affordable(round_mu_squared)
            if not prices:
                self._one_ways_again(left)
                break
            if not self._round(prices, round_mu_squared):
                round_mu_squared *= self.recipe.anneal
        self.graphical = self._estimated(self.graphical.tree, self.recipe.tolerance / 2)
        self._report(f"a tree of {self.graphical.tree.cells} cells")
        more = self.kept or (self.particles and self.moments is not None and self.moments.pairs)
        return MarginalModel(self.recoding, self._raked() if more else self.graphical)

    def _raked(self) -> RakedModel[GraphicalModel]:
        """The rounds beyond the tree, and the weights that fit all that was measured."""
        recipe = self.recipe
        rounds = RakedRounds(
            self.graphical,
            self.measurements,
            self.particles,
            self.rng,
            moments=self.moments,
            drawn_at=self._drawn_at(),
            at_most=self.hints.at_most,
            smoothing=recipe.smoothing,
            tolerance=recipe.tolerance,
        )
        if (left := self.view.remaining * (1 - _HAIR)) > _NEGLIGIBLE * self.budget:
            looks = round(_BEYOND_LOOKS * len(self.domain))
            each = Round.of(left / looks, recipe.select_share)
            rounds.spend(Allotment(self.view, self.pairs, each, looks, min(_BATCH, len(self.pairs))))
        self._report(f"done, {self.particles} particles")
        return rounds.last()

    def _drawn_at(self) -> dict[Clique, Array]:
        """The model's potentials, and coefficients for all moments: zero for those it has no room for."""
        if self.moments is None:
            return self.potentials
        known: dict[tuple[int, int], float] = {}
        if self.in_tree and self.in_tree.pairs:
            known = dict(zip(self.in_tree.pairs, self.potentials[MOMENTS].tolist(), strict=True))
        return self.potentials | {MOMENTS: np.array([known.get(pair, 0.0) for pair in self.moments.pairs])}

    def _affordable(self, round_mu_squared: float) -> dict[Clique, float]:
        """What fits into a model whose size grows with the budget spent, this round included, and its price in rows.

        The price is for the cells by which the model grows: public, since the model follows from noisy answers.
        """
        tree = self.graphical.tree
        share = (self.spent + round_mu_squared / self.budget) / (1.0 - self.kept / self.budget)
        limit = int(self.most_cells * min(1.0, share))
        bounds = dict(zip(self.weights, tree.bounds(tuple(self.weights)).tolist(), strict=True))
        of_a_cell = self.recipe.cell_price * self.graphical.total / self.recipe.max_cells
        now, most = tree.cells, self.most_cells
        return {c: of_a_cell * max(min(bounds[c], most) - now, 0.0) for c in tree.fitting(bounds, limit)}

    def _round(self, prices: Mapping[Clique, float], mu_squared: float) -> bool:
        """Choose, measure, fit. False if the model moved less than the noise of the measurement would."""
        look = Round.of(mu_squared, self.recipe.select_share)
        noise_of_a_cell = look.of_a_cell(self.hints.at_most)
        candidates = tuple(prices)
        weights = [self.weights[c] for c in candidates]
        penalties = [
            round(w * (noise_of_a_cell * self.cells[c] + prices[c])) for c, w in zip(candidates, weights, strict=True)
        ]
        expected = Expected(self.graphical, self.rng, sum(len(c) == 2 for c in candidates))
        chosen = self.view.select(candidates, expected, look.choice, weights=weights, penalties=penalties)
        answer = self.view.count(chosen, look.noise)
        self.measurements += measured([answer])
        try:
            before = self.graphical.project(chosen, self.recipe.max_cells)
        except ModelTooLarge:
            before = expected.project(chosen)
        self.graphical = self._estimated(self.graphical.tree, self.recipe.tolerance)
        moved = float(np.abs(self.graphical.project(chosen) - before).sum())
        self._report(f"measured {' x '.join(chosen)}, noise of {answer.sigma:.1f} rows")
        return moved > noise_of_a_cell * self.cells[chosen]

    def _one_ways_again(self, mu_squared: float) -> None:
        """Where no candidate fits (or there is only one column) the rest of the budget sharpens the one-ways."""
        answers = self.view.count_all([(a,) for a in self.domain.attributes], Gaussian.from_mu_squared(mu_squared))
        self.measurements += measured(answers)

    def _estimated(self, tree: JunctionTree, tolerance: float) -> GraphicalModel:
        """The model of all that was measured, over the tree grown as far as that asks, from the last potentials."""
        model, self.potentials = fitted(
            self.domain,
            self.measurements,
            self.in_tree,
            tree=tree.covering(m.clique for m in self.measurements),
            max_cells=self.recipe.max_cells,
            warm=self.potentials,
            smoothing=self.recipe.smoothing,
            tolerance=tolerance,
        )
        return model

    def _report(self, note: str) -> None:
        report("AIM", self.spent, note)


__all__ = ["AIM", "FALSE"]
