"""PrivateTable.train: what is charged and when, the noise and the clip as seen from outside, and what never leaves."""

import copy
import math
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binom, chi2, kstest
from statsmodels.datasets import randhie
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from accountants import FixedPlan, Gaussian, Meter, SubsampledGaussian, UnplannedEvent
from dpsynth.errors import KernelError
from dpsynth.kernel import Rows
from dpsynth.kernel import train as train_module
from dpsynth.kernel.gradients import SCALE, Gradients
from dpsynth.kernel.losses import RowLoss
from dpsynth.kernel.modules import Trace
from dpsynth.kernel.noise import Noise
from dpsynth.layers import MaskedLinear, Residual, made
from dpsynth.schema import Schema
from dpsynth.testing import ReplayTable, Script, SeededBits
from dpsynth.training import Critic, EvidenceLowerBound, Likelihood
from tests.kernel.training import SIZES, WIDTH, deep, frame, linear_critic, opened, parameters, training

NOWHERE = [(99, 99, 99)]
"""A row whose every cell is out of domain."""


def moves(private, module, event, **options):
    """How the parameters move in each step."""
    found, before = [], parameters(module)
    for _ in training(private, module, event, **options):
        now = parameters(module)
        found.append(now - before)
        before = now
    return np.array(found)


# --- the charge -------------------------------------------------------------------------------------------------------


def test_each_step_is_charged_before_it_and_the_plan_ends_the_training(monkeypatch):
    event = SubsampledGaussian(1.0, 0.5, 3)
    private, meter = opened(frame([(0, 0, 0)] * 8), [Gaussian(5.0), event, Gaussian(7.0)], noise=1)
    private.count(("a",), Gaussian(5.0))
    seen = []
    honest = train_module.Training.noisy

    def watched(self, *arguments):
        seen.append(meter.charged[-1])
        return honest(self, *arguments)

    monkeypatch.setattr(train_module.Training, "noisy", watched)
    module = linear_critic()
    steps = training(private, module, event)
    assert meter.charged == (Gaussian(5.0),)  # nothing yet
    for done in (1, 2):
        assert next(steps) is None
        assert meter.charged == (Gaussian(5.0), SubsampledGaussian(1.0, 0.5, done))
        with pytest.raises(UnplannedEvent, match="at step"):  # no other look in between
            private.count(("a",), Gaussian(7.0))
        with pytest.raises(UnplannedEvent, match="under way"):  # nor a step of another training
            next(training(private, linear_critic(), SubsampledGaussian(2.0, 0.5, 3)))
    assert next(steps) is None
    assert next(steps, "over") == "over"
    with pytest.raises(UnplannedEvent):  # step T + 1
        next(training(private, module, event))
    private.count(("a",), Gaussian(7.0))
    assert meter.charged == meter.plan.events
    assert meter.remaining == 0
    assert seen == [SubsampledGaussian(1.0, 0.5, done) for done in (1, 2, 3)]


@pytest.mark.parametrize(
    "event", [SubsampledGaussian(1.1, 0.5, 2), SubsampledGaussian(1.0, 0.4, 2), SubsampledGaussian(1.0, 0.5, 3)]
)
def test_a_step_that_is_refused_touches_neither_rows_nor_parameters(monkeypatch, event):
    private, meter = opened(frame([(0, 0, 0)] * 8), [SubsampledGaussian(1.0, 0.5, 2)], noise=1)
    monkeypatch.setattr(train_module.Units, "of", lambda *_: pytest.fail("rows were read"))
    monkeypatch.setattr(Noise, "poisson", lambda *_: pytest.fail("units were sampled"))
    module = linear_critic()
    with pytest.raises(UnplannedEvent):
        next(training(private, module, event))
    assert not parameters(module).any()
    assert meter.charged == ()


def test_a_closed_run_makes_no_step_more():
    event = SubsampledGaussian(1.0, 0.5, 5)
    private, meter = opened(frame([(0, 0, 0)] * 8), [event], noise=1)
    module = linear_critic()
    steps = training(private, module, event)
    next(steps)
    meter.close()
    before = parameters(module)
    with pytest.raises(UnplannedEvent, match="over"):
        next(steps)
    np.testing.assert_array_equal(parameters(module), before)


