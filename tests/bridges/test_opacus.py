"""A PrivacyEngine on the ledger: real training with Opacus on the CPU, and what each wrong step costs."""

import copy
import gc
import os
import pickle

import pytest

import dpsynth as dp
from accountants import (
    Budget,
    BudgetError,
    Charge,
    GateRefused,
    LedgerBusy,
    PlanError,
    Policy,
    PrivacyUnit,
    ReasonCode,
    Status,
    SubsampledGaussian,
    UnplannedEvent,
)
from dpsynth.release import ModelStore
from tests.helpers import schema, table

pytest.importorskip("opacus")
import torch
from opacus import PrivacyEngine
from opacus.utils.batch_memory_manager import BatchMemoryManager
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dpsynth.bridges.opacus import ASSUMED, LedgerAccountant

pytestmark = [
    pytest.mark.filterwarnings("ignore:Secure RNG turned off:UserWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),
]
BUDGET = Budget(1, "1e-9")
NOISE = 3.0
BATCHES = 8


def loader(rows=64, **options):
    x = torch.linspace(-1, 1, 3 * rows).reshape(rows, 3)
    return DataLoader(TensorDataset(x, (x.sum(dim=1) > 0).long()), batch_size=rows // BATCHES, **options)


def network(*layers):
    return nn.Sequential(nn.Linear(3, 2), *layers)


def accountant(account, steps=BATCHES, noise=NOISE, **options):
    return LedgerAccountant(
        account, options.pop("budget", BUDGET), noise_multiplier=noise, sample_rate=1 / BATCHES, steps=steps, **options
    )


def attached(spends, engine=None, batches=None, module=None, **options):
    """Module, optimizer and loader as ``make_private`` of an engine with this accountant makes them."""
    engine = engine or PrivacyEngine()
    engine.accountant = spends
    module = module or network()
    return engine.make_private(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        data_loader=batches or loader(),
        **{"noise_multiplier": NOISE, "max_grad_norm": 1.0, **options},
    )


def train(module, optimizer, batches, epochs=1):
    loss = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for x, y in batches:
            optimizer.zero_grad()
            loss(module(x), y).backward()
            optimizer.step()


def weights(module):
    return [p.detach().clone() for p in module.parameters()]


def same(before, module):
    return all(torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


def only(account):
    (release,) = account.state.releases.values()
    return release


def test_a_training_is_charged_before_it_starts_and_committed_without_a_model(open_account):
    account = open_account()
    spends = LedgerAccountant.for_loader(account, loader(), BUDGET, epochs=2, purpose="triage")
    assert only(account).status is Status.RESERVED
    assert account.state.spent.epsilon == 1
    with spends:
        module, optimizer, batches = attached(spends, noise_multiplier=spends.noise_multiplier)
        assert only(account).status is Status.RUNNING
        before = weights(module)
        train(module, optimizer, batches, epochs=2)
        assert len(spends) == 2 * len(batches) == spends.event.steps
        assert not same(before, module)
    release = only(account)
    assert (release.status, release.model) == (Status.COMMITTED, None)
    claim = release.claim
    assert claim.plan.events == (SubsampledGaussian(spends.noise_multiplier, 1 / BATCHES, 16),)
    assert (claim.generator, claim.numerics, claim.schema_origin, claim.purpose) == (
        "opacus",
        "idealised",
        "none",
        "triage",
    )
    assert set(ASSUMED) < set(claim.assumptions)
    assert account.state.spent.epsilon == 1
    assert claim.relation == account.state.relation == "blank_one_unit"  # sampling rate and steps come from the size


def test_get_epsilon_is_that_of_the_whole_reservation(open_account):
    spends = LedgerAccountant.for_loader(open_account(), loader(), BUDGET, epochs=2)
    engine = PrivacyEngine()
    module, optimizer, batches = attached(spends, engine, noise_multiplier=spends.noise_multiplier)
    before = engine.get_epsilon(1e-9)
    assert 0.995 < before <= 1
    train(module, optimizer, batches)
    assert engine.get_epsilon(1e-9) == before
    assert engine.get_epsilon(1e-5) < before
    with pytest.raises(BudgetError, match="delta"):
        spends.get_epsilon(delta=0)


@pytest.mark.parametrize("count", [1, 8, 92, 93, 99, 186])
def test_for_loader_declares_what_opacus_computes(open_account, count):
    batches = DataLoader(TensorDataset(torch.zeros(count, 3), torch.zeros(count).long()), batch_size=1)
    spends = LedgerAccountant.for_loader(open_account(), batches, BUDGET, epochs=3, noise_multiplier=1000)
    _, _, private = attached(spends, batches=batches, noise_multiplier=1000)
    assert spends.event.steps == 3 * len(private)


def test_a_step_too_many_changes_nothing(open_account):
    with accountant(open_account()) as spends:
        module, optimizer, batches = attached(spends)
        train(module, optimizer, batches)
        before = weights(module)
        with pytest.raises(UnplannedEvent, match="all 8 steps that were reserved"):
            train(module, optimizer, batches)
        assert same(before, module)
        assert all(p.grad is None and p.grad_sample is None for p in module.parameters())
        assert len(spends) == BATCHES


@pytest.mark.parametrize("noise", [2.9999999999999996, 1.0, 4.0, 0.0])
def test_a_step_with_other_noise_changes_nothing(open_account, noise):
    with accountant(open_account()) as spends:
        module, optimizer, batches = attached(spends, noise_multiplier=noise)
        before = weights(module)
        with pytest.raises(UnplannedEvent, match=r"3\.0 and sampling rate 0\.125 were reserved"):
            train(module, optimizer, batches)
        assert same(before, module)
        assert len(spends) == 0


def test_a_noise_that_falls_later_is_refused_then(open_account):
    with accountant(open_account()) as spends:
        module, optimizer, batches = attached(spends)
        with BatchMemoryManager(data_loader=batches, max_physical_batch_size=3, optimizer=optimizer) as small:
            train(module, optimizer, small)
        assert len(spends) == BATCHES  # physical batches are no steps
    with accountant(open_account()) as spends:
        module, optimizer, batches = attached(spends)
        optimizer.noise_multiplier = 1.0
        before = weights(module)
        with pytest.raises(UnplannedEvent, match="train exactly as reserved"):
            train(module, optimizer, batches)
        assert same(before, module)


def test_another_sampling_rate_is_refused_before_the_start_and_costs_nothing(open_account):
    account = open_account()
    says = r"sampling rate 0\.125 were reserved, the step has 3\.0 and 0\.25"
    with pytest.raises(UnplannedEvent, match=says), accountant(account) as spends:
        attached(spends, batches=DataLoader(loader().dataset, batch_size=16))
    assert only(account).status is Status.VOIDED
    assert account.state.spent.epsilon == 0


def test_what_opacus_refuses_before_the_start_costs_nothing(open_account):
    from opacus.validators.errors import UnsupportedModuleError

    account = open_account()
    with pytest.raises(UnsupportedModuleError), accountant(account) as spends:
        attached(spends, module=network(nn.BatchNorm1d(2)))
    with accountant(account):
        pass  # nothing attached
    assert [r.status for r in account.state.releases.values()] == [Status.VOIDED, Status.VOIDED]


def test_make_private_with_epsilon_cannot_choose_other_noise(open_account):
    account = open_account()
    module, engine = network(), PrivacyEngine()
    wanted = {"target_epsilon": 50.0, "target_delta": 1e-5, "epochs": 1, "max_grad_norm": 1.0}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    with (
        accountant(account) as engine.accountant,
        pytest.raises(ValueError, match=r"dpsynth_ledger \(its noise is fixed"),
    ):
        engine.make_private_with_epsilon(module=module, optimizer=optimizer, data_loader=loader(), **wanted)
    assert account.state.spent.epsilon == 0


def test_the_checked_make_private(open_account):
    account = open_account()
    with accountant(account) as spends:
        module = network()
        objects = {"module": module, "optimizer": torch.optim.SGD(module.parameters(), lr=0.1), "max_grad_norm": 1.0}
        engine = PrivacyEngine()
        for wrong in (
            {"poisson_sampling": False},
            {"noise_multiplier": 1.0},
            {"noise_generator": torch.Generator()},
            {"data_loader": loader(generator=torch.Generator())},
        ):
            with pytest.raises(UnplannedEvent):
                spends.make_private(engine, **{"data_loader": loader(), **objects, **wrong})
        assert only(account).status is Status.RESERVED
        train(*spends.make_private(engine, data_loader=loader(), **objects))
        assert engine.accountant is spends
        with pytest.raises(UnplannedEvent, match="guards an optimizer already"):
            attached(spends)
    assert only(account).status is Status.COMMITTED


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"noise_generator": torch.Generator()}, "may be seeded"),
        (
            {
                "clipping": "adaptive",
                "target_unclipped_quantile": 0.5,
                "clipbound_learning_rate": 0.2,
                "max_clipbound": 2.0,
                "min_clipbound": 0.5,
                "unclipped_num_std": 10.0,
            },
            "AdaClipDPOptimizer is not covered",
        ),
    ],
)
def test_optimizers_that_do_something_else_are_refused(open_account, options, says):
    with accountant(open_account()) as spends:
        module, optimizer, batches = attached(spends, **options)
        before = weights(module)
        with pytest.raises(UnplannedEvent, match=says):
            train(module, optimizer, batches)
        assert same(before, module)


