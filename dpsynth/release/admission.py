"""The gate, applied: a sealed table becomes a release, or an error that gives rule, figures and way out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

import pandas as pd

from accountants.certificate import Draw, Issue, predicate, sign, statement
from accountants.deployment import Deployment
from accountants.keys import SigningKey
from accountants.ledger import Account, Ledger
from accountants.ledger.state import AccountState, ReleaseState
from accountants.policy import DEFAULT_POLICY, Policy
from accountants.verdict import Refused, Rule
from dpsynth.constraints.checking import Checked, check
from dpsynth.errors import BundleError
from dpsynth.measurement import Selected
from dpsynth.private import REASON, WAY_OUT, is_private
from dpsynth.progress import report as progress
from dpsynth.release import measurements
from dpsynth.release.bundle import (
    CERTIFICATE,
    MEASUREMENTS,
    PAGE,
    README,
    REPORT,
    REPORT_JSON,
    SCHEMA,
    TABLE,
    write_bundle,
)
from dpsynth.release.certificate import certificate_page
from dpsynth.release.measurements import Measurements
from dpsynth.release.parquet import from_parquet
from dpsynth.release.readme import readme
from dpsynth.release.report.document import document
from dpsynth.release.report.facts import Facts
from dpsynth.release.report.page import page
from dpsynth.release.report.report import ReleaseReport
from dpsynth.release.sealed import Contents, Provenance, SealedTable, unseal
from dpsynth.release.software import software
from dpsynth.schema import Schema


@final
@dataclass(frozen=True, eq=False, repr=False)
class Release:
    """An admitted table with its certificate and report.

    Attributes:
        certificate: the in-toto statement, as JSON values.
        page: what the statement says, for people; one self-contained HTML page.
        report: which figures to trust and by how much; one self-contained HTML page.
        evidence: what that page says, as one frozen value.
    """

    certificate: Mapping[str, Any]
    page: str
    report: str
    evidence: ReleaseReport
    _files: Mapping[str, bytes] = field()
    _durable: bool = field()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The synthetic rows, as they are in the file."""
        return from_parquet(self._files[TABLE])

    @property
    def measurements(self) -> Measurements:
        """The noisy answers that it rests on."""
        return measurements.load(self._files[MEASUREMENTS])

    @property
    def schema(self) -> Schema:
        """The public description of the table."""
        return Schema.loads(self._files[SCHEMA].decode("utf-8"))

    def write(self, folder: Path | str) -> Path:
        """Write the release folder, whole or not at all.

        The folder is looked at here and not before. A refusal costs nothing and loses nothing: this object still
        holds the release, so write it elsewhere (and where the process has ended, `FittedModel.open`).

        Args:
            folder: must not exist or be empty; the folder it lies in must exist.

        Returns:
            Its absolute path.

        Raises:
            BundleError: the folder is not to be had, or the account is in memory: what it signs, nobody can
                check against a ledger.
        """
        if not self._durable:
            raise BundleError(
                "this release was charged to an account in memory, which ends with this process, so it cannot be "
                "written; open a real account with `dpsynth ledger open NAME --epsilon 3 --delta 1e-8` and pass "
                "dpsynth.open_ledger().account('NAME')"
            )
        return write_bundle(folder, self._files)

    def __repr__(self) -> str:
        table = self.certificate["predicate"]["table"]
        return f"Release({table['sha256']}, {table['rows']} rows)"


def admit(
    sealed: SealedTable,
    account: Account,
    policy: Policy | None = None,
    *,
    key: SigningKey | None = None,
    deployment: Deployment | None = None,
) -> Release:
    """Ask the gate to let a table out. Nothing is written: that is `Release.write`, and costs nothing to repeat.

    A draw of a committed model is free: what was admitted and not written can be drawn and admitted again, in
    another process too, with `FittedModel.open(account, store, release)`.

    Args:
        sealed: from ``model.sample()``.
        account: of the dataset that paid for the model.
        policy: beside the account's own; by default the one that admits every release that means something.
        key: signs the certificate; by default the ledger's.
        deployment: the custodian's own words for the certificate: who publishes, why, for whom. They are repeated
            as declared, and are written nowhere else.

    Raises:
        GateRefused: the gate said no. The table stays closed. A private report, its files and tables split for one
            are refused by their type, stamp or digest.
        TypeError: not a sealed table.
        LedgerError: the ledger cannot be read.
    """
    if is_private(sealed):
        Refused(Rule.PRIVATE, REASON, WAY_OUT).raise_()
    contents = unseal(sealed)
    digest = hashlib.sha256(contents.parquet).hexdigest()
    origin = sealed.provenance
    decision = account.decide_release(digest, origin.model_digest, policy or DEFAULT_POLICY, numerics=origin.numerics)
    if isinstance(decision, Refused):
        decision.raise_()
    progress("report", 0.0)
    signer = key or _signing_key(account.ledger)
    release = _opened(sealed, contents, account, signer, deployment)
    progress("report", 1.0)
    return release