@pytest.mark.parametrize("rows", [0, 1, 300])
@pytest.mark.parametrize("at_most", [None, 3])
def test_looks_do_not_depend_on_the_rows(rows, at_most):
    """Empty tables and empty batches are steps like any."""
    event = SubsampledGaussian(1.0, 0.01, 6)
    data = frame([(1, 1, 1)] * rows, [f"u{i // 2}" for i in range(rows)] if at_most else None)
    private, meter = opened(data, [event], at_most=at_most, noise=3)
    for loss, module in (
        (Likelihood(), deep(WIDTH, WIDTH)),
        (EvidenceLowerBound(2), nn.ModuleDict({"encoder": deep(WIDTH, 4), "decoder": deep(2, WIDTH)})),
    ):
        meter._charged.clear()
        found = moves(private, module, event, loss=loss)
        assert meter.charged == (event,)
        assert len(found) == 6
        assert np.isfinite(found).all()
        assert (np.abs(found).max(axis=1) > 0).all()


# --- the noise and the clip, from outside -----------------------------------------------------------------------------


@pytest.mark.parametrize("at_most", [None, 3])
@pytest.mark.parametrize(("z", "clip", "batch"), [(1.0, 1.0, 1.0), (0.7, 2.5, 40.0)])
def test_the_noise_is_that_of_the_event(at_most, z, clip, batch):
    """Without rows a step is noise alone, of deviation z C / batch in every parameter, whatever k is."""
    event = SubsampledGaussian(z, 0.5, 30)
    private, _ = opened(frame([], [] if at_most else None), [event], at_most=at_most, noise=7)
    module = nn.Sequential(nn.Linear(WIDTH, 40), nn.ReLU(), nn.Linear(40, 1))
    noise = moves(private, module, event, clip=clip, batch=batch).ravel()
    sigma = z * clip / batch
    assert len(noise) > 15_000
    squares = (noise**2).sum() / sigma**2
    assert chi2.cdf(squares, len(noise)) > 1e-5
    assert chi2.sf(squares, len(noise)) > 1e-5
    assert kstest(noise / sigma, "norm").pvalue > 1e-4
    assert chi2.sf(squares * 1.1**2, len(noise)) < 1e-9  # a tenth off would show


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("row", [(0, 1, 2), NOWHERE[0]])
@pytest.mark.parametrize("others", [0, 63, 64, 200, 256])
def test_a_unit_of_k_aligned_rows_moves_a_step_by_at_most_the_clip(k, row, others):
    """On worst-case neighbours, all units taken and no noise: within the clip, and up to it."""
    event = SubsampledGaussian(1.0, 1.0, 1)
    base = [(1, 0, 4)] * others
    names = [f"u{i}" for i in range(others)]
    found = []
    for data, units in ((base, names), (base[:50] + [row] * k + base[50:], names[:50] + ["new"] * k + names[50:])):
        private, _ = opened(frame(data, units), [event], at_most=k, noise="none")
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1))
        found.append(moves(private, module, event, clip=0.01, batch=5.0)[0])
    moved = np.linalg.norm(found[1] - found[0]) * 5.0 / 0.01
    assert 0.98 <= moved <= 1.0 + 1e-3  # parameters are single precision: the tolerance is theirs


def test_the_clip_is_of_the_units_sum_and_not_of_its_rows():
    """Two rows of one unit that agree in one cell: their sum is clipped, each on its own would not be."""
    event = SubsampledGaussian(1.0, 1.0, 1)
    private, _ = opened(frame([(0, 0, 0), (0, 1, 1)], ["p", "p"]), [event], at_most=2, noise="none")
    moved = moves(private, linear_critic(), event, clip=1.0)[0]
    cells = np.zeros(WIDTH)
    cells[0], cells[[4, 5, 7, 8]] = 2.0, 1.0
    np.testing.assert_allclose(moved, cells / np.linalg.norm(cells), atol=5e-3)


