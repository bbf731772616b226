"""The samplers against their exact distributions. Seeded through the test-only bits, so there is no false alarm."""

import copy
import math
import os
import pickle
import threading
from bisect import bisect_right
from itertools import accumulate

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from randomgen import ChaCha
from scipy.special import ndtri
from scipy.stats import chi2, norm

from dpsynth.kernel.noise import _MANY, Noise, SystemBits, _weight
from dpsynth.testing import SeededBits, TapedBits

DRAWS = 100_000


def chi_square_tail(values, sigma):
    """P-value of the draws against round(N(0, sigma^2)), cells merged until each expects 20 or more."""
    edge = max(1, math.ceil(3.2 * sigma))
    edges = np.r_[-np.inf, np.unique(np.linspace(-edge, edge, min(2 * edge + 1, 60)).round()) - 0.5, np.inf]
    expected = len(values) * np.diff(norm.cdf(edges / sigma))
    observed = np.histogram(values, bins=np.r_[-1e18, edges[1:-1], 1e18])[0]
    keep = expected >= 20
    statistic = ((observed - expected) ** 2 / expected)[keep].sum()
    return chi2.sf(statistic, keep.sum() - 1)


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 3.7, 20.0, 1000.0])
def test_rounded_gaussian_has_its_exact_distribution(sigma):
    values = Noise(SeededBits(1)).rounded_gaussian(sigma, DRAWS)
    assert values.dtype == np.int64
    assert chi_square_tail(values, sigma) > 1e-7
    # The test has power: a sigma one part in fifty off is rejected outright.
    if sigma >= 1:
        assert chi_square_tail(values, sigma * 1.02) < 1e-4
        assert chi_square_tail(values, sigma / 1.02) < 1e-4


def test_real_bits_give_the_same_distribution():
    """False alarm below 1e-7 (one chi-square test)."""
    assert chi_square_tail(Noise().rounded_gaussian(5.0, DRAWS), 5.0) > 1e-7


def test_quantile_error_is_far_inside_the_margin():
    """The fast path trusts ndtri to 2^-40; here it is held to 2^-49, from the middle to the tail."""
    mp.dps = 50
    rng = np.random.default_rng(0)
    for exponent in rng.uniform(1, 65, 1500):
        p = float(2.0**-exponent)
        z = float(ndtri(p))
        # One Newton step from z at 50 digits is exact to (error)^2.
        gap = mp.erfc(-mpf(z) / mp.sqrt(2)) / 2 - mpf(p)
        error = gap / (mp.exp(-(mpf(z) ** 2) / 2) / mp.sqrt(2 * mp.pi))
        assert abs(error) / (1 + abs(z)) < 2.0**-49


@pytest.mark.parametrize("sigma", [0.3, 7.0, 12345.678])
def test_near_a_boundary_more_bits_decide(sigma):
    """A word whose interval straddles a rounding boundary: the next bits say on which side the draw falls."""
    with mp.workdps(60):
        boundary = mp.erfc(mpf(2.5) / (mpf(sigma) * mp.sqrt(2))) / 2
        tail = int(mp.floor(boundary * mpf(2) ** 64))
    lows = Noise(TapedBits([tail << 1, 0, 0, 0])).rounded_gaussian(sigma, 1)
    highs = Noise(TapedBits([tail << 1, *[2**64 - 1] * 3])).rounded_gaussian(sigma, 1)
    assert {int(lows[0]), int(highs[0])} == {2, 3}  # a smaller tail probability is a larger draw
    assert lows[0] == 3


def test_the_far_tail_is_reached():
    zeros = [0] * 7
    draw = Noise(TapedBits([1, *zeros])).rounded_gaussian(10.0, 1)  # sign bit set, tail word zero
    assert draw[0] < -180  # beyond 18 sigma: float64 uniforms could never give it


def test_a_coarse_word_in_the_far_tail_is_refined_however_little_noise_there_is():
    """One word alone says 9 sigma, and for so small a sigma no rounding boundary is near it."""
    draw = Noise(TapedBits([1, *[0] * 7])).rounded_gaussian(0.3, 1)
    assert draw[0] <= -5  # beyond 15 sigma


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf"), 2.0**31])
def test_impossible_sigmas_raise(sigma):
    with pytest.raises(ValueError, match="sigma"):
        Noise().rounded_gaussian(sigma, 1)


def test_selection_follows_the_exponential_mechanism():
    scores, eta, sensitivity = [0, 3, 5, -2], 1.3, 2
    ideal = np.exp(eta * np.array(scores) / (2 * sensitivity))
    ideal /= ideal.sum()
    noise = Noise(SeededBits(2))
    counts = np.bincount([noise.choose(scores, eta, sensitivity) for _ in range(20_000)], minlength=4)
    statistic = ((counts - 20_000 * ideal) ** 2 / (20_000 * ideal)).sum()
    assert chi2.sf(statistic, 3) > 1e-7
    without_2 = np.exp(eta * np.array(scores) / sensitivity)
    without_2 /= without_2.sum()
    assert chi2.sf(((counts - 20_000 * without_2) ** 2 / (20_000 * without_2)).sum(), 3) < 1e-12


