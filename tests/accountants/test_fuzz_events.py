"""Whatever a parameter is, an event exists only where it means something; JSON says all of it and nothing else."""

import dataclasses
import json
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accountants import (
    Budget,
    Claim,
    Claimed,
    EventError,
    ExponentialMechanism,
    FixedPlan,
    Gaussian,
    Laplace,
    PlanError,
    PoissonRuns,
    PostProcessing,
    PrivacyUnit,
    PrivateSelection,
    RandomizedResponse,
    SubsampledGaussian,
    Thresholding,
    TruncatedNegativeBinomial,
    compose,
    plan_from_json,
)
from accountants.events import ADD_OR_REMOVE, BLANK, KINDS, REPLACE, event_from_json, event_to_json

NO_NUMBERS = [None, True, False, [], {}, (), ..., "", "x", "0x1", b"1", 1j, float("nan"), "nan", Decimal("sNaN")]
NEVER = [*NO_NUMBERS, math.inf, -math.inf, "inf", 0, -0.0, -1.0, "-1", 1e300, 1e-300, 10**400, -(10**400)]
VALID = {
    Gaussian: {"noise_multiplier": 2.0},
    SubsampledGaussian: {"noise_multiplier": 1.1, "sample_rate": 0.01, "steps": 100},
    Thresholding: {"noise_multiplier": 3.0, "delta": "1e-9"},
    ExponentialMechanism: {"eta": 0.5},
    Laplace: {"noise_multiplier": 2.0},
    RandomizedResponse: {"epsilon": 1.0},
    Claimed: {"epsilon": 1, "delta": "1e-9", "source": "them", "per": "row", "at_most": 3},
}
NUMBERS = [
    (kind, name) for kind, fields in VALID.items() for name in fields if name not in ("source", "per", "at_most")
]


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
@pytest.mark.parametrize("value", NEVER, ids=repr)
def test_what_means_nothing_raises(kind, name, value):
    if (
        name == "delta"
        and kind is Claimed
        and isinstance(value, int | float)
        and value == 0
        and not isinstance(value, bool)
    ):
        return  # a pure claim
    if kind is Claimed and name == "epsilon" and repr(value) == "1e-300":
        return  # next to nothing, and charged as 1e-12
    if name == "delta" and repr(value) == "1e-300":
        return  # an exact decimal
    with pytest.raises(EventError):
        kind(**{**VALID[kind], name: value})


LARGEST = 10**9


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, -1, 1.0, 1.5, "3", LARGEST, Decimal(3)], ids=repr)
def test_whole_numbers_are_whole(value):
    with pytest.raises(EventError, match="whole number"):
        SubsampledGaussian(1.0, 0.1, value)
    with pytest.raises(EventError, match="whole number"):
        Claimed(1, "1e-9", "them", per="row", at_most=value)
    if value is not LARGEST:
        with pytest.raises(EventError, match="whole number"):
            Thresholding(1.0, "1e-9").threshold(value)


@pytest.mark.parametrize("rate", [1.0000001, 2, 1e-10])
def test_rates_beyond_a_probability_raise(rate):
    with pytest.raises(EventError, match="sample_rate"):
        SubsampledGaussian(1.0, rate, 10)


@pytest.mark.parametrize("made", [lambda v: PoissonRuns(v), lambda v: TruncatedNegativeBinomial(1.0, v)])
@pytest.mark.parametrize("value", NEVER, ids=repr)
def test_numbers_of_runs_that_mean_nothing_raise(made, value):
    with pytest.raises(EventError):
        made(value)


@pytest.mark.parametrize("shape", [-1, -1.5, 10.5, float("nan"), math.inf])
def test_shapes_that_mean_nothing_raise(shape):
    with pytest.raises(EventError, match="shape"):
        TruncatedNegativeBinomial(shape, 0.1)


