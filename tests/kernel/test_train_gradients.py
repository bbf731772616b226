"""Per-unit gradients: what they sum to, how long one may be, and that no unit moves another's."""

import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

from dpsynth.domain import Domain
from dpsynth.kernel.gradients import SCALE, Factors, Gradients, Pairs
from dpsynth.kernel.losses import RowLoss
from dpsynth.kernel.modules import Trace, run, trained_layers
from dpsynth.layers import log_probabilities, made, one_hot
from dpsynth.training import Critic, EvidenceLowerBound, Likelihood
from tests.kernel.training import CASES, DOMAIN, WIDTH, deep, gradients, joined, linear_critic, some_rows

every_case = pytest.mark.parametrize(("loss", "make"), CASES.values(), ids=CASES)


def by_hand(loss, module, codes, draws, units, clip):
    """Each unit's gradient by plain autograd, clipped and summed: the definition."""
    layers = trained_layers(module)
    row_loss, total = RowLoss(loss, DOMAIN), 0.0
    for unit in np.unique(units):
        mine = units == unit
        value = row_loss.rows(module, torch.from_numpy(codes[mine].T), torch.from_numpy(draws[mine].T), Trace()).sum()
        module.zero_grad()
        value.backward()
        parts = []
        for layer in layers:
            place = layer.of(module)
            weight, bias = place.weight.grad, None if place.bias is None else place.bias.grad
            if layer.normalising:
                parts += [weight, bias]
            else:
                parts.append(weight if bias is None else torch.cat([weight, bias[:, None]], dim=1))
        vector = joined([part.double() for part in parts])
        total = total + vector * min(1.0, clip / np.linalg.norm(vector))
    module.zero_grad()
    return total


@every_case
@pytest.mark.parametrize("at_most", [1, 3])
def test_sums_are_those_of_plain_autograd(loss, make, at_most):
    """But for the grid, for short gradients, clipped ones, and everything between."""
    rng = np.random.default_rng(1)
    torch.manual_seed(0)
    module = make()
    codes, draws = some_rows(rng, 150)
    units = np.arange(150) if at_most == 1 else np.sort(np.tile(np.arange(75), 3)[:150])
    for clip in (0.3, 2.0, 50.0):
        expected = by_hand(loss, module, codes, draws, units, clip)
        found = joined(gradients(loss, module, clip, at_most).sums(codes, draws, units)) * clip / SCALE
        assert np.linalg.norm(found - expected) < 0.006 * np.linalg.norm(expected) + 0.0005 * clip * len(set(units))


@pytest.mark.filterwarnings("ignore")
def test_sums_are_those_of_opacus():
    opacus = pytest.importorskip("opacus")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(WIDTH, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 1))
    codes, draws = some_rows(np.random.default_rng(1), 40)
    found = joined(gradients(Critic("logistic"), module, 0.5).sums(codes, draws, np.arange(40))) * 0.5 / SCALE
    theirs = opacus.GradSampleModule(module, loss_reduction="sum")
    torch.nn.functional.softplus(-theirs(one_hot(torch.from_numpy(codes), DOMAIN.shape))).sum().backward()
    first, norm, last = (module[i] for i in (0, 1, 3))
    parts = [
        torch.cat([first.weight.grad_sample, first.bias.grad_sample[:, :, None]], dim=2).flatten(1),
        norm.weight.grad_sample,
        norm.bias.grad_sample,
        torch.cat([last.weight.grad_sample, last.bias.grad_sample[:, :, None]], dim=2).flatten(1),
    ]
    rows = torch.cat(parts, dim=1).double()
    expected = (rows * (0.5 / rows.norm(dim=1, keepdim=True)).clamp(max=1.0)).sum(dim=0).numpy()
    assert np.linalg.norm(found - expected) < 0.005 * np.linalg.norm(expected)


