"""The release report: one frozen value, from which the page and the JSON are both made. Safe to publish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accountants.certificate import Draw
from dpsynth.constraints.checking import Checked
from dpsynth.domain import Clique
from dpsynth.release.report.alerts import Alert, alerts
from dpsynth.release.report.budget import Spending, spending
from dpsynth.release.report.counted import counted
from dpsynth.release.report.facts import Facts
from dpsynth.release.report.margins import ColumnMargin, asked_moments, columns, unmeasured
from dpsynth.release.report.promise import Promise
from dpsynth.release.report.unseen import Unseen
from dpsynth.release.report.verdicts import Fit, judged


@dataclass(frozen=True, slots=True)
class ReleaseReport:
    """What a release says, and how far to believe it.

    Made by `of` from the synthetic rows, the noisy answers already paid for, the public schema and declared parameters:
    **post-processing**, so it costs nothing and may be published with the table. Releases of neighbouring tables with
    equal noisy answers have equal reports.

    Attributes:
        dataset, name: the declared id, and the schema's name.
        issued, generator: when, and by which recipe.
        draw: the table's digest, model, rows and given columns.
        schema_digest, key_id: sha256 of the schema, and the signer.
        total: the noisy estimate of the number of real rows.
        promise: the guarantee in words and figures.
        alerts: what to know first.
        spending: what each look cost.
        columns: one by one, in schema order.
        joint: how the table lies to each margin of several columns that was measured.
        unseen: the check with counts that the fit did not see; None where none was planned, or columns were supplied.
        compared: whether table and measurements were held against each other: not where columns were supplied.
        unmeasured: for each column those it was never counted together with.
        pairs, pairs_unmeasured: how many pairs of columns there are, and how many were never counted together.
        moments: ordered columns whose second moments were asked: how two of them go together in the mean is known.
        held: the schema's constraints, checked on the released rows.
    """

    dataset: str
    name: str | None
    issued: str
    generator: str
    draw: Draw
    schema_digest: str | None
    key_id: str
    total: float
    promise: Promise
    alerts: tuple[Alert, ...]
    spending: Spending
    columns: tuple[ColumnMargin, ...]
    joint: tuple[Fit, ...]
    unseen: Unseen | None
    compared: bool
    unmeasured: Mapping[str, Clique]
    pairs: int
    pairs_unmeasured: int
    moments: Clique
    held: tuple[Checked, ...]

    @classmethod
    def of(cls, facts: Facts) -> ReleaseReport:
        """The report of a release."""
        draw, schema, measured = facts.draw, facts.schema, counted(facts.transcript)
        compared = not draw.given
        against = (schema, facts.codes, draw.rows, facts.total)
        fits = judged(measured, *against) if compared else ()
        unseen = Unseen.of(counted(facts.evaluation), *against) if compared else None
        each = tuple(columns(schema, measured, facts.codes, draw.rows, facts.total, fits))
        apart = unmeasured(schema.domain, facts.transcript)
        return cls(
            dataset=facts.dataset,
            name=schema.name,
            issued=facts.issued,
            generator=facts.claim.generator,
            draw=draw,
            schema_digest=facts.claim.schema_digest,
            key_id=facts.key_id,
            total=facts.total,
            promise=Promise.of(facts.claim, facts.lifetime, facts.relation, tuple(draw.given)),
            alerts=alerts(each, fits, unseen.fits if unseen else (), facts.held, facts.total, schema.about_rows),
            spending=spending(facts.claim, facts.charged, facts.transcript, facts.evaluation),
            columns=each,
            joint=tuple(fit for fit in fits if len(fit.clique) > 1),
            unseen=unseen,
            compared=compared,
            unmeasured=apart,
            pairs=len(each) * (len(each) - 1) // 2,
            pairs_unmeasured=sum(len(others) for others in apart.values()) // 2,
            moments=asked_moments(facts.transcript),
            held=tuple(facts.held),
        )


__all__ = ["ReleaseReport"]
