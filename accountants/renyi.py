"""Rényi bounds, where delta is too small for a distribution in double precision: looser, and safe at any delta.

``epsilon = min over a of R(a) + log(1 - 1/a) - log(delta a)/(a - 1)`` (Canonne, Kamath, Steinke 2020, Proposition
12), where R sums ``a mu^2/2`` of what a Gaussian dominates and, for looks on samples, the divergence of integer
order a of the sampled Gaussian (Mironov, Talwar, Zhang 2019, Theorem 11 and equation 8; a unit removed is the worse
direction).
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import lru_cache

import numpy as np
from scipy.special import gammaln, logsumexp

from accountants.events import SubsampledGaussian
from accountants.exact import UP
from accountants.parts import Parts

ORDERS = tuple(sorted({*range(2, 65), *(round(64 * 1.12**i) for i in range(1, 45))}))
_ROUND = 1 + 1e-9
"""Sums in floats are raised by this factor."""


def renyi_epsilon(parts: Parts, delta: float) -> float:
    """Epsilon of `parts` without their `delta0` at `delta`, above 0; rounded up."""
    squared = parts.mu_squared
    for look, count in parts.looks:
        if not isinstance(look, SubsampledGaussian):
            squared = UP.add(squared, UP.multiply(Decimal(count), look.mu_squared))
    best = math.inf
    for order in ORDERS:
        total = order * float(squared) / 2
        for look, count in parts.looks:
            if isinstance(look, SubsampledGaussian):
                total += count * _sampled(look.noise_multiplier, look.sample_rate, order)
        best = min(best, total * _ROUND + math.log1p(-1 / order) - math.log(delta * order) / (order - 1))
    return max(0.0, best) * _ROUND


@lru_cache(maxsize=4096)
def _sampled(noise_multiplier: float, rate: float, order: int) -> float:
    """``log sum_k C(a, k) (1-q)^(a-k) q^k e^((k^2 - k)/(2 sigma^2)) / (a - 1)``."""
    if rate == 1.0:
        return order / (2 * noise_multiplier**2)
    k = np.arange(order + 1)
    choose = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    exponents = choose + (order - k) * math.log1p(-rate) + k * math.log(rate) + (k * k - k) / (2 * noise_multiplier**2)
    # The terms sum to 1 and a little: rounding in them is of relative order 1e-15 times the order, added here.
    return (max(float(logsumexp(exponents)), 0.0) + 1e-14 * order) / (order - 1)


__all__ = ["ORDERS", "renyi_epsilon"]
