"""The gate: whether a release may be run, and whether a table may leave. Pure functions of declared parameters.

Nothing here sees rows, noisy answers, clocks or files. A refusal names its rule, gives the figures and says
what would be admitted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from accountants.allowance import mu_squared_cap, numerical_slack
from accountants.budget import Budget
from accountants.claim import Claim
from accountants.composition import NumericalProfile
from accountants.crosscheck import Interval, epsilon_interval
from accountants.errors import BudgetError, EventError, PlanError
from accountants.events import ADD_OR_REMOVE, Event
from accountants.exact import DOWN, UP, floor_float
from accountants.figures import down, small, up
from accountants.lifetime import Charge, Lifetime
from accountants.plan import Plan, too_many
from accountants.policy import DEFAULT_POLICY, NUMERICS, SCHEMA_ORIGINS, Policy
from accountants.profile import Profile
from accountants.verdict import Admitted, Refused, Rule

if TYPE_CHECKING:
    from accountants.ledger.state import AccountState

_LABEL = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_THREE_UP = Context(prec=3, rounding=ROUND_CEILING)
_TWO_DOWN = Context(prec=2, rounding=ROUND_FLOOR)


def decide(claim: Claim, state: AccountState, policy: Policy = DEFAULT_POLICY) -> Admitted | Refused:
    """Whether `claim` may be reserved on the account: the claim alone, then policies, then what is left.

    The account's own policy, recorded at opening, holds beside `policy`.

    **Guarantee.** An admitted claim's looks at capacity are within its declared (epsilon, delta) by both
    accountants, and its charge fits the lifetime filter beside everything charged before.
    """
    policies = (policy,) if state.policy is None else (policy, state.policy)
    excess = too_many(claim.events)
    if excess:
        return Refused(Rule.CLAIM, f"{excess}: nobody could check them.", "Plan fewer looks.")
    refused = check_claim(claim)
    for each in policies:
        refused = refused or _check_policy(claim, each)
    refused = refused or _check_unit(claim, state)
    if refused:
        return refused
    charge = Charge.of(claim)
    for each in policies:
        refused = refused or _check_labels(claim, charge, state, each) or _check_ceiling(claim, charge, state, each)
    return refused or _check_lifetime(claim, charge, state) or Admitted(charge)


def decide_draw(release_id: str, model_digest: str, state: AccountState) -> Admitted | Refused:
    """Whether a table may be drawn from a model: its release must have committed that very model."""
    release = state.releases.get(release_id)
    if release is None or release.model is None:
        status = "never reserved" if release is None else release.status.value
        if release is not None and release.status.value == "committed":
            return Refused(
                Rule.MODEL,
                f"release {release_id} of dataset {state.dataset!r} made no model: it is another library's mechanism "
                "or a survey.",
                "Draw from a release of dpsynth's own.",
            )
        return Refused(
            Rule.MODEL,
            f"release {release_id} of dataset {state.dataset!r} is {status}, not committed.",
            "Draw from a model whose run was committed.",
        )
    if release.model != model_digest:
        return Refused(
            Rule.MODEL,
            f"release {release_id} committed model {release.model[:16]}, this is model {model_digest[:16]}.",
            "Draw from the committed model as it was stored.",
        )
    return Admitted(Charge(), release_id)


def decide_release(
    table_digest: str,
    model_digest: str,
    state: AccountState | None,
    policy: Policy = DEFAULT_POLICY,
    *,
    numerics: str = "exact",
) -> Admitted | Refused:
    """Whether a table may leave.

    Args:
        table_digest, model_digest: of the table at hand and of the model it says it was drawn from.
        state: the account; None where its ledger's chain is broken.
        policy: as in `decide`; a ceiling lowered since the reservation holds.
        numerics: how the noise behind the table was made, as its maker knows: ``exact``, ``idealised``,
            ``none`` or ``seeded``.
    """
    if state is None:
        return Refused(
            Rule.CHAIN,
            "the ledger's chain is broken.",
            "Release nothing from it; run `dpsynth ledger verify` and restore a backup.",
        )
    if numerics not in NUMERICS:
        return _not_private(numerics)
    if table_digest not in state.draws:
        return Refused(
            Rule.TABLE,
            f"table {table_digest[:16]} is on no draw of dataset {state.dataset!r}.",
            "Release a table as it was drawn, unedited, from a model committed on this account; "
            "`dpsynth sample` draws again at no cost.",
        )
    # Small tables of two models may be equal: the release is the one that committed this model and drew this table.
    releases = (each for each in state.releases.values() if each.model == model_digest and table_digest in each.draws)
    release = next(releases, None)
    if release is None:
        return Refused(
            Rule.MODEL,
            f"table {table_digest[:16]} was not drawn from model {model_digest[:16]}.",
            "Release it with the committed model it was drawn from.",
        )
    claim = release.claim
    if claim.numerics != numerics:
        return Refused(
            Rule.NUMERICS,
            f"the release was reserved with numerics {claim.numerics!r}, the table was made with {numerics!r}.",
            "Plan and reserve a release with the numerics it will run with.",
        )
    refused = check_claim(claim)
    for each in (policy,) if state.policy is None else (policy, state.policy):
        refused = refused or _check_policy(claim, each)
    return refused or Admitted(Charge(), release.id)


def check_claim(claim: Claim) -> Refused | None:
    """Rules on the claim alone. A frame and a plan at capacity must be within the declared budget, twice."""
    if claim.numerics not in NUMERICS:
        return _not_private(claim.numerics)
    malformed = _malformed(claim)
    if malformed:
        return Refused(Rule.CLAIM, malformed, "Correct the plan and ask again.")
    budget = claim.budget
    delta = DOWN.subtract(budget.delta, numerical_slack(budget.epsilon))
    if delta <= 0:
        return Refused(
            Rule.CLAIM,
            f"at epsilon {budget.epsilon} the samplers' numerical slack exceeds delta {budget.delta}.",
            "Declare a smaller epsilon or a larger delta.",
        )
    try:
        first = _first_accountant(claim.profile, delta)
        claim.domination  # noqa: B018 - what a lifetime would be charged must be computable
    except (BudgetError, EventError, PlanError) as error:
        return Refused(Rule.CLAIM, f"the planned looks fit no budget of {budget}: {error}.", "Plan again.")
    if Decimal(first) > budget.epsilon:
        return Refused(
            Rule.CLAIM,
            f"the planned looks cost epsilon {up(first)} at delta {small(budget.delta)}{_mu(claim)}, "
            f"more than the declared {budget.epsilon}.",
            f"Declare epsilon {up(first)}, or plan again within epsilon {budget.epsilon}.",
        )
    second = second_opinion(claim)
    if second is not None and (not second.confirms(first) or Decimal(second.high) > budget.epsilon):
        return _disagreement(first, second, budget)
    return None


def second_opinion(claim: Claim) -> Interval | None:
    """The second accountant's epsilon of the claim at its delta less the slack; None where it knows no formula."""
    delta = DOWN.subtract(claim.budget.delta, numerical_slack(claim.budget.epsilon))
    return _second_accountant(claim.plan, claim.frame, floor_float(delta))


