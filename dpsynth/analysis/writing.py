"""Tables of refitted models as a folder: for the receiver's own analyses, in any software for multiple imputation."""

from __future__ import annotations

from pathlib import Path

from dpsynth.analysis.analysis import Analysis
from dpsynth.release.bundle import check_target, put_in_place
from dpsynth.release.parquet import to_parquet

_README = """SYNTHETIC DATA

{tables} synthetic tables, each drawn from a model of its own: the release's recipe fitted to its noisy measurements
with noise of the same size added anew. They differ by what the measurements leave open about the real rows. One alone
says no more than synthetic.parquet, and any two or three too little.

Run the same analysis on each, and combine estimates and squared standard errors by the rules of multiple imputation
(Rubin 1987): `pool` in R's mice, `dpsynth.analysis.combine(estimates, variances)`, or by hand:

  estimate   the mean of the {tables} estimates
  variance   the mean of the {tables} squared standard errors,
             plus (1 + 1/{tables}) times the variance of the estimates

Relations between columns that were never measured are a guess in all of them alike, and no interval knows it. Columns
measured together are listed by `dpsynth analyse RELEASE`.
"""


def write(analysis: Analysis, tables: int, folder: Path | str, seed: int | None = None) -> Path:
    """Write the tables, whole or not at all.

    Args:
        analysis: of a release.
        tables: how many, at least 2.
        folder: must not exist, or be empty.
        seed: makes the tables repeatable.

    Raises:
        BundleError: the folder is not to be had.
        NotSupported: as `Analysis.tables`.
    """
    target = check_target(folder)
    drawn = analysis.tables(tables, seed)
    width = len(str(tables))

    def fill(partial: Path) -> None:
        partial.mkdir()
        for i, frame in enumerate(drawn, start=1):
            (partial / f"synthetic-{i:0{width}d}.parquet").write_bytes(to_parquet(frame))
        (partial / "README.txt").write_text(_README.format(tables=tables), encoding="utf-8")

    return put_in_place(target, fill)


__all__ = ["write"]
