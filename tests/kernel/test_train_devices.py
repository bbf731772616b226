"""Training on a GPU, where one is present; and which device is taken, which needs none."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from accountants import Allowance, Budget, Meter, PlanError, SubsampledGaussian
from dpsynth.generators import GAN, MADE, VAE
from dpsynth.generators.deep.device import devices
from dpsynth.generators.deep.pace import Pace
from dpsynth.generators.deep.steps import train
from dpsynth.hints import Hints
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel import gradients as gradients_module
from dpsynth.kernel.arithmetic import emulated
from dpsynth.kernel.gradients import SCALE, Gradients
from dpsynth.schema import Schema
from dpsynth.training import Critic, NotReproducible
from tests.kernel.training import CASES, DOMAIN, frame, gradients, joined, linear_critic, opened, some_rows

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")
every_case = pytest.mark.parametrize(("loss", "make"), CASES.values(), ids=CASES)
EVENT = SubsampledGaussian(1.0, 0.5, 2)


def found(work, *args):
    return joined([part.cpu() for part in work.sums(*args)])


@gpu
@every_case
@pytest.mark.parametrize("at_most", [1, 3])
def test_a_unit_more_adds_one_integer_vector_within_the_norm_and_moves_no_other_on_a_gpu(loss, make, at_most):
    rng = np.random.default_rng(2)
    torch.manual_seed(1)
    work = gradients(loss, make().to("cuda"), 0.7, at_most, 512)
    if not work.reproducible(DOMAIN.shape):
        pytest.skip("numerics of this module would not be called exact on this GPU")
    units = np.repeat(np.arange(900), rng.integers(1, at_most + 1, 900))
    codes, draws = some_rows(rng, len(units))
    aligned, own = np.tile(np.array(DOMAIN.shape) - 1, (at_most, 1)), np.full((at_most, 2), 0.9)
    alone = found(work, aligned, own, np.zeros(at_most, np.int64))
    assert (alone == np.rint(alone)).all()
    assert sum(int(x) ** 2 for x in alone) <= SCALE**2
    without = found(work, codes, draws, units)
    for before in (0, 1, 511, 512, 899, 900):
        at = int(np.searchsorted(units, before))
        wider = np.r_[units[:at], np.full(at_most, before), units[at:] + 1]
        together = [np.concatenate([side[:at], new, side[at:]]) for side, new in ((codes, aligned), (draws, own))]
        np.testing.assert_array_equal(found(work, *together, wider) - without, alone)


@gpu
@every_case
def test_sums_on_a_gpu_are_those_of_the_processor(loss, make):
    """But for the last bits of single precision, which may move an entry by a few steps of the grid."""
    rng = np.random.default_rng(1)
    torch.manual_seed(0)
    module = make()
    rows = (*some_rows(rng, 600), np.arange(600))
    expected = joined(gradients(loss, module).sums(*rows))
    there = found(gradients(loss, module.to("cuda"), block=512), *rows)
    assert np.linalg.norm(there - expected) < 1e-3 * np.linalg.norm(expected)


@gpu
@pytest.mark.parametrize("generator", [MADE(steps=3), VAE(steps=3), GAN(steps=3)], ids=["made", "vae", "gan"])
def test_every_network_trains_on_a_gpu(generator):
    from tests.generators.test_deep import Trained

    rng = np.random.default_rng(0)
    run = Trained(
        replace(generator, device="cuda"), {a: rng.integers(0, 5, 500) for a in "abc"}, dict.fromkeys("abc", 5)
    )
    assert run.meter.charged == run.plan.events
    assert len(run.model.sample(50, rng)["a"]) == 50


@gpu
@pytest.mark.parametrize("generator", [MADE(steps=3), VAE(steps=3), GAN(steps=3)], ids=["made", "vae", "gan"])
def test_a_start_from_public_rows_goes_on_on_a_gpu(generator):
    rng, sizes = np.random.default_rng(0), dict.fromkeys("abc", 5)
    described = Schema.from_domain(sizes, about_rows=500)
    rows = {a: rng.integers(0, 5, 500) for a in sizes}
    recipe = replace(generator, device="cuda")
    plan = recipe.plan(described.domain, Allowance(Budget("1", "1e-9")), described.hints)
    private = PrivateTable(Rows(pd.DataFrame(rows), described), Meter(plan))
    model = recipe.fit(private, plan, described.hints, public=rows)
    assert len(model.sample(50, rng)["a"]) == 50


def test_a_gpu_that_is_not_there_is_asked_for_in_vain_before_any_look(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices("auto") == devices("cpu") == [torch.device("cpu")]
    with pytest.raises(PlanError, match="no GPU here; train with device=cpu"):
        devices("cuda")
    with pytest.raises(ValueError, match="device must be one of auto, cpu, cuda, got 'tpu'"):
        MADE(device="tpu")
    for each in (MADE, VAE, GAN):
        with pytest.raises(PlanError, match="no GPU here"):
            each(device="cuda").plan(DOMAIN, Allowance(Budget("1", "1e-6")), Hints(about_rows=1000))
        with pytest.raises(PlanError, match="no GPU here"):
            each(device="cuda").fit(None, None, None)  # type: ignore[arg-type]


def test_the_processor_is_tried_where_a_gpu_is_not_exact(monkeypatch):
    """A stand-in for the GPU: the first device that is tried is told that its arithmetic is not reproducible."""
    told, cpu = [False, True], torch.device("cpu")
    monkeypatch.setattr(Gradients, "reproducible", lambda *_: told.pop(0))
    private, meter = opened(frame([(0, 0, 0)] * 5), [EVENT], noise="system")
    module = linear_critic()

    def run(places):
        optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
        pace = Pace(EVENT.sample_rate, EVENT.steps, 1.0, 2.0)
        train(private, module, Critic(), EVENT, optimizer, pace, stage="x", devices=places)

    run([cpu, cpu])
    assert (meter.charged, told) == ((EVENT,), [])
    told.extend([True])
    moved, to = [], module.to

    def crowded(device):
        moved.append(device)
        if len(moved) == 1:
            raise torch.OutOfMemoryError("no room on this device")
        return to(device)

    monkeypatch.setattr(module, "to", crowded)
    private, meter = opened(frame([(0, 0, 0)] * 5), [EVENT], noise="system")
    run([cpu, cpu])
    assert (meter.charged, told, len(moved)) == ((EVENT,), [], 2)
    monkeypatch.undo()
    monkeypatch.setattr(Gradients, "reproducible", lambda *_: False)
    private, meter = opened(frame([(0, 0, 0)] * 5), [EVENT], noise="system")
    with pytest.raises(NotReproducible):
        run([cpu])
    assert meter.charged == ()


def test_sums_that_are_not_whole_and_emulated_products_are_never_called_exact(monkeypatch):
    loss, make = CASES["autoregressive"]
    work = gradients(loss, make())
    assert work.reproducible(DOMAIN.shape)
    multiply = torch.Tensor.__matmul__
    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "__matmul__", lambda a, b: multiply(a.float(), b.float()).double())
        assert not work._whole()
    assert not emulated(torch.device("cuda"))
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "1")
    assert emulated(torch.device("cuda"))
    assert not emulated(torch.device("cpu"))
    monkeypatch.setattr(gradients_module, "emulated", lambda device: True)
    assert not work.reproducible(DOMAIN.shape)
