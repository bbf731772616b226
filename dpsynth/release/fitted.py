"""A fitted model with its account: draws tables at no further cost, and tells the ledger of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from accountants import Claim
from dpsynth.constraints.checking import check
from dpsynth.constraints.enforcement import Impossible
from dpsynth.domain import Codes
from dpsynth.encoding import Encoder, code_dtype
from dpsynth.errors import BundleError, ModelStoreError
from dpsynth.generators.base import Model
from dpsynth.generators.drawing import draw_rows
from dpsynth.generators.marginal_model import MarginalModel
from dpsynth.progress import report
from dpsynth.release.given import Given, Supplied, encode_given
from dpsynth.release.parquet import to_parquet
from dpsynth.release.sealed import Contents, Provenance, SealedTable, seal
from dpsynth.release.store import ModelStore, StoredModel, digest_of
from dpsynth.release.transcript import Transcript
from dpsynth.schema import Schema

if TYPE_CHECKING:
    from accountants.ledger import Account


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FittedModel:
    """A committed model. Everything it does is post-processing of answers already paid for.

    Attributes:
        stored: the model, the schema, the transcript and the claim.
        release: id of the release that paid for it.
        digest: sha256 of the stored model, as committed.
        account: of the dataset; each draw is a row there.
        store: where the model is kept, for later draws.
    """

    stored: StoredModel
    release: str
    digest: str
    account: Account
    store: ModelStore

    @classmethod
    def open(cls, account: Account, store: ModelStore, release: str) -> FittedModel:
        """The committed model of an earlier release, from the store: to draw again where no folder was written.

        Args:
            account: that paid for it.
            store: by default runs keep models in `dpsynth.home.model_store()`.
            release: its id: `dpsynth ledger show` lists them, `account.state.releases` has them.

        Raises:
            BundleError: the account has no committed release of that id.
            ModelStoreError: its model is not in the store.
        """
        made = account.state.releases.get(release)
        if made is None or made.model is None:
            raise BundleError(
                f"the account {account.dataset!r} has no committed release {release!r}; see `dpsynth ledger show`"
            )
        return cls(store.load(made.model), release, made.model, account, store)

    @property
    def model(self) -> Model:
        """Samples and projects."""
        return self.stored.model

    @property
    def schema(self) -> Schema:
        """The public description of the table."""
        return self.stored.schema

    @property
    def transcript(self) -> Transcript:
        """The noisy answers, in order."""
        return self.stored.transcript

    @property
    def claim(self) -> Claim:
        """What the run was charged for."""
        return self.stored.claim

    def __repr__(self) -> str:
        return f"FittedModel({self.digest}, {self.claim.generator}, {self.claim.budget})"

    def sample(self, rows: int | None = None, seed: int | None = None, given: Given | None = None) -> SealedTable:
        """Draw a table from the model as it was committed, at zero epsilon, and record the draw.

        Args:
            rows: how many; by default the model's noisy total, or as many as `given` has.
            seed: makes the draw repeatable. It steers sampling only, never noise, and is recorded nowhere.
            given: columns to hold fixed, **which you declare to be public**: a value for each column, or a frame
                with a value for each row. They are released as supplied, and the certificate says so.

        Returns:
            The table, closed until `admit`.

        Raises:
            BundleError: `rows` below 1, a given column or value that the schema does not have, or given columns that
                leave no row that satisfies the schema's constraints.
            ModelStoreError: the model at hand is not the one that was committed.
            LedgerError: the draw cannot be recorded.
        """
        wanted = None if rows is None else _rows(rows)
        stored = self._committed()
        encoder = Encoder(stored.schema)
        default = max(1, round(stored.model.total))
        rng = np.random.default_rng(seed)
        report("sample", 0.0)
        supplied = None
        if given is not None:
            supplied = encode_given(given, default if wanted is None and not _sized(given) else wanted, encoder)
        count = wanted or default if supplied is None else len(supplied.frame)
        codes, frame = _drawn(stored.model, encoder, count, rng, supplied)
        report("sample", 0.5)
        names = () if supplied is None else tuple(map(str, supplied.frame.columns))
        compact = {name: np.asarray(codes[name]).astype(code_dtype(encoder.domain[name])) for name in codes}
        sealed = seal(Contents(to_parquet(frame), compact), count, names, self._provenance(stored))
        self.account.draw(self.release, self.digest, sealed.digest, count, list(names))
        report("sample", 1.0, f"{count} rows")
        return sealed

    def _committed(self) -> StoredModel:
        """What the committed digest names, read back from its bytes: nothing else ever samples.

        Raises:
            ModelStoreError: `stored` is something else.
        """
        files = self.stored.to_files()
        if digest_of(files) != self.digest:
            raise ModelStoreError(
                f"the model at hand is not the model {self.digest[:16]} that its run committed: it was edited or "
                "exchanged since; open it again with FittedModel.open(account, store, release)"
            )
        return StoredModel.from_files(files)

    def _provenance(self, stored: StoredModel) -> Provenance:
        return Provenance(
            dataset=self.account.dataset,
            release=self.release,
            claim=stored.claim,
            schema=stored.schema,
            transcript=stored.transcript,
            total=stored.model.total,
            model_digest=self.digest,
            numerics=stored.numerics,
            evaluation=stored.evaluation,
            bags=stored.model.bags if isinstance(stored.model, MarginalModel) else (),
            trained_on=stored.trained_on,
        )


def _drawn(
    model: Model, encoder: Encoder, rows: int, rng: np.random.Generator, supplied: Supplied | None
) -> tuple[Codes, pd.DataFrame]:
    """Rows as codes and as values.

    Raises:
        BundleError: the supplied columns leave no row that satisfies the constraints.
    """
    problem = ""
    try:
        if supplied is None:
            codes, frame, _ = draw_rows(model, encoder, rows, rng)
        else:
            codes, frame, _ = draw_rows(model, encoder, rows, rng, supplied.codes, supplied.points)
            frame = supplied.keep(frame)
    except Impossible as error:
        problem = str(error)
    if problem:
        raise BundleError(f"{problem}; give other values, or fewer columns")
    for found in check(encoder.schema.columns, encoder.schema.constraints, frame):
        if found.broken:  # whatever the reason: such a table does not leave
            raise BundleError(f"the drawn table breaks the constraint {found.title!r}, which is a defect; report it")
    return codes, frame


def _rows(rows: Any) -> int:
    if isinstance(rows, bool) or not isinstance(rows, int | np.integer) or rows < 1:
        raise BundleError(f"rows must be a whole number of at least 1, got {rows!r}")
    return int(rows)


def _sized(given: Given) -> bool:
    columns = [given[name] for name in given.columns] if isinstance(given, pd.DataFrame) else given.values()
    return any(hasattr(cells, "__len__") and not isinstance(cells, str | bytes) for cells in columns)


__all__ = ["FittedModel"]
