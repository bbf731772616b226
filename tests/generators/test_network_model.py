"""A network's stored model, made by hand: what is refused, and which rows are given columns completed by."""

import json

import numpy as np
import pytest

from dpsynth.domain import Domain
from dpsynth.generators import NetworkModel
from dpsynth.generators.deep.autoregression import Autoregression
from dpsynth.generators.deep.network_rows import NetworkRows
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import RakedModel
from dpsynth.graphical.particles import Particles
from dpsynth.release.store import load_model

DOMAIN = Domain.of({"a": 3, "b": 2})


@pytest.fixture
def model():
    """The network knows nothing; its particles are a = 0 with b = 1, twice as many a = 1 with b = 0, and a single
    a = 2."""
    network = Autoregression(DOMAIN, np.zeros((5, 5), np.float32), np.zeros(5, np.float32), (), None, frozenset())
    codes = {"a": np.repeat([0, 1, 2], [200, 400, 1]), "b": np.repeat([1, 0, 0], [200, 400, 1])}
    rows = NetworkRows(network, 601.0)
    identity = {a: np.arange(size) for a, size in DOMAIN.sizes.items()}
    recoding = Recoding.of(DOMAIN, identity, {a: np.ones(size) for a, size in DOMAIN.sizes.items()})
    return NetworkModel(recoding, RakedModel(rows, Particles(DOMAIN, codes), np.full(601, 1 / 601), [("a", "b")]))


def test_models_of_another_version_are_refused(model):
    header, arrays = model.dump()
    again = load_model(json.loads(json.dumps(header)), arrays)
    np.testing.assert_array_equal(again.project(("a", "b")), model.project(("a", "b")))
    with pytest.raises(ValueError, match="version 1; expected 'network', version 2"):
        load_model(header | {"version": 1}, arrays)
    with pytest.raises(ValueError, match="particles of 'b' do not fit"):
        load_model(header, arrays | {"particle_1": arrays["particle_1"] + 200})
    with pytest.raises(ValueError, match="'particle_weights' is missing"):
        load_model(header, {name: array for name, array in arrays.items() if name != "particle_weights"})


def test_given_columns_are_completed_by_particles_and_where_they_are_few_by_the_network(model):
    np.testing.assert_allclose(model.project(("a", "b")), [[0, 200], [400, 0], [1, 0]], atol=1e-9)
    drawn = model.sample(3000, np.random.default_rng(0), {"a": np.repeat([0, 1, 2], 1000)})["b"].reshape(3, 1000)
    assert (drawn[0] == 1).all()
    assert (drawn[1] == 0).all()
    assert 0.4 < drawn[2].mean() < 0.6  # even, as the network has it: one particle is too few
    assert {a: len(c) for a, c in model.sample(0, np.random.default_rng(0)).items()} == {"a": 0, "b": 0}
