"""The certificate of a release: an in-toto statement that says what was promised, for which files, and what was not.

Everything in it is a declared parameter, a digest of a public file, or an answer already released. Nothing
in it depends on a private row in any other way. docs/certificate.md explains each field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import rfc8785

from accountants import wording
from accountants.allowance import NUMERICAL_DISTANCE, numerical_slack
from accountants.budget import Budget
from accountants.claim import Claim
from accountants.crosscheck import Interval, epsilon_interval
from accountants.deployment import Deployment
from accountants.domination import charge_of
from accountants.dsse import Envelope, Signer
from accountants.events import ADD_OR_REMOVE, Event, PrivateSelection
from accountants.exact import DOWN
from accountants.lifetime import Charge, Lifetime
from accountants.plan import AdaptivePlan, FixedPlan, plan_from_json
from accountants.public import PublicTable
from accountants.reading import FALSE_POSITIVES, read, trade_off
from accountants.unit import PrivacyUnit
from accountants.wording import (
    anchor_in_words,
    chance_in_words,
    describes,
    given_assumptions,
    guarantee_in_words,
    lifetime_in_words,
    not_protected,
    protected,
    relation_in_words,
    unit_in_words,
)

VERSION = 1
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:dpsynth:certificate:v1"

_DEVICE = re.compile("[a-z]{1,20}")
_ORIGINS = {
    "declared": "written down from public knowledge, such as a codebook",
    "domain": "declared by the caller as column names and sizes",
    "public-frame": "derived from a table that the caller declared to be public",
    "none": "none: the mechanism is a third party's",
}
VARIANT = "Approximate DP"
"""The deployments registry's name for (epsilon, delta)-differential privacy."""


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
    """The release's epsilon by both accountants, at capacity and with the numerical slack taken off delta.

    `second` is None where the second accountant knows no formula for the looks.
    """

    delta_used: Decimal
    slack: Decimal
    first: float
    second: Interval | None


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


def predicate(
    *,
    software: str,
    dataset: str,
    claim: Claim,
    charged: Mapping[str, Sequence[Mapping[str, Any]]],
    lifetime: Lifetime,
    spent: Charge,
    relation: str = ADD_OR_REMOVE,
    idealised: Sequence[str] = (),
    draw: Draw,
    issue: Issue,
    issuer: Mapping[str, str],
    deployment: Deployment | None = None,
    account: Accounting | None = None,
    reads: int = 0,
    trained_on: Sequence[str] = (),
) -> dict[str, Any]:
    """What the certificate of one release says, but for the digests of the files that say it too.

    Args:
        software: name and version of what issued it.
        dataset: the declared id of the dataset's account.
        claim: what was reserved.
        charged: the looks that ran, as the ledger's commit recorded them: ``{"plan": [...], "frame": [...]}``.
        lifetime: the account's filter.
        relation: the neighbours that the account's releases together are about.
        spent: all that is charged to it, this release included.
        idealised: generators of its releases whose noise is not this software's exact one, this release included.
        draw, issue: see there.
        issuer: ``key_id`` and ``public_key`` of the signer. It lets a reader tell intact from broken; it is
            never a reason to trust.
        deployment: the custodian's own words, repeated and not checked.
        account: what both accountants make of `claim`, where that is known already.
        reads: how many private reports about the dataset's releases were asked for before.
        trained_on: the kinds of devices that a network was trained on; none where there is no network.
    """
    return {
        "version": VERSION,
        "software": software,
        "synthetic": True,
        "issued": issue.date,
        "issuer": dict(issuer),
        "dataset": dataset,
        "release": {"id": issue.release, "purpose": claim.purpose, "recipient": claim.recipient},
        "deployment": (deployment or Deployment()).to_json(),
        "product": {
            "type": "Synthetic data",
            "input": wording.INPUT_WITH_PUBLIC if claim.public else wording.INPUT,
            "output": wording.OUTPUT,
        },
        "guarantee": _guarantee(claim, account or account_for(claim)),
        "lifetime": _lifetime(lifetime, spent, claim.unit, relation, idealised),
        "trust": {
            "model": "Central",
            "trusted": list(wording.TRUSTED),
            "not_trusted": list(wording.NOT_TRUSTED),
            "release_type": "One release",
            "release_type_in_words": wording.ONE_RELEASE,
            "data_source": "Static",
            "data_source_in_words": wording.STATIC,
            "access": "Non-interactive",
            "access_in_words": wording.NON_INTERACTIVE,
        },
        "looks": _looks(claim, charged),
        "mechanisms": wording.mechanisms(_kinds(claim)),
        "composition": {
            "within_release": wording.within_release(claim.plan.kind),
            "across_releases": wording.across_releases(lifetime.filter),
            "parallel": wording.PARALLEL,
            "post_processing": wording.post_processing(claim.public),
        },
        "generator": {"name": claim.generator, "parameters": dict(claim.parameters)},
        "schema": {
            "sha256": claim.schema_digest,
            "origin": claim.schema_origin,
            "origin_in_words": _ORIGINS.get(claim.schema_origin, claim.schema_origin),
        },
        "assumptions": [*claim.assumed, *given_assumptions(draw.given)],
        **({"public_table": claim.public.to_json()} if claim.public else {}),
        "implementation": {
            "preprocessing": list(wording.PREPROCESSING),
            "tuning": wording.tuning(reads),
            **({"private_reports": reads} if reads else {}),
            "library": wording.LIBRARY,
            "floating_point": wording.FLOATING_POINT.get(claim.numerics, claim.numerics),
            **({"trained_on": list(trained_on)} if trained_on else {}),
            "randomness": wording.RANDOMNESS,
            "side_channels": list(wording.SIDE_CHANNELS),
            "data_security": wording.DATA_SECURITY,
        },
        "utility": {"in_words": wording.UTILITY, "bias": list(wording.BIAS)},
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
        "not_protected": not_protected(claim.unit, draw.given, claim.public),
        "unprotected_quantities": wording.unprotected_quantities(draw.given, claim.public),
        "reader_checks": list(wording.READER_CHECKS),
    }


