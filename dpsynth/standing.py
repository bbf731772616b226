"""How an account stands: what is charged, what would still be admitted and by which rule, and what was ever done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, final

from accountants import Account, Budget, Ledger, Policy, Status
from accountants.allowance import mu_squared_cap
from accountants.errors import BudgetError, PlanError
from accountants.events import ADD_OR_REMOVE
from accountants.figures import down, plain, small, up
from accountants.ledger import AccountState, ReleaseState, Row
from accountants.lifetime import Charge, Lifetime
from accountants.policy import DEFAULT_POLICY

VERSION = 1
LEAST = Decimal("0.001")
"""An epsilon below which nothing can be learnt of any table."""


@final
@dataclass(frozen=True, slots=True)
class Label:
    """What a policy's cap on one purpose or recipient leaves.

    Attributes:
        kind: ``purpose`` or ``recipient``.
        label: as releases name it.
        cap: what all releases under it may spend together.
        charged: epsilon of that at the cap's delta, rounded up.
        fits: the most one more release under it may declare, at `delta`.
    """

    kind: str
    label: str
    cap: Budget
    charged: Decimal
    fits: Decimal
    delta: Decimal


@final
@dataclass(frozen=True, slots=True)
class Room:
    """What one more release may declare, by the budget and by the policies that hold whoever asks.

    A session may bring a stricter policy of its own, and looks other than Gaussian noise cost more than their epsilon.

    Attributes:
        epsilon: the most it may declare, at `delta`. 0 where none is admitted.
        delta: the lifetime's, or the most that policy admits of one release, or for `sum` what is left.
        limits: where policy stops below what the budget leaves, how; the strictest last.
        labels: what is left under each label that the account's policy caps.
    """

    epsilon: Decimal
    delta: Decimal
    limits: tuple[str, ...]
    labels: tuple[Label, ...]


def room(state: AccountState) -> Room:
    """What the gate would admit of one more release."""
    policies = (DEFAULT_POLICY,) if state.policy is None else (DEFAULT_POLICY, state.policy)
    left = state.lifetime.remaining_sum(state.spent)
    delta = min(state.budget.delta if left is None else left[1], *(each.max_delta for each in policies))
    labels = tuple(label for each in policies for label in _labels(state, each, delta))
    fits = _fits(state.lifetime, state.spent, delta)
    limits: list[str] = []
    strictest = min(policies, key=lambda each: each.max_epsilon)
    if fits < strictest.max_epsilon and _admits(state, strictest.max_epsilon, delta):
        fits = (
            strictest.max_epsilon
        )  # more would fit the filter, but no release of so much means anything at this delta
        limits.append(_per_release(strictest))
    for policy in policies:
        for most, words in _caps(state, policy, delta, labels):
            if most < fits:
                fits = most
                limits.append(words)
    return Room(fits, delta, tuple(limits), labels)


def tighter(budget: Budget, policy: Policy | None) -> list[str]:
    """Where a policy admits less than the budget of an account it is given to: one sentence each."""
    if policy is None:
        return []
    found = []
    if policy.max_lifetime_epsilon is not None and policy.max_lifetime_epsilon < budget.epsilon:
        found.append(_together(policy.max_lifetime_epsilon))
    if policy.max_lifetime_delta is not None and policy.max_lifetime_delta < budget.delta:
        found.append(_no_account(policy.max_lifetime_delta))
    if policy.max_epsilon < budget.epsilon:
        found.append(_per_release(policy))
    return found


def standing(state: AccountState) -> str:
    """What is charged and what is left, in a line."""
    found, left = room(state), state.lifetime.remaining_sum(state.spent)
    if left is None:
        spent = charged_of(state.spent_epsilon, state.budget.epsilon)
        charged = f"epsilon {spent} of {plain(state.budget.epsilon)} is charged at delta"
        line = f"{charged} {small(state.budget.delta)} (filter gdp); "
        at = "that delta" if found.delta == state.budget.delta else f"delta {small(found.delta)}"
        fits = f"one more release of up to epsilon {down(found.epsilon)} at {at} would fit"
        if found.epsilon < LEAST:
            fits = f"no further release {'of any use ' if found.epsilon else ''}at {at} fits"
        line += fits
    else:
        line = f"epsilon {plain(state.spent.epsilon)} of {plain(state.budget.epsilon)} and delta "
        line += f"{small(state.spent.delta)} of "
        line += f"{small(state.budget.delta)} are charged (filter sum); epsilon {plain(left[0])} and delta "
        line += f"{small(left[1])} are left"
    limit = f"; {found.limits[-1]}" if found.limits else ""
    return f"Dataset {state.dataset}: {line}{limit}.{known_size(state)}"


def known_size(state: AccountState) -> str:
    """What is less about an account that was charged for claims about exchanging units; empty where none was."""
    if state.relation == ADD_OR_REMOVE:
        return ""
    return (
        " Some of its releases take the number of rows for public: all of them together hide whether a unit's rows are "
        "blank, not how many rows there are."
    )


def label_lines(state: AccountState) -> list[str]:
    """What is left under each label that the account's policy caps."""
    found = room(state)
    return [
        f"{each.kind} {each.label}: epsilon {charged_of(each.charged, each.cap.epsilon)} of "
        f"{plain(each.cap.epsilon)} is charged at delta {small(each.cap.delta)}, one of up to epsilon "
        f"{down(min(each.fits, found.epsilon))} would fit"
        for each in found.labels
    ]


