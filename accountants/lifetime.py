"""A lifetime budget as a filter: what a release is charged, what an account admits, how much epsilon is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Any, Literal, final

from accountants.allowance import mu_squared_cap, numerical_slack
from accountants.budget import Budget
from accountants.claim import Claim
from accountants.errors import BudgetError, PlanError
from accountants.exact import DOWN, UP, real
from accountants.profile import Profile

Filter = Literal["gdp", "sum"]
FILTERS: tuple[Filter, ...] = ("gdp", "sum")
_DIGITS = 6
_LAST_BITS = Decimal("1e-8")
"""More than one step of the search for a cap both accountants allow."""


@final
@dataclass(frozen=True, slots=True)
class Charge:
    """What one release, or several together, cost in either currency. Sums are rounded up.

    Attributes:
        mu_squared, delta0: at capacity, for a `gdp` account: the Gaussian that dominates, and the chance it does not.
        epsilon, delta: as declared, for a `sum` account.
    """

    mu_squared: Decimal = Decimal(0)
    delta0: Decimal = Decimal(0)
    epsilon: Decimal = Decimal(0)
    delta: Decimal = Decimal(0)

    @classmethod
    def of(cls, claim: Claim) -> Charge:
        """A claim's cost: its capacity and its declared budget, whatever the run will use of them."""
        return cls(*claim.domination, claim.budget.epsilon, claim.budget.delta)

    def __add__(self, other: Charge) -> Charge:
        return Charge(
            UP.add(self.mu_squared, other.mu_squared),
            UP.add(self.delta0, other.delta0),
            UP.add(self.epsilon, other.epsilon),
            UP.add(self.delta, other.delta),
        )

    @classmethod
    def total(cls, charges: Iterable[Charge]) -> Charge:
        """The sum, in order."""
        total = cls()
        for charge in charges:
            total = total + charge
        return total

    def to_json(self) -> dict[str, str]:
        """Decimal strings, exact."""
        return {
            "mu_squared": str(self.mu_squared),
            "delta0": str(self.delta0),
            "epsilon": str(self.epsilon),
            "delta": str(self.delta),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Charge:
        """The inverse of `to_json`.

        Raises:
            BudgetError: a figure is missing, negative or not a number.
        """
        if sorted(body) != ["delta", "delta0", "epsilon", "mu_squared"]:
            raise BudgetError(f"a charge has mu_squared, delta0, epsilon and delta, got {sorted(body)}")
        figures = {name: real(name, value, BudgetError) for name, value in body.items()}
        if min(figures.values()) < 0:
            raise BudgetError("a charge is never negative")
        return cls(**figures)


@final
@dataclass(frozen=True, slots=True)
class Lifetime:
    """What may ever be spent, and the rule that adds releases up.

    Attributes:
        budget: the (epsilon, delta) declared at opening.
        filter: ``gdp`` or ``sum``.
        mu_squared: the cap of a `gdp` filter, fixed at opening; None for `sum`.
        delta0: the cap on delta0 of a `gdp` filter: how much of delta is set aside for mechanisms that may fail
            outright (claims of third parties, thresholds, DP-SGD). It costs the others a little mu^2.

    **Guarantee.** Releases may be chosen after seeing all earlier ones. `gdp`: a filter on the sum of mu^2 is
    fully adaptive mu-GDP (Smith and Thakurta 2022; Koskela, Tobaben, Honkela 2022), beside it the sum of delta0 bounds
    the chance that any of them fails, and the cap is the mu^2 for which ``delta0 + (1 - delta0) delta_Gauss`` stays
    within (epsilon, delta) by both accountants, the samplers' slack taken off delta. The two caps are fixed apart: a
    trade of one for the other after seeing outputs would not be covered.
    `sum`: a filter on the sums of epsilon and of delta is (epsilon, delta)-DP (Rogers et al. 2016, basic
    composition; Whitehouse et al. 2023).
    """

    budget: Budget
    filter: Filter
    mu_squared: Decimal | None
    delta0: Decimal = Decimal(0)

    @classmethod
    def of(cls, budget: Budget, filter: str = "gdp", delta0: float | str | Decimal = Decimal(0)) -> Lifetime:
        """The filter for `budget`.

        Args:
            budget: all that may ever be spent.
            filter: ``gdp`` or ``sum``.
            delta0: of `budget.delta`, set aside in a `gdp` filter for mechanisms that may fail outright.

        Raises:
            BudgetError: no such filter, or a delta0 that is negative, or given to a `sum` filter.
            PlanError: delta0 and the samplers' numerical slack eat the delta.
        """
        if filter not in FILTERS:
            raise BudgetError(f"filter must be one of {list(FILTERS)}, got {filter!r}")
        aside = real("delta0", delta0, BudgetError)
        if aside < 0 or (aside and filter == "sum"):
            raise BudgetError(
                f"delta0 must be at least 0, and is set aside in a 'gdp' filter only (a 'sum' filter adds every delta "
                f"up), got {delta0!r} for {filter!r}"
            )
        return cls(budget, "sum", None) if filter == "sum" else cls(budget, "gdp", _cap(budget, aside), aside)

    @property
    def sound(self) -> bool:
        """Whether the cap on record is one that the budget allows, but for the last bits of another platform."""
        try:
            allowed = Lifetime.of(self.budget, self.filter, self.delta0).mu_squared or Decimal(0)
        except (BudgetError, PlanError):
            return False
        return (self.mu_squared or Decimal(0)) <= UP.multiply(allowed, 1 + _LAST_BITS)

    def widened(self, budget: Budget | None = None, delta0: float | str | Decimal | None = None) -> Lifetime:
        """The filter after an amendment: what may be spent only ever grows, in each figure.

        A filter whose region grows keeps the guarantee of the last, largest one, however it came to grow. A smaller
        cap on one figure for a larger one on the other, chosen after seeing outputs, keeps neither.

        Args:
            budget: the new (epsilon, delta); by default the old one, delta raised by what `delta0` grows.
            delta0: the new cap on delta0; by default the old one.

        Raises:
            BudgetError: a figure would shrink, or nothing would change.
            PlanError: as `of`.
        """
        aside = self.delta0 if delta0 is None else real("delta0", delta0, BudgetError)
        if budget is None:
            budget = Budget(self.budget.epsilon, UP.add(self.budget.delta, max(Decimal(0), aside - self.delta0)))
        wider = Lifetime.of(budget, self.filter, aside)
        shrinks = {
            "mu squared": (wider.mu_squared or Decimal(0)) < (self.mu_squared or Decimal(0)),
            "delta0": wider.delta0 < self.delta0,
            "epsilon": wider.budget.epsilon < self.budget.epsilon,
            "delta": wider.budget.delta < self.budget.delta,
        }
        if any(shrinks.values()):
            smaller = " and ".join(name for name, less in shrinks.items() if less)
            raise BudgetError(
                f"an amendment may only widen a lifetime budget; {budget} with delta0 {aside:.3g} would lower "
                f"{smaller} of {self.budget} with delta0 {self.delta0:.3g}. Raise epsilon or delta as well"
            )
        if wider == self:
            raise BudgetError(f"the amendment changes nothing: the lifetime budget is {self.budget} already")
        return wider

    def admits(self, spent: Charge, charge: Charge) -> bool:
        """Whether `charge` fits beside what is `spent`."""
        together = spent + charge
        if self.mu_squared is not None:
            return together.mu_squared <= self.mu_squared and together.delta0 <= self.delta0
        return together.epsilon <= self.budget.epsilon and together.delta <= self.budget.delta

    def remaining_mu_squared(self, spent: Charge) -> Decimal | None:
        """mu^2 left, rounded down; None for a `sum` filter."""
        if self.mu_squared is None:
            return None
        return max(Decimal(0), DOWN.subtract(self.mu_squared, spent.mu_squared))

    def remaining_sum(self, spent: Charge) -> tuple[Decimal, Decimal] | None:
        """Epsilon and delta left, rounded down; None for a `gdp` filter, where no such pair is what is left."""
        if self.mu_squared is not None:
            return None
        left = DOWN.subtract(self.budget.epsilon, spent.epsilon), DOWN.subtract(self.budget.delta, spent.delta)
        return max(Decimal(0), left[0]), max(Decimal(0), left[1])

    def remaining_epsilon(self, spent: Charge, delta: float | str | Decimal) -> Decimal:
        """The largest epsilon (to six digits, rounded down) that one more release at `delta` may declare.

        Whatever is planned within it is admitted by the filter. 0 where nothing is.

        Raises:
            BudgetError: delta is not above 0 and below 1.
        """
        exact = Budget(1, delta).delta
        left = self.remaining_mu_squared(spent)
        if left is not None:
            return _largest_epsilon(left, exact) if left > 0 else Decimal(0)
        if UP.add(spent.delta, exact) > self.budget.delta:
            return Decimal(0)
        return max(Decimal(0), DOWN.subtract(self.budget.epsilon, spent.epsilon))

    def spent_epsilon(self, spent: Charge) -> Decimal:
        """Epsilon at the lifetime's delta of all that is spent, rounded up: the figure for people."""
        if self.mu_squared is None:
            return spent.epsilon
        if spent.mu_squared == 0 and spent.delta0 == 0:
            return Decimal(0)
        delta = DOWN.subtract(self.budget.delta, numerical_slack(self.budget.epsilon))
        return min(self.budget.epsilon, Decimal(repr(Profile(spent.mu_squared, spent.delta0).epsilon(delta))))

    def to_json(self) -> dict[str, Any]:
        """As the opening row records it."""
        cap = None if self.mu_squared is None else {"mu_squared": str(self.mu_squared), "delta0": str(self.delta0)}
        return {"budget": self.budget.to_json(), "filter": self.filter, "cap": cap}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Lifetime:
        """The inverse of `to_json`: the cap as recorded, not computed again.

        Raises:
            BudgetError: the text does not describe a filter.
        """
        budget, cap = Budget.from_json(body["budget"]), body["cap"]
        match body["filter"]:
            case "sum" if cap is None:
                return cls(budget, "sum", None)
            case "gdp" if cap is not None:
                mu_squared, delta0 = (real(name, cap[name], BudgetError) for name in ("mu_squared", "delta0"))
                return cls(budget, "gdp", mu_squared, delta0)
        raise BudgetError(f"filter must be one of {list(FILTERS)} with its cap, got {body['filter']!r}")


@lru_cache(maxsize=256)
def _cap(budget: Budget, delta0: Decimal) -> Decimal:
    return mu_squared_cap(budget, delta0)


@lru_cache(maxsize=256)
def _largest_epsilon(left: Decimal, delta: Decimal) -> Decimal:
    # The slack of a smaller epsilon is smaller, so one correction from below comes close and does not overshoot.
    profile = Profile(left)
    epsilon = Decimal(repr(profile.epsilon(delta)))
    while numerical_slack(epsilon) >= delta:
        epsilon = DOWN.multiply(epsilon, Decimal("0.99"))
    corrected = DOWN.subtract(delta, numerical_slack(epsilon))
    epsilon = max(epsilon, Decimal(repr(profile.epsilon(corrected))))
    for rounding in (ROUND_HALF_EVEN, ROUND_FLOOR):
        rounded = Context(prec=_DIGITS, rounding=rounding).plus(epsilon).normalize()
        if rounded > 0 and _fits(rounded, delta, left):
            return rounded
    return Decimal(0)


def _fits(epsilon: Decimal, delta: Decimal, left: Decimal) -> bool:
    try:
        return mu_squared_cap(Budget(epsilon, delta)) <= left
    except PlanError:
        return False