def statement(body: Mapping[str, Any], subjects: Mapping[str, str]) -> dict[str, Any]:
    """The in-toto statement: `body` from `predicate`, about files named with their sha256 (hex)."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": subjects[name]}} for name in sorted(subjects)],
        "predicateType": PREDICATE_TYPE,
        "predicate": dict(body),
    }


def restated(body: Mapping[str, Any]) -> dict[str, Any]:
    """What this version says of the parameters that a certificate declares: `body` again, had it issued it.

    Figures of both accountants are taken as stated: `accountants.recomputation` judges them, with room for the last
    bits of another platform.

    Raises:
        AccountingError, LookupError, TypeError, ValueError: the parameters do not describe a release.
    """
    guarantee, looks, table, ledger = (body[name] for name in ("guarantee", "looks", "table", "ledger"))
    budget, given = Budget.from_json(guarantee["budget"]), tuple(table["given"])
    public = PublicTable.from_json(body["public_table"]) if "public_table" in body else None
    assumed = [*([public.assumption] if public else []), *given_assumptions(given)]
    claim = Claim(
        budget=budget,
        unit=PrivacyUnit.from_json(guarantee["unit"]),
        plan=plan_from_json(looks["plan"]),
        frame=charged_events(looks["frame"]),
        generator=body["generator"]["name"],
        parameters=body["generator"]["parameters"],
        schema_digest=body["schema"]["sha256"],
        schema_origin=body["schema"]["origin"],
        numerics=guarantee["numerics"]["class"],
        assumptions=tuple(body["assumptions"][: len(body["assumptions"]) - len(assumed)]),
        purpose=body["release"]["purpose"],
        recipient=body["release"]["recipient"],
        delta0=Decimal(guarantee["accounting"]["delta0_set_aside"]),
        public=public,
    )
    stated, slack = guarantee["accounting"], numerical_slack(budget.epsilon)
    second = stated["second_accountant"]
    return predicate(
        software=body["software"],
        dataset=body["dataset"],
        claim=claim,
        charged=looks["charged"],
        lifetime=Lifetime.from_json(body["lifetime"]),
        spent=Charge.from_json(body["lifetime"]["charged"]),
        relation=body["lifetime"]["relation"],
        idealised=tuple(body["lifetime"]["idealised"]),
        draw=Draw(table["sha256"], body["model"]["sha256"], table["rows"], given),
        issue=Issue(body["issued"], body["release"]["id"], ledger["seq"], ledger["hash"], ledger["anchored"]),
        issuer=body["issuer"],
        deployment=Deployment.from_stated(body["deployment"]),
        account=Accounting(
            DOWN.subtract(budget.delta, slack),
            slack,
            float(stated["epsilon"]),
            None if second is None else Interval(float(second["low"]), float(second["high"])),
        ),
        reads=_reads(body["implementation"]),
        trained_on=_trained_on(body["implementation"]),
    )


def _reads(implementation: Mapping[str, Any]) -> int:
    reads = implementation.get("private_reports", 0)
    if type(reads) is not int or not 0 <= reads < 2**31:
        raise ValueError("private_reports must be a whole number of at least 0")
    return reads


def _trained_on(implementation: Mapping[str, Any]) -> tuple[str, ...]:
    named = implementation.get("trained_on", [])
    if (
        not isinstance(named, list)
        or not all(isinstance(name, str) and _DEVICE.fullmatch(name) for name in named)
        or (sorted(set(named)) != named)
    ):
        raise ValueError("trained_on must be a list of kinds of devices, such as cpu and cuda")
    return tuple(named)


def sign(body: Mapping[str, Any], key: Signer) -> bytes:
    """The statement as a signed DSSE file: canonical JSON (RFC 8785) inside."""
    return Envelope.seal(PAYLOAD_TYPE, rfc8785.dumps(dict(body)), key).to_bytes()


def _guarantee(claim: Claim, account: Accounting) -> dict[str, Any]:
    charge = Charge.of(claim)
    return {
        "definition": "(epsilon, delta)-differential privacy",
        "variant": VARIANT,
        "scope": "this release by itself; 'lifetime' bounds all releases of the dataset together",
        "budget": claim.budget.to_json(),
        "unit": claim.unit.to_json(),
        "contribution": wording.contribution(claim.unit),
        "relation_in_words": relation_in_words(claim.unit),
        "in_words": guarantee_in_words(claim.budget, claim.unit),
        **_reading(claim.budget, charge.mu_squared, account.slack, charge.delta0),
        "accounting": {
            "mu_squared": str(charge.mu_squared),
            "delta0": str(charge.delta0),
            "delta0_set_aside": str(claim.delta0),
            "delta_used": str(account.delta_used),
            "epsilon": repr(account.first),
            "second_accountant": (
                {"low": repr(account.second.low), "high": repr(account.second.high)} if account.second else None
            ),
            "second_accountant_in_words": wording.SECOND if account.second else wording.NO_SECOND,
        },
        "numerics": {
            "class": claim.numerics,
            "distance": str(NUMERICAL_DISTANCE) if claim.numerics == "exact" else None,
            "delta_taken_off": str(account.slack),
        },
    }


def _lifetime(
    lifetime: Lifetime, spent: Charge, unit: PrivacyUnit, relation: str, idealised: Sequence[str]
) -> dict[str, Any]:
    return {
        **lifetime.to_json(),
        "charged": spent.to_json(),
        "relation": relation,
        "relation_in_words": relation_in_words(unit, relation),
        "idealised": list(idealised),
        "rests_on": wording.rests_on(idealised),
        "replenished": wording.REPLENISHED,
        **_reading(lifetime.budget, lifetime.mu_squared, numerical_slack(lifetime.budget.epsilon), lifetime.delta0),
        "in_words": lifetime_in_words(lifetime.budget, relation),
    }


def _reading(budget: Budget, mu_squared: Decimal | None, slack: Decimal, delta0: Decimal) -> dict[str, Any]:
    """The figures that need no epsilon to be understood."""
    reading = read(budget, mu_squared, slack, delta0)
    return {
        "most_the_odds_can_change": str(reading.odds),
        "best_true_positive_rate": {
            "false_positive_rate": str(FALSE_POSITIVES),
            "at_most": str(reading.true_positives),
        },
        "trade_off": [
            {"false_positive_rate": str(rate), "at_most": str(best)}
            for rate, best in trade_off(budget, mu_squared, slack, delta0)
        ],
    }


def _kinds(claim: Claim) -> dict[str, list[str]]:
    """The kinds of looks that the claim lets the run make, with what their events take for granted."""
    plan = claim.plan
    kinds: dict[str, list[str]] = {kind: [] for kind in plan.kinds} if isinstance(plan, AdaptivePlan) else {}
    for event in claim.events:
        for each in (event, *(event.base if isinstance(event, PrivateSelection) else ())):
            kinds.setdefault(each.kind, []).extend(each.assumptions)
    return kinds


def _looks(claim: Claim, charged: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    ran = {part: charged_events(charged.get(part, ())) for part in ("plan", "frame")}
    return {
        "plan": claim.plan.to_json(),
        "frame": folded(claim.frame),
        "capacity_mu_squared": str(claim.capacity),
        "charged": {part: folded(events) for part, events in ran.items()},
        "realised_mu_squared": str(charge_of((*ran["plan"], *ran["frame"]), Decimal(0), claim.delta0)[0]),
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
    "predicate",
    "protected",
    "relation_in_words",
    "restated",
    "sign",
    "statement",
    "unit_in_words",
]
