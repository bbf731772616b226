"""The GAN: its plan is spent as it says, its fakes are public, and nothing but charged answers shapes the model."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import dpsynth as dp
from accountants import Allowance, Budget, FixedPlan, Gaussian, Meter, PlanError, SubsampledGaussian
from accountants.composition import compose
from dpsynth.domain import Domain
from dpsynth.generators import GAN, NetworkModel, generator_from
from dpsynth.hints import Hints
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.schema import Schema
from dpsynth.testing import ReplayTable, Script, SeededBits

torch = pytest.importorskip("torch")

from dpsynth.generators.deep.critic import bounded, critic, on_fakes  # noqa: E402
from dpsynth.generators.deep.fakes import Fakes  # noqa: E402
from dpsynth.generators.deep.start import Start, seeded  # noqa: E402
from dpsynth.generators.one_ways import Cleaning  # noqa: E402
from dpsynth.kernel.gradients import SCALE, Gradients  # noqa: E402
from dpsynth.kernel.losses import RowLoss  # noqa: E402
from dpsynth.kernel.modules import trained_layers  # noqa: E402
from dpsynth.layers import one_hot  # noqa: E402
from dpsynth.training import Critic  # noqa: E402

NETWORKS = {"critic_hidden": 8, "generator_hidden": 16, "code": 4}
SMALL = GAN(steps=8, batch=100, fakes=20, **NETWORKS)
TABLES = {
    "no rows": ({"a": [], "b": [], "c": []}, {"a": 3, "b": 2, "c": 4}),
    "one row": ({"a": [1], "b": [0], "c": [2]}, {"a": 3, "b": 2, "c": 4}),
    "one column": ({"a": np.arange(500) % 3}, {"a": 3}),
    "cells of one": ({"a": np.zeros(500, int), "b": np.zeros(500, int)}, {"a": 1, "b": 1}),
    "nothing decodes": ({"a": np.full(500, 99), "b": np.full(500, -1), "c": np.full(500, 7)}, {"a": 3, "b": 2, "c": 4}),
}


def planned(generator, epsilon, about_rows):
    """As `GAN.plan` has it, with noise of about that budget: calibrating takes longer than the training."""
    rate, noise = generator.batch / about_rows, min(5.0 / epsilon, 150.0)
    return FixedPlan([Gaussian(noise_multiplier=noise), SubsampledGaussian(noise, rate, generator.steps)])


class Run:
    """A GAN fitted with noise that repeats, or to the answers of a script."""

    def __init__(self, generator, frame, sizes, *, epsilon=1, seed=0, about_rows=1000, answers=None, plan=None):
        schema = Schema.from_domain(sizes, about_rows=about_rows)
        self.plan = plan or planned(generator, epsilon, about_rows)
        self.meter, rows = Meter(self.plan), Rows(pd.DataFrame(frame), schema)
        if answers is None:
            self.private = PrivateTable(rows, self.meter, Noise(SeededBits(seed)))
        else:
            self.script = Script(answers)
            self.private = ReplayTable(rows, self.meter, self.script)
        self.model = generator.fit(self.private, self.plan, schema.hints)

    def sample(self, rows=1000, given=None):
        return self.model.sample(rows, np.random.default_rng(0), given)


def same(one, two):
    (header, arrays), (other_header, other_arrays) = one.dump(), two.dump()
    return header == other_header and all(np.array_equal(arrays[n], other_arrays[n]) for n in arrays | other_arrays)


@pytest.mark.parametrize("target", [None, "a"])
@pytest.mark.parametrize("epsilon", [0.001, 15])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_no_table_upsets_it(table, epsilon, target):
    run = Run(GAN(target=target, steps=3, batch=100, fakes=20, **NETWORKS), *table, epsilon=epsilon)
    for rows in (0, 1, 50):
        codes = run.sample(rows)
        assert list(codes) == list(table[1])
        for attribute, column in codes.items():
            assert column.shape == (rows,)
            assert not rows or (column.min() >= 0 and column.max() < run.model.domain.sizes[attribute])
    assert all(np.isfinite(array).all() for array in run.model.dump()[1].values())
    assert run.model.total >= 1


def test_the_plan_is_one_ways_then_one_training_within_the_budget():
    schema, allowance = Schema.from_domain({"a": 3, "b": 2}, about_rows=1000), Allowance(Budget("1", "1e-6"))
    generator = GAN(steps=200, batch=100, one_way_share=0.4)
    plan = generator.plan(schema.domain, allowance, schema.hints)
    assert [type(event) for event in plan.events] == [Gaussian, SubsampledGaussian]
    one_ways, training = plan.events
    assert (training.steps, training.sample_rate) == (200, 100 / 1000)  # declared, not counted
    cost = 0.1**2 * 200 * math.expm1(training.noise_multiplier**-2)
    assert one_ways.noise_multiplier**-2 / (one_ways.noise_multiplier**-2 + cost) == pytest.approx(0.4)
    assert 0.95 < float(compose(plan.events).epsilon(1e-6)) <= 1.0


def test_a_plan_of_too_few_steps_says_so_and_no_row_is_asked():
    schema, budget = Schema.from_domain({"a": 3, "b": 2}, about_rows=1000), Budget("1", "1e-6")
    few, many = (repr(dp.plan(replace(SMALL, steps=steps), schema, budget)) for steps in (8, 800))
    assert "warning:   8 steps give the generator 16 of its own" in few
    assert "warning" not in many


def test_all_of_the_plan_is_used(chain):
    run = Run(SMALL, *chain)
    assert run.meter.charged == run.plan.events


@pytest.mark.parametrize("target", [None, "c"])
def test_nothing_but_charged_answers_shapes_the_model(chain, target):
    """On rows of every kind, given the same answers and noise, the same looks are asked and the same model comes out:
    no real row reaches the generator, the fakes or their conditions."""
    frame, sizes = chain
    generator = GAN(target=target, steps=8, batch=100, fakes=20, **NETWORKS)
    answers = Run(generator, frame, sizes).private.transcript
    nobody = {a: [] for a in sizes}
    others = {a: np.full(700, sizes[a] + 3) for a in sizes}
    runs = [Run(generator, rows, sizes, answers=answers) for rows in (frame, nobody, others)]
    for run in runs[1:]:
        assert run.script.asked == runs[0].script.asked
        assert run.meter.charged == runs[0].meter.charged
        assert same(run.model, runs[0].model)


def test_equal_answers_equal_model(chain):
    torch.manual_seed(1)
    one = Run(SMALL, *chain, about_rows=1000, seed=5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    two = Run(SMALL, *chain, about_rows=1000, seed=5)
    assert same(one.model, two.model)
    assert torch.equal(state, torch.get_rng_state())  # the caller's own randomness is not touched
    assert not same(one.model, Run(SMALL, *chain, about_rows=1000, seed=6).model)


def test_conditions_follow_the_noisy_one_ways(chain):
    """Their frequencies are the charged answers, not the true ones: rare cells merged, no more and no less."""
    run = Run(SMALL, *chain)
    cells = run.model.rows.network.latent.cells
    assert len(cells) == 4
    for answer, shares in zip(run.private.transcript, cells, strict=True):
        counts = np.maximum(run.model.recoding.one_way(answer).values, 0)
        np.testing.assert_allclose(shares, counts / counts.sum(), atol=0.01)
        true = np.bincount(chain[0][answer.clique[0]], minlength=len(answer.values))
        assert not np.array_equal(np.rint(shares * 20_000), true[: len(shares)])


@pytest.mark.parametrize("rows", [0, 40, 20_000])
def test_the_number_of_fakes_is_a_constant(chain, monkeypatch, rows):
    drawn, draw = [], Fakes.draw
    monkeypatch.setattr(Fakes, "draw", lambda self, count: drawn.append(count) or draw(self, count))
    Run(SMALL, {a: c[:rows] for a, c in chain[0].items()}, chain[1])
    assert drawn == [20] * 8 * 3  # one batch for the critic and two for the generator, every step


def test_many_critic_steps_for_each_of_the_generators(chain, monkeypatch):
    drawn, draw = [], Fakes.draw
    monkeypatch.setattr(Fakes, "draw", lambda self, count: drawn.append(torch.is_grad_enabled()) or draw(self, count))
    Run(GAN(steps=9, batch=100, critic_steps=3, generator_steps=1, **NETWORKS), *chain)
    assert drawn == [False, False, False, True] * 3


@pytest.mark.parametrize("max_grad_norm", [0.3, 2.5, 100.0])
@pytest.mark.parametrize("kind", ["wasserstein", "logistic", "hinge"])
@pytest.mark.parametrize("conditions", [("b",), ("a", "c")])
def test_fakes_are_clipped_as_real_rows_are(kind, conditions, max_grad_norm):
    """The critic's two halves cancel on equal rows: of fakes that are the real rows, the clipped gradient is the same
    as the kernel's, with the opposite sign of score."""
    torch.manual_seed(0)
    domain = Domain.of({"a": 3, "b": 2, "c": 4})
    network = critic(domain.shape, domain.axes(conditions), 8, 2)
    with torch.no_grad():  # of a score, the fakes' loss is the real rows' of minus the score
        for part in network:
            part[-1].weight.copy_(torch.randn_like(part[-1].weight))
    rng = np.random.default_rng(0)
    codes, draws = rng.integers(0, domain.shape, (50, 3)), rng.uniform(size=(50, 1))
    loss = RowLoss(Critic(kind, conditions), domain)
    cells = one_hot(torch.from_numpy(codes), domain.shape)
    condition = loss._condition(torch.from_numpy(codes.T), conditions, torch.from_numpy(draws.T)).T
    on_fakes(network, kind, torch.cat([cells, condition], dim=1), max_grad_norm).backward()
    ours = [p.grad.clone() for p in network.parameters() if p.requires_grad]
    with torch.no_grad():
        for part in network:
            part[-1].weight.neg_()
    sums = Gradients(network, loss, max_grad_norm, 1, 64).sums(codes, draws[:, : loss.draws], np.arange(50))
    kernels = []
    for layer, total in zip(trained_layers(network), sums, strict=True):
        whole = total * (max_grad_norm / SCALE / 50)
        bias = layer.of(network).bias is not None
        sign = -1.0 if layer.name in ("0.4", "1.2") else 1.0
        kernels += [sign * (whole[:, :-1] if bias else whole), *([sign * whole[:, -1]] if bias else [])]
    for one, two in zip(ours, kernels, strict=True):
        torch.testing.assert_close(one.double(), two.reshape(one.shape), atol=2e-3 * max_grad_norm, rtol=5e-3)


