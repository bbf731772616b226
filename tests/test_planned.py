"""What a plan says before anything is asked: figures with digits that mean something, and when noise drowns it."""

import math
import re

import click
import pytest

import dpsynth as dp
from accountants.explanation import explain
from dpsynth.cli.options import settings_in


def schema(rows=None, columns=6, k=1):
    unit = f"unit: person\nat_most: {k}\n" if k > 1 else ""
    about = "" if rows is None else f"about_rows: {rows}\n"
    named = "".join(f"  c{i}: {{type: boolean}}\n" for i in range(columns))
    return dp.Schema.loads(f"{unit}{about}columns:\n{named}")


def warnings(generator, epsilon, **of_schema):
    said = dp.plan(generator, schema(**of_schema), dp.Budget(epsilon, 1e-9)).describe()
    return [line for line in said if line.startswith("warning:")]


@pytest.mark.parametrize("generator", ["independent", "mst", "aim"])
def test_a_plan_warns_where_noise_drowns_the_declared_rows(generator):
    assert warnings(generator, 1, rows=20_000) == []
    (line,) = warnings(generator, 0.01, rows=5_000)
    assert re.search(r"rows a cell, \d+% of the 5,000 declared", line)
    assert warnings(generator, 0.01) == []  # no number of rows was declared, and none is ever counted


@pytest.mark.parametrize("k", [1, 4])
def test_the_noise_said_is_that_of_all_one_ways_in_one_look(k):
    planned = dp.plan("independent", schema(400, k=k), dp.Budget(0.5, 1e-9))
    noise = k * math.sqrt(6 / float(planned.claim.capacity))
    (line,) = warnings("independent", 0.5, rows=400, k=k)
    assert f"noise of {noise:,.0f} rows a cell, {noise / 400:.0%} of the 400" in line


@pytest.mark.parametrize("rows", [1.001, 0.999])
def test_it_warns_from_a_twentieth(rows):
    planned = dp.plan("independent", schema(10**6), dp.Budget(0.01, 1e-9))
    edge = math.sqrt(6 / float(planned.claim.capacity)) / 0.05
    assert bool(warnings("independent", 0.01, rows=round(rows * edge))) == (rows < 1)


@pytest.mark.parametrize("generator", ["mst", "aim"])
def test_tiny_figures_keep_their_digits(generator):
    said = "\n".join(dp.plan(generator, schema(), dp.Budget(1e-6, 1e-9)).describe())
    mu, epsilon = re.search(r"mu = (\S+), which is epsilon (\S+)", said).groups()
    assert 0 < float(mu) < 1e-5
    assert float(epsilon) == pytest.approx(1e-6, rel=0.02)
    assert not re.search(r"(mu|range|epsilon) 0\.0+\b", said)


def test_a_delta_of_one_over_the_rows_is_warned_of():
    for delta, warned in ((1e-3, True), (5e-6, True), (2e-6, False)):
        said = "\n".join(dp.plan("mst", schema(400_000), dp.Budget(1, delta)).describe())
        told = "is not below 1 over the 400,000 declared rows (2.5e-6): that much would allow to publish a row or more"
        assert (told in said) == warned
        assert ("the default policy admits at most 1e-5. Take a far smaller one" in said) == warned


@pytest.mark.parametrize("rows", [None, 200])
def test_a_delta_that_the_default_policy_refuses_is_warned_of(rows):
    for delta, warned in (("1e-4", True), ("1e-5", False)):
        said = "\n".join(dp.plan("mst", schema(rows), dp.Budget(1, delta)).describe())
        assert ("delta 1e-4 is above 1e-5, the most that the default policy admits" in said) == warned


def test_what_has_no_mu_says_so_in_plan_and_profile():
    """The same figure in both: what the lifetime is charged."""
    planned = dp.plan("mst", schema(), dp.Budget(1, 1e-9))
    assert planned.claim.profile.mu is None
    (mu,) = re.findall(r"mu = ([0-9.]+), .*it has no mu of its own", "\n".join(planned.describe()))
    lines = explain(planned.claim.profile, planned.claim.budget, mu_squared=planned.claim.capacity)
    assert any(f"charged as the Gaussian of mu {mu} above it" in line for line in lines)
    aim = dp.plan("aim", schema(), dp.Budget(1, 1e-9)).describe()
    assert not any("of its own" in line for line in aim)


@pytest.mark.parametrize("name", ["AIM", "MST", "Independent"])
def test_a_setting_that_a_recipe_does_not_have_is_refused_with_the_name_meant(name):
    with pytest.raises(TypeError, match=f"{name} has no setting denoize; did you mean denoise"):
        getattr(dp, name)(denoize=True)


def test_a_value_or_recipe_that_does_not_exist_is_refused_with_the_one_meant():
    with pytest.raises(ValueError, match="did you mean all-3way"):
        dp.AIM(workload="all3way")
    with pytest.raises(ValueError, match="did you mean aim"):
        dp.plan("aimm", schema(), dp.Budget(1))


def test_settings_read_as_people_write_them():
    assert settings_in(("a=.49", "b=-.5", "c=0.5", "d=.x")) == {"a": 0.49, "b": -0.5, "c": 0.5, "d": ".x"}
    with pytest.raises(click.UsageError, match="given twice"):
        settings_in(("target=a", "target=b"))


def test_a_target_is_told_and_so_is_a_share_that_leaves_little():
    def lines(**settings):
        return "\n".join(dp.plan(dp.AIM(**settings), schema(), dp.Budget(1, 1e-9)).describe())

    name = schema().names[0]
    assert f"target     {name}: 56% of mu squared for looks at every column together with it" in lines(target=name)
    assert "warning" not in lines(target=name)
    assert f"target     {name}\n" in lines(target=name, target_share=0.0)
    assert "target" not in lines()
    assert "leave 5% for everything else" in lines(target=name, target_share=0.85)