def test_per_layer_clipping_and_ghost_clipping_are_steps_like_any_other(open_account):
    with accountant(open_account()) as spends:
        train(*attached(spends, clipping="per_layer", max_grad_norm=[1.0, 1.0]))
        assert len(spends) == BATCHES
    with accountant(open_account()) as spends:
        module, optimizer, criterion, batches = attached(spends, grad_sample_mode="ghost")
        for x, y in batches:
            optimizer.zero_grad()
            criterion(module(x), y).backward()
            optimizer.step()
        assert len(spends) == BATCHES


@pytest.mark.parametrize(
    ("stop", "reason"),
    [(ValueError, ReasonCode.FAILED), (KeyboardInterrupt, ReasonCode.INTERRUPTED)],
)
def test_a_training_that_breaks_off_is_charged_whole(open_account, stop, reason):
    account = open_account()
    spends = accountant(account)
    module, optimizer, batches = attached(spends)
    with pytest.raises(stop), spends:
        raise stop
    assert (only(account).status, only(account).reason) == (Status.FORFEITED, reason)
    assert account.state.spent.epsilon == 1
    with pytest.raises(UnplannedEvent, match="over"):
        train(module, optimizer, batches)


def test_a_training_without_an_end_is_charged_and_found_crashed(open_account):
    account = open_account()
    spends = accountant(account)
    module, optimizer, batches = attached(spends)
    train(module, optimizer, batches)
    assert only(account).status is Status.RUNNING
    with pytest.raises(LedgerBusy):
        accountant(account)
    optimizer.step_hook = None
    del spends
    optimizer = module = batches = None
    gc.collect()
    accountant(account).close()
    first = next(iter(account.state.releases.values()))
    assert (first.status, first.reason) == (Status.FORFEITED, ReasonCode.CRASHED)
    assert account.state.spent.epsilon == 1


