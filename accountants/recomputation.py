"""Reading a certificate nobody vouches for: is it well-formed, and do its own looks imply no more than it declares?

The second accountant does the sum, from the plan inside; where it has no formula for one of the looks, it does the
rest, and the first does the whole. Whatever is wrong is a `CertificateError` of one sentence. Counts, steps and noise
are bounded before anything is expanded or composed, by what the gate admits.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, NoReturn

from accountants.allowance import numerical_slack
from accountants.budget import Budget
from accountants.certificate import PREDICATE_TYPE, STATEMENT_TYPE, VERSION, charged_events
from accountants.composition import compose, mu_squared_of
from accountants.crosscheck import Interval, epsilon_interval
from accountants.domination import charge_of, tolerance
from accountants.errors import AccountingError
from accountants.events import ADD_OR_REMOVE, BLANK, Claimed, Event, PrivateSelection, SubsampledGaussian, together
from accountants.exact import DOWN, UP
from accountants.lifetime import Charge, Lifetime
from accountants.plan import MOST_KINDS, MOST_LOOKS, AdaptivePlan, FixedPlan, Plan, leaves, plan_from_json, too_many
from accountants.public import PublicTable
from accountants.unit import PrivacyUnit

LEAST_EPSILON, MOST_EPSILON = Decimal("1e-12"), Decimal(1000)
MOST_MU = 1000.0
LEAST_DELTA = Decimal("1e-300")
MARGIN = 1e-9
"""Relative difference between two platforms' last bits that is no contradiction."""

_EXACT_MARGIN = Decimal(repr(MARGIN))
_MOST_DIFFERENT = 4096
_ENDS = ("low", "high")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class CertificateError(AccountingError, ValueError):
    """A certificate that is malformed or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What a certificate says, and what follows from the looks it lists.

    Attributes:
        dataset, release, issued: as stated.
        budget, lifetime: (epsilon, delta) declared for the release, and for all releases of the dataset.
        unit: the privacy unit.
        interval: epsilon at the declared delta, less the stated slack, by the second accountant; None where it knows no
            formula for one of the looks.
        epsilon: that epsilon as an upper bound: the interval's, or where there is none the first accountant's.
        subjects: sha256 (hex) of each file signed, by name.
        model_digest, rows: of the table.
        numerics: ``exact`` or ``idealised``.
    """

    dataset: str
    release: str
    issued: str
    budget: Budget
    lifetime: Budget
    unit: PrivacyUnit
    interval: Interval | None
    epsilon: float
    subjects: Mapping[str, str]
    model_digest: str
    rows: int
    numerics: str


def issuer_of(statement: object) -> tuple[str, str]:
    """``(key_id, public_key)`` of the signer a certificate names. Never a reason to trust.

    Raises:
        CertificateError: it names none.
    """
    match statement:
        case {"predicate": {"issuer": {"key_id": str(key_id), "public_key": str(pem)}}} if len(pem) < 2000:
            return key_id, pem
    raise CertificateError("the certificate does not say who issued it")


def recompute(statement: object) -> Recomputed:
    """Check the statement against itself.

    Raises:
        CertificateError: malformed, of another version, or its looks imply more than it declares.
    """
    try:
        return _recompute(statement)
    except CertificateError:
        raise
    except AccountingError as error:
        reason = str(error)[:300]
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError):
        reason = "a field has a value it cannot have"
    raise CertificateError(f"the certificate is malformed: {reason}")