@pytest.mark.parametrize(
    "changed",
    [
        {"source": ""},
        {"source": "a\nb"},
        {"source": "x" * 101},
        {"source": None},
        {"source": 5},
        {"per": "person"},
        {"per": None},
        {"per": "unit"},
        {"relation": "swap"},
        {"relation": None},
        {"assumed": ("a\x00",)},
        {"assumed": (1,)},
        {"epsilon": 34},
        {"epsilon": 101, "at_most": 1},
        {"delta": 0.5},
        {"delta": 1},
    ],
)
def test_claims_that_mean_nothing_raise(changed):
    with pytest.raises(EventError):
        Claimed(**{**VALID[Claimed], **changed})


CLAIMS = st.builds(
    Claimed,
    st.decimals("1e-6", "8", places=6).filter(bool),
    st.sampled_from(["0", "1e-12", "1e-5"]),
    st.sampled_from(["diffprivlib", "Opacus 1.6", "их"]),
    per=st.just("row"),
    at_most=st.integers(1, 5),
    relation=st.sampled_from(["add_or_remove_one_unit", REPLACE]),
    assumed=st.lists(st.sampled_from(["no rows are dropped", "bounds are public"]), max_size=2).map(tuple),
)
SIMPLE = st.one_of(
    st.floats(1e-3, 1e6).map(Gaussian),
    st.floats(1e-6, 100.0).map(ExponentialMechanism),
    st.floats(1e-2, 1e9).map(Laplace),
    st.floats(1e-6, 100.0).map(RandomizedResponse),
    st.builds(SubsampledGaussian, st.floats(0.01, 1e6), st.floats(1e-9, 1.0), st.integers(1, 10**8)),
    st.builds(Thresholding, st.floats(0.1, 1e3), st.decimals("1e-12", "0.5", places=12).filter(bool)),
    CLAIMS,
    st.just(PostProcessing()),
)
RUNS = st.one_of(
    st.builds(TruncatedNegativeBinomial, st.floats(-0.9, 10.0), st.floats(1e-6, 0.99)),
    st.floats(1e-3, 1e5).map(PoissonRuns),
)
ANY = st.one_of(
    SIMPLE,
    st.builds(PrivateSelection, st.lists(SIMPLE, min_size=1, max_size=3), RUNS, st.sampled_from(["1e-9", "1e-12", 0])),
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(ANY, min_size=1, max_size=4))
def test_every_kind_round_trips_as_json_text(events):
    for event in events:
        assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event
    plan = FixedPlan([*events, *events[-1:] * 3])
    body = json.loads(json.dumps(plan.to_json()))
    assert plan_from_json(body) == plan
    assert body["events"][-1]["count"] >= 4


def test_every_kind_is_fuzzed():
    assert set(VALID) | {PostProcessing, PrivateSelection} == set(KINDS.values())


SELECTION = event_to_json(PrivateSelection([Gaussian(2.0)], PoissonRuns(3.0), "1e-9"))
BODIES = [event_to_json(kind(**fields)) for kind, fields in VALID.items()] + [SELECTION, {"kind": "post_processing"}]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["kind"])
def test_keys_too_many_or_too_few_raise(body):
    event_from_json(body)
    for key in ("count", "steps_", "mu", "k", ""):
        with pytest.raises(EventError, match="takes"):
            event_from_json({**body, key: 1})
    for key in body:
        with pytest.raises(EventError):
            event_from_json({name: value for name, value in body.items() if name != key})
    with pytest.raises(EventError, match="unknown event kind"):
        event_from_json({**body, "kind": body["kind"].upper()})


@pytest.mark.parametrize("body", BODIES[:-1], ids=lambda body: body["kind"])
@pytest.mark.parametrize("value", [None, True, [], {}, "nan", "-inf", "1e", "", -1], ids=repr)
def test_wrong_values_in_json_raise(body, value):
    for key in body:
        if key == "kind" or (key == "source" and value not in (None, True, [], {}, "", -1)):
            continue
        if (key, value) == ("assumed", []) or (key == "assumed" and value in ("nan", "-inf", "1e")):
            continue
        with pytest.raises(EventError):
            event_from_json({**body, key: value})


