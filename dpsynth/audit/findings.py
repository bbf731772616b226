"""What an audit found: frozen, as a table for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

FALSE_ALARM = 1e-7
"""Chance that one audit of a mechanism which keeps its claim says that it does not. A run has nine of them."""


@final
@dataclass(frozen=True, slots=True)
class Control:
    """A planted fault that the audit must notice: one that is not shows an audit that would notice nothing.

    Attributes:
        fault: what was planted.
        caught: whether the audit noticed.
        said: what it noticed, or how far below the claim it stayed.
    """

    fault: str
    caught: bool
    said: str = ""


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One audit.

    Attributes:
        audit: what was audited.
        tier: 0 for replays, which are exact; 1 for statistics.
        claim: what the figures are of: ``epsilon``, ``delta``, ``sensitivity`` (as a share of what was charged),
            ``range`` (of log probabilities), ``distance`` (of distribution functions) or ``equal draws``.
        claimed: the most it may be.
        bound: what it is at least.
        delta: at which epsilon is meant; None for other claims.
        confidence: of the bound; 1 where it is exact.
        controls: the planted faults.
        violations: what was found wrong, in sentences; without any the claim stands as far as this audit can see.
        note: how it was done.
        skipped: why it could not be done, or None.
    """

    audit: str
    tier: int
    claim: str
    claimed: float
    bound: float
    delta: float | None = None
    confidence: float = 1.0
    controls: tuple[Control, ...] = ()
    violations: tuple[str, ...] = ()
    note: str = ""
    skipped: str | None = None

    @property
    def caught(self) -> bool:
        """Whether every planted fault was noticed, of which there must be one."""
        return bool(self.controls) and all(control.caught for control in self.controls)

    @property
    def passed(self) -> bool:
        """Whether nothing was found and the audit could have found it. A skipped audit fails nobody."""
        return self.skipped is not None or (not self.violations and self.bound <= self.claimed and self.caught)

    @property
    def verdict(self) -> str:
        """``not refuted``, ``refuted``, ``blind`` (a planted fault went unnoticed) or ``skipped``."""
        if self.skipped is not None:
            return "skipped"
        if self.violations or self.bound > self.claimed:
            return "refuted"
        return "not refuted" if self.caught else "blind"

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "audit": self.audit,
            "tier": self.tier,
            "claim": self.claim,
            "claimed": self.claimed,
            "bound": self.bound,
            "delta": self.delta,
            "confidence": self.confidence,
            "controls": [{"fault": c.fault, "caught": c.caught, "said": c.said} for c in self.controls],
            "violations": list(self.violations),
            "note": self.note,
            "skipped": self.skipped,
            "verdict": self.verdict,
        }


@final
@dataclass(frozen=True, slots=True)
class Audits:
    """All findings of a run.

    Attributes:
        findings: in the order they were made.
    """

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no audit failed."""
        return all(finding.passed for finding in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def to_json(self) -> dict[str, Any]:
        """``{"passed", "findings"}``."""
        return {"passed": self.passed, "findings": [finding.to_json() for finding in self.findings]}

    def lines(self) -> list[str]:
        """A table, and below it what was wrong."""
        head = ("audit", "claim", "claimed", "at least", "confidence", "controls caught", "verdict")
        rows = [head, *(_row(finding) for finding in self.findings)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return [*table, *(line for finding in self.findings for line in _wrong(finding))]


def _row(finding: Finding) -> tuple[str, ...]:
    if finding.skipped is not None:
        return (finding.audit, "", "", "", "", "", finding.verdict)
    claim = finding.claim if finding.delta is None else f"{finding.claim} at delta {finding.delta:g}"
    confidence = "exact" if finding.confidence == 1.0 else f"1 - {1.0 - finding.confidence:.0e}"
    caught = sum(control.caught for control in finding.controls)
    return (
        finding.audit,
        claim,
        f"{finding.claimed:.4g}",
        f"{finding.bound:.4g}",
        confidence,
        f"{'yes' if finding.caught else 'NO'} ({caught} of {len(finding.controls)})",
        finding.verdict,
    )


def _wrong(finding: Finding) -> list[str]:
    lines = [f"{finding.audit}: {violation}" for violation in finding.violations]
    lines += [f"{finding.audit}: not noticed: {c.fault} ({c.said})" for c in finding.controls if not c.caught]
    if finding.skipped is not None:
        lines.append(f"{finding.audit}: skipped: {finding.skipped}")
    return lines


__all__ = ["FALSE_ALARM", "Audits", "Control", "Finding"]