def test_a_short_gradient_is_not_clipped_and_divided_by_the_declared_batch():
    event = SubsampledGaussian(1.0, 1.0, 1)
    for rows in (1, 7):
        private, _ = opened(frame([(0, 0, 0)] * rows), [event], noise="none")
        moved = moves(private, linear_critic(), event, clip=10.0, batch=20.0)[0]
        assert moved[0] == pytest.approx(rows / 20.0, rel=5e-3)


def test_a_gradient_that_overflows_moves_nothing():
    event = SubsampledGaussian(1.0, 1.0, 1)
    found = []
    for rows in ([(1, 1, 1)] * 5, [(1, 1, 1)] * 5 + [(0, 1, 1)]):
        private, _ = opened(frame(rows), [event], noise="none")
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(WIDTH, 4), nn.Softplus(), nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 1))
        with torch.no_grad():
            module[0].weight[:, 0] = 3e38
            module[2].weight.fill_(1.0)
        found.append(moves(private, module, event)[0])
    assert np.isfinite(found[1]).all()
    np.testing.assert_array_equal(*found)


def test_a_gradient_that_overflows_raises_nothing_in_anomaly_mode():
    """A NaN in a backward pass would raise: an error that tells of a row."""
    event = SubsampledGaussian(1.0, 1.0, 1)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(WIDTH, 8), nn.LayerNorm(8), nn.Linear(8, 1))
    with torch.no_grad():
        module[0].weight[:, 0] = torch.tensor([3e38] * 4 + [-3e38] * 4)
        module[0].weight[:, 4] = 3e38
    private, _ = opened(frame([(0, 0, 1)] * 3), [event], noise="none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autograd.set_detect_anomaly(True):
            found = moves(private, module, event)
            assert torch.is_anomaly_enabled()
    np.testing.assert_array_equal(found, 0.0)


def test_a_unit_is_clipped_whole_however_rows_are_grouped(monkeypatch):
    event = SubsampledGaussian(1.0, 1.0, 1)
    data = frame([(0, i % 3, i % 5) for i in range(300)], [f"u{i // 3}" for i in range(300)])
    found = []
    for group in (2**24, 1):
        monkeypatch.setattr(train_module, "_GROUP", group)
        private, _ = opened(data, [event], at_most=3, noise="none")
        found.append(moves(private, linear_critic(), event, clip=0.5)[0])
    np.testing.assert_array_equal(*found)


# --- sampling ---------------------------------------------------------------------------------------------------------


def taken(units, k, rate, steps, noise):
    """How many units each step had: the gradient of a linear critic counts rows, as long as none is clipped."""
    event = SubsampledGaussian(1.0, rate, steps)
    names = [f"u{i // k}" for i in range(units * k)]

    class Quiet:
        """Samples as the kernel does, without the noise that would drown the counts."""

        numerics = "none"
        _honest = Noise(SeededBits(noise))
        key, uniforms, poisson = _honest.key, _honest.uniforms, _honest.poisson

        def rounded_gaussian(self, sigma, size):
            return np.zeros(size, np.int64)

    private, _ = opened(frame([(0, 0, 0)] * units * k, names), [event], at_most=k, noise=Quiet())
    rows = moves(private, linear_critic(), event, clip=100.0, batch=1.0)[:, 0]
    return rows / k


@pytest.mark.parametrize("k", [1, 3])
def test_units_are_sampled_each_on_its_own_with_the_declared_rate(k):
    rate, units = 0.3, 40
    counts = taken(units, k, rate, 400, noise=5)
    whole = np.rint(counts)
    np.testing.assert_allclose(counts, whole, atol=0.3)  # all rows of a unit or none
    expected = binom.pmf(np.arange(units + 1), units, rate)
    low, high = binom.ppf([0.02, 0.98], units, rate).astype(int)
    edges = np.arange(low, high + 1)
    observed = np.array([(whole <= low).sum(), *((whole == e).sum() for e in edges[1:-1]), (whole >= high).sum()])
    wanted = np.array([expected[: low + 1].sum(), *expected[edges[1:-1]], expected[high:].sum()]) * len(whole)
    assert chi2.sf(((observed - wanted) ** 2 / wanted).sum(), len(wanted) - 1) > 1e-4


def test_poisson_sampling_takes_each_with_its_rate():
    noise = Noise(SeededBits(3))
    chosen = np.concatenate([noise.poisson(0.2, 1000) for _ in range(200)])
    each = np.bincount(chosen, minlength=1000)
    assert abs(each.sum() - 40_000) < 5 * math.sqrt(200_000 * 0.16)
    assert chi2.sf(((each - 40) ** 2 / 32).sum(), 999) > 1e-4  # no place is favoured
    assert len(noise.poisson(0.5, 0)) == 0
    np.testing.assert_array_equal(noise.poisson(1.0, 5), np.arange(5))
    for rate in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="sampling rate"):
            noise.poisson(rate, 5)


