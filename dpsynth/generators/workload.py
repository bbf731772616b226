"""Workloads: the marginals a user cares about, and what measuring one clique is worth to them."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

from dpsynth.domain import Clique, Domain

WORKLOADS = {"all-2way": 2, "all-3way": 3}
"""Names of workloads, and how many attributes their marginals have."""


TARGET_WEIGHT = 4
"""How many times as much as others a marginal with the target counts."""


def candidates_of(workload: str, domain: Domain, target: str | None = None) -> dict[Clique, int]:
    """What may be measured for a workload, with integer weights (McKenna et al. 2022, section 4.1).

    Candidates are all cliques of two or more attributes inside a marginal of the workload (the one-ways are measured
    beforehand). The weight of ``r`` is the sum over the workload's marginals ``s`` of ``c_s |r & s|``: how much of
    the workload overlaps with it. ``c_s`` is 1, `TARGET_WEIGHT` where ``s`` has the target. Weights are divided by
    their greatest common divisor.

    Returns:
        ``{clique: weight}``, in a fixed order; empty for a single column.
    """
    columns = len(domain)
    ways = min(WORKLOADS[workload], columns)
    candidates = [c for size in range(2, ways + 1) for c in combinations(domain.attributes, size)]
    # An attribute lies in as many marginals as every other, but for the target: so r's weight is a sum over its
    # attributes of how much of the workload each lies in.
    lies_in = dict.fromkeys(domain.attributes, 1)
    if target is not None and columns > 1:
        others, both = comb(columns - 2, ways - 1), comb(columns - 2, ways - 2)
        lies_in = dict.fromkeys(domain.attributes, others + TARGET_WEIGHT * both)
        lies_in[target] = TARGET_WEIGHT * (others + both)
    weights = {c: sum(lies_in[a] for a in c) for c in candidates}
    divisor = int(np.gcd.reduce(sorted(set(weights.values())))) if weights else 1
    return {c: weight // divisor for c, weight in weights.items()}


__all__ = ["TARGET_WEIGHT", "WORKLOADS", "candidates_of"]
