"""Factors: broadcasting by name, against arrays whose axes are written out."""

import numpy as np
import pytest

from dpsynth.domain import Domain
from dpsynth.graphical import Factor

AB = Domain.of({"a": 2, "b": 3})
BC = Domain.of({"b": 3, "c": 4})


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_shape_must_match_domain():
    with pytest.raises(ValueError, match=r"expected \(2, 3\)"):
        Factor(AB, np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("operator", "numpy"), [("__add__", np.add), ("__sub__", np.subtract), ("__mul__", np.multiply)]
)
def test_operations_broadcast_by_name(rng, operator, numpy):
    left, right = rng.random((2, 3)), rng.random((3, 4))
    result = getattr(Factor(AB, left), operator)(Factor(BC, right))
    assert result.domain.sizes == {"a": 2, "b": 3, "c": 4}
    np.testing.assert_array_equal(result.values, numpy(left[:, :, None], right[None]))


def test_operations_with_a_reordered_operand(rng):
    values = rng.random((2, 3))
    turned = Factor(Domain.of({"b": 3, "a": 2}), values.T)
    np.testing.assert_array_equal((Factor(AB, values) + turned).values, 2 * values)


def test_scalar_factor_broadcasts(rng):
    values = rng.random((2, 3))
    one = Factor(Domain.of({}), np.array(1.0))
    np.testing.assert_array_equal((Factor(AB, values) + one).values, values + 1)


def test_project_sums_and_orders_axes(rng):
    values = rng.random((2, 3, 4))
    factor = Factor(Domain.of({"a": 2, "b": 3, "c": 4}), values)
    np.testing.assert_allclose(factor.project(("c", "a")).values, values.sum(axis=1).T)
    np.testing.assert_allclose(factor.project(()).values, values.sum())
    assert factor.project(("c", "a")).domain.attributes == ("c", "a")


def test_logsumexp_is_project_on_the_log_scale_without_overflow(rng):
    values = rng.random((2, 3)) * 2000 - 1000
    factor = Factor(AB, values)
    expected = np.logaddexp.reduce(values, axis=1)
    np.testing.assert_allclose(factor.logsumexp(("a",)).values, expected)
    small = Factor(AB, rng.random((2, 3)))
    np.testing.assert_allclose(small.logsumexp(("b",)).exp().values, small.exp().project(("b",)).values)


def test_logsumexp_keeps_an_impossible_slice():
    values = np.array([[-np.inf, -np.inf, -np.inf], [0.0, 0.0, -np.inf]])
    np.testing.assert_allclose(Factor(AB, values).logsumexp(("a",)).values, [-np.inf, np.log(2)])


def test_unknown_and_lost_attributes_are_named():
    with pytest.raises(KeyError, match="z"):
        Factor.zeros(AB).project(("z",))
    with pytest.raises(KeyError, match="would be lost"):
        Factor.zeros(AB).expand(BC)
