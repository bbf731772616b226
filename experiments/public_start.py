"""Networks that start from a public table: does it help? On Adult, with rows held apart as the public table.

Each cell (generator, which rows are public, epsilon, seed) is a process of its own with one thread. A fifth of the
training rows is held apart, and the rest is the private table, whether or not a public one is used. The public table is
half of what is held apart: ``random``, or ``biased``: a woman is drawn four times as often as a man, and someone below
forty twice as often as others. Delta is 1e-6, the holdout that of `numeric_columns.split`. Cells on record are not run
again.

    python experiments/public_start.py --epsilons 0.5 1 --seeds 3 --out results/public_start.tsv

Every figure is about real rows: this is for public benchmark tables only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))
import records  # noqa: E402
from deep import pairs_error  # noqa: E402
from numeric_columns import TARGETS, auroc, features, schema_of, split  # noqa: E402

KEYS = ("generator", "public", "epsilon", "seed")
COLUMNS = (*KEYS, "public_rows", "auroc_logistic", "auroc_boosting", "two_way", "two_way_merged", "cpu_seconds")
HELD = 0.2


def one_fit(generator: str, which: str, epsilon: str, seed: int, data: Path) -> dict[str, Any]:
    import numpy as np

    from accountants import Allowance, Budget, Meter
    from dpsynth.encoding import Encoder
    from dpsynth.generators import generator_from
    from dpsynth.kernel import PrivateTable, Rows

    schema, (target, positive), rng = schema_of("adult", "auto"), TARGETS["adult"], np.random.default_rng(seed)
    whole, test = split("adult", data, schema)
    apart = rng.permutation(len(whole)) < HELD * len(whole)
    pool, private = whole[apart], whole[~apart]
    likely = np.ones(len(pool))
    if which == "biased":
        women = pool["sex"].astype(str).str.strip() == "Female"
        likely = np.where(women, 4.0, 1.0) * np.where(pool["age"] < 40, 2.0, 1.0)
    public = pool.iloc[rng.choice(len(pool), len(pool) // 2, replace=False, p=likely / likely.sum())]
    encoder, tested = Encoder(schema), features(test, schema)
    cell = dict(zip(KEYS, (generator, which, epsilon, seed), strict=True)) | {"public_rows": len(public)}
    if generator == "rows":  # the public rows themselves, released as they are
        released = features(public, schema)
        return cell | auroc(released, tested, target, positive) | {"two_way": pairs_error(released, tested)}
    recipe: Any = generator_from(generator)
    started = time.process_time()
    plan = recipe.plan(schema.domain, Allowance(Budget(epsilon, "1e-6")), schema.hints)
    given = {} if which == "none" else {"public": encoder.encode(public)}
    model = recipe.fit(PrivateTable(Rows(private, schema), Meter(plan)), plan, schema.hints, **given)
    spent = round(time.process_time() - started, 1)
    codes = model.sample(len(whole), rng)
    released = features(encoder.decode(codes, rng), schema)
    merged = merged_error(model.recoding, codes, encoder.encode(test))
    found = {"two_way": pairs_error(released, tested), "two_way_merged": merged, "cpu_seconds": spent}
    return cell | auroc(released, tested, target, positive) | found


def merged_error(recoding: Any, codes: Any, real: Any) -> float:
    """Mean total variation distance over all pairs of columns, in the merged cells that the network works with."""
    import numpy as np

    domain, errors = recoding.domain, []
    merged = [{a: recoding.maps[a][each[a]].astype(int) for a in domain.attributes} for each in (codes, real)]
    for a, b in combinations(domain.attributes, 2):
        size = domain[a] * domain[b]
        shares = [np.bincount(own[a] * domain[b] + own[b], minlength=size) / len(own[a]) for own in merged]
        errors.append(0.5 * np.abs(shares[0] - shares[1]).sum())
    return float(np.mean(errors))


def main() -> None:
    default = Path(os.environ.get("DPSYNTH_DATA", HERE.parents[2] / "shared" / "data"))
    parser = argparse.ArgumentParser(description="Networks that start from a public table.")
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--generators", nargs="+", default=["made"], help="'rows' is the public rows as they are")
    parser.add_argument("--public", nargs="+", default=["none", "random", "biased"])
    parser.add_argument("--epsilons", nargs="+", default=["1"])
    parser.add_argument("--seeds", type=int, default=3, help="fits of each cell; privacy noise is never seeded")
    parser.add_argument("--out", type=Path, help="tab-separated file to append to; cells it holds are not run again")
    parser.add_argument("--one", nargs=4, metavar=KEYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        generator, which, epsilon, seed = asked.one
        print(json.dumps(one_fit(generator, which, epsilon, int(seed), asked.data)))
        return
    cells = [
        (generator, which, epsilon, str(seed))
        for seed in range(asked.seeds)
        for epsilon in asked.epsilons
        for generator in asked.generators
        for which in asked.public
    ]
    records.run(HERE, asked.data, cells, COLUMNS, asked.out, again=False)


if __name__ == "__main__":
    main()
