"""The custodian's report: sections run over the tables of one finished release, findings kept as a private object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any, ClassVar, NoReturn, final

import numpy as np
import pandas as pd
import pyarrow as pa

from accountants import Ledger, PublicKey
from accountants.ledger.rows import today
from dpsynth import private
from dpsynth.errors import BundleError, SourceError
from dpsynth.evaluation.custodian.attacks import Refit, run_attacks
from dpsynth.evaluation.custodian.doubts import doubts
from dpsynth.evaluation.custodian.fairness import fairness
from dpsynth.evaluation.custodian.fidelity import fidelity
from dpsynth.evaluation.custodian.finding import Finding, Tables
from dpsynth.evaluation.custodian.folder import write_private
from dpsynth.evaluation.custodian.learners import Trial, trial
from dpsynth.evaluation.custodian.page import page
from dpsynth.evaluation.custodian.questions import NOTHING_ELSE, Questions
from dpsynth.evaluation.custodian.reading import read_tables
from dpsynth.evaluation.custodian.refitting import Refitting
from dpsynth.evaluation.custodian.survival import survival
from dpsynth.evaluation.custodian.task import column_of, task_of
from dpsynth.evaluation.custodian.utility import utility
from dpsynth.progress import report as progress
from dpsynth.release import verify
from dpsynth.release.bundle import SCHEMA, TABLE
from dpsynth.release.verification import BROKEN
from dpsynth.schema import Schema

PAGE, PARQUET, JSON = "PRIVATE-report.html", "PRIVATE-findings.parquet", "PRIVATE-findings.json"
_NO_ROWS = {
    "train": "it is empty or names no unit",
    "holdout": "it is empty, names no unit, or all its units are in --train too",
}


@final
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CustodianReport:
    """Figures computed from real rows without noise. The gate refuses it, and everything that it writes.

    Attributes:
        findings: in order of sections.
        about: what was evaluated and asked, JSON values.
    """

    findings: tuple[Finding, ...]
    about: Mapping[str, Any]

    __private__: ClassVar[bool] = True

    @property
    def frame(self) -> pd.DataFrame:
        """The findings as a tidy table, stamped in its ``attrs``."""
        columns = [field.name for field in fields(Finding)]
        frame = pd.DataFrame([asdict(each) for each in self.findings], columns=columns)
        frame.attrs[private.MARK] = private.STAMP
        return frame

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values: figures that are not known are null."""
        findings = [
            {k: None if isinstance(v, float) and isnan(v) else v for k, v in asdict(each).items()}
            for each in self.findings
        ]
        return {private.MARK: private.STAMP, "version": 1, "about": dict(self.about), "findings": findings}

    def write(self, folder: Path | str) -> Path:
        """Write page, Parquet and JSON, whole or not at all, readable by their owner alone.

        Raises:
            BundleError: the folder is not to be had, or lies in a release folder.
        """
        body = json.dumps(self.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        files: dict[str, pa.Table | bytes] = {
            PAGE: page(self.findings, self.about).encode("utf-8"),
            PARQUET: private.stamped(table),
            JSON: body.encode("utf-8"),
        }
        return write_private(folder, files)

    def __repr__(self) -> str:
        return f"CustodianReport({len(self.findings)} findings, private)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a custodian's report is private: it is not pickled or copied; write it to a folder")