def _opened(
    sealed: SealedTable, contents: Contents, account: Account, key: SigningKey, deployment: Deployment | None
) -> Release:
    state, origin = account.state, sealed.provenance
    made, drawn = _made(sealed, state), _drawn(sealed, account)
    draw = Draw(sealed.digest, origin.model_digest, sealed.rows, sealed.given)
    facts = Facts(
        dataset=state.dataset,
        issued=str(drawn["on"]),
        claim=made.claim,
        charged=made.charged or {},
        lifetime=state.lifetime,
        relation=state.relation,
        draw=draw,
        schema=origin.schema,
        transcript=origin.transcript,
        total=origin.total,
        codes=contents.codes,
        key_id=key.public.key_id,
        held=_held(origin.schema, contents.parquet),
        evaluation=origin.evaluation,
    )
    said = _predicate(state, made, draw, str(drawn["on"]), account.ledger, key, deployment, origin.trained_on)
    evidence = ReleaseReport.of(facts)
    html, certificate = page(evidence), certificate_page(said)
    files = {
        TABLE: contents.parquet,
        PAGE: certificate.encode("utf-8"),
        REPORT: html.encode("utf-8"),
        REPORT_JSON: document(evidence),
        MEASUREMENTS: measurements.dump(_measured(origin)),
        SCHEMA: origin.schema.to_yaml().encode("utf-8"),
        README: readme(state.dataset, made.claim, draw, key.public.key_id).encode("utf-8"),
    }
    body = statement(said, {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()})
    signed = {**files, CERTIFICATE: sign(body, key)}
    return Release(body, certificate, html, evidence, signed, not account.ledger.in_memory)


def _measured(origin: Provenance) -> Measurements:
    return Measurements(
        dataset=origin.dataset,
        generator=origin.claim.generator,
        parameters=origin.claim.parameters,
        total=origin.total,
        answers=tuple(answer for answer in origin.transcript if not isinstance(answer, Selected)),
        bags=origin.bags,
    )


def _held(schema: Schema, parquet: bytes) -> list[Checked]:
    """The schema's constraints on the rows as they are in the file."""
    return check(schema.columns, schema.constraints, from_parquet(parquet)) if schema.constraints else []


def _made(sealed: SealedTable, state: AccountState) -> ReleaseState:
    """The release that paid for a table's model, under the claim the model was made with.

    Raises:
        GateRefused: it committed another model, or was charged for another claim.
    """
    origin = sealed.provenance
    made = state.releases.get(origin.release)
    if made is None or made.model != origin.model_digest or made.claim != origin.claim:
        Refused(
            Rule.MODEL,
            f"release {origin.release} of dataset {state.dataset!r} was not charged for model "
            f"{origin.model_digest[:16]} as it was made.",
            "Release a table of the release that made its model.",
        ).raise_()
    return made


def _drawn(sealed: SealedTable, account: Account) -> Mapping[str, Any]:
    """The ledger row of this very draw: equal tables may be drawn by several releases, and with other columns given.

    Raises:
        GateRefused: there is none.
    """
    origin = sealed.provenance
    wanted = {
        "release": origin.release,
        "model": origin.model_digest,
        "table": sealed.digest,
        "rows": sealed.rows,
        "given": list(sealed.given),
    }
    for row in account.ledger.rows(account.dataset):
        if row.kind == "draw" and wanted.items() <= row.body.items():
            return row.body
    Refused(
        Rule.TABLE,
        f"table {sealed.digest[:16]} is on no draw of release {origin.release} with these rows and given columns.",
        "Release a table as it was drawn; `dpsynth sample` draws again at no cost.",
    ).raise_()


def _predicate(
    state: AccountState,
    made: ReleaseState,
    draw: Draw,
    issued: str,
    ledger: Ledger,
    key: SigningKey,
    deployment: Deployment | None,
    trained_on: tuple[str, ...],
) -> dict[str, Any]:
    seq, digest = ledger.head
    return predicate(
        software=software(),
        dataset=state.dataset,
        claim=made.claim,
        charged=made.charged or {},
        lifetime=state.lifetime,
        spent=state.spent,
        relation=state.relation,
        idealised=state.idealised,
        draw=draw,
        issue=Issue(issued, made.id, seq, digest, ledger.rollback_detectable),
        issuer={"key_id": key.public.key_id, "public_key": key.public.pem()},
        deployment=deployment,
        reads=state.reads,
        trained_on=trained_on,
    )


def _signing_key(ledger: Ledger) -> SigningKey:
    if ledger.key is None:
        raise BundleError("the ledger was opened without a signing key, so nothing can be certified; pass the key")
    return ledger.key


__all__ = ["Release", "admit"]
