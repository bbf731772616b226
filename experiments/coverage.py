"""Do intervals made of a release hold what they say? A public table as the population, so that the truth is known.

Rows are drawn from the population with replacement, released, and analysed as a receiver would: by `dpsynth.analysis`,
by taking the synthetic table for real ("naive"), and, for the first releases, by analysing tables of refitted models
one by one and combining (`combine`). Noise is never seeded: every run differs. The record has a line for each question
and is rewritten after each release; a run goes on where the last one stopped.

    python experiments/coverage.py --releases 100 --out experiments/results/coverage.tsv
    python experiments/coverage.py --figure             # from the record
"""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

import dpsynth as dp
from accountants import Meter
from dpsynth.analysis import Analysis, combine, reading
from dpsynth.analysis.naive import Rows
from dpsynth.columns import Integer
from dpsynth.encoding import Encoder
from dpsynth.kernel import PrivateTable
from dpsynth.kernel import Rows as PrivateRows
from dpsynth.measurement import Selected
from dpsynth.release.measurements import Measurements
from dpsynth.schema import Schema

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "experiments" / "results" / "coverage.tsv"
SIZE = 10_000
TABLES = 10
KEYS = ["table", "generator", "epsilon", "question"]
COUNTS = [
    *("releases", "answered", "covered", "naive", "about_table", "tables", "tables_covered"),
    *("width", "naive_width", "tables_width", "bias"),
]
ADULT = {
    "mean": ["age", "education-num", "hours-per-week"],
    "proportion": ["sex=1", "income>50K=1", "race=4", "race=3", "marital-status=2", "relationship=2", "workclass=1"],
    "difference": [
        *("income>50K by sex", "age by income>50K", "hours-per-week by income>50K", "hours-per-week by sex"),
        *("age by sex", "education-num by income>50K", "income>50K by relationship: 2 - 0"),
    ],
    "regress": ["income>50K ~ age", "income>50K ~ sex + age", "hours-per-week ~ sex + education-num"],
    "effect": ["income>50K of sex given marital-status"],
}
BRFSS = {
    "mean": ["BMI", "Age", "PhysHlth"],
    "proportion": ["Diabetes_binary=1", "HighBP=1", "Smoker=1", "Sex=1", "GenHlth=5", "Income=8"],
    "difference": [
        *("Diabetes_binary by HighBP", "BMI by Diabetes_binary", "Smoker by Sex", "HighBP by Sex"),
        *("PhysHlth by Diabetes_binary", "Diabetes_binary by GenHlth: 5 - 1", "BMI by HighBP"),
    ],
    "regress": ["Diabetes_binary ~ HighBP", "Diabetes_binary ~ HighBP + BMI", "PhysHlth ~ HighBP + Income"],
    "effect": ["Diabetes_binary of HighBP given GenHlth"],
}
SUPPORT = {
    "mean": ["age", "slos", "totcst", "avtisst", "meanbp", "crea"],
    "proportion": ["hospdead=true", "sex=male", "age<60"],
    "difference": ["hospdead by sex", "age by hospdead", "slos by hospdead", "avtisst by hospdead"],
    "regress": ["hospdead ~ sex"],
    "effect": ["hospdead of sex given dzclass"],
}


def adult(data: Path) -> tuple[pd.DataFrame, Schema]:
    """Nine columns of the coded Adult table."""
    dropped = ("fnlwgt", "capital-gain", "capital-loss", "native-country", "occupation")
    sizes = {
        name: size
        for name, size in json.loads((data / "adult_coded_domain.json").read_text()).items()
        if name not in dropped
    }
    ordered = ("age", "education-num", "hours-per-week")
    return pd.read_parquet(data / "adult_coded.parquet")[list(sizes)], Schema.from_domain(sizes, ordered=ordered)


def brfss(data: Path) -> tuple[pd.DataFrame, Schema]:
    """Nine columns of the health survey."""
    names = ["Diabetes_binary", "HighBP", "Smoker", "Sex", "GenHlth", "Income", "BMI", "Age", "PhysHlth"]
    whole = Schema.from_yaml(ROOT / "tests" / "data" / "brfss2015_diabetes.yaml")
    columns = [whole.column(name) for name in names]
    single = {"BMI": 87, "PhysHlth": 31}  # a bin for each value, so that the truth is about the same numbers
    columns = [
        Integer(name=c.name, min=c.min, max=c.max, bins=single[c.name]) if c.name in single else c for c in columns
    ]
    schema = Schema(columns=tuple(columns))
    return pd.read_parquet(data / "brfss2015_diabetes.parquet")[names], schema


