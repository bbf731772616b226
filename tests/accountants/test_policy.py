"""Policies: YAML to a frozen value and back."""

from decimal import Decimal

import pytest

from accountants import Budget, Policy, PolicyError

FULL = """
version: 1
max_epsilon: 2
max_delta: 1e-8
generators: [aim, mst]
numerics: [exact]
schema_origins: [declared]
purposes:
  research: {epsilon: 0.1, delta: 1e-9}
  audit: {epsilon: 1}
unlisted_purposes: false
"""


def test_from_yaml(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(FULL)
    policy = Policy.from_yaml(path)
    assert policy.max_epsilon == 2
    assert policy.max_delta == Decimal("1e-8")
    assert policy.generators == {"aim", "mst"}
    assert policy.numerics == {"exact"}
    assert policy.purposes == {"research": Budget("0.1", "1e-9"), "audit": Budget(1, "1e-9")}
    assert policy.unlisted_recipients
    assert not policy.unlisted_purposes
    assert Policy.from_json(policy.to_json()) == policy


def test_defaults_and_an_empty_file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("# nothing\n")
    assert Policy.from_yaml(path) == Policy()
    assert Policy.from_json(Policy().to_json()) == Policy()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_epsilno: 1", "did you mean 'max_epsilon'"),
        ("zzz: 1", "known:"),
        ("max_epsilon: -1", "max_epsilon must be above 0"),
        ("max_epsilon: .nan", "finite"),
        ("max_delta: 1", "below 1"),
        ("numerics: [none]", "numerics must be some of"),
        ("numerics: exact", "list of names"),
        ("generators: [1]", "generators must be names"),
        ("schema_origins: [guessed]", "schema_origins"),
        ("purposes: [a]", "map labels"),
        ("purposes: {a: 1}", "must be a budget"),
        ("purposes: {a: {epsilon: 0}}", "purposes.a: epsilon"),
        ("purposes: {a: {epsilon: 1, detla: 1}}", "did you mean 'purposes.a.delta'"),
        ("purposes: {1: {epsilon: 1}}", "must be text"),
        ("unlisted_purposes: 1", "true or false"),
        ("version: 3", "upgrade"),
        ("[1, 2]", "mapping"),
        ("a: [", "not YAML near line"),
        ("a: 1\na: 2", "not YAML"),
    ],
)
def test_malformed(tmp_path, text, says):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=r"policy\.yaml") as caught:
        Policy.from_yaml(path)
    assert says in str(caught.value)


def test_unreadable(tmp_path):
    with pytest.raises(PolicyError, match="cannot read"):
        Policy.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyError, match="not YAML"):
        Policy.from_yaml(tmp_path / "bytes.yaml")


def test_frozen():
    policy = Policy(purposes={"a": Budget(1)})
    with pytest.raises(AttributeError):
        policy.max_epsilon = Decimal(3)
    with pytest.raises(TypeError):
        policy.purposes["b"] = Budget(2)
