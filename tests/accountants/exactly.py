"""Privacy profiles worked out by other means than the accountants': formulas for all real g, sums, enumeration."""

import math
from fractions import Fraction
from itertools import product

import mpmath
import numpy as np
from mpmath import mpf

from accountants import ExponentialMechanism, Gaussian, Laplace, RandomizedResponse, SubsampledGaussian

mpmath.mp.dps = 40


def gauss(g, mu):
    """Balle and Wang 2018, Theorem 8; it holds for negative g as well."""
    g, mu = mpf(g), mpf(mu)
    return mpmath.ncdf(mu / 2 - g / mu) - mpmath.exp(g) * mpmath.ncdf(-mu / 2 - g / mu)


def sampled(g, mu, q, *, removed):
    """One step on a Poisson sample: the likelihood ratio rises with x, so the best set is a half-line."""
    g, mu, q = mpf(g), mpf(mu), mpf(q)
    growth = mpmath.exp(g)
    odds = (growth - 1 + q) / q if removed else (1 / growth - 1 + q) / q
    if odds <= 0:
        return 1 - growth if removed else mpf(0)
    edge = mpmath.log(odds) / mu + mu / 2  # where the mixture is e^g (or e^-g) times N(0, 1)
    if removed:
        return (1 - q - growth) * mpmath.ncdf(-edge) + q * mpmath.ncdf(mu - edge)
    return (1 - growth * (1 - q)) * mpmath.ncdf(edge) - growth * q * mpmath.ncdf(edge - mu)


def profile(event, g, *, removed=True):
    """The exact profile of one look at any real g."""
    g = mpf(g)
    match event:
        case Gaussian(noise_multiplier=z):
            return gauss(g, 1 / mpf(z))
        case SubsampledGaussian(noise_multiplier=z, sample_rate=q, steps=1):
            return sampled(g, 1 / mpf(z), q, removed=removed)
        case RandomizedResponse(epsilon=epsilon):
            low = 1 / (1 + mpmath.exp(mpf(epsilon)))
            return max(1 - low - mpmath.exp(g) * low, mpf(0)) + max(low - mpmath.exp(g) * (1 - low), mpf(0))
        case ExponentialMechanism(eta=width):
            inside = (mpmath.exp(mpf(width) / 2) - mpmath.exp(g / 2)) ** 2 / mpmath.expm1(mpf(width))
        case Laplace(noise_multiplier=z):
            width = 1 / mpf(z)
            inside = -mpmath.expm1((g - width) / 2)
    return mpf(0) if g >= width else inside if g > -width else 1 - mpmath.exp(g)


def responses(odds, delta, times, x):
    """Optimal composition of `times` (log odds, delta) mechanisms at ``e^g = x``, in fractions.

    Kairouz, Oh, Viswanath 2015, Theorem 3.3.
    """
    odds, delta, x = Fraction(odds), Fraction(delta), Fraction(x)
    total = sum(
        math.comb(times, down) * max(Fraction(0), odds ** (times - down) - x * odds**down) for down in range(times + 1)
    )
    return 1 - (1 - delta) ** times * (1 - total / (1 + odds) ** times)


def hockey_stick(p, q, g):
    """``sum max(p - e^g q, 0)``."""
    return float(np.maximum(np.asarray(p) - math.exp(g) * np.asarray(q), 0.0).sum())


def worst(p, q, g):
    """The larger of both directions."""
    return max(hockey_stick(p, q, g), hockey_stick(q, p, g))


def independent(pairs):
    """The pair of product distributions of all outcomes together."""
    p = np.array([math.prod(each) for each in product(*(one for one, _ in pairs))])
    q = np.array([math.prod(each) for each in product(*(other for _, other in pairs))])
    return p, q
