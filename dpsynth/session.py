"""The one path from rows to a release: plan, reserve, run, commit. The one-liner, the CLI and the demo all take it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accountants import Account, Budget, Gaussian, Ledger, Policy, ReasonCode, Reservation, SigningKey
from accountants.policy import DEFAULT_POLICY
from dpsynth import survey as survey_
from dpsynth.checking_looks import evaluate
from dpsynth.errors import CHARGED
from dpsynth.generators import Generator
from dpsynth.generators.constrained import constrained
from dpsynth.home import model_store
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.sources import Source, check_structure, open_source
from dpsynth.measurement import NoisyCounts
from dpsynth.planned import ReleasePlan, expect, plan
from dpsynth.progress import report
from dpsynth.public_rows import public_rows_of, refuse_the_private_one
from dpsynth.release import FittedModel, ModelStore, Release, StoredModel, admit
from dpsynth.schema import Schema


def fit(
    plan: ReleasePlan,
    table: Any,
    account: Account,
    *,
    policy: Policy | None = None,
    store: ModelStore | None = None,
    public: str | os.PathLike[str] | None = None,
) -> FittedModel:
    """Run a plan on private rows, charged to `account`.

    The structure of `table` is checked first, then the plan is reserved, and the rows are read. Until the first look, a
    failure voids the reservation and costs nothing; from then on a failure, a crash or Ctrl-C costs all of it.

    Args:
        plan: made by `plan`, or loaded from ``plan.json``.
        table: a frame, a path, or `Rows` read through the plan's schema.
        account: the dataset's account.
        policy: rules beyond the account's budget.
        store: where the model is kept (default: ``models`` in the home folder).
        public: the file of public rows that the plan starts from, where it starts from one.

    Raises:
        PlanFileError: the public table is not the plan's. Nothing was charged.
        SourceError: the table's structure does not fit the schema. Nothing was charged.
        GateRefused: the account or the policy does not admit the plan. Nothing was charged.
        LedgerBusy: another run is under way on this dataset. Nothing was charged.
        KernelError: a look failed. The plan was charged.
    """
    expect("plan", plan, ReleasePlan, "make one with dpsynth.plan(generator, schema, budget)")
    expect("account", account, Account, "take one with dpsynth.open_ledger().account(name)")
    models = model_store() if store is None else store
    started = public_rows_of(plan.claim.public, public, table, plan.schema)
    source: Source | None = None
    if isinstance(table, Rows):
        if table.schema.digest != plan.schema.digest:
            raise ValueError(
                "these Rows were read through another schema than the plan's; read them through the plan's"
            )
    else:
        source = open_source(table)  # once: a stream can be read only once
        check_structure(source, plan.schema)
    reservation = account.reserve(plan.claim, DEFAULT_POLICY if policy is None else policy)
    with _charged_whole(reservation):
        rows = table if source is None else Rows(source, plan.schema)
        meter = reservation.start()
        beside = reservation.frame_meter
        private = PrivateTable(rows, meter) if beside is None else PrivateTable(rows, meter, frame=beside)
        report("fitting", note=f"{plan.claim.generator}, {plan.claim.budget}")
        recipe: Any = plan.generator
        first = {} if started is None else {"public": started.codes}
        model = recipe.fit(private, plan.claim.plan, plan.schema.hints, **first)
        meter.close()
        model = constrained(model, plan.schema.rules)
        seen: tuple[NoisyCounts, ...] = ()
        if plan.evaluation is not None:
            report("checking")
            seen = evaluate(private.for_frame, plan.evaluation, model, plan.schema)
        stored = StoredModel(
            model=model,
            transcript=private.transcript,
            schema=plan.schema,
            claim=plan.claim,
            numerics=private.numerics,
            trained_on=private.trained_on,
            evaluation=seen,
        )
        digest = models.save(stored)
        reservation.commit(digest)
    return FittedModel(stored=stored, release=reservation.id, digest=digest, account=account, store=models)


def survey(
    schema: Schema, table: Any, account: Account, budget: Budget, *, policy: Policy | None = None
) -> survey_.Survey:
    """A noisy number of rows, and how much of each column is missing or outside the codebook, charged to `account`.

    Args:
        schema: the public description of the table.
        table: a frame or a path.
        account: the dataset's account.
        budget: what the one look costs, whole.
        policy: rules beyond the account's budget.

    Raises:
        SourceError, GateRefused, LedgerBusy, KernelError: as `fit`.
        PlanError: the budget leaves nothing to spend.
    """
    expect("schema", schema, Schema, "load one with dpsynth.Schema.from_yaml(path)")
    expect("account", account, Account, "take one with dpsynth.open_ledger().account(name)")
    source = open_source(table)
    check_structure(source, schema)
    claim = survey_.survey_claim(schema, budget)
    reservation = account.reserve(claim, DEFAULT_POLICY if policy is None else policy)
    with _charged_whole(reservation):
        encoded = Rows(source, schema)
        private = PrivateTable(encoded, reservation.start())
        (look,) = claim.events
        assert isinstance(look, Gaussian)
        answers = survey_.ask(private, look, schema)
        reservation.commit(None)
    return survey_.read(answers, schema, budget)


@contextmanager
def _charged_whole(reservation: Reservation) -> Iterator[None]:
    """What stops a run: not yet started it is voided, at no cost; running it is charged whole."""
    try:
        yield
    except BaseException as stopped:
        reservation.forfeit(ReasonCode.INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else ReasonCode.FAILED)
        stopped.add_note(CHARGED)
        raise


def synthesize(
    table: Any,
    schema: Schema,
    *,
    epsilon: float,
    delta: float = 1e-9,
    generator: Generator | str = "aim",
    rows: int | None = None,
    seed: int | None = None,
    evaluation_share: float = 0.0,
    public: str | os.PathLike[str] | None = None,
) -> Release:
    """A synthetic table in one call, gate included, on an account in memory that ends with the process.

    Args:
        table: a frame or a path: the private rows.
        schema: the public description of the table.
        epsilon, delta: the budget.
        generator: a recipe or its name.
        rows: how many rows to draw (default: the noisy total).
        seed: for drawing rows from the fitted model only; privacy noise takes none.
        evaluation_share: share of the budget (of mu^2) for counts that check the fitted model, as in `plan`.
        public: a file of public rows to start from, as in `plan`.

    Raises:
        SourceError, PlanError, KernelError: as `plan` and `fit`.
    """
    budget = Budget(epsilon, delta)
    if public is not None:
        refuse_the_private_one(public, table)
    planned = plan(generator, schema, budget, evaluation_share=evaluation_share, public=public)
    ledger = Ledger("sqlite://", SigningKey.generate())
    account = ledger.open("in-memory", budget, filter="sum")  # of one release: its own budget, whatever its kind
    model = fit(planned, table, account, store=ModelStore(None), public=public)
    return admit(model.sample(rows, seed=seed), account)