def support(data: Path) -> tuple[pd.DataFrame, Schema]:
    """Nine columns of SUPPORT2, numbers on fine grids."""
    names = ["hospdead", "sex", "dzclass", "age", "slos", "totcst", "avtisst", "meanbp", "crea"]
    whole = Schema.from_yaml(ROOT / "tests" / "data" / "support2.yaml")
    schema = Schema(columns=tuple(whole.column(name) for name in names))
    return pd.read_parquet(data / "support2.parquet")[names], schema


POPULATIONS = {"adult_coded": (adult, ADULT), "brfss2015_diabetes": (brfss, BRFSS), "support2": (support, SUPPORT)}


def ask(analysis: Analysis, kind: str, text: str):
    """Intervals by question; none where it is not supported."""
    try:
        found = getattr(analysis, kind)(text)
    except dp.DpsynthError:
        return ()
    return found if isinstance(found, tuple) else (found,)


def as_real(rows: Rows, kind: str, text: str):
    """Estimates and variances of who takes the rows for a sample of the population."""
    schema = rows.schema
    if kind == "mean":
        found = [rows.average(reading.numbers(schema, text))]
    elif kind == "proportion":
        found = [rows.average(reading.question_in(schema, text))]
    elif kind == "regress":
        found = rows.least_squares(*reading.formula_in(schema, text))
    else:
        found = [
            getattr(rows, kind)(*getattr(reading, "compared_in" if kind == "difference" else "effect_in")(schema, text))
        ]
    return found


def released(plan, frame: pd.DataFrame, schema: Schema, seed: int):
    """Noisy answers and synthetic rows of one release."""
    private = PrivateTable(PrivateRows(frame, schema), Meter(plan.claim.plan))
    model = plan.generator.fit(private, plan.claim.plan, schema.hints)
    answers = tuple(answer for answer in private.transcript if not isinstance(answer, Selected))
    parameters = plan.generator.parameters()
    said = Measurements("coverage", plan.generator.name, parameters, model.total, answers, model.bags)
    rng = np.random.default_rng(seed)
    return said, Encoder(schema).decode(model.sample(round(model.total), rng), rng)


def measure(record: pd.DataFrame, key: tuple, plan, population: Rows, truth, tables: int) -> None:
    """One release more, added to the record's lines."""
    done = int(record.loc[key]["releases"].max()) if key in record.index.droplevel("question") else 0
    rng = np.random.default_rng()
    schema, frame = population.schema, population.frame
    drawn = frame.iloc[rng.integers(0, len(frame), SIZE)].reset_index(drop=True)
    said, synthetic = released(plan, drawn, schema, int(rng.integers(2**31)))
    real = Rows(schema, drawn, Encoder(schema).encode(drawn))
    analysis = Analysis.made(schema, said, synthetic)
    about = Analysis.made(schema, said, synthetic, about="table")
    drawn_anew = analysis.tables(TABLES) if done < tables else ()
    several = [Rows(schema, each, Encoder(schema).encode(each)) for each in drawn_anew]
    for (kind, text), true in truth.items():
        found, here = ask(analysis, kind, text), as_real(real, kind, text)
        inside = ask(about, kind, text)
        each = [as_real(rows, kind, text) for rows in several] if found else []
        for i in range(len(true)):
            label = f"{kind} {text}" + (f" [{i}]" if kind == "regress" else "")
            line = record.loc[(*key, label)].to_dict() if (*key, label) in record.index else dict.fromkeys(COUNTS, 0.0)
            line["releases"] += 1
            if found and here is not None:
                own, wanted = found[i], true[i][0]
                line["answered"] += 1
                line["covered"] += own.low <= wanted <= own.high
                line["about_table"] += inside[i].low <= here[i][0] <= inside[i].high
                line["width"] += own.high - own.low
                deviation = (own.high - own.low) / 3.92
                line["bias"] += (own.estimate - wanted) / deviation if deviation else 0.0
                if own.naive is not None:
                    line["naive"] += own.naive[1] <= wanted <= own.naive[2]
                    line["naive_width"] += own.naive[2] - own.naive[1]
                if each and all(e is not None and e[i] is not None for e in each):
                    joined = combine([e[i][0] for e in each], [e[i][1] for e in each])
                    line["tables"] += 1
                    line["tables_covered"] += joined.low <= wanted <= joined.high
                    line["tables_width"] += joined.high - joined.low
            record.loc[(*key, label), COUNTS] = [line[c] for c in COUNTS]


