"""The certificate of a release: an in-toto statement that says what was promised, for which files, and what was not.

Everything in it is a declared parameter, a digest of a public file, or an answer already released. Nothing
in it depends on a private row in any other way. docs/certificate.md explains each field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

import rfc8785

from accountants.allowance import NUMERICAL_DISTANCE, numerical_slack
from accountants.budget import Budget
from accountants.claim import Claim
from accountants.composition import mu_squared_of
from accountants.crosscheck import Interval, epsilon_interval
from accountants.dsse import Envelope, Signer
from accountants.events import Event
from accountants.exact import DOWN
from accountants.lifetime import Charge, Lifetime
from accountants.plan import FixedPlan, plan_from_json
from accountants.reading import FALSE_POSITIVES, read
from accountants.unit import PrivacyUnit

VERSION = 1
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:dpsynth:certificate:v1"

_ORIGINS = {
    "declared": "written down from public knowledge, such as a codebook",
    "domain": "declared by the caller as column names and sizes",
    "public-frame": "derived from a table that the caller declared to be public",
}
_THOUSANDS = ("", "thousand", "million", "billion", "trillion")
_RELATIONS = {"add_or_remove_one_unit": "two tables are neighbours if one is the other and one unit more"}


@dataclass(frozen=True, slots=True)
class Draw:
    """The table that was drawn.

    Attributes:
        table_digest, model_digest: sha256, hex.
        rows: how many rows; public, since it was asked for or is the charged noisy total.
        given: columns whose values the caller supplied. They are not protected.
    """

    table_digest: str
    model_digest: str
    rows: int
    given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Issue:
    """When and where a certificate was issued: all of it that differs between two equal releases.

    Attributes:
        date: ISO date.
        release: the release's id.
        ledger_seq, ledger_hash: head of the ledger.
        rollback_detectable: whether an anchor outside the ledger's store watches over it.
    """

    date: str
    release: str
    ledger_seq: int
    ledger_hash: str
    rollback_detectable: bool


@dataclass(frozen=True, slots=True)
class Accounting:
    """The release's epsilon by both accountants, at capacity and with the numerical slack taken off delta."""

    delta_used: Decimal
    slack: Decimal
    first: float
    second: Interval


def account_for(claim: Claim) -> Accounting:
    """Epsilon of `claim` at its declared delta, from the plan and the frame, each charged whole."""
    slack = numerical_slack(claim.budget.epsilon)
    delta = DOWN.subtract(claim.budget.delta, slack)
    return Accounting(
        delta_used=delta,
        slack=slack,
        first=claim.profile.epsilon(delta),
        second=epsilon_interval((claim.plan, *claim.frame), float(delta)),
    )


def statement(
    *,
    software: str,
    dataset: str,
    claim: Claim,
    charged: Mapping[str, Sequence[Mapping[str, Any]]],
    lifetime: Lifetime,
    spent: Charge,
    draw: Draw,
    issue: Issue,
    subjects: Mapping[str, str],
    issuer: Mapping[str, str],
) -> dict[str, Any]:
    """The in-toto statement of one release.

    Args:
        software: name and version of what issued it.
        dataset: the declared id of the dataset's account.
        claim: what was reserved.
        charged: the looks that ran, as the ledger's commit recorded them: ``{"plan": [...], "frame": [...]}``.
        lifetime: the account's filter.
        spent: all that is charged to it, this release included.
        draw, issue: see there.
        subjects: sha256 (hex) of every other file of the bundle, by name.
        issuer: ``key_id`` and ``public_key`` of the signer. It lets a reader tell intact from broken; it is
            never a reason to trust.
    """
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "version": VERSION,
            "software": software,
            "synthetic": True,
            "issued": issue.date,
            "issuer": dict(issuer),
            "dataset": dataset,
            "release": {"id": issue.release, "purpose": claim.purpose, "recipient": claim.recipient},
            "guarantee": _guarantee(claim),
            "lifetime": _lifetime(lifetime, spent),
            "looks": _looks(claim, charged),
            "generator": {"name": claim.generator, "parameters": dict(claim.parameters)},
            "schema": {
                "sha256": claim.schema_digest,
                "origin": claim.schema_origin,
                "origin_in_words": _ORIGINS.get(claim.schema_origin, claim.schema_origin),
            },
            "assumptions": [*claim.assumptions, *given_assumptions(draw.given)],
            "model": {"sha256": draw.model_digest},
            "table": {"sha256": draw.table_digest, "rows": draw.rows, "given": list(draw.given)},
            "ledger": {
                "seq": issue.ledger_seq,
                "hash": issue.ledger_hash,
                "anchored": issue.rollback_detectable,
                "in_words": anchor_in_words(issue.rollback_detectable),
            },
            "describes": describes(claim.unit),
            "protected": protected(claim.unit),
            "not_protected": not_protected(claim.unit, draw.given),
        },
    }


