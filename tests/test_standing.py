"""What an account is told to have left: the gate admits that figure and refuses the next."""

import json
from decimal import Decimal

import pytest

from accountants import Budget, Ledger, Policy
from accountants.figures import down, up
from accountants.gate import decide
from accountants.verdict import Admitted
from dpsynth.generators import AIM
from dpsynth.planned import plan
from dpsynth.schema import Schema
from dpsynth.standing import described, history, label_lines, outcome, room, standing
from tests.helpers import SCHEMA

CAPS = {"research": Budget("0.8", "1e-8"), "teaching": Budget("0.4", "1e-8")}


def claim(epsilon, delta="1e-9", **labels):
    return plan(AIM(), Schema.loads(SCHEMA), Budget(epsilon, delta), **labels).claim


@pytest.mark.parametrize(
    ("filter", "policy", "labels"),
    [
        ("gdp", None, {}),
        ("sum", None, {}),
        ("gdp", Policy(max_epsilon="0.5"), {}),
        ("sum", Policy(max_epsilon="0.5", max_delta="2e-9"), {}),
        ("gdp", Policy(max_lifetime_epsilon="1"), {}),
        ("sum", Policy(max_lifetime_epsilon="1"), {}),
        ("gdp", Policy(purposes=CAPS, unlisted_purposes=False), {"purpose": "research"}),
        ("sum", Policy(recipients=CAPS, unlisted_recipients=False), {"recipient": "research"}),
        ("gdp", Policy(max_lifetime_delta="1e-9"), None),
        ("gdp", Policy(unlisted_purposes=False), None),
    ],
)
def test_the_figure_told_is_the_most_the_gate_admits(filter, policy, labels):
    account = Ledger().open("visits", Budget(2, "1e-8"), filter, policy)
    if labels is None:
        assert room(account.state).epsilon == 0
        return
    account.reserve(claim("0.3", **labels))
    found = room(account.state)
    assert isinstance(decide(claim(found.epsilon, found.delta, **labels), account.state), Admitted)
    more = found.epsilon * Decimal("1.01")
    assert not isinstance(decide(claim(more, found.delta, **labels), account.state), Admitted)
    assert bool(found.limits) is (policy is not None)
    for each in found.labels:
        assert each.fits <= each.cap.epsilon


def test_an_account_wider_than_any_release_may_be():
    account = Ledger().open("visits", Budget("30", "1e-4"))
    found = room(account.state)
    assert (found.epsilon, found.delta) == (20, Decimal("1e-5"))
    assert isinstance(decide(claim("20", "1e-5"), account.state), Admitted)
    assert "the default policy admits at most epsilon 20 per release" in standing(account.state)


def test_a_sum_account_tells_what_is_left_of_both():
    account = Ledger().open("visits", Budget(3, "1e-8"), "sum")
    account.reserve(claim("0.5", "1e-10"))
    assert "epsilon 2.5 and delta 9.9e-9 are left." in standing(account.state)
    account.reserve(claim("0.5", "9.9e-9"))
    assert "epsilon 2 and delta 0 are left" in standing(account.state)
    assert room(account.state).epsilon == 0


def test_what_is_left_under_each_label():
    account = Ledger().open("visits", Budget(3, "1e-8"), policy=Policy(purposes=CAPS))
    account.reserve(claim("0.3", purpose="research"))
    research, teaching = label_lines(account.state)
    assert research.startswith("purpose research: epsilon 0.")
    assert "of 0.8 is charged at delta 1e-8" in research
    assert teaching == "purpose teaching: epsilon 0 of 0.4 is charged at delta 1e-8, one of up to epsilon 0.4 would fit"


def test_figures_for_people_round_the_safe_way():
    assert (down(Decimal("2.34567")), up(Decimal("2.34512"))) == ("2.345", "2.346")


def test_a_dataset_is_told_whole():
    ledger = Ledger()
    account = ledger.open("visits", Budget("3", "1e-8"), policy=Policy(max_epsilon="1"))
    kept = account.reserve(claim("0.3", purpose="research", recipient="ministry"))
    kept.start()
    kept.commit("a" * 64)
    account.draw(kept.id, "a" * 64, "b" * 64, 10)
    lost = account.reserve(claim("0.2"))
    lost.start()
    lost.forfeit("interrupted")
    account.reserve(claim("0.1")).void()
    running = account.reserve(claim("0.1"))
    running.start()
    ledger.amend("visits", budget=Budget("4", "1e-8"), policy=Policy(max_epsilon="2"))
    ledger.open("other", Budget(1))
    told = described(ledger, ledger.datasets())
    assert json.loads(json.dumps(told)) == told
    visits = told["accounts"][0]
    assert [each["status"] for each in visits["releases"]] == ["committed", "forfeited", "voided", "running"]
    assert visits["releases"][0] == {
        "id": kept.id,
        "at": visits["releases"][0]["at"],
        "status": "committed",
        "reason": None,
        "generator": "aim",
        "budget": {"epsilon": "0.3", "delta": "1E-9"},
        "purpose": "research",
        "recipient": "ministry",
        "relation": "add_or_remove_one_unit",
        "assumptions": list(kept.claim.assumptions),
        "draws": 1,
        "reads": 0,
    }
    text = "\n".join(history(visits))
    assert "forfeited (interrupted)" in text
    assert "aim, epsilon 0.3 at delta 1e-9, purpose research, recipient ministry, 1 drawn" in text
    assert "epsilon 3 at delta 1e-8 → epsilon 4 at delta 1e-8; policy: max_epsilon 1 → 2" in text
    assert "its process is gone" in text
    assert history(told["accounts"][1])[-1] == "No release was asked for yet."


def test_what_an_interruption_cost():
    account = Ledger().open("visits", Budget(3, "1e-8"))
    run = account.reserve(claim("0.3"))

    def told():
        return outcome(account.state.releases[run.id], "visits")

    assert f"dpsynth ledger void visits {run.id}" in told()
    run.start()
    assert "the next release records it as crashed" in told()
    run.commit("a" * 64)
    assert f"dpsynth sample --dataset visits --release {run.id}" in told()
    run = account.reserve(claim("0.2"))
    run.void()
    assert told().startswith("Nothing was charged")
    run = account.reserve(claim("0.2"))
    run.start()
    run.forfeit("interrupted")
    assert told() == f"Release {run.id} was charged epsilon 0.2 at delta 1e-9 and forfeited."
    assert outcome(None, "visits") == "Nothing was charged."


def test_what_fits_exactly_is_not_told_as_more_and_what_is_left_over_as_nothing():
    account = Ledger().open("visits", Budget("0.30231", "1e-8"))
    account.reserve(claim("0.30231", "1e-8"))
    line = standing(account.state)
    assert "epsilon 0.30231 of 0.30231 is charged" in line
    assert "no further release" in line
    assert "0.000" not in line