def described(book: Ledger, names: Iterable[str]) -> dict[str, Any]:
    """Everything on record about some accounts, as JSON."""
    rows = book.rows()
    accounts = [_account(book.account(name), [row for row in rows if row.account == name]) for name in names]
    return {
        "version": VERSION,
        "ledger": book.place,
        "rows": book.head[0],
        "anchored": book.rollback_detectable,
        "accounts": accounts,
    }


def history(described: Mapping[str, Any]) -> list[str]:
    """The lines of one account of `described`: its terms as they changed, its policy, its releases."""
    lines: list[str] = []
    before: dict[str, Any] | None = None
    for terms in described["terms"]:
        lines.append(f"{terms['at']}  {_change(before, terms)}")
        before = terms
    if described["policy"] is not None:
        lines.append("Its policy:")
        policy = {name: value for name, value in described["policy"].items() if name != "version"}
        lines += [f"  {name}: {_text(value)}" for name, value in policy.items()]
    lines.append("Releases:" if described["releases"] else "No release was asked for yet.")
    for release in described["releases"]:
        cost = "voided, costs nothing" if release["status"] == Status.VOIDED.value else release["status"]
        reason = f" ({release['reason']})" if release["reason"] else ""
        if release["status"] == Status.RUNNING.value:
            reason = " (or its process is gone: the next release finds out)"
        labels = "".join(f", {name} {release[name]}" for name in ("purpose", "recipient") if release[name])
        drawn = f", {release['draws']} drawn" if release["draws"] else ""
        drawn += read(release["reads"])
        budget = Budget.from_json(release["budget"])
        lines.append(f"  {release['id']}  {release['at']}  {cost}{reason}")
        lines.append(f"    {release['generator']}, {budget}{labels}{drawn}")
    return lines


def outcome(release: ReleaseState | None, dataset: str) -> str:
    """What an interrupted run cost, by the ledger."""
    if release is None:
        return "Nothing was charged."
    match release.status:
        case Status.VOIDED:
            return f"Nothing was charged: release {release.id} was voided."
        case Status.RESERVED:
            way = f"give it back with `dpsynth ledger void {dataset} {release.id}`"
            return f"Release {release.id} is reserved and counts until voided; {way}."
        case Status.COMMITTED:
            again = f"draw from it with `dpsynth sample --dataset {dataset} --release {release.id} --out FOLDER`"
            return f"Release {release.id} was charged {release.claim.budget} and committed; {again} at no further cost."
        case Status.RUNNING:
            return f"Release {release.id} was charged {release.claim.budget}; the next release records it as crashed."
    return f"Release {release.id} was charged {release.claim.budget} and forfeited."