@every_case
@pytest.mark.parametrize(("at_most", "block"), [(1, 64), (3, 64), (5, 128)])
def test_a_unit_more_adds_one_integer_vector_within_the_norm_and_moves_no_other(loss, make, at_most, block):
    """Exactly: the sum with the unit, wherever it stands, minus the sum without is the unit's own sum."""
    rng = np.random.default_rng(2)
    torch.manual_seed(1)
    work = gradients(loss, make(), 0.7, at_most, block)
    sizes = rng.integers(1, at_most + 1, 90)
    units = np.repeat(np.arange(90), sizes)
    codes, draws = some_rows(rng, len(units))
    aligned = np.tile(np.array(DOMAIN.shape) - 1, (at_most, 1))  # k equal rows, every cell out of domain
    own = np.full((at_most, 2), 0.9)
    alone = joined(work.sums(aligned, own, np.zeros(at_most, np.int64)))
    assert (alone == np.rint(alone)).all()
    assert sum(int(x) ** 2 for x in alone) <= SCALE**2
    without = joined(work.sums(codes, draws, units))
    for before in (0, 1, 31, 32, 63, 64, 89, 90):  # around the ends of a block too
        at = int(sizes[:before].sum())
        wider = np.r_[units[:at], np.full(at_most, before), units[at:] + 1]
        together = [np.concatenate([side[:at], new, side[at:]]) for side, new in ((codes, aligned), (draws, own))]
        np.testing.assert_array_equal(joined(work.sums(*together, wider)) - without, alone)


@pytest.mark.parametrize("at_most", [1, 4])
@pytest.mark.parametrize("clip", [1e-6, 1.0, 1e6])
def test_no_unit_is_longer_than_the_clip(at_most, clip):
    """Random units of random modules; those near the clip come within a thousandth of it."""
    rng = np.random.default_rng(3)
    longest = 0.0
    for seed in range(40):
        torch.manual_seed(seed)
        work = gradients(Likelihood(), deep(WIDTH, WIDTH), clip, at_most)
        codes, draws = some_rows(rng, at_most)
        if seed % 2:
            codes[:] = codes[0]
        alone = joined(work.sums(codes, draws, np.zeros(at_most, np.int64)))
        squared = sum(int(x) ** 2 for x in alone)
        assert squared <= SCALE**2
        longest = max(longest, math.sqrt(squared) / SCALE)
    if clip <= 1.0:
        assert longest > 0.99
    else:
        assert longest < 0.01


@pytest.mark.parametrize("at_most", [1, 3])
def test_a_gradient_that_overflows_is_zero_and_leaves_the_others_alone(at_most):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(WIDTH, 8), nn.Softplus(), nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 1))
    with torch.no_grad():
        module[0].weight[:, 0] = 3e38  # rows whose first column has code 0
        module[2].weight.fill_(1.0)  # eight of them are infinite
    work = gradients(Critic("logistic"), module, 1.0, at_most)
    rng = np.random.default_rng(4)
    units = np.repeat(np.arange(30), at_most)
    codes, draws = some_rows(rng, len(units))
    codes[:, 0] = 1 + codes[:, 0] % 3
    without = joined(work.sums(codes, draws, units))
    assert np.isfinite(without).all()
    assert np.abs(without).max() > 0
    bad = codes[:at_most].copy()
    bad[0, 0] = 0
    np.testing.assert_array_equal(joined(work.sums(bad, draws[:at_most], np.zeros(at_most, np.int64))), 0.0)
    both = joined(work.sums(np.r_[bad, codes], np.r_[draws[:at_most], draws], np.r_[np.zeros(at_most, int), units + 1]))
    np.testing.assert_array_equal(both, without)


@pytest.mark.parametrize("at_most", [1, 2])
def test_a_vector_too_long_is_noticed_in_integers(at_most):
    """Whatever floats said: a step of the grid decides."""
    work = gradients(Critic(), linear_critic(), 1.0, at_most)
    units = np.repeat(np.arange(2), at_most)
    factors = [Factors(torch.full((WIDTH, len(units)), 0.0, dtype=torch.float64), torch.zeros(1, len(units)), None)]
    factors[0].inputs[0] = 1024.0
    pairs = Pairs(factors, units, at_most, 64)
    longest = SCALE // 1024 // at_most
    integers = torch.full((1, len(units)), float(longest), dtype=torch.float64)
    integers[0, 0] += 1
    assert work._short(factors, [integers], pairs, units, 2).tolist() == [False, True]