def test_uniform_numbers_are_uniform():
    drawn = Noise(SeededBits(4)).uniforms(20_000)
    assert drawn.min() > 0.0
    assert drawn.max() < 1.0
    assert kstest(drawn, "uniform").pvalue > 1e-4


# --- what leaves, and what is refused ---------------------------------------------------------------------------------


def test_nothing_but_the_stepped_parameters_leaves():
    event = SubsampledGaussian(1.0, 0.5, 2)
    private, _ = opened(frame([(0, 0, 0)] * 20), [event], noise=1)
    module = nn.Sequential(nn.Linear(WIDTH, 4), nn.ReLU(), nn.Linear(4, 1))
    names = {id(m): set(vars(m)) for m in module.modules()}
    for given in training(private, module, event):
        assert given is None
        assert all(p.grad is None and not hasattr(p, "grad_sample") for p in module.parameters())
        assert all(names[id(m)] == set(vars(m)) for m in module.modules())
        assert not any(m._forward_hooks or m._backward_hooks for m in module.modules())
    assert private.transcript == ()


def test_a_fault_inside_a_step_is_charged_and_says_nothing(monkeypatch):
    event = SubsampledGaussian(1.0, 0.5, 2)
    private, meter = opened(frame([(0, 0, 0)] * 20), [event], noise=1)
    module = linear_critic()
    steps = training(private, module, event)

    def fault(*_):
        raise RuntimeError("secret-token-17")

    monkeypatch.setattr(Gradients, "sums", fault)
    with pytest.raises(KernelError) as caught:
        next(steps)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None
    assert meter.charged == (SubsampledGaussian(1.0, 0.5, 1),)
    assert not parameters(module).any()


def test_a_public_gradient_is_added_after_the_noise_and_never_clipped():
    event = SubsampledGaussian(1.0, 0.5, 1)
    private, _ = opened(frame([]), [event], noise="none")
    module = linear_critic()
    fakes = torch.ones(4, WIDTH)
    moved = moves(private, module, event, clip=1e-3, public=lambda: 1000.0 * module(fakes).mean())[0]
    np.testing.assert_allclose(moved, -1000.0, rtol=1e-6)


def test_the_module_may_be_changed_between_steps():
    """Clipped weights are what the next step is computed at."""
    event = SubsampledGaussian(1.0, 1.0, 2)
    private, _ = opened(frame([(0, 0, 0)]), [event], noise="none")
    module = nn.Sequential(nn.Linear(WIDTH, 1))
    steps = training(private, module, event, loss=Critic("hinge"), clip=10.0)
    with torch.no_grad():
        module[0].weight.fill_(5.0)  # scores far above 1: no gradient
    next(steps)
    assert (parameters(module)[:-1] == 5.0).all()
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].bias.zero_()
    next(steps)
    assert parameters(module)[0] == pytest.approx(1.0, rel=1e-2)


def hooked():
    layer = nn.Linear(WIDTH, 1)
    layer.register_forward_hook(lambda *_: None)
    return nn.Sequential(layer)


def patched():
    layer = nn.Linear(WIDTH, 1)
    layer.forward = lambda rows: rows.mean(dim=0)
    return nn.Sequential(layer)


def twice():
    layer = nn.Linear(WIDTH, WIDTH)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(WIDTH, 1))


def tied():
    left, right = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
    right.weight = left.weight
    return nn.Sequential(left, right, nn.Linear(WIDTH, 1))


def partly():
    layer = nn.Linear(WIDTH, 1)
    layer.bias.requires_grad_(False)
    return nn.Sequential(layer)


