"""Private tables on real rows and the real meter, with noise that repeats."""

import numpy as np
import pandas as pd
import pytest

from accountants import Allowance, Budget, Meter
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits


class Fitted:
    """A generator fitted to a frame: the plan, the meter, the answers and the model."""

    def __init__(self, generator, frame, sizes, epsilon, seed):
        schema = Schema.from_domain(sizes)
        allowance = Allowance(Budget(str(epsilon), "1e-9"))
        self.plan = generator.plan(schema.domain, allowance, schema.hints)
        self.meter = Meter(self.plan)
        self.private = PrivateTable(Rows(frame, schema), self.meter, Noise(SeededBits(seed)))
        self.model = generator.fit(self.private, self.plan, schema.hints)

    def sample(self, rows=1000, seed=0, given=None):
        return self.model.sample(rows, np.random.default_rng(seed), given)


@pytest.fixture
def fitted():
    def fit(generator, frame, sizes, *, epsilon=1, seed=0):
        return Fitted(generator, pd.DataFrame(frame), sizes, epsilon, seed)

    return fit


@pytest.fixture
def chain():
    """20,000 rows in which a fixes b, b fixes c (with noise), and d stands alone."""
    rng = np.random.default_rng(0)
    rows = 20_000

    def follows(codes, size):
        return np.where(rng.random(rows) < 0.85, codes % size, rng.integers(0, size, rows))

    a = rng.integers(0, 4, rows)
    b = follows(a, 5)
    c = follows(b, 3)
    d = rng.choice(6, rows, p=[0.5, 0.3, 0.1, 0.1, 0.0, 0.0])
    return {"a": a, "b": b, "c": c, "d": d}, {"a": 4, "b": 5, "c": 3, "d": 6}
