"""Tilted rows: chosen by the weights that their potentials give them."""

import numpy as np

from dpsynth.domain import Domain
from dpsynth.generators.deep.tilt import Tilt

DOMAIN = Domain.of({"a": 2, "b": 2})


def test_rows_are_kept_as_often_as_their_potentials_say():
    rng = np.random.default_rng(0)
    codes = {a: rng.integers(0, 2, 40_000) for a in DOMAIN.attributes}
    tilt = Tilt({("a",): np.log([1.0, 2.0]), ("a", "b"): np.log([[1.0, 3.0], [1.0, 1.0]])})
    kept = tilt.chosen(tilt.heights(DOMAIN, codes), 10_000, rng)
    counts = np.bincount(codes["a"][kept] * 2 + codes["b"][kept], minlength=4) / 10_000
    np.testing.assert_allclose(counts, np.array([1, 3, 2, 2]) / 8, atol=0.02)
    assert (np.diff(kept) < 0).any()  # in random order
    assert Tilt().pool(7) == 7 < tilt.pool(7)