def test_the_critics_pairs_are_products():
    domain = Domain.of({"a": 3, "b": 2, "c": 4})
    network = critic(domain.shape, domain.axes(("b",)), 8, 1)
    codes = torch.tensor([[2, 1, 3], [0, 0, 1]])
    cells = one_hot(codes, domain.shape)
    pairs = network[1][1](network[1][0](torch.cat([cells, cells[:, 3:5]], dim=1)))
    others = torch.cat([cells[:, :3], cells[:, 5:]], dim=1)
    assert torch.equal(pairs, (others[:, :, None] * cells[:, None, 3:5]).reshape(2, -1))


def test_slopes_are_bounded():
    torch.manual_seed(0)
    network = critic([3, 4], [1], 8, 2)
    with torch.no_grad():
        for p in network.parameters():
            if p.requires_grad:
                p.mul_(30).add_(1)
    bounded(network, 1.5, 3.0)
    norms = [float(torch.linalg.matrix_norm(layer.of(network).weight.detach(), 2)) for layer in trained_layers(network)]
    assert norms == pytest.approx([1.5, 1.5, 1.5, 3.0], rel=1e-5)
    before = [p.clone() for p in network.parameters()]
    bounded(network, 10.0, 10.0)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("conditions", [("b",), ("a", "b", "c", "d")])
