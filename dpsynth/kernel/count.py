"""Exact integer counts of a clique, densified over the public domain. Never leaves the kernel without noise."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accountants.events import Gaussian
from accountants.exact import UP, ceil_float
from dpsynth.domain import Clique, Domain

MAX_CELLS = 2**26
"""Most cells one marginal may have (512 MiB of counts)."""

_BLOCK = 2**18
"""Rows counted at a time; with more cells than that, as many rows as cells."""


def exact_counts(codes: Mapping[str, NDArray[Any]], domain: Domain, clique: Clique) -> NDArray[np.int64]:
    """The contingency table of `clique`: shape ``domain.project(clique).shape``, int64, in rows.

    Codes must be inside the domain; one row adds one to exactly one cell, so a unit of at most k rows moves the table
    by at most k in L1 and in L2.
    """
    shape = domain.shape_of(clique)
    if not clique:
        return np.asarray(len(next(iter(codes.values()))), np.int64)
    rows, cells = len(codes[clique[0]]), domain.size(clique)
    counts = np.zeros(cells, np.int64)
    block = max(_BLOCK, cells)
    for start in range(0, rows, block):
        part = slice(start, start + block)
        index = codes[clique[0]][part].astype(np.intp)
        for attribute, size in zip(clique[1:], shape[1:], strict=True):
            index *= size
            index += codes[attribute][part]
        counts += np.bincount(index, minlength=cells)
    return counts.reshape(shape)


def noise_scale(noise: Gaussian, at_most: int, marginals: int) -> float:
    """sigma in rows, rounded up: ``noise_multiplier * k * sqrt(m)``.

    The stacked query of m marginals has one 1 for each marginal in the column of a row's cell, so one row has
    L2 norm sqrt(m) and one unit of at most k rows at most ``k sqrt(m)`` (triangle inequality;
    attained when all k rows are equal).
    """
    stacked = UP.sqrt(Decimal(marginals)).next_plus(UP)
    return ceil_float(UP.multiply(UP.multiply(Decimal(noise.noise_multiplier), Decimal(at_most)), stacked))
