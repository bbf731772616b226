"""How constraints are written down: YAML, JSON and types; one spelling each; one clear sentence for what is wrong."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given, settings

from dpsynth.constraints import Forbid, Implies, Order, Range, Total, search
from dpsynth.errors import SchemaError
from dpsynth.schema import Schema
from tests.constraints.drawing import constrained_schemas

COLUMNS = """\
columns:
  sex: {type: categorical, values: [F, M], missing: true}
  rel: {type: categorical, values: [Husband, Wife, '2', true]}
  stage: {type: ordinal, values: [I, II, III]}
  later: {type: ordinal, values: [I, II, III]}
  start: {type: date, min: 2020-01-01, max: 2020-12-31, bins: [2020-01-01, 2020-07-01, 2020-12-31]}
  end: {type: datetime, min: 2020-01-01 00:00:00, max: 2021-12-31 00:00:00, missing: true}
  a: {type: float, min: 0.0, max: 100.0, bins: [0.0, 10.0, 100.0], decimals: 2}
  total: {type: float, min: 0.0, max: 120.0, decimals: 2}
  age: {type: integer, min: 0, max: 100, bins: [0, 15, 16, 30, 100], missing: true}
  flag: {type: boolean}
"""
CONSTRAINTS = """\
constraints:
  - {name: husbands are men, if: {rel: Husband}, then: {sex: M}}
  - {forbid: {sex: [M, null], rel: Wife}}
  - {order: [stage, later], strict: true}
  - {order: [start, end]}
  - {total: total, parts: a}
  - {if: {start: {min: 2020-07-01}, age: {below: 15}}, then: {flag: false}}
  - {if: {age: null}, then: {stage: {min: II}, a: {below: 10.0}}}
  - {forbid: {rel: '2', age: [15, {min: 30}]}}
