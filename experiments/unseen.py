"""Does the check on counts that a fit did not see say the truth? A public table, so that the truth is known.

For each fit the report's bound on the mean distance between released and real pairs (in the check's own groups), beside
that distance as it is. Noise is never seeded: every run differs.

    python experiments/unseen.py --table adult --epsilon 1 --share 0.05 --runs 5 --out experiments/results/unseen.tsv
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

import dpsynth as dp
from accountants import Ledger, SigningKey
from dpsynth.encoding import Encoder
from dpsynth.release import ModelStore, admit

ROOT = Path(__file__).parents[1]
HEAD = "table\tgenerator\tepsilon\tshare\tbound\ttrue\tnoise\tagree\tcontradict\ttoo_noisy\tcontradicted_in_error"
WRONG = 0.01
"""A contradiction of a pair that is off by less is counted as an error."""


def true_distances(table, schema, release, checks):
    """Of each checked pair: the distance between real and released rows."""
    encoder, found = Encoder(schema), []
    real, released = encoder.encode(table), encoder.encode(release.frame)
    for answer in checks:
        shares = []
        for codes in (real, released):
            axes = [answer.recoding[a][codes[a]] for a in answer.clique]
            flat = np.ravel_multi_index(axes, answer.values.shape)
            shares.append(np.bincount(flat, minlength=answer.values.size) / len(flat))
        found.append(0.5 * float(np.abs(shares[0] - shares[1]).sum()))
    return found


def run(name, generator, epsilon, share):
    """One line of the result."""
    table = pd.read_parquet(Path(os.environ.get("DPSYNTH_DATA", ROOT.parent / "shared" / "data")) / f"{name}.parquet")
    schema = dp.Schema.from_yaml(ROOT / "tests" / "data" / f"{name}.yaml")
    budget = dp.Budget(epsilon, 1e-9)
    account = Ledger("sqlite://", SigningKey.generate()).open(name, budget)
    plan = dp.plan(generator, schema, budget, evaluation_share=share)
    model = dp.fit(plan, table, account, store=ModelStore(None))
    release = admit(model.sample(), account)
    unseen = release.evidence.unseen
    true = true_distances(table, schema, release, model.stored.evaluation)
    told = Counter(str(fit.verdict) for fit in unseen.fits)
    wrong = sum(str(f.verdict) == "contradicts" and t < WRONG for f, t in zip(unseen.fits, true, strict=True))
    figures = f"{unseen.bound:.4f}\t{np.mean(true):.4f}\t{unseen.noise:.4f}"
    counts = f"{told['agrees']}\t{told['contradicts']}\t{told['too-noisy']}\t{wrong}"
    return f"{name}\t{generator}\t{epsilon}\t{share}\t{figures}\t{counts}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="adult")
    parser.add_argument("--generators", nargs="+", default=["independent", "mst", "aim"])
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0])
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    lines = [HEAD]
    print(HEAD)
    for epsilon in asked.epsilon:
        for generator in asked.generators:
            for _ in range(asked.runs):
                lines.append(run(asked.table, generator, epsilon, asked.share))
                print(lines[-1], flush=True)
    if asked.out:
        asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
