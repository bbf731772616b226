"""Tables made without privacy: useful, marked, and refused by everything that releases."""

import copy
import pickle
from inspect import signature

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from accountants import Budget, ExponentialMechanism, FixedPlan, Gaussian, Ledger, Meter
from dpsynth.audit.auditing import SHORT
from dpsynth.errors import BundleError
from dpsynth.generators import GENERATORS, generator_from
from dpsynth.kernel import PrivateTable, Rows
from dpsynth.kernel.noise import Noise
from dpsynth.planned import plan
from dpsynth.release import FittedModel, ModelStore, Release, admit, verify
from dpsynth.release.bundle import FILES, TABLE
from dpsynth.release.sealed import Contents, SealedTable, seal, unseal
from dpsynth.release.store import StoredModel
from dpsynth.schema import Schema
from dpsynth.session import fit
from dpsynth.testing import (
    NoNoise,
    NotPrivateError,
    NotPrivateTable,
    SeededBits,
    synthesize_without_privacy,
    watermark,
)
from tests.helpers import account, schema, table

KINDS = {"none": "NOT PRIVATE: made without privacy noise", "seeded": "NOT PRIVATE: made with repeatable noise"}
BUDGET = Budget(1)


@pytest.fixture
def made():
    return NotPrivateTable(pd.DataFrame({"a": [1, 2], "b": ["x", None]}), "none")


@pytest.fixture(scope="module")
def placed():
    """An account with a committed model."""
    acc = Ledger("sqlite://").open("visits", Budget(3))
    return acc, fit(plan("independent", schema(), BUDGET), table(), acc, store=ModelStore(None))


@pytest.mark.parametrize("name", sorted(GENERATORS))
@pytest.mark.parametrize("noise", KINDS)
def test_any_generator_runs_and_equal_seeds_give_equal_tables(name, noise):
    known = signature(GENERATORS[name]).parameters
    generator = generator_from(name, {key: value for key, value in SHORT.items() if key in known})

    def run(seed):
        return synthesize_without_privacy(
            table(), schema(), BUDGET, generator=generator, noise=noise, seed=seed, rows=300
        )

    first, again, other = run(5), run(5), run(6)
    assert type(first) is NotPrivateTable
    assert first.noise == noise
    assert list(first.frame) == ["sex", "stage", "smoker", "age", "cost"]
    assert len(first.frame) == 300
    pd.testing.assert_frame_equal(first.frame, again.frame)
    assert not first.frame.equals(other.frame)


def test_no_noise_means_exact_counts_and_the_best_candidate():
    data = pd.DataFrame({"a": [0] * 70 + [1] * 30, "b": [0] * 100})
    plan = FixedPlan([Gaussian(1000.0), ExponentialMechanism(0.001)])
    private = PrivateTable(Rows(data, Schema.from_domain({"a": 2, "b": 2})), Meter(plan), NoNoise())
    answer = private.count(("a",), Gaussian(1000.0))
    assert answer.values.tolist() == [70, 30, 0]
    assert answer.sigma == pytest.approx(
        1000
    )  # as planned: what a generator makes of it is what it would make of such noise

    class Flat:
        def project(self, clique):
            return np.full(3, 33.0)

    assert private.select([("a",), ("b",)], Flat(), ExponentialMechanism(0.001)) == ("b",)  # the larger L1 error
    assert NoNoise().choose([3, 9, 9, -1], 1.0, 1) == 1


def test_a_meter_guards_it_like_any_run():
    """Bounds and charges are real: at most two rows a patient, and a table that says how its noise was made."""
    planned = plan("independent", schema(), BUDGET)
    private = PrivateTable(Rows(table(), schema()), Meter(planned.claim.plan), NoNoise())
    assert private.numerics == "none"
    model = planned.generator.fit(private, planned.claim.plan, schema().hints)
    assert private.remaining == 0
    assert model.total == pytest.approx(400, abs=1)


def test_no_ledger_and_no_store_is_touched(home):
    synthesize_without_privacy(table(), schema(), BUDGET, generator="independent")
    assert list(home.rglob("*")) == []


def test_bad_arguments_are_refused():
    for wrong in ({"noise": "real"}, {"rows": 0}):
        with pytest.raises(ValueError, match="must be"):
            synthesize_without_privacy(table(), schema(), BUDGET, **wrong)
    with pytest.raises(ValueError, match="must be"):
        NotPrivateTable(pd.DataFrame(), "exact")
    with pytest.raises(ValueError, match="another schema"):
        synthesize_without_privacy(Rows(table(), schema()), Schema.from_domain({"age": 3}), BUDGET)


def test_every_release_function_refuses_it(made, placed, tmp_path):
    acc, model = placed
    head = acc.ledger.head
    attempts = [
        lambda: admit(made, acc),
        lambda: unseal(made),
        lambda: seal(Contents(made, {}), 2, (), model.sample(1).provenance),
        lambda: ModelStore(None).save(made),
        lambda: ModelStore(tmp_path / "models").save(made),
        lambda: FittedModel(made, model.release, model.digest, acc, model.store).sample(3),
        lambda: FittedModel(made, model.release, model.digest, acc, model.store).model,
        lambda: StoredModel(made, (), model.schema, model.claim, "none").to_files(),
        lambda: model.sample(given=made),
        lambda: Release.write(made, tmp_path / "release"),
        lambda: Release({}, "", "", None, {name: made if name == TABLE else b"" for name in FILES}, True).write(
            tmp_path / "release"
        ),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError) as refused:
            attempt()
        assert len(str(refused.value)) > 30  # a sentence
    assert list(tmp_path.iterdir()) == []
    assert {row.kind for row in acc.ledger.rows()[head[0] :]} <= {"draw"}