"""


def read(*constraints: str) -> Schema:
    return Schema.loads(COLUMNS + "constraints:\n" + "".join(f"  - {text}\n" for text in constraints))


def test_the_example_reads_and_writes_itself():
    schema = Schema.loads(COLUMNS + CONSTRAINTS)
    assert schema.to_yaml() == COLUMNS + CONSTRAINTS
    assert [str(constraint) for constraint in schema.constraints] == [
        "if rel is Husband then sex is M",
        "never sex is M or empty and rel is Wife",
        "stage < later",
        "start <= end",
        "total = a",
        "if start is at least 2020-07-01 and age is below 15 then flag is false",
        "if age is empty then stage is at least II and a is below 10.0",
        "never rel is 2 and age is 15 or at least 30",
    ]
    assert schema.constraints[0].title == "husbands are men"
    assert Schema.from_json(json.loads(rfc8785.dumps(schema.to_json()))) == schema
    assert hash(schema) == hash(Schema.loads(schema.to_yaml()))


@settings(deadline=None, max_examples=60)
@given(constrained_schemas())
def test_round_trips(schema):
    text = schema.to_yaml()
    assert Schema.loads(text) == schema
    assert Schema.loads(text).to_yaml() == text
    again = Schema.from_json(json.loads(rfc8785.dumps(schema.to_json())))
    assert again == schema
    assert again.digest == schema.digest


def test_types_and_yaml_say_the_same():
    schema = Schema.loads(COLUMNS)
    typed = schema.with_constraints(
        Implies(name="husbands are men", when={"rel": "Husband"}, then={"sex": "M"}),
        Forbid(where={"rel": "Wife", "sex": ["M", None]}),
        Order(order=("stage", "later"), strict=True),
        {"order": ["start", "end"]},
        Total(total="total", parts=("a",)),
        Implies(when={"age": Range(below=15), "start": {"min": date(2020, 7, 1)}}, then={"flag": False}),
        Implies(when={"age": None}, then={"a": {"below": 10}, "stage": {"min": "II"}}),
        Forbid(where={"age": [15.0, Range(min=30)], "rel": 2}),
    )
    assert typed == Schema.loads(COLUMNS + CONSTRAINTS)
    assert typed.with_constraints() == schema


def test_one_spelling_one_digest():
    """However a value is written, the schema and its digest are the same; what they say is not."""
    one = read('{if: {rel: [2], age: [15.0]}, then: {flag: "TRUE", start: {min: "2020-07-01"}}}')
    assert one == read('{if: {rel: "2", age: 15}, then: {flag: true, start: {min: 2020-07-01}}}')
    assert one.digest != read('{if: {rel: "2", age: 15}, then: {flag: false}}').digest
    assert one.digest != Schema.loads(COLUMNS).digest


def test_a_schema_without_constraints_has_the_form_it_always_had():
    schema = Schema.loads(COLUMNS)
    assert "constraints" not in schema.to_json()
    assert schema.digest == Schema.loads(COLUMNS + "constraints: []\n").digest


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("3", ["constraint 1", "must be a mapping", "got 3"]),
        ("{orde: [start, end]}", ["constraint 1", "unknown key 'orde'", "did you mean 'order'"]),
        ("{strict: true}", ["'forbid', 'if', 'order', 'total'", "got none"]),
        ("{order: [start, end], forbid: {sex: M}}", ["'forbid' and 'order'"]),
        ("{order: [start, end], then: {sex: M}}", ["unknown key 'then'", "name, order, strict"]),
        ("{if: {sex: M}}", ["'then' is required beside 'if'"]),
        ("{name: '  ', order: [start, end]}", ["'name' of a constraint must not be blank"]),
        ("{order: [start, end], strict: 1}", ["constraint 1", "'strict' must be true or false"]),
        ("{forbid: {}}", ["constraint 1", "at least one column"]),
        ("{forbid: [sex]}", ["must be a mapping like"]),
        ("{forbid: {sex: []}}", ["'sex' lists nothing"]),
        ("{forbid: {1: M}}", ["named in text", "quotes"]),
        ("{forbid: {sex: [[M]]}}", ["'sex' holds", "ranges"]),
        ("{forbid: {sx: M}}", ["'never sx is M'", "unknown column 'sx'", "did you mean 'sex'"]),
        ("{forbid: {sex: W}}", ["'sex' names the unknown value 'W'", "allowed: F, M"]),
        ("{if: {rel: Husbend}, then: {sex: M}}", ["did you mean 'Husband'?"]),
        ("{forbid: {sex: missing}}", ["an empty cell is written null"]),
        ("{forbid: {rel: null}}", ["'rel' asks for an empty cell", "add 'missing: true'"]),
        ("{forbid: {sex: {min: F}}}", ["a range, but its values have no order"]),
        ("{forbid: {age: {mn: 15}}}", ["the range of 'age'", "unknown key 'mn'", "'min'"]),
        ("{forbid: {age: {min: 15, above: 14}}}", ["one of 'min' and 'above'"]),
        ("{forbid: {age: {}}}", ["one of 'min' and 'above'"]),
        ("{forbid: {age: 20}}", ["20, which shares the bin [16, 30)", "a bin of its own"]),
        ("{forbid: {age: 101}}", ["101, which is outside 0 to 100"]),
        ("{forbid: {age: 15.5}}", ["must be a whole number, got 15.5"]),
        ("{forbid: {age: old}}", ["must be a whole number, got 'old'"]),
        ("{forbid: {age: {max: 20}}}", ["ends at 'max: 20', inside the bin [16, 30)", "add the edge to 'bins'"]),
        ("{forbid: {a: {max: 10}}}", ["'max: 10.0', inside the bin [10, 100]", "write 'below: 10.0'"]),
        ("{forbid: {a: {above: 10}}}", ["begins at 'above: 10.0'", "write 'min: 10.0'"]),
        ("{forbid: {a: {min: 0.001}}}", ["cannot be written with 'decimals: 2'"]),
        ("{forbid: {age: {min: 200}}}", ["holds no value of the column, which has 0 to 100"]),
        ("{forbid: {start: {min: soon}}}", ["a date must be written like 2020-12-31"]),
        ("{forbid: {stage: {min: IV}}}", ["unknown value 'IV'", "did you mean"]),
        ("{order: [start]}", ["two different columns or more"]),
        ("{order: [start, start]}", ["two different columns or more"]),
        ("{order: [age, start]}", ["numbers compare with numbers", "age is integer, start is date"]),
        ("{order: [sex, rel]}", ["sex is categorical"]),
        ("{order: [start, ende]}", ["unknown column 'ende'", "did you mean 'end'"]),
        ("{total: total, parts: []}", ["columns other than the total"]),
        ("{total: total, parts: [total]}", ["columns other than the total"]),
        ("{total: total, parts: [age]}", ["equal 'decimals'", "total has 2, age has 0"]),
        ("{total: total, parts: [start]}", ["only numbers add up; start is date"]),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text, parts):
    with pytest.raises(SchemaError) as refused:
        read(text)
    message = str(refused.value)
    assert all(part in message for part in parts), message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["constraints: 3", "constraints: {forbid: {sex: M}}"])
def test_constraints_are_a_list(text):
    with pytest.raises(SchemaError, match="'constraints' must be a list"):
        Schema.loads(COLUMNS + text)


def test_ordinals_compare_only_with_their_like():
    other = COLUMNS.replace("later: {type: ordinal, values: [I, II, III]}", "later: {type: ordinal, values: [I, III]}")
    with pytest.raises(SchemaError, match="same 'values' in the same order"):
        Schema.loads(other + "constraints: [{order: [stage, later]}]")


def test_numbers_too_long_to_compare_are_refused():
    columns = """
    columns:
      long: {type: integer, min: 0, max: 999999999999999}
      fine: {type: float, min: 0, max: 1, decimals: 12}
    """
    with pytest.raises(SchemaError, match="18 digits"):
        Schema.loads(columns.replace("\n    ", "\n") + "constraints: [{order: [fine, long]}]")


def test_the_example_of_the_reference_page():
    page = Path(__file__).parents[2] / "docs" / "schema.md"
    (example,) = (
        b for b in re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL) if "constraints:" in b
    )
    schema = Schema.loads(example)
    assert len(schema.constraints) == 5
    assert schema.to_yaml().split("constraints:")[1] == example.split("constraints:")[1]


def flags(columns, forbids):
    """A schema of flags of which forbidden triples tie all together."""
    listed = [{"forbid": {f"c{(k + i) % columns}": (k >> i) % 2 == 0 for i in range(3)}} for k in range(forbids)]
    return {"columns": {f"c{i}": {"type": "boolean"} for i in range(columns)}, "constraints": listed}


def test_a_schema_that_nobody_could_search_is_given_up_soon(monkeypatch):
    """Whoever reads a stranger's schema, as `verify` does, makes a few short searches, not one for each constraint."""
    steps = []

    def endless(component, *, steps=None, asked=steps, **options):
        asked.append(steps)
        raise search.SearchEnded

    monkeypatch.setattr(search, "nearest", endless)
    with pytest.raises(SchemaError, match="no row was found that satisfies it"):
        Schema.loads(json.dumps(flags(60, 400)))
    assert len(steps) <= 14
    assert steps[0] < search.MOST_STEPS / 10  # with all ties; a few ties alone may take more


def test_a_schema_lists_at_most_a_thousand_constraints():
    with pytest.raises(SchemaError, match="at most 1000, got 1001"):
        Schema.loads(json.dumps(flags(60, 1001)))
