"""Audits of the kernel and of every generator: attacks on made-up tables that would show a broken guarantee.

They falsify and never certify: what is not refuted may still be wrong where nobody looked. No table is taken: tables
are made from the schema's domain, and no private row ever comes here. See docs/audits.md.
"""

from dpsynth.audit.auditing import DRAWS, TIERS, run
from dpsynth.audit.findings import FALSE_ALARM, Audits, Control, Finding

__all__ = ["DRAWS", "FALSE_ALARM", "TIERS", "Audits", "Control", "Finding", "run"]