def test_close_ends_a_training_without_a_with_block(open_account):
    account = open_account()
    spends = accountant(account)
    module, optimizer, batches = attached(spends)
    train(module, optimizer, batches)
    spends.close()
    spends.close()
    assert only(account).status is Status.COMMITTED
    with pytest.raises(UnplannedEvent, match="this training is over"):
        spends.step(noise_multiplier=NOISE, sample_rate=1 / BATCHES)


def test_steps_reported_by_a_loop_of_ones_own(open_account):
    account = open_account()
    with accountant(account, steps=2) as spends:
        for taken in (1, 2):
            spends.step(noise_multiplier=NOISE, sample_rate=0.125)
            assert only(account).status is Status.RUNNING
            assert spends.history == [(NOISE, 0.125, taken)]
        for noise, rate in ((NOISE, 0.125), (float("nan"), 0.125), (NOISE, float("nan"))):
            with pytest.raises(UnplannedEvent):
                spends.step(noise_multiplier=noise, sample_rate=rate)


def test_refusals_come_before_anything_and_cost_nothing(open_account):
    account = open_account(epsilon="0.5")
    with pytest.raises(GateRefused, match=r"lifetime.*At most epsilon 0\.5"):
        accountant(account)
    with pytest.raises(GateRefused, match="the planned looks cost epsilon"):
        accountant(account, noise=1.0, budget=Budget("0.4", "1e-9"))
    with pytest.raises(GateRefused, match="numerics 'idealised'"):
        accountant(account, policy=Policy(numerics={"exact"}))
    with pytest.raises(GateRefused, match="generator 'opacus'"):
        accountant(account, policy=Policy(generators={"aim"}))
    with pytest.raises(GateRefused, match="Set more aside"):
        accountant(open_account(filter="gdp"))
    with pytest.raises(PlanError, match="slack"):
        LedgerAccountant.for_loader(account, loader(), Budget(30, "1e-9"), epochs=1)
    assert not account.state.releases