def test_opposed_rows_of_a_unit_stay_within_the_norm():
    """Rows that nearly cancel: rounding can lengthen their sum, which is then scaled down or dropped."""
    torch.manual_seed(0)
    module = deep(WIDTH, 1)
    for clip in (1e-6, 1e-4, 1e-2, 1.0):
        work = gradients(Critic(), module, clip, 64)
        for seed in range(5):
            codes, draws = some_rows(np.random.default_rng(seed), 64)
            alone = joined(work.sums(codes, draws, np.zeros(64, np.int64)))
            assert sum(int(x) ** 2 for x in alone) <= SCALE**2


def test_one_row_of_a_linear_critic_in_closed_form():
    work = gradients(Critic(), linear_critic(), clip=1.0)
    codes = np.array([[0, 2, 5]])
    found = joined(work.sums(codes, np.zeros((1, 0)), np.zeros(1, np.int64))) / SCALE
    expected = np.zeros(WIDTH)
    expected[[0, 4 + 2, 4 + 3 + 5]] = -1 / math.sqrt(3)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_no_rows_sum_to_zero():
    work = gradients(Critic(), deep(WIDTH, 1))
    empty = work.sums(np.empty((0, 3), np.int64), np.empty((0, 0)), np.empty(0, np.int64))
    assert [tuple(part.shape) for part in empty] == work.shapes
    assert all(bool((part == 0).all()) for part in empty)


@every_case
def test_arithmetic_of_this_machine_is_reproducible(loss, make):
    assert gradients(loss, make(), block=64).reproducible(DOMAIN.shape)
    assert gradients(loss, make(), block=256).reproducible(DOMAIN.shape)


@pytest.mark.parametrize("which", [0, 1])
def test_a_place_that_shows_in_the_last_bit_is_noticed(monkeypatch, which):
    honest = Gradients._raw

    def rounding(self, codes, draws):
        raw = honest(self, codes, draws)
        raw[-1][which][:, 5] *= 1 + 2.0**-52
        return raw

    monkeypatch.setattr(Gradients, "_raw", rounding)
    assert not gradients(Likelihood(), deep(WIDTH, WIDTH)).reproducible(DOMAIN.shape)


def test_a_place_that_shows_for_few_values_only_is_noticed(monkeypatch):
    """As where the ends of a vectorised loop run other code than its middle."""
    honest = Gradients._raw

    def rounding(self, codes, draws):
        raw = honest(self, codes, draws)
        if len(codes) > 5 and codes[5, 0] == DOMAIN.shape[0] - 1:
            raw[-1][1][:, 5] *= 1 + 2.0**-52
        return raw

    monkeypatch.setattr(Gradients, "_raw", rounding)
    assert not gradients(Likelihood(), deep(WIDTH, WIDTH)).reproducible(DOMAIN.shape)


def test_a_callers_threads_and_precision_count_for_nothing():
    """With three threads elementwise operations are cut up by place, and a row in front would move the others."""
    domain = Domain.of({"a": 40, "b": 50, "c": 50, "d": 50})
    rng, block = np.random.default_rng(1), 256
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(150, 512), nn.SiLU(), nn.Linear(512, 40))
    with torch.no_grad():
        module[0].weight *= 4
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    torch.set_float32_matmul_precision("medium")
    torch.set_flush_denormal(True)
    try:
        work = Gradients(module, RowLoss(Likelihood(["b", "c", "d"], ["a"]), domain), 1e-6, 1, block)
        assert work.reproducible(domain.shape)
        work.load(module)
        for _ in range(20):
            codes = np.stack([rng.integers(0, size, block + 1) for size in domain.shape], axis=1)
            whole, rest, one = (
                joined(work.sums(part, np.zeros((len(part), 0)), np.arange(len(part))))
                for part in (codes, codes[1:], codes[:1])
            )
            seen.append(np.abs(whole - rest - one).max())
        assert torch.get_num_threads() == 3
        assert torch.get_float32_matmul_precision() == "medium"
        assert sys.float_info.min / 2.0 == 0.0
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision("highest")
        torch.set_flush_denormal(False)
    assert max(seen) == 0


