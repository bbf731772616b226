"""Workloads: the marginals a user cares about, and what measuring one clique is worth to them."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from dpsynth.domain import Clique, Domain

WORKLOADS = {"all-2way": 2, "all-3way": 3}
"""Names of workloads, and how many attributes their marginals have."""


def candidates_of(workload: str, domain: Domain) -> dict[Clique, int]:
    """What may be measured for a workload, with integer weights (McKenna et al. 2022, section 4.1).

    Candidates are all cliques of two or more attributes inside a marginal of the workload (the one-ways are measured
    beforehand). The weight of ``r`` is the sum over the workload's marginals ``s`` of ``|r & s|``: how much of
    the workload overlaps with it. Weights are divided by their greatest common divisor.

    Returns:
        ``{clique: weight}``, in a fixed order; empty for a single column.
    """
    columns = len(domain)
    ways = min(WORKLOADS[workload], columns)
    candidates = [c for size in range(2, ways + 1) for c in combinations(domain.attributes, size)]
    # |r & s| summed over all s of `ways` attributes: each of r's attributes lies in equally many s, so
    # the weight is |r| times a constant, and only the size of the clique remains.
    sizes = {len(c) for c in candidates}
    divisor = int(np.gcd.reduce(sorted(sizes))) if sizes else 1
    return {c: len(c) // divisor for c in candidates}


__all__ = ["WORKLOADS", "candidates_of"]