def read(reports: int) -> str:
    """That private reports about a release were made, for the end of a line; empty where none was."""
    return "" if not reports else f", {reports} private report{'s' if reports > 1 else ''}"


def charged_of(figure: Decimal, cap: Decimal) -> str:
    """What is charged of a cap that it keeps: rounded up, but not beyond it."""
    return plain(min(Decimal(up(figure)), cap))


def _per_release(policy: Policy) -> str:
    whose = "the default policy" if policy is DEFAULT_POLICY else "its policy"
    return f"{whose} admits at most epsilon {plain(policy.max_epsilon)} per release"


def _admits(state: AccountState, epsilon: Decimal, delta: Decimal) -> bool:
    """Whether a release of that epsilon, and of `delta`, fits a `gdp` account whatever it looks at."""
    if state.filter == "sum" or delta <= 0:
        return False
    try:
        charge = Charge(mu_squared=mu_squared_cap(Budget(epsilon, delta)))
    except PlanError:
        return False
    return state.lifetime.admits(state.spent, charge)


def _together(most: Decimal) -> str:
    return f"its policy stops all releases together at epsilon {plain(most)}"


def _no_account(most: Decimal) -> str:
    return f"its policy admits no release from an account whose delta is above {small(most)}"


def _fits(lifetime: Lifetime, spent: Charge, delta: Decimal) -> Decimal:
    return lifetime.remaining_epsilon(spent, delta) if delta > 0 else Decimal(0)


def _caps(
    state: AccountState, policy: Policy, delta: Decimal, labels: tuple[Label, ...]
) -> Iterable[tuple[Decimal, str]]:
    """What each rule of a policy admits of one more release, and how to say it."""
    whole, most, most_delta = state.budget, policy.max_lifetime_epsilon, policy.max_lifetime_delta
    if most_delta is not None and most_delta < whole.delta:
        yield Decimal(0), _no_account(most_delta)
    if most is not None and most < whole.epsilon:
        ceiling = Budget(most, whole.delta)
        yield _under(state, ceiling, state.lifetime.delta0, state.spent, delta)[1], _together(most)
    for kind, unlisted in (("purpose", policy.unlisted_purposes), ("recipient", policy.unlisted_recipients)):
        if not unlisted:
            fits = [each.fits for each in labels if each.kind == kind]
            yield max(fits, default=Decimal(0)), f"its policy caps every {kind}"
    yield policy.max_epsilon, _per_release(policy)


def _labels(state: AccountState, policy: Policy, delta: Decimal) -> Iterable[Label]:
    """As the gate counts: what an account sets aside for failures, a label may use up to half of its own delta of."""
    for kind, caps in (("purpose", policy.purposes), ("recipient", policy.recipients)):
        for label, cap in caps.items():
            spent = state.spent_on(purpose=label) if kind == "purpose" else state.spent_on(recipient=label)
            left = cap.delta - spent.delta if state.filter == "sum" else cap.delta
            at = min(delta, max(Decimal(0), left))
            charged, fits = _under(state, cap, min(state.lifetime.delta0, cap.delta / 2), spent, at)
            yield Label(kind, label, cap, charged, fits, at)


def _under(
    state: AccountState, budget: Budget, delta0: Decimal, spent: Charge, delta: Decimal
) -> tuple[Decimal, Decimal]:
    """Epsilon charged of a cap, and what fits under it; nothing does where the cap is no budget at all."""
    try:
        lifetime = Lifetime.of(budget, state.filter, delta0)
        return lifetime.spent_epsilon(spent), _fits(lifetime, spent, delta)
    except (BudgetError, PlanError):
        return Decimal(0), Decimal(0)


