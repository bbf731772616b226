"""Networks that start from public rows: what they learn there, and that nothing else changes."""

import numpy as np
import pandas as pd
import pytest

from accountants import Allowance, Budget, Meter
from dpsynth.audit.neighbours import Surrogate
from dpsynth.audit.replay import fit
from dpsynth.encoding import Encoder
from dpsynth.generators import GAN, MADE, VAE
from dpsynth.generators.deep.start import Start
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits
from tests.helpers import SCHEMA

torch = pytest.importorskip("torch")
from dpsynth.generators.deep.warm import WeightedRows, judged  # noqa: E402 - needs torch

EVERY = {
    "made": MADE(steps=4, batch=200, hidden=8),
    "made-ordinal": MADE(steps=4, batch=200, hidden=0, ordinal=True, pair_share=0.0),
    "vae": VAE(steps=4, batch=200, hidden=8, latent=2),
    "gan": GAN(steps=4, batch=200),
    "gan-target": GAN(steps=4, batch=200, target="stage", loss="hinge"),
}


class Started:
    """A recipe with its public rows, as a session hands them over."""

    def __init__(self, recipe, public):
        self.name, self._recipe, self._public = recipe.name, recipe, public

    def plan(self, domain, allowance, hints):
        return self._recipe.plan(domain, allowance, hints)

    def fit(self, private, plan, hints):
        return self._recipe.fit(private, plan, hints, public=self._public)


@pytest.fixture(scope="module")
def surrogate():
    return Surrogate.of(Schema.loads(SCHEMA))


@pytest.fixture(scope="module", autouse=True)
def brief():
    """Few steps on public rows: it is not what they learn that is looked at."""
    from dpsynth.generators.deep import warm

    kept = warm._STEPS
    warm._STEPS = 20
    yield
    warm._STEPS = kept


@pytest.mark.parametrize("name", EVERY)
def test_a_model_is_a_function_of_the_answers_and_the_public_rows(surrogate, name):
    """Replayed on a table with a unit more, with the same answers: the same bytes. Other public rows: other bytes."""
    rng, domain = np.random.default_rng(1), surrogate.schema.domain
    publics = [{a: rng.integers(0, size, 40) for a, size in domain.sizes.items()} for _ in range(2)]
    started, other = (Started(EVERY[name], public) for public in publics)
    plan = started.plan(domain, Allowance(Budget(1, "1e-6")), surrogate.schema.hints)
    base = fit(started, plan, surrogate.base)
    pair = next(pair for pair in surrogate.neighbours() if pair.fewer is surrogate.base)
    assert fit(started, plan, pair.more, base.looks).output == base.output
    again = fit(other, plan, surrogate.base, [] if EVERY[name].name != "gan" else base.looks)
    assert again.charged == base.charged
    assert again.output != base.output


def test_public_rows_cost_no_look(surrogate):
    plan = EVERY["vae"].plan(surrogate.schema.domain, Allowance(Budget(1, "1e-6")), surrogate.schema.hints)
    public = {a: np.zeros(1, np.int64) for a in surrogate.schema.domain.attributes}
    recipes = (Started(EVERY["vae"], public), EVERY["vae"])
    with_them, without = (fit(recipe, plan, surrogate.base) for recipe in recipes)
    assert with_them.charged == without.charged == plan.events
    assert len(with_them.looks) == len(without.looks)


@pytest.fixture(scope="module")
def start():
    """One-ways of 2,000 rows, a tenth of which has the last of three values, and what was looked at before."""
    schema = Schema.from_domain({"a": 3, "b": 2}, about_rows=2000)
    frame = pd.DataFrame({"a": [0] * 900 + [1] * 900 + [2] * 200, "b": [0, 1] * 1000})
    plan = EVERY["made"].plan(schema.domain, Allowance(Budget(8, "1e-6")), schema.hints)
    private = PrivateTable(Rows(frame, schema), Meter(plan), Noise(SeededBits(0)))
    from dpsynth.generators.one_ways import Cleaning

    return Start.look(private, plan, schema.hints, Cleaning(True, 0.0, 0.0), ordinal=False), schema


def test_public_rows_are_weighted_to_the_noisy_one_ways(start):
    begun, schema = start
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.choice(3, 4000, p=[0.2, 0.2, 0.6]), "b": rng.choice(2, 4000, p=[0.7, 0.3])})
    rows = WeightedRows.of(begun, Encoder(schema).encode(frame))
    for axis, shares in enumerate(begun.shares.values()):
        held = np.bincount(rows.codes[:, axis], rows.chances, minlength=len(shares))
        assert held == pytest.approx(shares, abs=0.002)
    assert 1 / np.square(rows.chances).sum() > 0.2 * len(frame)


def test_public_rows_that_are_unlike_are_not_weighted_beyond_a_fifth(start):
    begun, schema = start
    frame = pd.DataFrame({"a": [2] * 995 + [0] * 5, "b": [0] * 1000})
    rows = WeightedRows.of(begun, Encoder(schema).encode(frame))
    assert 1 / np.square(rows.chances).sum() >= 0.2 * len(frame)
    one = WeightedRows.of(begun, {"a": np.array([2]), "b": np.array([1])})
    assert [len(half.codes) for half in one.halves(np.random.default_rng(0))] == [1, 1]


def test_a_critic_sees_a_public_row_as_the_kernel_shows_it_a_private_one(start):
    begun, _ = start
    seen = judged(torch.tensor([[2, 1], [0, 0]] * 50), begun.domain, ("a", "b"), np.random.default_rng(0))
    cells, condition = seen[:, : sum(begun.domain.shape)], seen[:, sum(begun.domain.shape) :]
    assert (condition.sum(dim=1) == 1).all()
    assert ((cells - condition) >= 0).all()  # a value of its own
    assert 20 < condition[:, : begun.domain["a"]].sum() < 80


def test_what_public_rows_teach_is_kept(chain):
    """With hardly any private signal a network that starts from them knows how columns go together."""
    frame, sizes = chain
    schema = Schema.from_domain(sizes, about_rows=20_000)
    from dpsynth.generators.deep import warm

    public = {a: np.asarray(codes[:2000]) for a, codes in frame.items()}
    wanted = np.histogram2d(frame["a"], frame["b"], bins=(range(5), range(6)))[0] / 20_000
    errors = []
    for given in ({}, {"public": public}):
        recipe = MADE(steps=4, batch=1000, hidden=0, pair_share=0.0)
        plan = recipe.plan(schema.domain, Allowance(Budget(1, "1e-6")), schema.hints)
        private = PrivateTable(Rows(pd.DataFrame(frame), schema), Meter(plan), Noise(SeededBits(0)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(warm, "_STEPS", 150)
            model = recipe.fit(private, plan, schema.hints, **given)
        found = model.project(("a", "b"))[: sizes["a"], : sizes["b"]]
        errors.append(0.5 * np.abs(found / found.sum() - wanted).sum())
    assert errors[1] < 0.5 * errors[0]