def evaluate(
    folder: Path | str,
    train: Any,
    holdout: Any,
    ledger: Ledger,
    trusted: Mapping[str, PublicKey],
    questions: Questions = NOTHING_ELSE,
    *,
    rng: np.random.Generator | None = None,
) -> CustodianReport:
    """Evaluate a finished release against the rows it was made from and rows it never saw.

    The ledger notes it before anything is computed. It costs no budget, since nothing of the report may leave; but
    whoever chooses or tunes a later release by it looks at the rows beyond any guarantee, so later certificates of the
    dataset say that it was made.

    Args:
        folder: of a release, which must verify.
        train, holdout: frames or paths, such as `split` wrote.
        ledger: that the release was charged to.
        trusted: keys whose signatures are known.
        questions: what else is asked.
        rng: for subsampling and bootstraps; by default the operating system's randomness.

    Raises:
        BundleError: the folder is no intact release.
        AccountingError: the ledger does not know the release, or cannot be written.
        QuestionError: the schema has no such column or level, or it is of a type that cannot be asked. Nothing was
            noted.
        SourceError: a table cannot be read or lacks a column, and nothing was noted; or it has no rows to compare,
            which is told after it was noted.
    """
    path = Path(folder)
    found = verify(path, trusted)
    if found.exit_code == BROKEN or found.statement is None:
        what = str(found.findings[-1].text if found.findings else "it cannot be read")
        raise BundleError(f"{path} is no intact release, and only a finished one is evaluated: {what}")
    said = found.statement["predicate"]
    account = ledger.account(said["dataset"])
    generator = np.random.default_rng() if rng is None else rng
    schema = Schema.from_yaml(path / SCHEMA)
    questions.check(schema)
    if account.find_table(said["table"]["sha256"]) is None:
        account.read(said["table"]["sha256"])  # says what is wrong, and notes nothing
    progress("reading", 0.0)
    tables, left_out = read_tables(schema, path / TABLE, train, holdout, generator)
    account.read(said["table"]["sha256"])
    progress("reading", 1.0)
    for name, rows in (("train", tables.train), ("holdout", tables.holdout)):
        if rows.empty:
            raise SourceError(f"the table given as --{name} has no rows to compare: {_NO_ROWS[name]}")
    about = {
        "dataset": said["dataset"],
        "release": said["release"]["id"],
        "table": said["table"]["sha256"],
        "generator": said["generator"]["name"],
        "epsilon": said["guarantee"]["budget"]["epsilon"],
        "delta": said["guarantee"]["budget"]["delta"],
        "unit": schema.unit,
        "at_most": schema.at_most,
        "made": today(),
        "rows": {name: len(getattr(tables, name)) for name in ("synthetic", "train", "holdout")},
        "units": {name: len(np.unique(tables.units[name])) for name in ("train", "holdout")},
        "left_out": left_out,
        "columns": len(schema.names),
        "questions": asdict(questions),
        "doubts": doubts(tables, left_out, path, train, holdout),
    }
    claim = account.state.releases[said["release"]["id"]].claim
    refit = None if claim.public else Refitting(schema, claim)
    return CustodianReport(tuple(findings(tables, questions, rng=generator, refit=refit)), about)


def findings(
    tables: Tables, questions: Questions, *, rng: np.random.Generator, refit: Refit | None = None
) -> list[Finding]:
    """All sections. One that fails is told as such, and does not take the others with it.

    Args:
        tables, questions, rng: see `evaluate`.
        refit: fits the release's generator again, for attacks that need it.
    """
    deep, target, sensitive = questions.deep, questions.target, questions.sensitive
    time, event = questions.time, questions.event
    tried = _attempt("utility", lambda: _tried(tables, questions, rng))
    known: Trial | None = tried if isinstance(tried, Trial) else None
    guessed = tuple(name for name in (column_of(tables, target), sensitive) if name in tables.schema.names)
    asked: dict[str, Any] = {"rng": rng, "deep": deep, "target": target}
    parts: list[tuple[str, str, Callable[[], list[Finding]]]] = [
        ("fidelity", "fidelity", lambda: fidelity(tables, **asked)),
        ("utility", "models", lambda: utility(tables, **asked, tried=known)),
    ]
    if time is not None and event is not None:
        parts.append(("utility", "survival", lambda: survival(tables, **asked, time=time, event=event)))
    if sensitive is not None:
        parts.append(("fairness", "fairness", lambda: fairness(tables, **asked, sensitive=sensitive, tried=known)))
    battery = partial(run_attacks, tables, rng=rng, deep=deep, sensitive=guessed, refit=refit)
    parts.append(("privacy", "attacks", battery))
    found: list[Finding] = []
    for section, stage, part in parts:
        progress(stage, 0.0)
        made = _attempt(section, part)
        found += [made] if isinstance(made, Finding) else made
        progress(stage, 1.0)
    return found


def _tried(tables: Tables, questions: Questions, rng: np.random.Generator) -> Trial | None:
    if questions.target is None:
        return None
    task = task_of(tables, questions.target)
    return (
        None if isinstance(task, str) or task.problem("holdout") else trial(tables, task, rng=rng, deep=questions.deep)
    )


def _attempt(section: str, part: Callable[[], Any]) -> Any:
    try:
        return part()
    except Exception as error:  # told in the report; what the error says may quote rows, and the report is private
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        where = f"{frame.tb_frame.f_globals.get('__name__', '?')}:{frame.tb_lineno}" if frame else "?"
        note = f"Not computed: {type(error).__name__} at {where}, which is a defect; please report that place."
        return Finding(section, "a part of this section", note=note)


__all__ = [
    "JSON",
    "PAGE",
    "PARQUET",
    "CustodianReport",
    "Questions",
    "evaluate",
    "findings",
]