def _account(account: Account, rows: list[Row]) -> dict[str, Any]:
    state = account.state
    found, left = room(state), state.lifetime.remaining_sum(state.spent)
    bodies = [(row.kind, row.body) for row in rows]
    dates = {body["release"]: body["at"] for kind, body in bodies if kind == "reserve"}
    terms = [
        {"at": body["at"], "kind": kind, "lifetime": body["lifetime"], "policy": body["policy"]}
        for kind, body in bodies
        if kind in ("open", "amend")
    ]
    charged = {"epsilon": str(state.spent_epsilon), "delta": str(state.spent.delta)}
    if left is None:  # epsilon at the lifetime's delta; declared deltas do not add up there
        charged = {"epsilon": str(state.spent_epsilon), "delta0": str(state.spent.delta0)}
    return {
        "dataset": state.dataset,
        "filter": state.filter,
        "relation": state.relation,
        "budget": state.budget.to_json(),
        "delta0": str(state.lifetime.delta0),
        "charged": charged,
        "left": None if left is None else {"epsilon": str(left[0]), "delta": str(left[1])},
        "fits": {"epsilon": str(found.epsilon), "delta": str(found.delta)},
        "limits": list(found.limits),
        "labels": [
            {
                "kind": each.kind,
                "label": each.label,
                "cap": each.cap.to_json(),
                "charged": str(each.charged),
                "fits": {"epsilon": str(min(each.fits, found.epsilon)), "delta": str(each.delta)},
            }
            for each in found.labels
        ],
        "policy": None if state.policy is None else state.policy.to_json(),
        "terms": terms,
        "releases": [_release(release, dates[release.id]) for release in state.releases.values()],
    }


def _release(release: ReleaseState, at: str) -> dict[str, Any]:
    claim = release.claim
    return {
        "id": release.id,
        "at": at,
        "status": release.status.value,
        "reason": None if release.reason is None else release.reason.value,
        "generator": claim.generator,
        "budget": claim.budget.to_json(),
        "purpose": claim.purpose,
        "recipient": claim.recipient,
        "relation": claim.relation,
        "assumptions": list(claim.assumed),
        "draws": len(release.draws),
        "reads": release.reads,
    }


def _change(before: Mapping[str, Any] | None, terms: Mapping[str, Any]) -> str:
    """What an opening or amending row says, from the one before."""
    lifetime = Lifetime.from_json(terms["lifetime"])
    if before is None:
        aside = f", delta0 {small(lifetime.delta0)}" if lifetime.delta0 else ""
        ruled = ", with a policy" if terms["policy"] is not None else ""
        return f"opened for {lifetime.budget}{aside}, filter {lifetime.filter}{ruled}"
    old, said = Lifetime.from_json(before["lifetime"]), []
    if old.budget != lifetime.budget:
        said.append(f"{old.budget} → {lifetime.budget}")
    if old.delta0 != lifetime.delta0:
        said.append(f"delta0 {small(old.delta0)} → {small(lifetime.delta0)}")
    if before["policy"] != terms["policy"]:
        said.append(_policy_change(before["policy"], terms["policy"]))
    return f"amended: {'; '.join(said)}"


def _policy_change(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> str:
    if old is None:
        return "a policy was given"
    if new is None:
        return "its policy was taken away"
    changed = [f"{name} {_text(old.get(name))} → {_text(new[name])}" for name in new if old.get(name) != new[name]]
    return f"policy: {', '.join(changed)}"


def _text(value: object) -> str:
    if value is None:
        return "any"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        caps = {label: Budget.from_json(dict(cap)) for label, cap in value.items()}
        texts = [f"{label} (epsilon {plain(cap.epsilon)}, delta {small(cap.delta)})" for label, cap in caps.items()]
        return ", ".join(texts) or "none"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    figure = Decimal(str(value))
    return small(figure) if figure < Decimal("0.001") else plain(figure)
