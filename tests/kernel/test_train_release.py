"""A generator that trains, from plan to certificate: what the ledger records, how numerics reach gate and policy."""

import json
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

import dpsynth as dp
from accountants import FixedPlan, GateRefused, Gaussian, Policy, SubsampledGaussian
from accountants.events import event_to_json
from accountants.ledger import Status
from accountants.recomputation import CertificateError, recompute
from dpsynth.errors import ModelStoreError
from dpsynth.generators import MarginalModel
from dpsynth.generators.one_ways import Cleaning, OneWays, one_way_looks
from dpsynth.generators.settings import planned
from dpsynth.graphical import estimate
from dpsynth.release import read_certificate
from dpsynth.training import Critic
from tests.helpers import schema, table


@dataclass(frozen=True)
class Toy:
    """One-ways, and a critic that nobody uses."""

    numerics: str = "exact"
    made: int = 4
    name = "toy"

    def parameters(self):
        return {"numerics": self.numerics, "made": self.made}

    def plan(self, domain, allowance, hints):
        return FixedPlan([*one_way_looks(20.0, hints), SubsampledGaussian(2.0, 0.05, 4)])

    def fit(self, private, plan, hints):
        found = OneWays.planned(private, planned(plan, Gaussian), hints, Cleaning(True, 3.0))
        (event,) = planned(plan, SubsampledGaussian)
        module = nn.Linear(sum(private.domain.shape), 1)
        steps = private.train(
            module,
            Critic(),
            event,
            optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
            max_grad_norm=1.0,
            expected_batch_size=20.0,
            numerics=self.numerics,
        )
        for _, _ in zip(range(self.made), steps, strict=False):
            pass
        return MarginalModel(found.recoding, estimate(found.recoding.domain, found.merged))


def fitted(generator, policy=None):
    account = dp.open_ledger().open("clinic", dp.Budget(3), filter="sum")
    plan = dp.plan(generator, schema(), dp.Budget(1.0))
    return account, dp.fit(plan, table(), account, policy=policy)


def kinds(account):
    return [row.kind for row in account.ledger.rows()]


def test_the_ledger_has_one_reservation_and_one_commit_that_lists_every_step():
    account, model = fitted(Toy())
    assert kinds(account).count("reserve") == kinds(account).count("commit") == 1
    (release,) = account.state.releases.values()
    assert release.status is Status.COMMITTED
    assert release.charged["plan"][-1]["steps"] == 4
    assert release.charged["plan"][-1]["kind"] == "subsampled_gaussian"
    admitted = dp.admit(model.sample(50), account)
    assert admitted.certificate["predicate"]["guarantee"]["numerics"]["class"] == "exact"


def test_the_certificate_says_what_it_was_trained_on_by_the_models_own_bytes(tmp_path):
    account, model = fitted(Toy())
    assert model.stored.trained_on == model.store.load(model.digest).trained_on == ("cpu",)
    released = dp.admit(model.sample(50), account)
    assert released.certificate["predicate"]["implementation"]["trained_on"] == ["cpu"]
    assert "Network trained on" in read_certificate(released.write(tmp_path / "release"))
    with pytest.raises(ModelStoreError, match="not the model"):
        replace(model, stored=replace(model.stored, trained_on=("cuda",))).sample(5)


def test_a_training_that_stops_early_is_charged_whole_and_verifies():
    whole, _ = fitted(Toy())
    spent = whole.state.spent
    account = dp.open_ledger().open("other", dp.Budget(3), filter="sum")
    model = dp.fit(dp.plan(Toy(made=2), schema(), dp.Budget(1.0)), table(), account)
    assert account.state.spent == spent
    (release,) = account.state.releases.values()
    assert release.charged["plan"][-1]["steps"] == 2
    admitted = dp.admit(model.sample(50), account)
    assert recompute(admitted.certificate).budget == dp.Budget(1.0)


def test_idealised_numerics_reach_claim_certificate_and_policy():
    account, model = fitted(Toy("idealised"))
    admitted = dp.admit(model.sample(50), account)
    assert admitted.certificate["predicate"]["guarantee"]["numerics"]["class"] == "idealised"
    with pytest.raises(GateRefused, match="idealised"):
        dp.fit(dp.plan(Toy("idealised"), schema(), dp.Budget(1.0)), table(), account, policy=Policy(numerics={"exact"}))


@pytest.mark.parametrize(
    "ran",
    [SubsampledGaussian(2.0, 0.05, 5), SubsampledGaussian(1.9, 0.05, 3), SubsampledGaussian(2.0, 0.06, 3)],
)
def test_a_certificate_of_another_training_than_planned_is_broken(ran):
    account, model = fitted(Toy())
    statement = json.loads(json.dumps(dp.admit(model.sample(50), account).certificate))
    statement["predicate"]["looks"]["charged"]["plan"][-1].update(event_to_json(ran))
    with pytest.raises(CertificateError, match="not among those that were planned"):
        recompute(statement)