def _recompute(statement: object) -> Recomputed:
    match statement:
        case {
            "_type": str(kind),
            "subject": list(entries),
            "predicateType": str(predicate_type),
            "predicate": dict(body),
        }:
            pass
        case _:
            _fail("it is not an in-toto statement")
    if kind != STATEMENT_TYPE or predicate_type != PREDICATE_TYPE or body.get("version") != VERSION:
        _fail(f"it is not a dpsynth certificate of version {VERSION}; a newer dpsynth may read it")
    if body.get("synthetic") is not True:
        _fail("it does not say that the data are synthetic")
    _check_public(body)
    guarantee, looks, lifetime = (_dict(body, name) for name in ("guarantee", "looks", "lifetime"))
    budget, whole = _budget(guarantee), _budget(lifetime)
    unit = PrivacyUnit.from_json(_dict(guarantee, "unit"))
    numerics = _dict(guarantee, "numerics").get("class")
    if numerics not in ("exact", "idealised"):
        _fail("its numerics class promises no privacy")
    plan = _plan(_dict(looks, "plan"))
    frame = _events(looks.get("frame"))
    events = (*(plan.events if isinstance(plan, FixedPlan) else ()), *frame)
    _check_looks(events, numerics)
    accounting = _dict(guarantee, "accounting")
    interval, epsilon = _check_epsilon(events, plan, accounting, budget)
    charge = _check_charge(events, plan, looks, accounting)
    _check_charged(looks, plan, frame, Decimal(_text(accounting, "delta0_set_aside")))
    _check_lifetime(lifetime, charge + Charge(epsilon=budget.epsilon, delta=budget.delta))
    table = _dict(body, "table")
    rows = table.get("rows")
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        _fail("it gives no number of rows")
    return Recomputed(
        dataset=_text(body, "dataset"),
        release=_text(_dict(body, "release"), "id"),
        issued=_text(body, "issued"),
        budget=budget,
        lifetime=whole,
        unit=unit,
        interval=interval,
        epsilon=epsilon,
        subjects=_subjects(entries),
        model_digest=_digest(_dict(body, "model")),
        rows=rows,
        numerics=numerics,
    )


def _check_looks(events: tuple[Event, ...], numerics: str) -> None:
    excess = too_many(events)
    if excess:
        _fail(excess)
    each = tuple(leaves(events))
    if together(event.relation for event in each) != ADD_OR_REMOVE:
        raise CertificateError("the certificate is about adding or removing a unit, and one of its looks is not")
    if numerics == "exact" and any(isinstance(event, Claimed) for event in each):
        raise CertificateError("a third party's claim is among the looks of a certificate that calls its noise exact")


def _check_epsilon(
    events: tuple[Event, ...], plan: Plan, accounting: Mapping[str, Any], budget: Budget
) -> tuple[Interval | None, float]:
    """The second accountant's interval, None where it knows no formula for a look, and epsilon as an upper bound."""
    delta = DOWN.subtract(budget.delta, numerical_slack(budget.epsilon))
    if delta < LEAST_DELTA:
        _fail("its delta is less than what the samplers' numerics cost")
    known = tuple(each for each in events if not isinstance(each, PrivateSelection))
    least = epsilon_interval(known if isinstance(plan, FixedPlan) else (plan, *known), float(delta))
    assert least is not None  # it knows a formula for all but selections
    interval = least if len(known) == len(events) else None
    # What the second cannot do the first does; its figure is then the only one there is.
    epsilon = compose(events, _capacity(plan)).epsilon(delta) if interval is None else interval.high
    low, excess = (epsilon, 0.0) if interval is None else (interval.low, interval.excess)
    if max(epsilon, least.low) > float(budget.epsilon) * (1 + MARGIN):
        raise CertificateError(
            f"the looks in the certificate imply epsilon {epsilon:.6g} at delta {budget.delta.normalize():e}, "
            f"more than the {budget.epsilon.normalize():f} it declares"
        )
    stated = float(Decimal(_text(accounting, "epsilon")))
    if not low * (1 - MARGIN) <= stated <= epsilon * (1 + MARGIN + excess):
        raise CertificateError(f"the certificate states epsilon {stated:.6g} for its looks; they imply {epsilon:.6g}")
    second = accounting.get("second_accountant")
    found = None if interval is None else (interval.low, interval.high)
    read = None if second is None else tuple(float(_text(_dict(accounting, "second_accountant"), k)) for k in _ENDS)
    if (found is None) is not (read is None) or not _near(found or (), read or ()):
        raise CertificateError("the certificate states another interval of the second accountant than its looks have")
    if not _near((float(delta),), (float(_text(accounting, "delta_used")),)):
        raise CertificateError("the certificate states that another delta was left for its looks")
    return interval, epsilon