def test_fakes_start_as_independent_columns_with_their_condition_copied(chain, conditions):
    frame, sizes = chain
    schema = Schema.from_domain(sizes, about_rows=20_000)
    plan = FixedPlan([Gaussian(noise_multiplier=1.0), SubsampledGaussian(1.0, 0.1, 1)])
    private = PrivateTable(Rows(pd.DataFrame(frame), schema), Meter(plan), Noise(SeededBits(0)))
    start = Start.look(private, plan, schema.hints, Cleaning(True, 3.0, 70.0), ordinal=False)
    with seeded():
        fakes = Fakes(start, conditions, dimensions=4, hidden=8, depth=1, temperature=0.7)
    rows, logits = fakes.draw(20_000)
    sizes = start.domain.shape
    cells, held = rows.detach()[:, : sum(sizes)], rows.detach()[:, sum(sizes) :]
    np.testing.assert_allclose(cells.mean(dim=0), np.concatenate([*start.shares.values()]), atol=0.1)
    assert float(fakes.misfit(logits.detach())) < 0.5
    assert torch.equal(held.sum(dim=1), torch.ones(20_000))  # one condition each
    own = torch.cat([torch.split(cells, sizes, dim=1)[i] for i in start.domain.axes(conditions)], dim=1)
    assert float((own * held).sum(dim=1).mean()) > 0.999  # and the row has its value