def test_selection_survives_huge_gaps_and_shifts():
    noise = Noise(SeededBits(3))
    assert noise.choose([0, 10**15], 1.0, 1) == 1
    assert noise.choose([-(10**18)], 0.001, 1) == 0

    def draws(c):
        return [Noise(SeededBits(s)).choose([c, c + 1, c + 2], 0.5, 1) for s in range(50)]

    assert draws(0) == draws(-(10**12))


def by_integers(words, scores, rate, sensitivity):
    """The definition: one uniform integer below the sum of all integer weights."""
    weights = [_weight(max(scores) - s, rate, sensitivity) for s in scores]
    point = Noise(words).below(sum(weights))
    return bisect_right(list(accumulate(weights)), point)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(_MANY, 300),
    st.sampled_from([1, 30, 10**4, 10**17]),
    st.floats(1e-6, 50.0),
    st.integers(1, 10**6),
)
@settings(deadline=None)
def test_floats_find_the_index_that_the_integers_define(seed, count, spread, rate, sensitivity):
    scores = np.random.default_rng(seed).integers(-spread, spread, count).tolist()
    assert Noise(SeededBits(seed)).choose(scores, rate, sensitivity) == by_integers(
        SeededBits(seed), scores, rate, sensitivity
    )


@pytest.mark.parametrize("offset", [-(2**120), -(2**80), -1, 0, 1, 2**80, 2**120])
@pytest.mark.parametrize("boundary", [0, 1, 40, 98, 99])
def test_a_point_at_a_boundary_is_left_to_the_integers(boundary, offset):
    """2^120 of 2^166 is far below what a sum of float weights can tell apart."""
    scores = [(7 * i) % 50 for i in range(100)]
    weights = [_weight(49 - s, 0.1, 1) for s in scores]
    bits = (sum(weights) - 1).bit_length()
    point = sum(weights[: boundary + 1]) + offset
    second = [3 << 60, 1, 2]  # what is drawn next if the point lies beyond the last weight
    words = point << (192 - bits)
    tape = [(words >> (64 * i)) & (2**64 - 1) for i in range(3)] + second
    assert Noise(TapedBits(tape)).choose(scores, 0.1, 1) == by_integers(TapedBits(tape), scores, 0.1, 1)


def test_one_overwhelming_or_astronomic_score_is_chosen_among_many():
    scores = [0] * 200
    assert Noise(SeededBits(5)).choose([*scores, 10**9], 1.0, 1) == 200
    assert Noise(SeededBits(5)).choose([*scores, 10**400], 1.0, 1) == 200


def test_another_thread_at_low_precision_changes_no_weight():
    """mpmath's shared precision belongs to the process; the samplers use their own."""
    stop, wrong = threading.Event(), []

    def disturb():
        while not stop.is_set():
            with mp.workdps(5):
                mp.exp(mpf(1) / 3)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        with mp.workdps(120):
            expected = [int(mp.floor(mp.ldexp(mp.exp(-mpf(g) / 14), 160))) for g in range(40)]
        for _ in range(20):
            wrong += [g for g in range(40) if _weight(g, 1.0, 7) != expected[g]]
    finally:
        stop.set()
        thread.join()
    assert wrong == []


def test_below_is_uniform_and_in_range():
    noise = Noise(SeededBits(4))
    draws = [noise.below(5) for _ in range(10_000)]
    assert set(draws) == set(range(5))
    assert chi2.sf(((np.bincount(draws) - 2000) ** 2 / 2000).sum(), 4) > 1e-7
    assert noise.below(1) == 0


def test_the_cipher_is_chacha20():
    key = bytes(range(32))
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(512))
    words = ChaCha(key=int.from_bytes(key, "little"), rounds=20).random_raw(64)
    assert words.astype("<u8").tobytes() == stream


def test_the_noise_source_is_that_cipher_keyed_by_the_system(monkeypatch):
    key = bytes(range(1, 33))
    monkeypatch.setattr(os, "urandom", lambda count: key[:count])
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(512))
    assert SystemBits().words(64).astype("<u8").tobytes() == stream


def test_two_sources_never_agree():
    assert not np.array_equal(SystemBits().words(8), SystemBits().words(8))


@pytest.mark.parametrize("made", [SystemBits, Noise])
def test_no_copy_no_pickle(made):
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            attempt(made())


def test_a_forked_child_draws_from_a_new_key():
    bits = SystemBits()
    bits.words(1)
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(send, bits.words(4).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = np.frombuffer(os.read(receive, 32), np.uint64)
    os.close(receive)
    os.close(send)
    assert not np.array_equal(theirs, bits.words(4))