def _not_private(numerics: str) -> Refused:
    return Refused(
        Rule.NUMERICS,
        f"numerics {numerics!r} is not private: noise must come from the operating system's randomness.",
        "Run again without test settings; seeded and no-noise modes are for tests only.",
    )


def _malformed(claim: Claim) -> str | None:
    if (claim.schema_digest is None) is not (claim.schema_origin == "none"):
        return "a claim without a schema has origin 'none' and no digest, any other has both."
    if claim.schema_digest is not None and not _DIGEST.fullmatch(claim.schema_digest):
        return f"the schema digest must be a sha256 in lower-case hex, got {claim.schema_digest!r}."
    if claim.schema_origin not in SCHEMA_ORIGINS:
        return f"schema origin must be one of {sorted(SCHEMA_ORIGINS)}, got {claim.schema_origin!r}."
    if claim.sources and claim.numerics != "idealised":
        return (
            f"a third party's claim rests on its own arithmetic: numerics must be 'idealised', got {claim.numerics!r}."
        )
    if claim.schema_digest is not None and claim.relation != ADD_OR_REMOVE:
        return (
            "a release with a schema promises something about adding or removing a unit, and a look in it is about "
            "exchanging one; such looks are reserved as a release of their own, without a schema."
        )
    for name, label in (("generator", claim.generator), ("purpose", claim.purpose), ("recipient", claim.recipient)):
        if label is not None and not _LABEL.fullmatch(label):
            return f"{name} must be 1 to 100 printable characters, got {label!r}."
    return None


