"""Networks that start from public rows: what they learn there, and that nothing else changes."""

import numpy as np
import pandas as pd
import pytest

from accountants import Allowance, Budget, Meter
from dpsynth.audit.neighbours import Surrogate
from dpsynth.audit.replay import fit
from dpsynth.domain import Domain
from dpsynth.generators import GAN, MADE, VAE
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.schema import Schema
from dpsynth.testing import SeededBits
from dpsynth.training import Critic, EvidenceLowerBound, Likelihood
from tests.helpers import SCHEMA

torch = pytest.importorskip("torch")
from dpsynth.generators.deep import warm  # noqa: E402 - needs torch
from dpsynth.generators.deep.warm import judged  # noqa: E402
from dpsynth.kernel.losses import RowLoss  # noqa: E402
from dpsynth.kernel.modules import Trace  # noqa: E402
from dpsynth.layers import made  # noqa: E402

SMALL = {"steps": 4, "batch": 200, "merge_below": 0.0, "group_below": 0.0}  # nothing is merged, however few the rows
EVERY = {
    "made": MADE(hidden=8, pair_share=0.0, **SMALL),
    "made-ordinal": MADE(hidden=0, ordinal=True, pair_share=0.0, **SMALL),
    "vae": VAE(hidden=8, latent=2, pair_share=0.0, **SMALL),
    "gan": GAN(**SMALL),
    "gan-target": GAN(target="stage", loss="hinge", **SMALL),
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm, "_STEPS", 20)
        patch.setattr(warm, "_OFTEN", 10)
        yield


@pytest.mark.parametrize("name", EVERY)
def test_a_model_is_a_function_of_the_answers_and_the_public_rows(surrogate, name):
    """Replayed on a table with a unit more, with the same answers: the same bytes. Other public rows: other bytes."""
    rng, domain = np.random.default_rng(1), surrogate.schema.domain
    codes = [rng.integers(0, 99, 60) for _ in range(2)]
    publics = [{a: code % size for a, size in domain.sizes.items()} for code in codes]  # there is something to learn
    started, other = (Started(EVERY[name], public) for public in publics)
    plan = started.plan(domain, Allowance(Budget(1, "1e-6")), surrogate.schema.hints)
    base = fit(started, plan, surrogate.base)
    pair = next(pair for pair in surrogate.neighbours() if pair.fewer is surrogate.base)
    assert fit(started, plan, pair.more, base.looks).output == base.output
    again = fit(other, plan, surrogate.base)
    assert again.charged == base.charged
    assert again.output != base.output


def test_public_rows_cost_no_look(surrogate):
    plan = EVERY["vae"].plan(surrogate.schema.domain, Allowance(Budget(1, "1e-6")), surrogate.schema.hints)
    public = {a: np.zeros(1, np.int64) for a in surrogate.schema.domain.attributes}
    recipes = (Started(EVERY["vae"], public), EVERY["vae"])
    with_them, without = (fit(recipe, plan, surrogate.base) for recipe in recipes)
    assert with_them.charged == without.charged == plan.events
    assert len(with_them.looks) == len(without.looks)


def test_a_critic_sees_a_public_row_as_the_kernel_shows_it_a_private_one():
    domain = Domain(("a", "b"), (3, 2))
    seen = judged(torch.tensor([[2, 1], [0, 0]] * 50), domain, ("a", "b"), np.random.default_rng(0))
    cells, condition = seen[:, :5], seen[:, 5:]
    assert (condition.sum(dim=1) == 1).all()
    assert ((cells - condition) >= 0).all()  # a value of its own
    assert 20 < condition[:, :3].sum() < 80
    codes = torch.tensor([[2, 1], [0, 0]])
    kernel = RowLoss(Critic("wasserstein", ("b",)), domain)._condition(codes.T, ("b",), torch.zeros(0, 2))
    assert (judged(codes, domain, ("b",), np.random.default_rng(0))[:, 5:] == kernel.T).all()


@pytest.mark.parametrize("loss", [Likelihood(ordered=["a"]), EvidenceLowerBound(2, 0.5, ["a"])], ids=["made", "vae"])
def test_the_loss_on_public_rows_is_the_kernel_s_on_private_ones(loss):
    domain, codes = Domain(("a", "b"), (3, 2)), torch.tensor([[2, 1], [0, 0], [1, 1]])
    if isinstance(loss, Likelihood):
        module, drawn = made((3, 2), [4]), torch.zeros(0, 3)
    else:  # codes of no variance: what is drawn does not matter
        module = torch.nn.ModuleDict({"encoder": torch.nn.Linear(5, 4), "decoder": torch.nn.Linear(2, 5)})
        drawn = torch.full((2, 3), 0.5, dtype=torch.float64)
        with torch.no_grad():
            module["encoder"].weight[2:] = 0.0
            module["encoder"].bias[2:] = -30.0
    ours = warm._losses(module, loss, domain, codes)
    theirs = RowLoss(loss, domain).rows(module, codes.T, drawn, Trace())
    np.testing.assert_allclose(ours.detach(), theirs.detach(), rtol=1e-4, atol=1e-4)


def test_what_public_rows_teach_is_kept(chain):
    """With hardly any private signal a network that starts from them knows how columns go together."""
    frame, sizes = chain
    schema = Schema.from_domain(sizes, about_rows=400)
    private, public = ({a: codes[rows] for a, codes in frame.items()} for rows in (slice(400), slice(400, 4000)))
    wanted = np.histogram2d(frame["a"], frame["b"], bins=(range(5), range(6)))[0] / len(frame["a"])
    recipe, errors = EVERY["made"], []
    plan = recipe.plan(schema.domain, Allowance(Budget(1, "1e-6")), schema.hints)
    for given in ({}, {"public": public}):
        table = PrivateTable(Rows(pd.DataFrame(private), schema), Meter(plan), Noise(SeededBits(0)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(warm, "_STEPS", 200)
            patch.setattr(warm, "_SLOWER", 1.0)
            model = recipe.fit(table, plan, schema.hints, **given)
        found = model.project(("a", "b"))[: sizes["a"], : sizes["b"]]
        errors.append(0.5 * np.abs(found / found.sum() - wanted).sum())
    assert errors[1] < 0.6 * errors[0]
