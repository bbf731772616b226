"""Numeric columns: one-way distributions, correlations and models trained on the release, by how columns are binned.

Each fit runs on the 75 % of the rows that the protocol calls training data (a holdout of 25 % of the units, drawn with
``default_rng(1)``, is never seen by the generator), in a process of its own with one thread. Three ways to bin:

    even16    16 bins of equal width on the column's declared scale
    auto      fine grids merged by noisy counts (``bins: auto``)
    own       the bins as the schema of the test data has them

Every figure but the seconds is about real rows: this is for public benchmark tables only.

    python experiments/numeric_columns.py --tables adult support2 --generators mst aim --seeds 3 --out results.tsv
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))
import records  # noqa: E402

DELTA = "1e-9"
TARGETS = {
    "adult": ("income", ">50K"),
    "brfss2015_diabetes": ("Diabetes_binary", "true"),
    "support2": ("hospdead", "true"),
    "diabetes130": ("readmitted", "<30"),
}


def schema_of(table: str, bins: str) -> Any:
    """The schema of the test data with every numeric column binned in one way."""
    from dpsynth.columns import BinnedBase
    from dpsynth.schema import Schema

    schema = Schema.from_yaml(HERE.parents[1] / "tests" / "data" / f"{table}.yaml")
    if bins == "own":
        return schema
    data = schema.to_json()
    for column, spec in zip(schema.columns, data["columns"], strict=True):
        if isinstance(column, BinnedBase):
            spec["bins"] = 16 if bins == "even16" else "auto"
            spec.pop("atoms", None) if bins == "even16" else None
    return Schema.from_json(data)


def split(table: str, data: Path, schema: Any) -> tuple[Any, Any]:
    """Training rows and holdout, by unit."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(data / f"{table}.parquet")
    units = np.arange(len(frame)) if schema.unit is None else frame[schema.unit].to_numpy()
    names = np.unique(units)
    held = np.isin(units, np.random.default_rng(1).choice(names, len(names) // 4, replace=False))
    return frame[~held], frame[held]


def features(frame: Any, schema: Any) -> Any:
    """Numbers as floats, everything else as text; what the schema cannot read is null."""
    import numpy as np
    import pandas as pd

    from dpsynth.columns import BinnedBase
    from dpsynth.encoding import Encoder

    encoder, columns = Encoder(schema), {}
    for column in schema.columns:
        if isinstance(column, BinnedBase):
            columns[column.name] = pd.to_numeric(frame[column.name], errors="coerce").to_numpy(float, na_value=np.nan)
        else:
            labels = np.array([*encoder.decode_labels(column.name)[: column.cells], None, None], dtype=object)
            columns[column.name] = labels[encoder.encode_column(column.name, frame[column.name])]
    return pd.DataFrame(columns)


def auroc(train: Any, test: Any, target: str, positive: str) -> dict[str, float]:
    """Of logistic regression and gradient boosting, scikit-learn's defaults, on the holdout."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train = train[train[target].notna()]
    truth, labels = test[target] == positive, train[target] == positive
    if labels.nunique() < 2:
        return {"auroc_logistic": 0.5, "auroc_boosting": 0.5}
    train, test = train.drop(columns=target), test.drop(columns=target)
    numeric = [c for c in train if train[c].dtype == float and train[c].notna().any()]
    listed = [c for c in train if train[c].dtype != float]
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numeric),
        (OneHotEncoder(handle_unknown="ignore"), listed),
    )
    logistic = make_pipeline(prepare, LogisticRegression(max_iter=300))
    filled = [frame.assign(**{c: frame[c].fillna("missing") for c in listed}) for frame in (train, test)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logistic.fit(filled[0], labels)
    kinds = {c: pd.CategoricalDtype(sorted(set(train[c].dropna()) | set(test[c].dropna()))) for c in listed}
    boosting = HistGradientBoostingClassifier().fit(train.astype(kinds), labels)
    return {
        "auroc_logistic": float(roc_auc_score(truth, logistic.predict_proba(filled[1])[:, 1])),
        "auroc_boosting": float(roc_auc_score(truth, boosting.predict_proba(test.astype(kinds))[:, 1])),
    }


def distances(synthetic: Any, real: Any, numeric: list[str]) -> dict[str, float]:
    """Means over the numeric columns: Wasserstein distance (in real standard deviations), Kolmogorov-Smirnov."""
    import numpy as np
    from scipy.stats import ks_2samp, wasserstein_distance

    pairs = [(synthetic[c].dropna(), real[c].dropna()) for c in numeric]
    pairs = [(s, r) for s, r in pairs if len(s) and len(r)]
    return {
        "wasserstein": float(np.mean([wasserstein_distance(s, r) / r.std() for s, r in pairs])),
        "ks": float(np.mean([ks_2samp(s, r, method="asymp").statistic for s, r in pairs])),
        "missing_error": float(np.mean([abs(synthetic[c].isna().mean() - real[c].isna().mean()) for c in numeric])),
    }


def correlations(synthetic: Any, binned: Any, real: Any, numeric: list[str]) -> dict[str, float]:
    """How much of the correlation survives (a slope over all pairs), against real rows and binned real rows."""
    import numpy as np

    found: dict[str, float] = {}
    for kind in ("pearson", "spearman"):
        tables = [np.nan_to_num(f[numeric].corr(kind).to_numpy()) for f in (synthetic, binned, real)]
        s, b, r = (np.array([t[i, j] for i, j in combinations(range(len(numeric)), 2)]) for t in tables)
        found[f"{kind}_of_bins"] = float(s @ b / (b @ b))
        found[f"{kind}_of_real"] = float(s @ r / (r @ r))
        found[f"{kind}_bins_of_real"] = float(b @ r / (r @ r))
    return found


def one_fit(table: str, data: Path, bins: str, generator: str, epsilon: str, seed: int) -> dict[str, Any]:
    import numpy as np

    from accountants import Allowance, Budget, Meter
    from dpsynth.columns import BinnedBase
    from dpsynth.encoding import Encoder
    from dpsynth.generators import generator_from
    from dpsynth.kernel import PrivateTable, Rows

    schema = schema_of(table, bins)
    train, test = split(table, data, schema)
    numeric = [c.name for c in schema.columns if isinstance(c, BinnedBase)]
    target = TARGETS[table]
    cell = {"table": table, "bins": bins, "generator": generator, "epsilon": epsilon, "seed": seed}
    holdout = features(test, schema)
    if generator == "real":
        own = features(train, schema)
        nothing = dict.fromkeys(("fit_seconds", "cpu_seconds", "peak_mb", "numeric_cells"), 0)
        scores = distances(own, holdout, numeric) | correlations(own, own, own, numeric) | auroc(own, holdout, *target)
        return cell | nothing | scores
    name, _, told = generator.partition("+")
    recipe, encoder = generator_from(name, {"target": target[0]} if told else {}), Encoder(schema)
    started, cpu = time.perf_counter(), time.process_time()
    plan = recipe.plan(schema.domain, Allowance(Budget(epsilon, DELTA)), schema.hints)
    model = recipe.fit(PrivateTable(Rows(train, schema), Meter(plan)), plan, schema.hints)
    rng = np.random.default_rng(seed)
    synthetic = encoder.decode(model.sample(round(model.total), rng), rng)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    merged = model.recoding.encode(encoder.encode(train))  # the real rows as the bins show them, without noise
    redrawn = encoder.decode(model.recoding.decode(merged, rng), rng)
    released, binned, own = (features(frame, schema) for frame in (synthetic, redrawn, train))
    cost = {"fit_seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), "peak_mb": round(peak)}
    cost["numeric_cells"] = round(float(np.mean([model.recoding.domain[c] for c in numeric])), 1)
    scores = distances(released, holdout, numeric) | correlations(released, binned, own, numeric)
    return cell | cost | scores | auroc(released, holdout, *target)


COLUMNS = (
    *("table", "bins", "generator", "epsilon", "seed", "fit_seconds", "cpu_seconds", "peak_mb", "numeric_cells"),
    *("wasserstein", "ks", "missing_error"),
    *("pearson_of_bins", "pearson_of_real", "pearson_bins_of_real"),
    *("spearman_of_bins", "spearman_of_real", "spearman_bins_of_real"),
    *("auroc_logistic", "auroc_boosting"),
)


def main() -> None:
    default = Path(os.environ.get("DPSYNTH_DATA", HERE.parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description="Numeric columns by how they are binned.")
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--tables", nargs="+", default=list(TARGETS))
    parser.add_argument("--bins", nargs="+", default=["even16", "auto"])
    parser.add_argument(
        "--generators",
        nargs="+",
        default=["mst", "aim"],
        help="'real' is the training rows themselves, 'aim+target' is told what is predicted",
    )
    parser.add_argument("--epsilons", nargs="+", default=["1"])
    parser.add_argument("--seeds", type=int, default=3, help="fits of each cell; privacy noise is never seeded")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to; cells it holds are not run again")
    parser.add_argument(
        "--one", nargs=5, metavar=("TABLE", "BINS", "GENERATOR", "EPSILON", "SEED"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.one:
        table, bins, generator, epsilon, seed = arguments.one
        print(json.dumps(one_fit(table, arguments.data, bins, generator, epsilon, int(seed))))
        return
    cells = [
        (table, bins, generator, epsilon, str(seed))
        for seed in range(arguments.seeds)
        for table in arguments.tables
        for epsilon in arguments.epsilons
        for bins in arguments.bins
        for generator in arguments.generators
    ]
    records.run(HERE, arguments.data, cells, COLUMNS, arguments.out, again=False)


if __name__ == "__main__":
    main()