def _disagreement(first: float, second: Interval, budget: Budget) -> Refused:
    return Refused(
        Rule.ACCOUNTANTS,
        f"the first accountant finds epsilon {first:.9g}, the second between {second.low:.9g} and {second.high:.9g}, "
        f"and both must agree on at most the declared {budget.epsilon}.",
        "Declare a slightly larger epsilon, or plan with a little more noise.",
    )


def _check_policy(claim: Claim, policy: Policy) -> Refused | None:
    budget = claim.budget
    if budget.epsilon > policy.max_epsilon:
        return Refused(
            Rule.POLICY,
            f"the release declares epsilon {budget.epsilon}; policy allows at most {policy.max_epsilon} per release.",
            f"Lower epsilon to {policy.max_epsilon}.",
        )
    if budget.delta > policy.max_delta:
        return Refused(
            Rule.POLICY,
            f"the release declares delta {small(budget.delta)}; policy allows at most {small(policy.max_delta)}.",
            f"Lower delta to {small(policy.max_delta)}.",
        )
    if policy.generators is not None and claim.generator not in policy.generators:
        return _not_listed("generator", claim.generator, policy.generators)
    if claim.numerics not in policy.numerics:
        return _not_listed("numerics", claim.numerics, policy.numerics)
    if claim.schema_origin not in policy.schema_origins:
        return _not_listed("schema origin", claim.schema_origin, policy.schema_origins)
    for source in sorted(claim.sources):
        if policy.third_party is not None and source not in policy.third_party:
            return _not_listed("claims of", source, policy.third_party)
    if not policy.unchecked and second_opinion(claim) is None:
        return Refused(
            Rule.ACCOUNTANTS,
            "no second accountant knows a formula for these looks, so their epsilon is unchecked.",
            "Set 'unchecked: true' in the policy if one accountant is enough, or plan looks that two can check.",
        )
    return None


def _not_listed(what: str, got: str | None, allowed: frozenset[str] | Mapping[str, Budget]) -> Refused:
    names = ", ".join(sorted(allowed)) or "none"
    if got is None and allowed:
        return Refused(Rule.POLICY, f"this policy asks for a {what}.", f"Give --{what}, one of: {names}.")
    got_text = f"a release without a {what}" if got is None else f"{what} {got!r}"
    return Refused(Rule.POLICY, f"policy does not admit {got_text}.", f"Admitted: {names}.")


def _check_unit(claim: Claim, state: AccountState) -> Refused | None:
    unit = state.unit
    if unit is None or unit.column == claim.unit.column:
        return None
    had, got = (f"column {each!r}" if each is not None else "the row" for each in (unit.column, claim.unit.column))
    return Refused(
        Rule.UNIT,
        f"the earlier releases of dataset {state.dataset!r} protect {had}, this one {got}; their costs do not add up.",
        f"Declare {had} as the privacy unit.",
    )


def _check_labels(claim: Claim, charge: Charge, state: AccountState, policy: Policy) -> Refused | None:
    for name, label, caps, unlisted in (
        ("purpose", claim.purpose, policy.purposes, policy.unlisted_purposes),
        ("recipient", claim.recipient, policy.recipients, policy.unlisted_recipients),
    ):
        cap = None if label is None else caps.get(label)
        if cap is None:
            if not unlisted:
                return _not_listed(name, label, caps)
            continue
        spent = state.spent_on(purpose=label) if name == "purpose" else state.spent_on(recipient=label)
        scope = f"{name} {label!r} on dataset {state.dataset!r}"
        # What an account sets aside for failures, a label may use up to half of its own delta of.
        lifetime = Lifetime.of(cap, state.filter, min(state.lifetime.delta0, cap.delta / 2))
        refused = _over(Rule.POLICY, claim, charge, state, spent, lifetime, scope)
        if refused:
            return refused
    return None