@pytest.mark.parametrize(
    "changed",
    [
        {"base": []},
        {"base": [SELECTION]},
        {"base": [{"kind": "gaussian", "noise_multiplier": "2.0", "count": 9}]},
        {"base": [{"kind": "gaussian", "noise_multiplier": "2.0"}] * 1001},
        {"base": ["gaussian"]},
        {"runs": {"kind": "poisson", "mean_runs": "nan"}},
        {"runs": {"kind": "poisson", "mean_runs": "3", "count": 1}},
        {"runs": {"kind": "fixed", "runs": 3}},
        {"runs": {"kind": "truncated_negative_binomial", "shape": "-1", "gamma": "0.1"}},
        {"delta": "1"},
    ],
)
def test_malformed_selections_raise(changed):
    with pytest.raises(EventError):
        event_from_json({**SELECTION, **changed})


@pytest.mark.parametrize("count", [0, -1, 1.0, "2", True, None, 10**6 + 1, [2], float("nan")])
def test_counts_that_are_no_counts_raise(count):
    body = {"kind": "fixed", "events": [{**event_to_json(ExponentialMechanism(0.5)), "count": count}]}
    with pytest.raises(PlanError, match="count"):
        plan_from_json(body)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(SIMPLE, st.integers(1, 300))
def test_counts_are_expanded_into_events(event, count):
    plan = plan_from_json({"kind": "fixed", "events": [{**event_to_json(event), "count": count}]})
    assert plan.events == (event,) * count
    assert plan.capacity >= count * event.mu_squared * (1 - Decimal("1e-25"))
    assert plan.delta0 >= count * event.delta0 * (1 - Decimal("1e-25"))


def test_claims_of_version_1_are_still_read():
    """As the ledger recorded them before delta0: read as setting nothing aside."""
    body = {
        "version": 1,
        "budget": {"epsilon": "0.5", "delta": "1e-9"},
        "unit": {"column": "person", "at_most": 3, "relation": "add_or_remove_one_unit"},
        "plan": {
            "kind": "fixed",
            "events": [
                {"kind": "gaussian", "noise_multiplier": "40.0", "count": 2},
                {"kind": "exponential_mechanism", "eta": "0.01", "count": 1},
            ],
        },
        "frame": [{"kind": "gaussian", "noise_multiplier": "90.0"}],
        "generator": "mst",
        "parameters": {},
        "schema_digest": "5c" * 32,
        "schema_origin": "declared",
        "numerics": "exact",
        "assumptions": [],
        "purpose": None,
        "recipient": None,
    }
    claim = Claim.from_json(body)
    assert claim.delta0 == 0
    assert claim.events == (Gaussian(40.0), Gaussian(40.0), ExponentialMechanism(0.01), Gaussian(90.0))
    assert Claim.from_json(claim.to_json()) == claim
    assert claim.to_json()["version"] == 4
    assert claim.relation == ADD_OR_REMOVE
    theirs = {**body, "version": 2, "delta0": "0", "schema_digest": None, "schema_origin": "none"}
    assert Claim.from_json(theirs).relation == BLANK  # whatever it took for public was not on record yet
    before = {**body, "version": 3, "delta0": "0", "size_public": False}
    assert Claim.from_json(before).public is None
    with pytest.raises(ValueError, match="version 5"):
        Claim.from_json({**body, "version": 5})


@pytest.mark.parametrize("delta0", [-1e-12, 1, 2, float("nan"), None, True, "x"])
def test_a_claim_sets_a_probability_aside(delta0):
    with pytest.raises(ValueError, match="delta0"):
        Claim(Budget(1), PrivacyUnit(), FixedPlan([Gaussian(9.0)]), "aim", "5c" * 32, delta0=delta0)


def test_events_are_frozen_final_values():
    for kind, fields in VALID.items():
        event = kind(**fields)
        with pytest.raises((AttributeError, TypeError)):
            setattr(event, dataclasses.fields(kind)[0].name, 1)
        assert hash(event) == hash(kind(**fields))
        assert compose([event, PostProcessing()]) == compose([event])
