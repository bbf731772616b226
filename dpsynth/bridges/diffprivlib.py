"""diffprivlib on the ledger: a ``BudgetAccountant`` that charges an account before each look.

>>> from dpsynth.bridges.diffprivlib import LedgerBudgetAccountant                          # doctest: +SKIP
>>> spends = LedgerBudgetAccountant(account)                                                # doctest: +SKIP
>>> diffprivlib.tools.mean(ages, epsilon=0.1, bounds=(0, 110), accountant=spends)           # doctest: +SKIP

What the charge rests on is listed in `ASSUMED`, and explained in docs/bridges.md.
"""

from __future__ import annotations

import inspect
import sys
from decimal import ROUND_FLOOR, Context, Decimal
from importlib.metadata import version
from threading import RLock
from types import FrameType
from typing import NoReturn, Self, final

from scipy.special import log_ndtr

from accountants import Account, Budget, Claim, Claimed, FixedPlan, GateRefused, Policy, PrivacyUnit, Rule
from accountants.events import MAX_ETA, REPLACE, Unit
from accountants.exact import DOWN, UP
from accountants.policy import DEFAULT_POLICY

try:
    from diffprivlib.accountant import BudgetAccountant
    from diffprivlib.utils import Budget as Spend
    from diffprivlib.utils import BudgetError
except ImportError as missing:
    raise ImportError(
        f"dpsynth.bridges.diffprivlib needs diffprivlib ({missing}): pip install 'dpsynth[diffprivlib]'"
    ) from missing
if tuple(int(part) for part in version("scikit-learn").split(".")[:2]) >= (1, 8):
    # Its tools would work, and some of its models; others fail, and after the charge that costs budget.
    raise ImportError(
        f"diffprivlib 0.6 does not work with scikit-learn 1.8 and newer, this is {version('scikit-learn')}: "
        "pip install 'dpsynth[diffprivlib]'"
    )

_SUSPENDABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

ASSUMED = (
    "histograms and counts are for a row added or removed, everything else for a row exchanged",
    "bounds, norms, ranges, bins and classes are public: given, never taken from the data",
    "random_state was left out: nobody seeded the noise",
    "the noise of floating-point mechanisms is taken as ideal",
    "only noisy answers leave: labels_, inertia_, warnings and error messages are exact, not covered",
)
"""What diffprivlib takes for granted, as the ledger records it with every claim, beside the number of rows."""


@final
class LedgerBudgetError(GateRefused, BudgetError):  # type: ignore[misc]
    """The gate said no before anything was computed: both a `GateRefused` and diffprivlib's ``BudgetError``."""