def _check_ceiling(claim: Claim, charge: Charge, state: AccountState, policy: Policy) -> Refused | None:
    """The policy's ceilings on all releases of the account together."""
    whole = state.budget
    if policy.max_lifetime_delta is not None and whole.delta > policy.max_lifetime_delta:
        return Refused(
            Rule.POLICY,
            f"dataset {state.dataset!r} is opened for delta {small(whole.delta)}; policy allows at most "
            f"{small(policy.max_lifetime_delta)} for all releases of an account together.",
            "Release from an account opened within it, or change the policy.",
        )
    if policy.max_lifetime_epsilon is None or policy.max_lifetime_epsilon >= whole.epsilon:
        return None
    ceiling = Lifetime.of(Budget(policy.max_lifetime_epsilon, whole.delta), state.filter, state.lifetime.delta0)
    return _over(Rule.POLICY, claim, charge, state, state.spent, ceiling, f"by policy, dataset {state.dataset!r}")


def _check_lifetime(claim: Claim, charge: Charge, state: AccountState) -> Refused | None:
    return _over(Rule.LIFETIME, claim, charge, state, state.spent, state.lifetime, f"dataset {state.dataset!r}")


def _over(
    rule: Rule, claim: Claim, charge: Charge, state: AccountState, spent: Charge, cap: Lifetime, scope: str
) -> Refused | None:
    if cap.admits(spent, charge):
        return None
    delta = claim.budget.delta
    if cap.mu_squared is not None and UP.add(spent.delta0, charge.delta0) > cap.delta0:
        return Refused(
            rule,
            f"the release may fail outright with probability {small(charge.delta0)}; {scope} sets "
            f"{small(cap.delta0)} of its delta aside for that, of which {small(spent.delta0)} is charged.",
            _aside(charge, state),
        )
    if cap.mu_squared is not None:
        figures = (
            f"which costs mu^2 {up(charge.mu_squared)} where {down(cap.remaining_mu_squared(spent) or Decimal(0))} "
            f"is left ({_charged(spent.mu_squared, cap.mu_squared)} of {down(cap.mu_squared)} is charged)"
        )
    else:
        left, left_delta = cap.budget.epsilon - spent.epsilon, cap.budget.delta - spent.delta
        figures = f"where epsilon {left} and delta {small(left_delta)} are left"
    reason = (
        f"the release asks for {claim.budget}{_mu(claim)}, {figures}; {scope} is opened for "
        f"{cap.budget} and epsilon {up(cap.spent_epsilon(spent))} of it is charged."
    )
    fits = cap.remaining_epsilon(spent, delta)
    room = cap.remaining_mu_squared(spent)
    if room is not None and fits > 0 and charge.mu_squared > mu_squared_cap(claim.budget):
        # Nearly: mu^2 grows with the square of epsilon.
        about = _TWO_DOWN.multiply(claim.budget.epsilon, DOWN.sqrt(DOWN.divide(room, charge.mu_squared)))
        way = (
            f"Lower its epsilon to about {about.normalize():f}: what it asks costs more than Gaussian noise of the "
            f"same epsilon, of which {fits:f} would fit. "
        )
    elif fits > 0:
        way = f"At most epsilon {fits:f} at delta {small(delta)} fits: lower epsilon to that. "
    else:
        way = f"No further release at delta {small(delta)} fits. "
    return Refused(rule, reason, way + "Committed models can be sampled again at no cost.")


@lru_cache(maxsize=1024)
def _first_accountant(profile: Profile | NumericalProfile, delta: Decimal) -> float:
    return profile.epsilon(delta)


@lru_cache(maxsize=1024)
def _second_accountant(plan: Plan, frame: tuple[Event, ...], delta: float) -> Interval | None:
    return epsilon_interval((plan, *frame), delta)


def _mu(claim: Claim) -> str:
    mu = claim.profile.mu
    return "" if mu is None else f" (mu {up(mu)})"


def _aside(charge: Charge, state: AccountState) -> str:
    """What admits a charge that more delta must be set aside for, as a command where there is one."""
    whole = state.lifetime
    needed = _THREE_UP.create_decimal(UP.add(state.spent.delta0, charge.delta0))
    if needed <= whole.delta0:
        return "Policy caps a delta of which half may be set aside: raise that delta."
    delta = UP.add(whole.budget.delta, needed - whole.delta0)
    return (
        f"Set more aside, on top of its lifetime delta: `dpsynth ledger amend {state.dataset} --delta0 "
        f"{small(needed)} --delta {small(delta)}`."
    )


def _charged(spent: Decimal, cap: Decimal) -> str:
    """What is charged of a cap, rounded up, but not beyond a cap that it keeps."""
    return down(cap) if spent <= cap and Decimal(up(spent)) > Decimal(down(cap)) else up(spent)
