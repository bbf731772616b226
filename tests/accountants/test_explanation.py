"""What a profile means, in words and in a picture."""

from decimal import Decimal

import pytest

from accountants import Budget, ExponentialMechanism, Gaussian, Lifetime, Profile, compose, mu_squared_cap
from accountants.errors import AccountingError
from accountants.events import ADD_OR_REMOVE, BLANK
from accountants.explanation import explain, explain_lifetime, lifetime_profile
from accountants.plot import plot


def test_a_gaussian_release_in_words():
    budget = Budget(1)
    said = "\n".join(explain(Profile(mu_squared_cap(budget)), budget))
    assert "declared: epsilon 1.0 at delta 1e-9" in said
    assert ", 1 at 1e-9," in said
    assert "mu      0.182" in said
    assert "factor of at most 2.72" in said
    assert "at most 1.61%" in said


def test_what_is_not_gaussian_has_no_mu():
    profile = compose([Gaussian(10.0), ExponentialMechanism(0.2)])
    assert "none" in "\n".join(explain(profile, Budget(2)))
    assert profile.mu is None
    assert Profile(Decimal("0.01"), Decimal("1e-9")).mu is None


def test_the_lifetime_cap_in_words():
    gdp = explain_lifetime(Lifetime.of(Budget(3, "1e-8"), "gdp", "1e-9"), ADD_OR_REMOVE)
    assert any("3 at 1e-8" in line for line in gdp)
    assert any("20.09" in line for line in gdp)
    summed = Lifetime.of(Budget(3, "1e-8"), "sum")
    assert lifetime_profile(summed) is None
    for relation, words in ((ADD_OR_REMOVE, "in the table"), (BLANK, "rows are not blank")):
        odds, attack = explain_lifetime(summed, relation)[-2:]
        assert "20.09" in odds
        assert words in odds
        assert words in attack


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_plot_is_a_file(tmp_path, suffix):
    path = plot(Profile(Decimal("0.04")), tmp_path / f"curve.{suffix}", Profile(Decimal("0.3")))
    assert path.stat().st_size > 5000


def test_a_plot_that_cannot_be_written(tmp_path):
    with pytest.raises(AccountingError, match=r"\.svg, \.png or \.pdf"):
        plot(Profile(Decimal("0.04")), tmp_path / "curve.nonsense")
    with pytest.raises(AccountingError, match="cannot write"):
        plot(Profile(Decimal("0.04")), tmp_path / "absent" / "curve.png")


@pytest.mark.parametrize("rate", ["0", "0.001", "0.01", "0.3", "0.9", "1"])
def test_the_numerical_curve_lies_on_the_closed_one(rate):
    """A bounded-range look so small that the Gaussian beside it is all there is."""
    closed, numerical = Profile(Decimal("0.04")), compose([Gaussian(5.0), ExponentialMechanism(1e-6)])
    assert closed.tradeoff(rate) >= numerical.tradeoff(rate) - 1e-9
    assert closed.tradeoff(rate) == pytest.approx(numerical.tradeoff(rate), abs=2e-4)