def sign(body: Mapping[str, Any], key: Signer) -> bytes:
    """The statement as a signed DSSE file: canonical JSON (RFC 8785) inside."""
    return Envelope.seal(PAYLOAD_TYPE, rfc8785.dumps(dict(body)), key).to_bytes()


def _guarantee(claim: Claim) -> dict[str, Any]:
    account = account_for(claim)
    reading = read(claim.budget, claim.capacity, account.slack)
    return {
        "definition": "(epsilon, delta)-differential privacy",
        "budget": claim.budget.to_json(),
        "unit": claim.unit.to_json(),
        "relation_in_words": relation_in_words(claim.unit),
        "in_words": guarantee_in_words(claim.budget, claim.unit),
        "most_the_odds_can_change": str(reading.odds),
        "best_true_positive_rate": {
            "false_positive_rate": str(FALSE_POSITIVES),
            "at_most": str(reading.true_positives),
        },
        "accounting": {
            "mu_squared": str(claim.capacity),
            "delta_used": str(account.delta_used),
            "epsilon": repr(account.first),
            "second_accountant": {"low": repr(account.second.low), "high": repr(account.second.high)},
        },
        "numerics": {
            "class": claim.numerics,
            "distance": str(NUMERICAL_DISTANCE) if claim.numerics == "exact" else None,
            "delta_taken_off": str(account.slack),
        },
    }


def _lifetime(lifetime: Lifetime, spent: Charge) -> dict[str, Any]:
    return {
        **lifetime.to_json(),
        "charged": spent.to_json(),
        "most_the_odds_can_change": str(read(lifetime.budget).odds),
        "in_words": lifetime_in_words(lifetime.budget),
    }