def test_steps_are_computed_with_the_settings_of_the_probe(monkeypatch):
    honest, seen = Gradients._raw, []

    def watched(self, codes, draws):
        tiny = sys.float_info.min
        seen.append((torch.get_num_threads(), torch.get_float32_matmul_precision(), tiny / 2.0 > 0.0))
        seen[-1] += (torch.backends.mkldnn.enabled, torch.is_anomaly_enabled(), np.geterr()["over"])
        return honest(self, codes, draws)

    monkeypatch.setattr(Gradients, "_raw", watched)
    work, row = gradients(Critic(), linear_critic()), some_rows(np.random.default_rng(0), 1)
    work.reproducible(DOMAIN.shape)
    torch.set_float32_matmul_precision("medium")
    try:
        with np.errstate(all="raise"):
            work.sums(*row, np.zeros(1, np.int64))
    finally:
        torch.set_float32_matmul_precision("highest")
    assert set(seen) == {(1, "highest", True, False, False, "ignore")}


def test_inputs_that_reach_the_cap_are_out():
    """At the cap itself sums over pairs and layers could reach 2^63."""
    work = gradients(Critic(), linear_critic())
    factors = [Factors(torch.zeros(WIDTH, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64), None)]
    factors[0].inputs[:2] = 1024.0  # twice 2^20
    factors[0].inputs[0, 1] -= 1
    pairs = Pairs(factors, np.arange(2), 1, 64)
    ones = [torch.ones(1, 2, dtype=torch.float64)]
    assert work._short(factors, ones, pairs, np.arange(2), 2).tolist() == [False, True]


@pytest.mark.parametrize("ordered", [False, True])
def test_probabilities_sum_to_one(ordered):
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * 5
    np.testing.assert_allclose(log_probabilities(logits, ordered).exp().sum(dim=1).numpy(), 1.0, atol=1e-5)
    assert torch.isfinite(log_probabilities(logits * 100, ordered)).all()


def test_an_autoregressive_network_sees_earlier_columns_only():
    torch.manual_seed(0)
    sizes = (3, 2, 4)
    module = made(sizes, [16, 16])
    codes = torch.tensor([[0, 1, 2]])
    base = module(one_hot(codes, sizes)).split(sizes, dim=1)
    for column in range(3):
        moved = codes.clone()
        moved[0, column] = (moved[0, column] + 1) % sizes[column]
        other = module(one_hot(moved, sizes)).split(sizes, dim=1)
        for target in range(3):
            assert torch.equal(base[target], other[target]) == (target <= column)


def test_a_condition_is_the_rows_own_value_in_one_column():
    loss = RowLoss(Critic(conditions=["a", "c"]), DOMAIN)
    codes = torch.tensor([[1, 0, 3]] * 1000).T
    cells = loss._condition(codes, ("a", "c"), torch.rand(1, 1000, dtype=torch.float64))
    assert cells.shape == (4 + 6, 1000)
    assert (cells.sum(dim=0) == 1).all()
    assert set(cells.argmax(dim=0).tolist()) == {1, 4 + 3}
    alone = RowLoss(Critic(conditions=["c"]), DOMAIN)._condition(codes, ("c",), torch.rand(0, 1000))
    assert (alone.argmax(dim=0) == 3).all()


def test_the_bound_in_closed_form():
    """With an encoder that says N(1, e^0.5) for every row, and uniform decoding."""
    encoder, decoder = nn.Linear(WIDTH, 2), nn.Linear(1, WIDTH)
    with torch.no_grad():
        for p in (*encoder.parameters(), *decoder.parameters()):
            p.zero_()
        encoder.bias.copy_(torch.tensor([1.0, 0.5]))
    loss = RowLoss(EvidenceLowerBound(1, beta=2.0), DOMAIN)
    module = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
    found = loss.rows(module, torch.tensor([[0], [0], [0]]), torch.tensor([[0.3]], dtype=torch.float64), Trace())
    expected = sum(math.log(n) for n in DOMAIN.shape) + 2.0 * 0.5 * (1.0 + math.exp(0.5) - 0.5 - 1.0)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_kernels_run_of_a_module_is_what_the_module_does():
    torch.manual_seed(0)
    for module in (deep(WIDTH, 5), made(DOMAIN.shape, [9, 7])):
        rows = torch.randn(20, WIDTH)
        np.testing.assert_allclose(
            run(module, rows.T, Trace()).T.detach().numpy(), module(rows).detach().numpy(), atol=1e-5
        )