def test_the_unit_is_the_example(open_account):
    account = open_account()
    with pytest.raises(BudgetError, match="make one example of each value of 'patient'"):
        accountant(account, unit=PrivacyUnit("patient", 2))
    accountant(account, unit=PrivacyUnit("patient"), budget=Budget("0.9", "1e-9")).close()
    assert only(account).claim.unit == PrivacyUnit("patient")
    assert "one example is one privacy unit: no unit has two" in only(account).claim.assumptions


def test_history_is_not_forged_and_nothing_is_copied(open_account, tmp_path):
    spends = accountant(open_account())
    engine = PrivacyEngine()
    module, optimizer, batches = attached(spends, engine)
    train(module, optimizer, batches)
    engine.save_checkpoint(path=tmp_path / "checkpoint.pt", module=module, optimizer=optimizer)
    assert spends.state_dict()["history"] == [(NOISE, 0.125, BATCHES)]
    with pytest.raises(TypeError, match="is on the ledger and is not loaded from a checkpoint"):
        engine.load_checkpoint(path=tmp_path / "checkpoint.pt", module=module, optimizer=optimizer)
    with pytest.raises(AttributeError):
        spends.history = []
    for double in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="not copied or pickled"):
            double(spends)


def test_a_forked_process_does_not_train(open_account, monkeypatch):
    spends = accountant(open_account())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(UnplannedEvent, match="forked process"):
        spends.step(noise_multiplier=NOISE, sample_rate=0.125)


def test_of_two_trainings_the_second_is_voided_when_it_would_start(open_account):
    account = open_account()
    first, second = accountant(account), accountant(account)
    attached(first)
    with pytest.raises(LedgerBusy, match="was voided"):
        attached(second)
    first.close()
    assert [r.status for r in account.state.releases.values()] == [Status.COMMITTED, Status.VOIDED]


def test_training_claims_and_a_release_add_up_on_one_account(open_account):
    pytest.importorskip("diffprivlib")
    from diffprivlib import tools

    from dpsynth.bridges.diffprivlib import LedgerBudgetAccountant, LedgerBudgetError

    account = open_account(filter="gdp", delta0="2e-11")
    patient = PrivacyUnit("patient")
    with accountant(account, unit=patient) as spends:
        train(*attached(spends))
    claims = LedgerBudgetAccountant(account, unit=patient)
    tools.mean([1.0, 2.0, 3.0], epsilon=0.1, bounds=(0, 4), accountant=claims)
    model = dp.fit(dp.plan("independent", schema(), Budget(1)), table(), account, store=ModelStore(None))
    assert len(dp.admit(model.sample(rows=20), account).frame) == 20
    state = account.state
    assert [r.status for r in state.releases.values()] == [Status.COMMITTED] * 3
    assert [r.claim.generator for r in state.releases.values()] == ["opacus", "diffprivlib", "independent"]
    assert state.spent == Charge.total(r.charge for r in state.releases.values())
    assert 0 < state.spent.mu_squared < state.lifetime.mu_squared
    with pytest.raises(LedgerBudgetError, match="One more call of at most epsilon"):
        claims.check(3, 0)
    left = claims.remaining()[0]
    claims.check(left, 0)
    with pytest.raises(GateRefused):
        dp.fit(dp.plan("independent", schema(), Budget(1)), table(), account, store=ModelStore(None))
    with pytest.raises(GateRefused):
        accountant(account, unit=patient)