def summary(record: Path) -> str:
    """Shares of intervals that hold the truth, as a table for people; of questions answered 50 times the extremes."""
    lines = pd.read_csv(record, sep="\t")
    lines = lines[lines["answered"] > 0]
    said = [
        "| table | generator | epsilon | releases | intervals | ours | by question | naive | about the table | width |"
    ]
    said.append("|---|---|---|---|---|---|---|---|---|---|")
    for key, own in lines.groupby(KEYS[:3]):
        total, often = own["answered"].sum(), own[own["answered"] >= 50]
        each = often["covered"] / often["answered"]
        span = f"{each.min():.2f}–{each.max():.2f}" if len(each) else ""
        shares = [f"{own[c].sum() / total:.3f}" for c in ("covered", "naive", "about_table")]
        wide = (own["width"] / own["naive_width"]).median()
        figures = (
            f"{own['releases'].max():.0f} | {total:.0f} | {shares[0]} | {span} | {shares[1]} | {shares[2]} | {wide:.2f}"
        )
        said.append(f"| {key[0]} | {key[1]} | {key[2]:g} | {figures} |")
    return "\n".join(said)


def figure(record: Path) -> Path:
    """Coverage of each question, ours beside the naive one, as SVG beside the record."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    lines = pd.read_csv(record, sep="\t")
    lines = lines[lines["answered"] >= 20]
    groups = [*lines.groupby(["table", "generator"])]
    drawn, axes = pyplot.subplots(1, len(groups), figsize=(3.2 * len(groups), 3.6), sharey=True, layout="constrained")
    for axis, ((table, generator), own) in zip(np.atleast_1d(axes), groups, strict=True):
        places = {e: i for i, e in enumerate(sorted(own["epsilon"].unique()))}
        for shift, column, colour, label in (
            *((-0.15, "covered", "tab:blue", "dpsynth.analysis"), (0.15, "naive", "tab:red", "naive")),
        ):
            x = own["epsilon"].map(places) + shift + np.linspace(-0.08, 0.08, len(own))
            axis.plot(x, own[column] / own["answered"], ".", color=colour, alpha=0.6, label=label)
        axis.axhline(0.95, color="black", linewidth=0.8)
        axis.set(title=f"{table}, {generator}", xticks=[*places.values()], xlabel="epsilon", ylim=(0, 1.02))
        axis.set_xticklabels([f"{e:g}" for e in places])
    np.atleast_1d(axes)[0].set_ylabel("coverage of 95 % intervals")
    drawn.legend(*np.atleast_1d(axes)[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    target = record.with_suffix(".svg")
    drawn.savefig(target)
    return target


def main() -> None:
    default = Path(os.environ.get("DPSYNTH_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--populations", nargs="+", choices=POPULATIONS, default=[*POPULATIONS])
    parser.add_argument("--generators", nargs="+", default=["mst", "aim"])
    parser.add_argument("--epsilons", nargs="+", type=float, default=[0.3, 1.0, 3.0])
    parser.add_argument("--releases", type=int, default=100)
    parser.add_argument("--tables", type=int, default=0, help="releases whose tables are combined as well")
    parser.add_argument("--seconds", type=float, default=1e9, help="of the processor, after which it stops")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--figure", action="store_true", help="sum up and draw the record, run nothing")
    asked = parser.parse_args()
    if asked.figure:
        print(summary(asked.out))
        print(figure(asked.out))
        return
    if asked.out.exists():
        record = pd.read_csv(asked.out, sep="\t").set_index(KEYS)
    else:
        record = pd.DataFrame(columns=[*KEYS, *COUNTS]).astype(dict.fromkeys(COUNTS, float)).set_index(KEYS)
    populations, plans = {}, {}
    for name in asked.populations:
        frame, schema = POPULATIONS[name][0](asked.data)
        rows = Rows(schema, frame, Encoder(schema).encode(frame))
        truth = {(k, t): as_real(rows, k, t) for k, texts in POPULATIONS[name][1].items() for t in texts}
        populations[name] = rows, truth
    while True:
        before = float(record["releases"].sum())
        for name, generator, epsilon in product(asked.populations, asked.generators, asked.epsilons):
            key = (name, generator, epsilon)
            known = record.xs(key, level=KEYS[:3])["releases"] if key in record.index.droplevel("question") else []
            if len(known) and max(known) >= asked.releases:
                continue
            if time.process_time() > asked.seconds:
                return
            rows, truth = populations[name]
            if key not in plans:
                plans[key] = dp.plan(generator, rows.schema, dp.Budget(epsilon, 1e-9))
            measure(record, key, plans[key], rows, truth, asked.tables)
            partial = asked.out.with_suffix(".partial")
            record.to_csv(partial, sep="\t", float_format="%.6g")
            partial.replace(asked.out)
        if float(record["releases"].sum()) == before:
            return


if __name__ == "__main__":
    main()
