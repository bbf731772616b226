"""diffprivlib's tools and models on the ledger: real calls, what each leaves there, and refusals before any look."""

import copy
import pickle
import threading

import numpy as np
import pandas as pd
import pytest

import accountants
import dpsynth as dp
from accountants import Budget, Claimed, EventError, GateRefused, LedgerBusy, Policy, PrivacyUnit, Status
from accountants.events import ADD_OR_REMOVE, REPLACE
from dpsynth.errors import DpsynthError
from dpsynth.release.store import ModelStore
from dpsynth.release.verification import read_predicate, verify

pytest.importorskip("diffprivlib")
import diffprivlib
from diffprivlib import models, tools
from diffprivlib.utils import BudgetError, PrivacyLeakWarning
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_val_score

from dpsynth.bridges.diffprivlib import ASSUMED, LedgerBudgetAccountant, LedgerBudgetError

pytestmark = pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint`:DeprecationWarning")
X, Y = load_breast_cancer(return_X_y=True)
X = X[:, :4] / X[:, :4].max(axis=0)  # a public table
BOUNDS = (0.0, 1.0)


def releases(account):
    return list(account.state.releases.values())


def test_a_look_is_charged_and_labelled_with_what_it_assumes(open_account):
    account = open_account()
    spends = LedgerBudgetAccountant(account, purpose="triage")
    assert 0 <= tools.mean(X[:, 0], epsilon=0.5, bounds=BOUNDS, accountant=spends) <= 1
    (release,) = releases(account)
    assert (release.status, release.model, release.purpose) == (Status.COMMITTED, None, "triage")
    claim = release.claim
    (event,) = claim.events
    assert (event.source, event.epsilon, event.delta, event.relation) == (
        "diffprivlib",
        Budget("0.5").epsilon,
        0,
        REPLACE,
    )
    assert (claim.generator, claim.numerics, claim.schema_origin) == ("diffprivlib", "idealised", "none")
    assert set(ASSUMED) <= set(claim.assumptions)
    assert any("number of rows is public" in text for text in claim.assumptions)
    assert claim.budget == Budget("0.5", "1e-10")
    assert (len(spends), spends.spent_budget, spends.total()) == (1, [(0.5, 0)], (0.5, 0))


TOOLS = {
    "mean": (lambda **by: tools.mean(X[:, 0], bounds=BOUNDS, **by), 1),
    "mean_by_column": (lambda **by: tools.mean(X, bounds=BOUNDS, axis=0, **by), 4),
    "var": (lambda **by: tools.var(X[:, 0], bounds=BOUNDS, **by), 1),
    "std": (lambda **by: tools.std(X[:, 0], bounds=BOUNDS, **by), 1),
    "sum": (lambda **by: tools.sum(X[:, 0], bounds=BOUNDS, **by), 1),
    "count_nonzero": (lambda **by: tools.count_nonzero(X[:, 0] > 0.5, **by), 1),
    "histogram": (lambda **by: tools.histogram(X[:, 0], bins=4, range=BOUNDS, **by), 1),
    "histogram2d": (lambda **by: tools.histogram2d(X[:, 0], X[:, 1], bins=2, range=[BOUNDS, BOUNDS], **by), 1),
    "median": (lambda **by: tools.median(X[:, 0], bounds=BOUNDS, **by), 1),
    "quantiles": (lambda **by: tools.quantile(X[:, 0], [0.1, 0.5, 0.9], bounds=BOUNDS, **by), 3),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_spend_what_they_say(open_account, tool):
    account = open_account()
    call, looks = TOOLS[tool]
    assert call(epsilon=0.9, accountant=LedgerBudgetAccountant(account)) is not None
    assert [r.status for r in releases(account)] == [Status.COMMITTED] * looks
    assert float(account.state.spent.epsilon) == pytest.approx(0.9, rel=1e-12)


MODELS = {
    "GaussianNB": lambda **by: models.GaussianNB(bounds=BOUNDS, **by),
    "LogisticRegression": lambda **by: models.LogisticRegression(data_norm=2.0, **by),
    "PCA": lambda **by: models.PCA(2, data_norm=2.0, bounds=BOUNDS, **by),
    "KMeans": lambda **by: models.KMeans(2, bounds=BOUNDS, **by),
    "StandardScaler": lambda **by: models.StandardScaler(bounds=BOUNDS, **by),
    "LinearRegression": lambda **by: models.LinearRegression(bounds_X=BOUNDS, bounds_y=BOUNDS, **by),
    "RandomForestClassifier": lambda **by: models.RandomForestClassifier(3, bounds=BOUNDS, classes=[0, 1], **by),
}


@pytest.mark.parametrize("model", MODELS)
def test_models_spend_what_they_say(open_account, model):
    account = open_account()
    made = MODELS[model](epsilon=1.0, accountant=LedgerBudgetAccountant(account))
    assert not releases(account)
    made.fit(X, Y)
    assert [r.status for r in releases(account)] == [Status.COMMITTED]
    assert account.state.spent.epsilon == 1


def test_as_the_default_and_in_a_with_block(open_account):
    account = open_account()
    diffprivlib.BudgetAccountant.pop_default()  # a forest's trees leave one behind
    with LedgerBudgetAccountant(account) as spends:
        tools.mean(X[:, 0], epsilon=0.25, bounds=BOUNDS)
    assert diffprivlib.BudgetAccountant.pop_default() is None
    assert spends.set_default() is spends
    try:
        tools.mean(X[:, 0], epsilon=0.25, bounds=BOUNDS)
    finally:
        assert diffprivlib.BudgetAccountant.pop_default() is spends
    assert spends.total() == (0.5, 0)
    assert account.state.spent.epsilon == Budget("0.5").epsilon


def test_a_forest_by_the_default_charges_its_trees_too(open_account):
    account = open_account(delta="1e-8")
    with LedgerBudgetAccountant(account) as spends:
        models.RandomForestClassifier(2, epsilon=0.5, bounds=BOUNDS, classes=[0, 1]).fit(X, Y)
    assert spends.spent_budget == [(0.5, 0)] * 3  # as diffprivlib's own accountant counts it
    assert account.state.spent.epsilon == Budget("1.5").epsilon


def test_an_exhausted_account_refuses_before_any_look(open_account, monkeypatch):
    account = open_account(epsilon=1)
    spends = LedgerBudgetAccountant(account)
    tools.mean(X[:, 0], epsilon=0.75, bounds=BOUNDS, accountant=spends)
    monkeypatch.setattr(tools.utils, "clip_to_bounds", None)  # the first thing done with the array
    for kind in (BudgetError, GateRefused, LedgerBudgetError):
        with pytest.raises(kind, match=r"rule 'lifetime'.*epsilon 0\.25 .*One more call of at most epsilon 0\.25 fits"):
            tools.mean(X[:, 0], epsilon=0.5, bounds=BOUNDS, accountant=spends)
    monkeypatch.undo()
    assert (len(releases(account)), len(spends)) == (1, 1)
    assert not issubclass(LedgerBudgetError, DpsynthError)
    tools.mean(X[:, 0], epsilon=0.25, bounds=BOUNDS, accountant=spends)
    with pytest.raises(BudgetError, match="No further call fits"):
        tools.mean(X[:, 0], epsilon=0.001, bounds=BOUNDS, accountant=spends)


@pytest.mark.parametrize("filter", ["sum", "gdp"])
@pytest.mark.parametrize("k", [1, 3])
def test_what_remains_can_be_spent_and_no_more(open_account, filter, k):
    account = open_account(filter=filter)
    unit = PrivacyUnit("patient", 2)
    spends = LedgerBudgetAccountant(account, unit=unit)
    spends.check(0.05, 0)
    epsilon, delta = spends.remaining(k)
    assert delta == 0
    for _ in range(k - 1):
        spends.check(epsilon * 1.001, 0)
    with pytest.raises(BudgetError):
        spends.check(epsilon * 1.001, 0)
    account = open_account(filter=filter)
    spends = LedgerBudgetAccountant(account, unit=unit)
    spends.check(0.05, 0)
    for _ in range(k):
        spends.check(epsilon, 0)
    assert spends.remaining()[0] < epsilon / 100


def test_its_own_ceiling_and_the_delta_of_the_account_bound_what_remains(open_account):
    account = open_account(delta="2.5e-10")
    own = LedgerBudgetAccountant(account, epsilon=0.5)
    assert own.remaining() == (0.5, 0)
    with pytest.raises(BudgetError, match=r"LedgerBudgetAccountant\.remaining\(\)"):
        own.check(0.6, 0)
    assert not releases(account)
    own.check(0.1, 0)
    own.check(0.1, 0)
    assert LedgerBudgetAccountant(account).remaining() == (0, 0)
    with pytest.raises(BudgetError):
        own.check(0.1, 0)
    assert LedgerBudgetAccountant(open_account(epsilon=50)).remaining() == (20, 0)  # the policy's ceiling


def test_a_call_that_fails_after_its_check_stays_charged(open_account):
    account = open_account()
    spends = LedgerBudgetAccountant(account)
    model = models.GaussianNB(epsilon=1.0, bounds=BOUNDS, accountant=spends)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, Y[:-1])
    assert np.isnan(tools.median(np.array([0.1, np.nan]), epsilon=0.5, bounds=BOUNDS, accountant=spends))
    assert account.state.spent.epsilon == Budget("1.5").epsilon
    spends.spend(1.0, 0)  # pays for itself: what the failed call left behind is not reused
    assert account.state.spent.epsilon == Budget("2.5").epsilon
    assert len(spends) == 3


def test_a_mechanism_of_ones_own_checks_and_spends(open_account):
    account = open_account()
    spends = LedgerBudgetAccountant(account)

    def look():
        assert spends.check(0.5, 0)
        return spends.spend(0.5, 0)

    assert look() is spends
    assert look() is spends
    assert len(spends) == 2
    spends.check(0.25, 0)
    spends.spend(0.25, 0)
    spends.spend(0.25, 0)  # a second time: a look of its own
    assert account.state.spent.epsilon == Budget("1.5").epsilon


def test_claims_with_a_delta_need_some_set_aside(open_account):
    spends = LedgerBudgetAccountant(open_account(filter="gdp"))
    with pytest.raises(LedgerBudgetError, match="Set more aside"):
        spends.check(0.1, 1e-10)
    account = open_account(filter="gdp", delta0="1e-10")
    LedgerBudgetAccountant(account).check(0.1, 1e-10)
    assert account.state.spent.delta0 == Budget(1, "1e-10").delta


def test_rows_of_a_unit_are_charged_to_the_unit(open_account):
    account = open_account()
    spends = LedgerBudgetAccountant(account, unit=PrivacyUnit("patient", 3), relation=ADD_OR_REMOVE)
    tools.histogram(X[:, 0], epsilon=0.2, bins=3, range=BOUNDS, accountant=spends)
    (release,) = releases(account)
    (event,) = release.claim.events
    assert isinstance(event, Claimed)
    assert (event.per, event.at_most) == ("row", 3)
    assert release.charge.epsilon == Budget("0.6").epsilon
    assert "no unit has more than 3 rows in the table the third party used" in release.claim.assumptions
    with pytest.raises(GateRefused, match="rule 'unit'"):
        LedgerBudgetAccountant(account).check(0.1, 0)


def test_policies_know_it_by_name(open_account):
    account = open_account(policy=Policy(third_party={"opacus"}))
    with pytest.raises(BudgetError, match=r"claims of 'diffprivlib'.*Admitted: opacus"):
        LedgerBudgetAccountant(account).check(1, 0)
    with pytest.raises(BudgetError, match="generator 'diffprivlib'"):
        LedgerBudgetAccountant(open_account(), policy=Policy(generators={"aim"})).check(1, 0)
    with pytest.raises(BudgetError, match="purpose"):
        LedgerBudgetAccountant(open_account(), policy=Policy(unlisted_purposes=False)).check(1, 0)
    LedgerBudgetAccountant(open_account(), policy=Policy(third_party={"diffprivlib"})).check(1, 0)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(float("inf"), 0), (float("nan"), 0), (0, 1e-9), (0, 0), (-1, 0), (101, 0), (1, 1), ("1", 0)]
)
def test_what_protects_nothing_is_refused(open_account, epsilon, delta):
    account = open_account()
    with pytest.raises((EventError, ValueError, TypeError)):
        LedgerBudgetAccountant(account).check(epsilon, delta)
    assert not releases(account)


def test_a_running_session_keeps_others_out(open_account):
    account = open_account()
    spends = LedgerBudgetAccountant(account)
    spends.check(0.1, 0)
    claim = releases(account)[0].claim
    running = account.reserve(claim)
    running.start()
    with pytest.raises(LedgerBusy):
        tools.mean(X[:, 0], epsilon=0.1, bounds=BOUNDS, accountant=spends)
    running.commit(None)
    assert len(releases(account)) == 2


def test_threads_share_it(open_account):
    account = open_account(epsilon=1)
    spends, refused = LedgerBudgetAccountant(account), []

    def look():
        try:
            tools.mean(X[:, 0], epsilon=0.25, bounds=BOUNDS, accountant=spends)
        except BudgetError as error:
            refused.append(error)

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(spends), len(refused)) == (4, 2)
    assert account.state.spent.epsilon == 1


def test_copies_charge_the_same_account(open_account):
    account = open_account()
    spends = LedgerBudgetAccountant(account)
    assert copy.copy(spends) is copy.deepcopy(spends) is spends
    model = models.GaussianNB(epsilon=0.5, bounds=BOUNDS, accountant=spends)
    assert clone(model).accountant is spends
    cross_val_score(model, X, Y, cv=3)
    assert account.state.spent.epsilon == Budget("1.5").epsilon
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(spends)


def test_leaks_that_diffprivlib_warns_of_can_be_made_errors(open_account):
    account = open_account()
    with pytest.raises(PrivacyLeakWarning):  # warnings are errors here
        tools.mean(X[:, 0], epsilon=0.5, accountant=LedgerBudgetAccountant(account))
    assert not releases(account)


def test_it_says_what_it_is(open_account):
    spends = LedgerBudgetAccountant(open_account(), epsilon=1.0)
    spends.check(0.5, 0)
    assert repr(spends) == "LedgerBudgetAccountant('cohort', epsilon=1.0, spent_budget=[(0.5, 0)])"
    assert repr(LedgerBudgetAccountant(open_account())) == "LedgerBudgetAccountant('cohort')"


def test_a_call_that_raised_pays_for_no_later_one():
    """Frames of ended calls have their addresses used again; their checks must not be."""
    spends = LedgerBudgetAccountant(accountants.Ledger().open("own", Budget(9, "1e-7"), filter="sum"))

    def mine(fails):
        if fails:
            spends.check(0.5, 0)
            raise ValueError
        spends.spend(0.5, 0)

    for _ in range(5):
        with pytest.raises(ValueError):
            mine(True)
        mine(False)
    assert len(spends.spent_budget) == 10


def test_a_call_that_spends_otherwise_than_it_checked_pays_again():
    spends = LedgerBudgetAccountant(accountants.Ledger().open("own", Budget(9, "1e-7"), filter="sum"))
    spends.check(0.5, 0)
    spends.spend(1.0, 0)
    assert spends.spent_budget == [(0.5, 0), (1.0, 0)]


def test_a_release_beside_it_says_that_the_lifetime_is_about_tables_of_known_size(tmp_path):
    ledger = accountants.Ledger(f"sqlite:///{tmp_path}/ledger.db", accountants.SigningKey.generate())
    account = ledger.open("cohort", Budget(3, "1e-8"), filter="sum")
    schema = dp.Schema.from_domain({"benign": 2, "large": 2})
    table = pd.DataFrame({"benign": Y, "large": (X[:, 0] > 0.5).astype(int)})
    model = dp.fit(dp.plan("independent", schema, Budget(1, "1e-9")), table, account, store=ModelStore(None))
    dp.admit(model.sample(rows=100), account).write(tmp_path / "before")
    tools.mean(X[:, 0], epsilon=0.5, bounds=BOUNDS, accountant=LedgerBudgetAccountant(account))
    dp.admit(model.sample(rows=101), account).write(tmp_path / "after")
    said = {name: read_predicate(tmp_path / name) for name in ("before", "after")}
    assert said["before"]["lifetime"]["relation"] == "add_or_remove_one_unit"
    assert said["after"]["lifetime"]["relation"] == "blank_one_unit"
    assert "one unit more" in said["after"]["guarantee"]["relation_in_words"]
    report = (tmp_path / "after" / "report.html").read_text()
    assert "rows being blank in a table of publicly known size" in report
    assert verify(tmp_path / "after", {}).exit_code == 3