def test_a_model_is_the_same_after_storing(chain):
    model = Run(SMALL, *chain, about_rows=1000).model
    header, arrays = model.dump()
    again = NetworkModel.load(json.loads(json.dumps(header)), arrays)
    assert same(model, again)
    one, two = (m.sample(500, np.random.default_rng(3)) for m in (model, again))
    for attribute in one:
        np.testing.assert_array_equal(one[attribute], two[attribute])


def test_given_columns_are_kept(chain):
    run = Run(SMALL, *chain, about_rows=1000)
    given = {"b": np.tile([0, 5, 2, 4], 250)}  # 5 is the out-of-domain code
    np.testing.assert_array_equal(run.sample(1000, given)["b"], given["b"])


@pytest.mark.parametrize("target", [None, "b"])
def test_it_learns_what_is_planted(chain, target):
    frame, sizes = chain
    generator = GAN(
        target=target, slope=1.0, steps=300, batch=2000, fakes=200, **{**NETWORKS, "critic_hidden": 32, "code": 8}
    )
    run = Run(generator, frame, sizes, epsilon=10, about_rows=20_000)
    codes = run.sample(20_000)
    for attribute, size in sizes.items():
        drawn, true = (np.bincount(t[attribute], minlength=size + 1) / 20_000 for t in (codes, frame))
        assert 0.5 * np.abs(drawn - true).sum() < 0.03
        assert codes[attribute].max() < size  # the out-of-domain cell is noise alone
    drawn, true = (np.mean(t["a"] % 5 == t["b"]) for t in (codes, frame))
    assert drawn == pytest.approx(true, abs=0.25)
    assert drawn > 0.4  # 0.2 where columns are independent


def test_without_a_declared_number_of_rows_nothing_is_planned():
    with pytest.raises(PlanError, match="about_rows"):
        SMALL.plan(Domain.of({"a": 3}), Allowance(Budget("1", "1e-9")), Hints())


def test_a_target_that_is_no_column_is_refused():
    with pytest.raises(PlanError, match=r"target 'z' is not a column"):
        GAN(target="z").plan(Domain.of({"a": 3}), Allowance(Budget("1", "1e-9")), Hints(about_rows=100))


@pytest.mark.parametrize(
    "settings",
    [
        *({"loss": "least squares"}, {"one_way_share": 1.0}, {"steps": 0}, {"batch": 0.5}, {"fakes": 1}),
        *({"critic_steps": 0}, {"generator_steps": True}, {"slope": 0}, {"temperature": -1}, {"decay": 1.0}),
        *({"hold": -0.1}, {"max_grad_norm": 0}, {"denoise": 1}, {"merge_below": -1}, {"target": 3}),
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"must be .*got"):
        generator_from("gan", settings)


def test_parameters_rebuild_it():
    assert generator_from("gan", json.loads(json.dumps(SMALL.parameters()))) == SMALL