def frozen():
    return nn.Sequential(nn.Linear(WIDTH, 1)).requires_grad_(False)


def counting():
    layer = nn.Linear(WIDTH, 1)
    layer.register_buffer("seen", torch.zeros(1))
    return nn.Sequential(layer)


class Own(nn.Linear):
    pass


class Told(nn.Parameter):
    pass


class Loud(Critic):
    pass


def masked(change):
    layer = MaskedLinear(torch.ones(1, WIDTH))
    change(layer)
    return nn.Sequential(layer)


def reshaped(layer, **shapes):
    for name, shape in shapes.items():
        setattr(layer, name, nn.Parameter(torch.zeros(shape)))
    return nn.Sequential(layer)


def told():
    layer = nn.Linear(WIDTH, 1)
    layer.weight = Told(layer.weight.detach())
    return nn.Sequential(layer)


def odd():
    layer = nn.Linear(WIDTH, 1)
    layer.register_parameter("more", nn.Parameter(torch.zeros(1)))
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)), "BatchNorm1d"),
        (lambda: nn.Sequential(nn.Linear(WIDTH, 8), nn.Dropout(), nn.Linear(8, 1)), "Dropout"),
        (lambda: nn.Sequential(nn.Linear(WIDTH, 1), nn.Softmax(dim=0)), "Softmax"),
        (lambda: nn.Sequential(nn.Linear(WIDTH, 8), nn.LayerNorm((3, 8)), nn.Linear(8, 1)), "axes"),
        (lambda: nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(inplace=True), nn.Linear(8, 1)), "in place"),
        (lambda: Own(WIDTH, 1), "Own"),
        (lambda: torch.nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, 1)), "not known"),
        (hooked, "hooks"),
        (patched, "forward of its own"),
        (twice, "occurs twice"),
        (tied, "share a parameter"),
        (partly, "in part"),
        (frozen, "layers to train"),
        (counting, "buffers"),
        (lambda: masked(lambda layer: layer.mask.mul_(10.0)), "zeros and ones"),
        (lambda: masked(lambda layer: layer.mask.fill_(0.5)), "zeros and ones"),
        (lambda: masked(lambda layer: layer.mask[0, 0].fill_(math.nan)), "zeros and ones"),
        (lambda: masked(lambda layer: setattr(layer, "mask", torch.ones(1, 1))), "zeros and ones"),
        (lambda: masked(lambda layer: vars(layer).update(mask=10.0)), "in the place of"),
        (told, "plain"),
        (odd, "the parameters"),
        (lambda: reshaped(nn.Linear(WIDTH, 1), weight=(WIDTH,)), "do not fit"),
        (lambda: reshaped(nn.Linear(WIDTH, 4), bias=(1,)), "do not fit"),
        (lambda: nn.Sequential(reshaped(nn.LayerNorm(WIDTH), weight=(1,)), nn.Linear(WIDTH, 1)), "do not fit"),
        (lambda: nn.Sequential(nn.Linear(WIDTH, 1), nn.LayerNorm(8), nn.Linear(8, 1)), "cannot be run"),
        (lambda: nn.Sequential(nn.Linear(WIDTH, 1)).double(), "float32"),
        (lambda: nn.Sequential(nn.Linear(WIDTH + 1, 1)), "cannot be run"),
        (lambda: nn.ModuleDict({"critic": nn.Linear(WIDTH, 1)}), "cannot be run"),
        (lambda: nn.Sequential(), "layers to train"),
        (lambda: "critic", "torch.nn.Module"),
    ],
)
def test_modules_that_are_not_listed_are_refused_before_any_charge(make, said):
    event = SubsampledGaussian(1.0, 0.5, 1)
    private, meter = opened(frame([(0, 0, 0)] * 5), [event], noise=1)
    module = make()
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    with pytest.raises(ValueError, match=said):
        private.train(module, Critic(), event, optimizer=optimizer, max_grad_norm=1.0, expected_batch_size=1.0)
    assert meter.charged == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"clip": 0.0}, "max_grad_norm"),
        ({"clip": math.nan}, "max_grad_norm"),
        ({"clip": math.inf}, "max_grad_norm"),
        ({"batch": -1.0}, "expected_batch_size"),
        ({"batch": True}, "expected_batch_size"),
        ({"numerics": "seeded"}, "numerics"),
        ({"loss": "wasserstein"}, "dpsynth.training"),
        ({"loss": Loud()}, "dpsynth.training"),
        ({"loss": Likelihood(targets=["nobody"])}, "not in the domain"),
    ],
)
def test_figures_out_of_range_are_refused_before_any_charge(changed, said):
    event = SubsampledGaussian(1.0, 0.5, 1)
    private, meter = opened(frame([(0, 0, 0)] * 5), [event], noise=1)
    with pytest.raises((ValueError, KeyError), match=said):
        training(private, linear_critic(), event, **changed)
    assert meter.charged == ()