def _looks(claim: Claim, charged: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    ran = {part: charged_events(charged.get(part, ())) for part in ("plan", "frame")}
    return {
        "plan": claim.plan.to_json(),
        "frame": folded(claim.frame),
        "capacity_mu_squared": str(claim.capacity),
        "charged": {part: folded(events) for part, events in ran.items()},
        "realised_mu_squared": str(mu_squared_of((*ran["plan"], *ran["frame"]))),
        "realised_in_words": "what the looks that ran add up to; not a guarantee, the capacity is",
    }


def folded(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Events as JSON, equal neighbours folded into one with a count."""
    listed = tuple(events)
    entries: list[dict[str, Any]] = FixedPlan(listed).to_json()["events"] if listed else []
    return entries


def charged_events(entries: Sequence[Mapping[str, Any]]) -> tuple[Event, ...]:
    """The inverse of `folded`, counts expanded.

    Raises:
        PlanError, EventError: not such entries.
    """
    if not entries:
        return ()
    plan = plan_from_json({"kind": FixedPlan.kind, "events": list(entries)})
    assert isinstance(plan, FixedPlan)
    return plan.events


def unit_in_words(unit: PrivacyUnit) -> str:
    """Who is protected: ``any single row``, or ``any one unit (all rows that share one value of 'patient', ...)``."""
    return "any single row" if unit.column is None else f"any one unit ({_rows_of(unit)})"


def _rows_of(unit: PrivacyUnit) -> str:
    return f"all rows that share one value of '{unit.column}', at most {unit.at_most} of them used"


def relation_in_words(unit: PrivacyUnit) -> str:
    """Which two tables an observer of the release can hardly tell apart."""
    whose = "any single row" if unit.column is None else _rows_of(unit)
    return f"{_RELATIONS['add_or_remove_one_unit']}; a unit is {whose}"


def chance_in_words(chance: Decimal) -> str:
    """A small probability for people: ``1 in a billion``. Where it is not exact it is rounded up.

    >>> chance_in_words(Decimal("1e-9")), chance_in_words(Decimal("0.00001")), chance_in_words(Decimal("3e-7"))
    ('1 in a billion', '1 in 100 thousand', 'about 1 in 3.33 million')
    """
    one_in = DOWN.divide(1, chance)
    power = min(max(one_in.adjusted() // 3, 0), len(_THOUSANDS) - 1)
    step = Decimal(10) ** (3 * power)
    figure = Context(prec=3, rounding=ROUND_FLOOR).divide(one_in, step).normalize()
    if one_in > 10**15:
        return "less than 1 in 1000 trillion"
    about = "" if figure * step * chance == 1 else "about "
    if power and figure == 1:
        return f"{about}1 in a {_THOUSANDS[power]}"
    return f"{about}1 in {figure:f} {_THOUSANDS[power]}".rstrip()


def guarantee_in_words(budget: Budget, unit: PrivacyUnit) -> str:
    """The promise in one sentence."""
    reading = read(budget)
    return (
        f"Whether {unit_in_words(unit)} was in the source table or not changes the probability of whatever this "
        f"release shows by a factor of at most e^{budget.epsilon.normalize():f} (about {reading.odds}), but for "
        f"a probability of {budget.delta.normalize():e} ({chance_in_words(budget.delta)})."
    )


def lifetime_in_words(budget: Budget) -> str:
    """The cap over all releases of the dataset in one sentence."""
    return (
        f"All releases ever made from this dataset's account together stay within {budget}; "
        "they are not independent of each other, and whoever collects several has the benefit of all of them."
    )


def anchor_in_words(rollback_detectable: bool) -> str:
    """What the ledger head can be held against."""
    if rollback_detectable:
        return "the head of the ledger is kept outside its store as well, so a rollback of the ledger is detectable"
    return "rollback not detectable: the ledger has no anchor outside its store"


def given_assumptions(given: tuple[str, ...]) -> list[str]:
    """What supplying columns at sampling takes for public."""
    return [f"values of the given columns are public: {', '.join(given)}"] if given else []


def describes(unit: PrivacyUnit) -> list[str]:
    """Which rows the release speaks of, each in a sentence."""
    if unit.column is None:
        return ["all rows of the source table"]
    rows = "1 row" if unit.at_most == 1 else f"{unit.at_most} rows"
    return [
        f"at most {rows} of each '{unit.column}': further ones were left out before the first look",
        f"rows without a '{unit.column}' were left out too",
    ]


def protected(unit: PrivacyUnit) -> list[str]:
    """What the guarantee covers."""
    return [
        f"the presence or absence of {unit_in_words(unit)}, and every value in it",
        "against any knowledge the observer has beside the release, any computation, and any later use of the files",
    ]


def not_protected(unit: PrivacyUnit, given: tuple[str, ...] = ()) -> list[str]:
    """What the guarantee does not cover, each in a sentence."""
    if unit.column is None:
        who = ["a person with several rows is not protected as a person: the unit is the row"]
    else:
        who = ["several units together are protected less than one: the bound weakens with each of them"]
    return [
        *who,
        *(
            [f"the columns supplied when the table was drawn ({', '.join(given)}): they are as supplied"]
            if given
            else []
        ),
        "how long the run took, the memory it used, and whether it ended",
        "that the dataset exists, and its schema, which was public before",
        "what is true of the population whether or not a unit took part: such conclusions can still concern a unit",
        "copies of the source data, answers given outside this account, and other datasets with the same units",
    ]


__all__ = [
    "PAYLOAD_TYPE",
    "PREDICATE_TYPE",
    "STATEMENT_TYPE",
    "VERSION",
    "Accounting",
    "Draw",
    "Issue",
    "account_for",
    "anchor_in_words",
    "chance_in_words",
    "charged_events",
    "describes",
    "folded",
    "given_assumptions",
    "guarantee_in_words",
    "lifetime_in_words",
    "not_protected",
    "protected",
    "relation_in_words",
    "sign",
    "statement",
    "unit_in_words",
]
