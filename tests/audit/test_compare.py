"""What two runs of a replay are held to, on looks written by hand, and what a finding then says."""

from dataclasses import replace

import numpy as np
import pytest

from accountants import ExponentialMechanism, FixedPlan, Gaussian, Meter, SubsampledGaussian
from dpsynth.audit.draws import Drawing, Planted
from dpsynth.audit.findings import Audits, Control, Finding
from dpsynth.audit.primitives import Look as Drawn
from dpsynth.audit.replay import Look, Run
from dpsynth.audit.replays import Compared, compare, used_share
from dpsynth.audit.watched import Chosen, Probe, Watch


def look(**changes):
    base = Look("asked", Gaussian(2.0), np.array([5, 0, 1]), 6.0, None, None, None, False)
    return replace(base, **changes)


def compared(first, second, output=(b"", b"")):
    runs = [Run((one,), (one.charged,), out) for one, out in zip((first, second), output, strict=True)]
    return compare(*runs)


def test_counts_may_move_by_sigma_over_the_multiplier_in_l2():
    assert compared(look(), look(exact=np.array([2, 0, 1]))) == Compared(1.0, ())
    assert compared(look(), look(exact=np.array([3, 2, 2]))) == Compared(1.0, ())
    too_far = compared(look(), look(exact=np.array([3, 2, 3])))
    assert too_far.share > 1
    assert "moved 1.155 times as far as charged" in too_far.problems[0]
    hair = compared(look(spread=6.0 - 1e-15), look(exact=np.array([2, 0, 1]), spread=6.0 - 1e-15))
    assert hair.share > 1  # compared as fractions: one bit of sigma counts


def test_a_selection_may_spread_by_eta():
    def chosen(*scores, rate=1.0, sensitivity=3):
        return look(charged=ExponentialMechanism(1.0), exact=None, chosen=Chosen(scores, rate, sensitivity))

    def share(*looks):
        return used_share(*(replace(each, exact=np.array(each.chosen.scores)) for each in looks))

    assert share(chosen(5, 5), chosen(8, 2)) == 1.0
    assert share(chosen(5, 5), chosen(8, 8)) == 0.0  # all alike: nothing is learnt
    assert share(chosen(5, 5), chosen(8, 1)) > 1.0
    assert share(chosen(5, 5, rate=1.5), chosen(8, 2, rate=1.5)) == 1.5
    assert share(chosen(5, 5), chosen(5, 5, sensitivity=4)) == np.inf  # follows the rows


def test_a_step_may_move_by_the_norm_at_the_rate_that_was_charged():
    def step(*values, rate=0.5):
        return look(charged=SubsampledGaussian(2.0, 0.5, 1), exact=np.array(values, np.float32), rate=rate)

    assert used_share(step(0, 0), step(3, 0)) == 1.0
    assert used_share(step(0, 0), step(3.1, 0)) > 1.0
    assert used_share(step(0, 0, rate=0.6), step(3, 0, rate=0.6)) == np.inf
    assert used_share(step(0, 0, rate=None), step(3, 0, rate=None)) == np.inf


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"asked": "another"}, "not the same question"),
        ({"charged": Gaussian(3.0)}, "charged as"),
        ({"charged": None}, "made and not charged"),
        ({"early": True}, "before it was charged"),
        ({"spread": 7.0}, "moved inf times"),
    ],
)
def test_whatever_else_differs_is_told(changes, told):
    assert compared(look(), look()).problems == ()
    assert any(told in problem for problem in compared(look(), look(**changes)).problems)
    assert any(told in problem for problem in compared(look(**changes), look()).problems)


def test_another_output_is_told():
    assert compared(look(), look(), (b"a", b"b")).problems == ("equal answers gave another model",)


def test_answers_without_noise_of_their_own_have_no_spread():
    probe = Probe()
    assert probe.spread(0) == 0.0
    probe.rounded_gaussian(5.0, 3)
    probe.rounded_gaussian(4.0, 2)
    assert probe.spread(5) == 4.0
    assert probe.spread(6) == 0.0
    probe.begin()
    assert probe.spread(0) == 0.0
    assert compared(look(spread=0.0), look(spread=0.0)).share == np.inf


def test_rows_read_before_the_charge_are_early():
    watch = Watch(Meter(FixedPlan([Gaussian(1.0)] * 3)))
    watch.touch()  # between looks, as when a table is opened
    assert not watch.early
    watch.begin()
    watch.meter.charge(Gaussian(1.0))
    watch.touch()
    assert not watch.early
    watch.begin()
    watch.touch()
    watch.meter.charge(Gaussian(1.0))
    watch.touch()
    assert watch.early  # and stays so for the look


# --- findings

FOUND = Finding("count", 1, "epsilon", 2.0, 1.0, delta=0.01, confidence=1 - 1e-7, controls=(Control("fault", True),))


def test_verdicts():
    assert (FOUND.verdict, FOUND.passed) == ("not refuted", True)
    for changes, verdict in (
        ({"bound": 2.1}, "refuted"),
        ({"violations": ("x",)}, "refuted"),
        ({"controls": (Control("a", True), Control("b", False))}, "blind"),
        ({"controls": ()}, "blind"),
    ):
        finding = replace(FOUND, **changes)
        assert (finding.verdict, finding.passed) == (verdict, False)
        assert not Audits((FOUND, finding)).passed
    skipped = replace(FOUND, controls=(), skipped="no torch")
    assert (skipped.verdict, skipped.passed) == ("skipped", True)
    assert Audits((FOUND, skipped)).passed


def test_controls_are_what_an_audit_is_judged_by():
    """An audit that looks where nothing can be seen is told from one that sees nothing wrong."""
    blind = Drawn(
        "blind", Gaussian(1.0), 0.01, lambda drawing, planted: (np.zeros(100), np.zeros(100)), (Planted("anything"),)
    )
    assert blind.audit(Drawing(100)).verdict == "blind"