def _check_charge(
    events: tuple[Event, ...], plan: Plan, looks: Mapping[str, Any], accounting: Mapping[str, Any]
) -> Charge:
    """What the account was charged dominates the looks, for every epsilon and not at the declared delta alone."""
    set_aside, stated, delta0, capacity = (
        Decimal(_text(where, name))
        for where, name in (
            (accounting, "delta0_set_aside"),
            (accounting, "mu_squared"),
            (accounting, "delta0"),
            (looks, "capacity_mu_squared"),
        )
    )
    due = charge_of(events, _capacity(plan), set_aside)
    room = 1 + tolerance(events)
    if due[0] > min(stated, capacity) * room or max(stated, capacity) > due[0] * room or not _agree(due[1], delta0):
        raise CertificateError("the certificate states another charge than its looks cost")
    return Charge(stated, delta0)


def _check_charged(looks: Mapping[str, Any], plan: Plan, frame: tuple[Event, ...], set_aside: Decimal) -> None:
    """What ran is part of what was planned: the first looks of a fixed plan, what a filter of that capacity admits."""
    charged = _dict(looks, "charged")
    ran = {part: _events(charged.get(part)) for part in ("plan", "frame")}
    if isinstance(plan, FixedPlan):
        within = _begins(plan.events, ran["plan"])
    else:
        within = all(event.kind in plan.kinds for event in ran["plan"])
        within = within and mu_squared_of(ran["plan"]) <= UP.multiply(plan.capacity, 1 + _EXACT_MARGIN)
    for part, fits in (("plan", within), ("frame", not Counter(ran["frame"]) - Counter(frame))):
        if not fits:
            raise CertificateError(f"the looks that ran ({part}) are not among those that were planned and charged")
    events = (*ran["plan"], *ran["frame"])
    realised = charge_of(events, Decimal(0), set_aside)[0]
    if abs(Decimal(_text(looks, "realised_mu_squared")) - realised) > realised * tolerance(events):
        raise CertificateError("the certificate states that its looks came to something else than those that ran")


def _begins(planned: tuple[Event, ...], ran: tuple[Event, ...]) -> bool:
    """Whether looks that ran are the first of those planned; the last may be a training of fewer steps."""
    match planned[: len(ran)], ran:
        case (*before, SubsampledGaussian() as whole), (*others, SubsampledGaussian() as part):
            return before == others and part.steps <= whole.steps and replace(whole, steps=part.steps) == part
    return ran == planned[: len(ran)]


def _check_lifetime(body: Mapping[str, Any], own: Charge) -> None:
    """The cap follows from the budget, and what is charged lies between this release's own charge and the cap."""
    lifetime, charged = Lifetime.from_json(body), Charge.from_json(_dict(body, "charged"))
    if body.get("relation") not in (ADD_OR_REMOVE, BLANK):
        _fail("it does not say which neighbours its lifetime is about")
    if not lifetime.admits(Charge(), own):
        raise CertificateError(f"the release alone exceeds the dataset's lifetime budget of {lifetime.budget}")
    if not lifetime.sound:
        raise CertificateError(
            f"the certificate states a cap that its lifetime budget of {lifetime.budget} cannot have"
        )
    if not lifetime.admits(Charge(), charged):
        raise CertificateError("the certificate states that more is charged than the lifetime budget of its dataset")
    if any(getattr(own, each.name) > getattr(charged, each.name) * (1 + _EXACT_MARGIN) for each in fields(Charge)):
        raise CertificateError("the certificate states that less is charged to its dataset than this release alone")


def _check_public(body: Mapping[str, Any]) -> None:
    """Where the model started from a public table, the certificate says that it protects nothing of it."""
    public = PublicTable.from_json(body["public_table"]) if "public_table" in body else None
    for part, sentence in (("assumptions", "assumption"), ("not_protected", "unprotected")):
        _strings(body.get(part))
        if public is not None and getattr(public, sentence) not in body[part]:
            raise CertificateError(f"the certificate names a public table, and does not say so among its {part}")