def test_other_events_optimizers_and_units_are_refused_before_any_charge():
    event = SubsampledGaussian(1.0, 0.5, 1)
    private, meter = opened(frame([(0, 0, 0)] * 5), [event], noise=1)
    with pytest.raises(ValueError, match="SubsampledGaussian"):
        training(private, linear_critic(), Gaussian(1.0))
    with pytest.raises(ValueError, match="256"):
        training(private, linear_critic(), SubsampledGaussian(1e5, 0.5, 1))
    with pytest.raises(ValueError, match=r"torch\.optim"):
        private.train(linear_critic(), Critic(), event, optimizer=None, max_grad_norm=1.0, expected_batch_size=1.0)
    crowded, other = opened(frame([(0, 0, 0)], ["p"]), [event], at_most=65, noise=1)
    with pytest.raises(ValueError, match="at most 64 rows"):
        training(crowded, linear_critic(), event)
    assert meter.charged == other.charged == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Critic("best"),
        lambda: EvidenceLowerBound(0),
        lambda: EvidenceLowerBound(2, beta=math.nan),
        lambda: MaskedLinear(torch.full((2, 2), 0.5)),
    ],
)
def test_losses_and_layers_that_mean_nothing_are_refused(make):
    with pytest.raises(ValueError, match=r"must be|zeros and ones"):
        make()


# --- nobody looks on --------------------------------------------------------------------------------------------------


class Watched(TorchFunctionMode):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, function, types, arguments=(), options=None):
        self.seen.append(function)
        return function(*arguments, **(options or {}))


class Dispatched(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        return function(*arguments, **(options or {}))


def quiet(parameters):
    """An optimizer that runs nothing that could be seen."""
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    optimizer.step = lambda: None
    return optimizer


def test_hooks_on_all_modules_and_modes_see_no_row():
    event, seen = SubsampledGaussian(1.0, 1.0, 2), []
    private, _ = opened(frame([(0, 1, 2)] * 5), [event], noise=1)
    module = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1))
    steps = private.train(
        module, Critic(), event, optimizer=quiet(module.parameters()), max_grad_norm=1.0, expected_batch_size=1.0
    )
    hook = nn.modules.module.register_module_forward_hook(lambda *found: seen.append(found))
    try:
        next(steps)
    finally:
        hook.remove()
    assert seen == []
    with Watched(seen):
        next(steps)
    rows = {torch.addmm, torch.tanh, torch.Tensor.matmul, torch.Tensor.sum, torch.autograd.grad}
    sums = {torch.zeros, torch.from_numpy, torch.Tensor.cpu, torch.Tensor.add, torch.Tensor.__iadd__}
    assert not (rows | sums) & set(seen)


@pytest.mark.parametrize("around", [lambda: saved_tensors_hooks(lambda t: t, lambda t: t), Dispatched])
def test_what_would_be_shown_rows_is_refused_before_a_step_is_charged(around):
    event = SubsampledGaussian(1.0, 1.0, 1)
    private, meter = opened(frame([(0, 1, 2)] * 5), [event], noise=1)
    steps = training(private, linear_critic(), event)
    with around(), pytest.raises(ValueError, match="would be shown rows"):
        next(steps)
    with around(), pytest.raises(ValueError, match="would be shown rows"):
        training(private, linear_critic(), event)
    assert meter.charged == ()