@pytest.mark.parametrize("noise", KINDS)
def test_a_model_made_so_is_refused_by_the_gate(noise, monkeypatch):
    source = NoNoise() if noise == "none" else None
    opened = lambda rows, meter: PrivateTable(rows, meter, source or Noise(SeededBits(1)))  # noqa: E731
    monkeypatch.setattr("dpsynth.session.PrivateTable", opened)
    acc = account()
    model = fit(plan("independent", schema(), BUDGET), table(), acc)
    decision = acc.decide_release(model.sample(5).digest, model.digest, numerics=model.stored.numerics)
    assert model.stored.numerics == noise
    assert decision.rule == "numerics"


def test_it_has_no_subclass_no_copy_and_no_pickle(made):
    with pytest.raises(TypeError, match="final"):
        type("Disguised", (NotPrivateTable,), {})
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(NotPrivateError, match="pickled or copied"):
            attempt(made)
    with pytest.raises(TypeError):
        made.__class__ = SealedTable


def test_no_pickle_makes_a_sealed_table_of_it(made):
    class Forged:
        """Pickles as a call of SealedTable with the rows of a table made without privacy."""

        def __reduce__(self):
            return SealedTable, (object(), Contents(b"", {}), 2, (), None)

    class Hollow:
        """Pickles as a SealedTable made without a call, and filled afterwards."""

        def __reduce__(self):
            return object.__new__, (SealedTable,), (None, {"digest": "0" * 64})

    for forged in (Forged(), Hollow()):
        raw = pickle.dumps(forged)
        with pytest.raises((TypeError, AttributeError)):
            pickle.loads(raw)


def test_it_says_what_it_is_and_what_to_do(made):
    assert "NOT PRIVATE" in repr(made)
    with pytest.raises(NotPrivateError, match=r"no model, no sealed table and no release.*dpsynth\.fit"):
        made.certificate
    assert not hasattr(made, "digest")
    frame = made.frame
    frame.loc[0, "a"] = 99
    assert made.frame["a"].tolist() == [1, 2]


@pytest.mark.parametrize("noise", KINDS)
def test_the_file_is_marked_in_its_footer_and_every_column(noise, tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.array([1, None], "Int64")}, index=[7, 8])
    path = NotPrivateTable(frame, noise).write(tmp_path / "t.not-private.parquet")
    assert path.is_absolute()
    written = pq.read_schema(path)
    for metadata in (written.metadata, *(field.metadata for field in written)):
        assert metadata[b"NOT PRIVATE"].decode() == KINDS[noise]
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame.reset_index(drop=True))
    assert watermark(path) == watermark(str(path)) == watermark(pd.read_parquet(path)) == KINDS[noise]


def test_the_watermark_survives_pyarrow_and_pandas(made, tmp_path):
    path = made.write(tmp_path / "t.not-private.parquet")
    arrow, pandas, part = (tmp_path / name for name in ("arrow.parquet", "pandas.parquet", "part.parquet"))
    pq.write_table(pq.read_table(path), arrow)
    pd.read_parquet(path).to_parquet(pandas)
    pq.write_table(pq.read_table(path, columns=["b"]).replace_schema_metadata(None), part)  # one column, no footer
    assert {watermark(p) for p in (path, arrow, pandas, part)} == {KINDS["none"]}
    assert watermark(pq.read_table(arrow)) == watermark(made.frame) == KINDS["none"]


def test_a_table_without_a_watermark_has_none(tmp_path, placed):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "plain.parquet")
    acc, model = placed
    assert watermark(tmp_path / "plain.parquet") is None
    assert watermark(pa.table({"a": [1]})) is None
    assert watermark(admit(model.sample(3), acc).frame) is None


@pytest.mark.parametrize("name", ["t.parquet", "t.not-private.csv", ".not-private.parquet", "synthetic.parquet", "t"])
def test_other_names_are_refused(made, name, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.not-private\.parquet"):
        made.write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_release_folder_that_holds_one_is_broken(made, tmp_path):
    acc = account()
    model = fit(plan("independent", schema(), BUDGET), table(), acc)
    folder = admit(model.sample(20), acc).write(tmp_path / "release")
    assert verify(folder, {}).exit_code == 3
    path = made.write(folder / "extra.not-private.parquet")
    assert verify(folder, {}).exit_code == 1
    path.rename(folder / TABLE)  # in the place of the table that was signed
    assert verify(folder, {}).exit_code == 1
    with pytest.raises(BundleError):
        admit(model.sample(20), acc).write(folder)


def test_seeded_noise_is_the_planned_noise():
    """Over seeds, the total of a table of 400 rows spreads as planned: neither zero nor far off."""
    totals = [
        len(
            synthesize_without_privacy(table(), schema(), BUDGET, generator="independent", noise="seeded", seed=s).frame
        )
        for s in range(8)
    ]
    assert len(set(totals)) > 3
    assert abs(np.mean(totals) - 400) < 100
