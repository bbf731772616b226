"""The attacks, where this version has them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import numpy as np

from dpsynth.evaluation.custodian.finding import Finding, Tables

_MODULE = "dpsynth.evaluation.custodian.attacks"


def run_attacks(
    tables: Tables, *, rng: np.random.Generator, deep: bool = False, target: str | None = None
) -> list[Finding]:
    """Every attack with its control, its baseline and an interval."""
    if find_spec(_MODULE) is None:
        return [Finding("privacy", "attacks", note="Not computed: this version has no attacks.")]
    found: list[Finding] = import_module(_MODULE).run_attacks(tables, rng=rng, deep=deep, target=target)
    return found


__all__ = ["run_attacks"]