def test_the_kernels_copy_cannot_be_held_by_what_is_attached_to_a_module():
    """Nor a mask of its own be changed once it was checked."""
    held = []

    class Thief:
        def __deepcopy__(self, memo):
            held.append(memo)
            return self

    module = masked(lambda layer: setattr(layer, "note", Thief()))
    module[0].__deepcopy__ = lambda memo: module[0]
    work = Gradients(module, RowLoss(Critic(), Rows(frame([]), Schema.from_domain(SIZES)).domain), 1.0, 1, 64)
    module[0].mask.fill_(10.0)
    assert held == []
    assert set(work._module[0].mask.unique().tolist()) == {1.0}
    assert not hasattr(work._module[0], "note")


def test_a_mask_that_is_no_masked_layers_counts_for_nothing():
    event, found = SubsampledGaussian(1.0, 1.0, 1), []
    for mask in (None, torch.full((1, WIDTH), 10.0)):
        private, _ = opened(frame([(0, 1, 2)]), [event], noise="none")
        module = linear_critic()
        if mask is not None:
            module[0].mask = mask
        found.append(moves(private, module, event))
    np.testing.assert_array_equal(*found)


def test_a_parameter_that_was_replaced_is_refused_before_a_step_is_charged():
    event = SubsampledGaussian(1.0, 1.0, 2)
    for changed in (Told(torch.zeros(1, WIDTH)), nn.Parameter(torch.zeros(1, 1))):
        private, meter = opened(frame([(0, 1, 2)] * 5), [event], noise=1)
        module = linear_critic()
        steps = training(private, module, event)
        next(steps)
        module[0].weight = changed
        with pytest.raises(ValueError, match="was replaced"):
            next(steps)
        assert meter.charged == (SubsampledGaussian(1.0, 1.0, 1),)


def test_no_frame_that_an_error_passes_shows_rows():
    event = SubsampledGaussian(1.0, 1.0, 2)
    private, _ = opened(frame([(0, 1, 2)] * 5), [event], noise=1)

    def fault():
        raise RuntimeError("of the generator's own")

    steps = training(private, linear_critic(), event, public=fault)
    inner, places = steps.gi_frame, []
    with pytest.raises(RuntimeError, match="own") as caught:
        next(steps)
    walked = caught.value.__traceback__
    while walked is not None:
        places.append(walked.tb_frame)
        walked = walked.tb_next
    assert inner in places[1:-1]
    for place in places[1:-1]:  # between the test and its `fault`: the kernel's
        for value in place.f_locals.values():
            assert not isinstance(value, dict | np.ndarray)
            assert "array(" not in repr(value)


def test_units_are_sealed():
    units = train_module.Units.of({"a": np.array([7, 7, 7])}, None)
    assert repr(units) == "Units(sealed)"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="private rows"):
            leak(units)


def test_an_error_on_the_way_to_a_view_shows_no_rows():
    private, _ = opened(frame([(0, 1, 2)] * 5), [Gaussian(1.0)], noise=1)
    with pytest.raises(ValueError, match="must hold") as caught:
        private.recoded({"a": np.zeros(9, np.int64)})
    place = caught.value.__traceback__.tb_next.tb_frame
    assert place.f_code.co_name == "recoded"
    assert "codes" not in place.f_locals


# --- numerics ---------------------------------------------------------------------------------------------------------


def test_arithmetic_that_is_not_reproducible_is_never_called_exact(monkeypatch):
    monkeypatch.setattr(Gradients, "reproducible", lambda *_: False)
    event = SubsampledGaussian(1.0, 0.5, 1)
    private, meter = opened(frame([(0, 0, 0)] * 5), [event], noise="system")
    with pytest.raises(ValueError, match="idealised"):
        training(private, linear_critic(), event)
    assert (meter.charged, private.numerics) == ((), "exact")
    for _ in training(private, linear_critic(), event, numerics="idealised"):
        pass
    assert private.numerics == "idealised"
    assert private.recoded({"b": np.array([0, 0, 0])}).numerics == "idealised"