def _capacity(plan: Plan) -> Decimal:
    return plan.capacity if isinstance(plan, AdaptivePlan) else Decimal(0)


def _near(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    return len(ours) == len(theirs) and all(
        a == b or math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) for a, b in zip(ours, theirs, strict=True)
    )


def _agree(ours: Decimal, theirs: Decimal) -> bool:
    return abs(ours - theirs) <= ours * _EXACT_MARGIN


def _budget(body: Mapping[str, Any]) -> Budget:
    inner = _dict(body, "budget")
    budget = Budget(_text(inner, "epsilon"), _text(inner, "delta"))
    if not LEAST_EPSILON <= budget.epsilon <= MOST_EPSILON or budget.delta < LEAST_DELTA:
        _fail("it declares an epsilon or delta that means nothing")
    return budget


def _plan(body: Mapping[str, Any]) -> Plan:
    if body.get("kind") == "adaptive":
        if not float(_text(body, "mu")) <= MOST_MU:
            _fail("its plan protects nothing")
        _strings(body.get("kinds"))
    else:
        _check_entries(body.get("events"))
    return plan_from_json(dict(body))


def _events(entries: object) -> tuple[Event, ...]:
    _check_entries(entries)
    assert isinstance(entries, list)
    return charged_events(entries)


def _check_entries(entries: object) -> None:
    """Before any count is expanded or any event made."""
    if not isinstance(entries, list):
        _fail("its looks are not a list")
    total, different, selections = 0, set[str](), set[str]()
    for entry in entries:
        if not isinstance(entry, dict) or any(isinstance(v, str) and len(v) > 100 for v in entry.values()):
            _fail("a look in it is not an event")
        base = entry.get("base")
        if base is not None:
            _check_entries(base)
            selections.add(str(entry))
        noise = entry.get("noise_multiplier")
        if noise is not None and not float(noise) >= 1 / MOST_MU:
            _fail("a look in it has too little noise to protect anything")
        count = entry.get("count", 1)
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            _fail("a look in it has an impossible count")
        total += count
        different.add(str({name: value for name, value in entry.items() if name != "count"}))
    if total > MOST_LOOKS:
        _fail(f"it lists more than {MOST_LOOKS} looks")
    if len(different) > _MOST_DIFFERENT or len(selections) > MOST_KINDS:
        _fail(f"it lists more than {_MOST_DIFFERENT} different looks, or {MOST_KINDS} selections among runs")


def _subjects(entries: list[Any]) -> dict[str, str]:
    subjects: dict[str, str] = {}
    for entry in entries:
        match entry:
            case {"name": str(name), "digest": {"sha256": str(digest)}} if _DIGEST.fullmatch(digest):
                pass
            case _:
                _fail("it lists a file without a name and a sha256")
        if not _plain(name):
            _fail("it lists a file outside its own folder")
        if name in subjects:
            _fail("it lists a file twice")
        subjects[name] = digest
    return subjects


def _plain(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}", name) is not None


def _dict(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    inner = body.get(name)
    if not isinstance(inner, dict):
        _fail(f"it has no field '{name}'")
    return inner


def _text(body: Mapping[str, Any], name: str) -> str:
    text = body.get(name)
    if not isinstance(text, str) or not 0 < len(text) <= 200:
        _fail(f"its field '{name}' is missing or no text")
    return text


def _strings(values: object) -> None:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        _fail("a list of names in it holds something else")


def _digest(body: Mapping[str, Any]) -> str:
    text = _text(body, "sha256")
    if not _DIGEST.fullmatch(text):
        _fail("a digest in it is not a sha256")
    return text


def _fail(what: str) -> NoReturn:
    raise CertificateError(f"the certificate is malformed: {what}")


__all__ = ["CertificateError", "Recomputed", "issuer_of", "recompute"]
