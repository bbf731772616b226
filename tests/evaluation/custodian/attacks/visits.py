"""Made-up hospital visits, one or two a patient, and releases of them that leak or do not."""

from __future__ import annotations

from math import isnan

import numpy as np
import pandas as pd

from dpsynth.evaluation.custodian.attacks.case import Case
from dpsynth.evaluation.custodian.attacks.space import Space
from dpsynth.evaluation.custodian.attacks.targets import choose
from dpsynth.evaluation.custodian.finding import Finding, Tables
from dpsynth.evaluation.custodian.reading import read_tables
from dpsynth.schema import Schema

SCHEMA = """
name: visits
unit: patient
at_most: 2
columns:
  sex: {type: categorical, values: [F, M]}
  ward: {type: categorical, values: [north, south, east, west], missing: true}
  stage: {type: ordinal, values: [I, II, III, IV]}
  smoker: {type: boolean}
  age: {type: integer, min: 0, max: 110, bins: 10}
  pulse: {type: integer, min: 20, max: 250, bins: 10}
  cost: {type: float, min: 0, max: 100000, bins: 8, decimals: 1, scale: log, missing: true}
  weight: {type: float, min: 0, max: 300, bins: 8, decimals: 1}
  admitted: {type: date, min: 2020-01-01, max: 2022-12-31, bins: 6}
  died: {type: boolean}
"""


def schema() -> Schema:
    return Schema.loads(SCHEMA)


def visits(patients: int, rng: np.random.Generator, start: int = 0) -> pd.DataFrame:
    """Visits of some patients; heavy tails in cost, some rare old and heavy ones."""
    of = np.sort(np.concatenate([np.arange(patients), rng.permutation(patients)[: patients // 3]]))
    n = len(of)
    age = np.clip(rng.normal(50, 18, n), 0, 110).astype(int)
    smoker = rng.random(n) < 0.3
    stage = np.clip((age / 30 + smoker + rng.normal(0, 0.7, n)).astype(int) - 1, 0, 3)
    cost = np.clip(np.exp(rng.normal(6 + 0.5 * stage, 1, n)), 0, 100_000).round(1)
    return pd.DataFrame(
        {
            "patient": of + start,
            "sex": rng.choice(["F", "M"], n),
            "ward": rng.choice(["north", "south", "east", "west", None], n, p=[0.4, 0.3, 0.2, 0.05, 0.05]),
            "stage": np.array(["I", "II", "III", "IV"])[stage],
            "smoker": smoker,
            "age": age,
            "pulse": np.clip(rng.normal(75 + 5 * stage, 12, n), 20, 250).astype(int),
            "cost": np.where(rng.random(n) < 0.1, np.nan, cost),
            "weight": np.clip(rng.normal(75, 15, n) + 8 * (rng.random(n) < 0.05) * rng.random(n), 0, 300).round(1),
            "admitted": np.datetime64("2020-01-01") + rng.integers(0, 1000, n),
            "died": rng.random(n) < 0.05 + 0.1 * stage,
        }
    )


def tables(share: float, seed: int, patients: int = 1200) -> Tables:
    """A release of which `share` are copies of training rows and the rest fresh rows of the same law."""
    rng = np.random.default_rng(seed)
    train, holdout = visits(patients, rng), visits(patients * 2 // 3, rng, start=patients)
    fresh = visits(patients, rng)
    copied = rng.permutation(len(train))[: round(share * len(train))]
    released = pd.concat([train.iloc[copied], fresh.iloc[len(copied) :]], ignore_index=True)
    return read_tables(schema(), released.drop(columns="patient"), train, holdout, rng)[0]


def case_of(of: Tables, seed: int = 0) -> Case:
    rng = np.random.default_rng([seed, 1])  # never the stream that the tables were drawn from
    space = Space(of, rng)
    targets = choose(of, space, rng)
    assert not isinstance(targets, str), targets
    return Case(of, targets, of.synthetic, rng)


def flagged(findings: list[Finding]) -> set[tuple[str, str]]:
    """Where a training unit is worse off than a holdout unit."""
    return {(each.measure, each.subject) for each in findings if each.low > each.baseline}


def sound(findings: list[Finding]) -> None:
    """Every finding has a figure with its interval, or a sentence why not."""
    for each in findings:
        assert each.section == "privacy"
        if isnan(each.value):
            assert each.note.endswith("."), each
            assert isnan(each.low)
            assert isnan(each.high)
        else:
            assert each.low <= each.value <= each.high, each
            assert not isnan(each.baseline), each
    assert len({(each.measure, each.subject) for each in findings}) == len(findings)