def test_exact_and_seeded_trainings_say_so():
    event = SubsampledGaussian(1.0, 0.5, 1)
    for noise, said in (("system", "exact"), (1, "seeded"), ("none", "none")):
        private, _ = opened(frame([(0, 0, 0)] * 5), [event], noise=noise)
        for _ in training(private, linear_critic(), event):
            pass
        assert private.numerics == said


def test_where_it_trained_is_told_once_it_did():
    event = SubsampledGaussian(1.0, 0.5, 1)
    private, _ = opened(frame([(0, 0, 0)] * 5), [event], noise=1)
    view = private.recoded({"b": np.array([0, 0, 0])})
    assert private.trained_on == ()
    for _ in training(private, linear_critic(), event):
        pass
    assert private.trained_on == view.trained_on == ("cpu",)


def test_totals_with_noise_are_whole_numbers(monkeypatch):
    event = SubsampledGaussian(1.0, 0.5, 3)
    private, _ = opened(frame([(0, 1, 2), (2, 1, 0)] * 50), [event], noise="system")
    found = []
    monkeypatch.setattr(train_module.Training, "descend", lambda self, gradient: found.extend(gradient))
    for _ in training(private, deep(WIDTH, 1), event):
        pass
    assert all(bool((part == part.round()).all()) for part in found)
    assert max(float(part.abs().max()) for part in found) > SCALE / 2


# --- views, replay, and training at all -------------------------------------------------------------------------------


def test_a_recoded_view_trains_on_its_own_codes():
    event = SubsampledGaussian(1.0, 1.0, 1)
    private, _ = opened(frame([(0, 0, 0), (1, 0, 0)]), [event], noise="none")
    view = private.recoded({"a": np.array([0, 0, 1, 1]), "c": np.zeros(6, np.int64)})
    module = nn.Sequential(nn.Linear(2 + 3 + 1, 1, bias=False))
    with torch.no_grad():
        module[0].weight.zero_()
    np.testing.assert_allclose(moves(view, module, event, clip=100.0)[0], [2, 0, 2, 0, 0, 2], atol=0.2)


def test_a_replayed_training_is_charged_and_made_of_noise_that_repeats():
    event, found = SubsampledGaussian(1.0, 0.5, 3), []
    for rows in (0, 500):
        meter = Meter(FixedPlan([event]))
        table = ReplayTable(Rows(frame([(1, 1, 1)] * rows), Schema.from_domain(SIZES)), meter, Script([]))
        found.append(moves(table, linear_critic(), event))
        assert meter.charged == (event,)
    np.testing.assert_array_equal(*found)
    assert np.abs(found[0]).max() > 0


@pytest.mark.parametrize("which", ["autoregressive", "bound", "classifier"])
def test_training_learns_real_rows(which):
    """RAND health insurance: the loss on the rows themselves falls, under real noise."""
    sizes = {"hlthg": 2, "hlthf": 2, "hlthp": 2, "idp": 2, "physlm": 2}
    everything = randhie.load_pandas().data
    data = pd.DataFrame({name: everything[name].round().clip(0, 1).astype(int) for name in sizes})
    event = SubsampledGaussian(1.0, 500 / len(data), 120)
    private, _ = opened(data, [event], sizes=sizes)
    shape = private.domain.shape
    width = sum(shape)
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 4))
    decoder = nn.Sequential(nn.Linear(2, 32), Residual(nn.Linear(32, 32), nn.ReLU()), nn.Linear(32, width))
    classifier = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    loss, module = {
        "autoregressive": (Likelihood(), made(shape, [32])),
        "classifier": (Likelihood(list(sizes)[:4], list(sizes)[4:]), classifier),
        "bound": (EvidenceLowerBound(2), nn.ModuleDict({"encoder": encoder, "decoder": decoder})),
    }[which]
    codes = torch.from_numpy(data.to_numpy().T.copy())
    draws = torch.rand(2, len(data), dtype=torch.float64)

    def value():
        with torch.no_grad():
            return float(RowLoss(loss, private.domain).rows(module, codes, draws, Trace()).mean())

    before = value()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in private.train(module, loss, event, optimizer=optimizer, max_grad_norm=1.0, expected_batch_size=500):
        pass
    assert value() < 0.6 * before