@final
class LedgerBudgetAccountant(BudgetAccountant):  # type: ignore[misc]
    """A diffprivlib accountant whose every look is charged to an account before diffprivlib touches the data.

    Use it as any ``BudgetAccountant``: ``accountant=`` of a tool or model, `set_default`, or a ``with`` block. Its
    `total`, `spent_budget` and length are those of its own calls in diffprivlib's terms; the account's `state` has
    everything.

    Args:
        account: what is charged.
        epsilon, delta: a ceiling on this accountant's own calls, beside the ledger's, as in diffprivlib.
        delta_each: delta that each call declares to the ledger beyond its own (which is 0 for all of diffprivlib's
            tools and models): a release's delta is above 0 here. At least about 1e-11.
        unit: of the account: the row (default), or a column of whose values each has up to `at_most` rows; the charge
            is for the unit, at_most times the epsilon.
        relation: the neighbours that claims are labelled with: tables of equal size, one row exchanged, by default.
        policy: rules beyond the account's own; ``third_party`` and ``generators`` know these claims as
            ``diffprivlib``.
        purpose, recipient: labels that policy may cap.

    **Guarantee.** Under `ASSUMED`, what diffprivlib returns is within what the ledger was charged before: `check` puts
    the whole charge on record, and nothing gives it back. A call that fails afterwards has cost all of it.
    """

    def __init__(
        self,
        account: Account,
        epsilon: float = float("inf"),
        delta: float = 1.0,
        *,
        delta_each: float | str | Decimal = Decimal("1e-10"),
        unit: PrivacyUnit | None = None,
        relation: str = REPLACE,
        policy: Policy | None = None,
        purpose: str | None = None,
        recipient: str | None = None,
    ) -> None:
        self._account = account
        self._unit = PrivacyUnit() if unit is None else unit
        self._delta_each = Budget(1, delta_each).delta
        self._relation = relation
        self._policy = DEFAULT_POLICY if policy is None else policy
        self._purpose = purpose
        self._recipient = recipient
        self._charged: list[tuple[float, float]] = []
        self._open: dict[int, tuple[FrameType, float, float]] = {}
        self._mutex = RLock()
        super().__init__(epsilon, delta)

    @property
    def spent_budget(self) -> list[tuple[float, float]]:
        """(epsilon, delta) of every call that was charged, whether or not it returned an answer."""
        return list(self._charged)

    def check(self, epsilon: float, delta: float) -> bool:
        """Charge one look, before it is made. diffprivlib calls this first in every tool and model.

        The run is recorded as ended at once: its cost cannot change any more, and a run lock held while others' code
        runs would stop the calls nested in it (a random forest's trees).

        Returns:
            True.

        Raises:
            LedgerBudgetError: the account or a policy does not admit it. Nothing was charged.
            BudgetError: more than this accountant's own ceiling. Nothing was charged.
            EventError, ValueError, TypeError: no (epsilon, delta) that protects anything. Nothing was charged.
            LedgerBusy: another session runs on the dataset. Nothing was charged.
        """
        with self._mutex:
            self._charge(epsilon, delta)
            caller = sys._getframe(1)
            self._forget_ended(caller)
            self._open[id(caller)] = (caller, epsilon, delta)
        return True

    def spend(self, epsilon: float, delta: float) -> Self:
        """Close the look that the same call checked before; charge it where there is none, as for a mechanism of yours.

        Only the very function call that checked is settled: a check left behind by a call that failed pays for nothing
        else.

        Raises:
            LedgerBudgetError, BudgetError, EventError, LedgerBusy: as `check`.
        """
        with self._mutex:
            caller: FrameType = sys._getframe(1)
            self._forget_ended(caller)
            checked = self._open.pop(id(caller), None)
            if checked is None or checked[0] is not caller or checked[1:] != (epsilon, delta):
                self._charge(epsilon, delta)
        return self

    def _forget_ended(self, caller: FrameType) -> None:
        """Drop checks of calls that have ended. A kept frame's address is not used again: no later call has its id."""
        for key, (frame, *_) in list(self._open.items()):
            if frame is caller or frame.f_code.co_flags & _SUSPENDABLE:
                continue
            try:
                frame.clear()  # refused while it runs
            except RuntimeError:
                continue
            del self._open[key]

    def remaining(self, k: int = 1) -> Spend:
        """(epsilon, 0): what each of `k` further calls may spend, by the ledger and by this accountant's own ceiling.

        On a `gdp` account claims of epsilon cost far more than Gaussian noise of that epsilon. Of policies only the
        ceiling on one release is looked at.

        Raises:
            LedgerCorrupt, LedgerError, LedgerBusy: the ledger cannot be trusted or read.
        """
        own, _ = super().remaining(k)
        return Spend(min(float(own), float(self._left(k))), 0)

    def _left(self, k: int) -> Decimal:
        state = self._account.state
        lifetime, spent = state.lifetime, state.spent
        ceilings = [each.max_epsilon for each in (self._policy, state.policy) if each is not None]
        left = lifetime.remaining_mu_squared(spent)
        if left is not None:
            ceilings.append(_pure_epsilon(left / k))
        elif UP.add(spent.delta, k * self._delta_each) <= lifetime.budget.delta:
            ceilings.append((lifetime.budget.epsilon - spent.epsilon) / k)
        else:
            return Decimal(0)
        each = DOWN.divide(min(*ceilings, Decimal(MAX_ETA)), self._unit.at_most)
        return max(Decimal(0), Context(prec=6, rounding=ROUND_FLOOR).plus(each))

    def _charge(self, epsilon: float, delta: float) -> None:
        super().check(epsilon, delta)
        claim = self._claim(epsilon, delta)
        try:
            reservation = self._account.reserve(claim, self._policy)
        except GateRefused as refused:
            raise self._refused(refused, delta) from None
        try:
            reservation.start().charge(*claim.events)
            reservation.commit(None)
        except BaseException:
            reservation.forfeit()
            raise
        self._charged.append((epsilon, delta))

    def _claim(self, epsilon: float, delta: float) -> Claim:
        by_row = self._unit.column is not None
        event = Claimed(
            Decimal(repr(float(epsilon))),
            Decimal(repr(float(delta))),
            source="diffprivlib",
            per=Unit.ROW if by_row else Unit.UNIT,
            at_most=self._unit.at_most,
            relation=self._relation,
            assumed=ASSUMED,
        )
        return Claim(
            budget=Budget(event.converted[0], UP.add(event.converted[1], self._delta_each)),
            unit=self._unit,
            plan=FixedPlan([event]),
            generator="diffprivlib",
            schema_digest=None,
            schema_origin="none",
            numerics="idealised",
            assumptions=event.assumptions,
            purpose=self._purpose,
            recipient=self._recipient,
        )

    def _refused(self, refused: GateRefused, delta: float) -> LedgerBudgetError:
        way = refused.way_out
        if refused.rule == Rule.LIFETIME and not delta:
            left = self.remaining()[0]
            way = f"One more call of at most epsilon {left:g} fits. " if left else "No further call fits. "
            if self._account.state.lifetime.mu_squared is not None:
                way += "An account that adds epsilons up (filter 'sum') has more room for claims of epsilon."
        return LedgerBudgetError(refused.rule, refused.reason, way.strip())

    def __repr__(self, n_budget_max: int = 5) -> str:
        own = super().__repr__(n_budget_max).removeprefix("BudgetAccountant(").removesuffix(")")
        return f"LedgerBudgetAccountant({', '.join(filter(None, (repr(self._account.dataset), own)))})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Itself: scikit-learn copies a model's parameters, and every copy must charge the one account."""
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an accountant on the ledger is not pickled; open its ledger again in the other process")


def _pure_epsilon(mu_squared: Decimal) -> Decimal:
    """The largest epsilon (to a part in 1e-9, rounded down) that a Gaussian of that mu^2 dominates."""
    half = float(mu_squared.sqrt()) / 2
    return Decimal(float(log_ndtr(half) - log_ndtr(-half))) * (1 - Decimal("1e-9"))


__all__ = ["ASSUMED", "LedgerBudgetAccountant", "LedgerBudgetError"]
