"""What the tests of training share: tables of units, modules, and a table opened with noise of choice."""

import numpy as np
import pandas as pd
import torch
from torch import nn

from accountants import FixedPlan, Meter
from dpsynth.domain import Domain
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.gradients import Gradients
from dpsynth.kernel.losses import RowLoss
from dpsynth.kernel.noise import Noise
from dpsynth.layers import MaskedLinear, Parallel, Residual, made
from dpsynth.schema import Schema
from dpsynth.testing import NoNoise, SeededBits
from dpsynth.training import Critic, EvidenceLowerBound, Likelihood

SIZES = {"a": 3, "b": 2, "c": 5}
"""Declared values; each column has one cell more, out of domain."""
DOMAIN = Domain.of({a: n + 1 for a, n in SIZES.items()})
WIDTH = sum(DOMAIN.shape)


def deep(inputs, outputs):
    """Every kind of layer that is listed."""
    return nn.Sequential(
        nn.Linear(inputs, 8),
        nn.LayerNorm(8),
        nn.ReLU(),
        Residual(nn.Linear(8, 8), nn.Tanh()),
        Parallel(
            [
                MaskedLinear(torch.ones(outputs, 8).tril()),
                nn.Sequential(nn.Linear(8, 4, bias=False), nn.ELU(), nn.Linear(4, outputs)),
            ]
        ),
    )


CASES = {
    "likelihood": (Likelihood(ordered=["c"]), lambda: deep(WIDTH, WIDTH)),
    "classifier": (Likelihood(inputs=["a", "c"], targets=["b"]), lambda: deep(10, 3)),
    "autoregressive": (Likelihood(), lambda: made(DOMAIN.shape, [12])),
    "bound": (
        EvidenceLowerBound(2, ordered=["c"]),
        lambda: nn.ModuleDict({"encoder": deep(WIDTH, 4), "decoder": deep(2, WIDTH)}),
    ),
    "wasserstein": (Critic(), lambda: deep(WIDTH, 1)),
    "logistic": (Critic("logistic", ["a"]), lambda: deep(WIDTH + 4, 1)),
    "hinge": (Critic("hinge", ["a", "b"]), lambda: deep(WIDTH + 7, 1)),
}


def gradients(loss, module, clip=1.0, at_most=1, block=64):
    return Gradients(module, RowLoss(loss, DOMAIN), clip, at_most, block)


def some_rows(rng, rows, draws=2):
    codes = np.stack([rng.integers(0, n, rows) for n in DOMAIN.shape], axis=1)
    return codes, rng.uniform(size=(rows, draws))


def joined(parts):
    return torch.cat([part.reshape(-1) for part in parts]).numpy()


def linear_critic():
    """``D(x) = <w, x>``: the gradient of a row is minus its one-hot cells, of norm sqrt(3)."""
    module = nn.Sequential(nn.Linear(WIDTH, 1, bias=False))
    with torch.no_grad():
        module[0].weight.zero_()
    return module


def frame(rows, units=None):
    data = pd.DataFrame(rows, columns=list(SIZES))
    if units is not None:
        data["who"] = units
    return data


def opened(data, events, *, at_most=None, noise=None, sizes=SIZES):
    """A table and its meter; `noise` is a seed, ``none``, ``system``, or a source."""
    schema = Schema.from_domain(sizes, unit="who" if at_most else None, at_most=at_most or 1)
    meter = Meter(FixedPlan(events))
    source = {"none": NoNoise(), "system": None}.get(noise, noise)
    source = Noise(SeededBits(noise)) if isinstance(noise, int) else source
    return PrivateTable(Rows(data, schema), meter, source), meter


def training(private, module, event, loss=None, *, rate=1.0, clip=1.0, batch=1.0, **options):
    """A training whose parameters move by minus `rate` times the noisy gradient."""
    optimizer = torch.optim.SGD(module.parameters(), lr=rate)
    loss = Critic() if loss is None else loss
    return private.train(
        module, loss, event, optimizer=optimizer, max_grad_norm=clip, expected_batch_size=batch, **options
    )


def parameters(module):
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()]).double().numpy()
