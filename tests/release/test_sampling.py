"""Draws: sealed, recorded, repeatable where asked, and only from public arguments."""

import copy
import pickle
import time
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from accountants import Budget, GateRefused, Ledger
from dpsynth.columns import Date, Datetime, Float, Integer
from dpsynth.domain import Domain
from dpsynth.encoding import Encoder
from dpsynth.errors import BundleError, ModelStoreError
from dpsynth.generators import MST, MarginalModel
from dpsynth.generators.recoding import Recoding
from dpsynth.graphical import GraphicalModel
from dpsynth.kernel import PrivateTable
from dpsynth.kernel.noise import Noise
from dpsynth.measurement import NoisyCounts
from dpsynth.planned import plan
from dpsynth.release import FittedModel, ModelStore, SealedTable, admit
from dpsynth.release.given import encode_given, read_given
from dpsynth.release.sealed import Contents, seal, unseal
from dpsynth.release.sealed import SealedTable as Sealed
from dpsynth.release.store import digest_of
from dpsynth.schema import Schema
from dpsynth.session import fit
from dpsynth.testing import SeededBits
from tests.release.conftest import SCHEMA, make, rows


def test_a_table_stays_sealed(place):
    sealed = place.model.sample(20, seed=5)
    assert repr(sealed) == f"SealedTable({sealed.digest})"
    with pytest.raises(AttributeError, match=r"admit it first"):
        sealed.frame
    assert not any("north" in str(getattr(sealed, name)) for name in ("digest", "rows", "given"))
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pickled or copied"):
            attempt(sealed)
    for name in ("digest", "rows", "_SealedTable__contents", "new"):
        with pytest.raises(AttributeError):
            setattr(sealed, name, 1)
        with pytest.raises(AttributeError):
            delattr(sealed, name)


def test_only_a_model_makes_one(place):
    with pytest.raises(TypeError, match=r"model\.sample"):
        Sealed(object(), Contents(b"", {}), 1, (), place.model.sample(1).provenance)
    with pytest.raises(TypeError):
        SealedTable()
    for other in (pd.DataFrame({"a": [1]}), None, "digest"):
        with pytest.raises(TypeError, match="only a SealedTable"):
            unseal(other)
        with pytest.raises(TypeError, match="only a SealedTable"):
            admit(other, place.account)


def test_rows_default_to_the_noisy_total(place):
    sealed = place.model.sample()
    assert sealed.rows == round(place.model.model.total)
    assert sealed.rows != 3000 or place.model.model.total != 3000


@pytest.mark.parametrize("count", [0, -1, 1.5, "3", True, float("nan")])
def test_rows_must_be_a_whole_number(place, count):
    before = place.account.ledger.head
    with pytest.raises(BundleError, match="at least 1"):
        place.model.sample(count)
    assert place.account.ledger.head == before


def test_every_draw_is_on_the_ledger_and_a_repeat_is_not_another(place):
    sealed = place.model.sample(np.int64(7), seed=11)
    row = place.account.find_table(sealed.digest)
    assert row.body["rows"] == 7
    assert row.body["model"] == place.model.digest
    assert row.body["given"] == []
    assert "seed" not in row.text
    head = place.account.ledger.head
    assert place.model.sample(7, seed=11).digest == sealed.digest
    assert place.account.ledger.head == head
    assert place.model.sample(7, seed=12).digest != sealed.digest
    assert place.account.state.spent == place.account.state.releases[place.model.release].charge


def test_a_model_is_opened_again_from_the_store(place):
    again = FittedModel.open(place.account, ModelStore(place.folder / "models"), place.model.release)
    assert again.sample(30, seed=2).digest == place.model.sample(30, seed=2).digest
    with pytest.raises(BundleError, match="no committed release"):
        FittedModel.open(place.account, place.model.store, "nope")
    with pytest.raises(ModelStoreError, match="there is no model"):
        FittedModel.open(place.account, ModelStore(None), place.model.release)


class Leaky:
    """Samples what it likes; `dump` says what it is told to."""

    def __init__(self, model, said=None):
        self.model, self.said = model, said
        self.domain, self.total, self.project = model.domain, model.total, model.project

    def sample(self, rows, rng, given=None):
        return {a: np.zeros(rows, dtype=np.int64) for a in self.domain.attributes}

    def dump(self):
        header, arrays = self.model.dump()
        return self.said or ({**header, "total": 7.0}, arrays)


def reopened(place):
    return FittedModel.open(place.account, place.model.store, place.model.release)


def test_a_model_exchanged_after_the_commit_never_samples(place):
    stored, head = place.model.stored, place.account.ledger.head
    exchanged = [
        replace(stored, model=Leaky(stored.model)),
        replace(stored, transcript=stored.transcript[:-1]),
        replace(stored, schema=Schema.from_json({**stored.schema.to_json(), "name": "other"})),
        replace(stored, claim=replace(stored.claim, purpose="other")),
        replace(stored, numerics="seeded"),
    ]
    for other in exchanged:
        with pytest.raises(ModelStoreError, match=r"not the model \w+ that its run committed"):
            replace(place.model, stored=other).sample(5)
    assert place.account.ledger.head == head


def test_a_model_that_lies_about_itself_is_not_the_one_that_samples(place):
    stored = place.model.stored
    liar = Leaky(stored.model, said=stored.model.dump())
    drawn = replace(place.model, stored=replace(stored, model=liar)).sample(50, seed=4)
    assert drawn.digest == place.model.sample(50, seed=4).digest


def test_arrays_edited_in_place_never_sample(place):
    def arrays(model):
        yield from model.model.graphical.potentials.values()
        yield from model.model.recoding.weights.values()
        yield from model.model.recoding.maps.values()
        yield from (answer.values for answer in model.transcript if isinstance(answer, NoisyCounts))

    for i in range(len(list(arrays(place.model)))):
        model = reopened(place)
        array = list(arrays(model))[i]
        array.flags.writeable = True
        array.flat[0] += 1
        with pytest.raises(ModelStoreError, match="committed"):
            model.sample(5)


def test_the_check_is_quick(place):
    """A model of about 3 MB is checked and read back in a fraction of what a draw of its rows takes."""
    domain = Domain.of({"a": 600, "b": 600})
    rng = np.random.default_rng(0)
    graphical = GraphicalModel(domain, {("a", "b"): rng.normal(size=(600, 600))}, 1000.0)
    identity = {a: np.arange(600) for a in domain.attributes}
    model = MarginalModel(Recoding.of(domain, identity, {a: np.ones(600) for a in identity}), graphical)
    stored = replace(place.model.stored, model=model)
    fitted = replace(place.model, stored=stored, digest=digest_of(stored.to_files()))
    taken = []
    for _ in range(3):
        start = time.process_time()
        fitted._committed()
        taken.append(time.process_time() - start)
    assert min(taken) < 1  # about 0.03 s on an idle core; a check that grows faster than the model would show


def test_noise_that_repeats_is_never_certified(tmp_path, monkeypatch):
    opened = lambda rows, meter: PrivateTable(rows, meter, Noise(SeededBits(1)))  # noqa: E731
    monkeypatch.setattr("dpsynth.session.PrivateTable", opened)
    made = make(tmp_path)
    assert made.model.stored.numerics == "seeded"
    for model in (made.model, reopened(made)):
        with pytest.raises(GateRefused) as refused:
            admit(model.sample(5), made.account)
        assert refused.value.rule == "numerics"
    assert made.account.state.releases[made.model.release].status == "committed"


def test_equal_tables_are_told_apart_by_what_was_given(place):
    free = place.model.sample(1, seed=21)
    row = admit(free, place.account).frame.iloc[0]
    given = {name: [None if pd.isna(cell) else cell] for name, cell in row.items()}
    held = place.model.sample(given=given)
    assert held.digest == free.digest
    for sealed, names in ((free, []), (held, ["ward", "age", "smokes"])):
        predicate = admit(sealed, place.account).certificate["predicate"]
        assert predicate["table"]["given"] == names


def test_equal_tables_of_two_releases_are_told_apart(tmp_path):
    first = make(tmp_path)
    second = fit(plan(MST(), SCHEMA, Budget("0.5")), rows(3000), first.account, store=first.model.store)
    given = {"ward": "south", "age": 41, "smokes": True}
    sealed = [first.model.sample(1, given=given), second.sample(1, given=given)]
    assert sealed[0].digest == sealed[1].digest
    for drawn, model in zip(sealed, (first.model, second), strict=True):
        predicate = admit(drawn, first.account).certificate["predicate"]
        assert predicate["release"]["id"] == model.release
        assert predicate["model"]["sha256"] == model.digest


def test_a_draw_that_is_not_on_the_ledger_is_refused(place):
    """The table is on a draw row, but not with these rows and given columns."""
    sealed = place.model.sample(4, seed=31)
    for count, names in ((5, ()), (4, ("ward",))):
        other = seal(unseal(sealed), count, names, sealed.provenance)
        with pytest.raises(GateRefused) as refused:
            admit(other, place.account)
        assert refused.value.rule == "table"


def test_a_model_made_under_another_claim_than_was_charged_is_refused(place):
    """Reserved for less than the model was made with, and committed by hand."""
    account = Ledger("sqlite://").open("clinic", Budget(3))
    reservation = account.reserve(replace(place.model.claim, purpose="another"))
    reservation.start()
    reservation.commit(place.model.digest)
    model = replace(place.model, account=account, release=reservation.id)
    with pytest.raises(GateRefused) as refused:
        admit(model.sample(5), account)
    assert refused.value.rule == "model"


def frame(place, **asked):
    return admit(place.model.sample(**asked), place.account).frame


def test_given_columns_are_kept(place):
    drawn = frame(place, rows=40, given={"ward": "south", "age": 41})
    assert set(drawn["ward"]) == {"south"}
    assert set(drawn["age"]) == {41}
    assert len(drawn) == 40
    wanted = pd.DataFrame({"smokes": [True, False, True], "age": [3.0, np.nan, 99.0]}, index=[9, 9, 2])
    drawn = frame(place, given=wanted)
    assert drawn["smokes"].tolist() == [True, False, True]
    assert drawn["age"].tolist() == [3, pd.NA, 99]
    assert len(frame(place, given={"smokes": True})) == round(place.model.model.total)


def test_given_columns_are_named_as_public(place):
    release = admit(place.model.sample(3, given={"age": [1, 2, 3], "ward": "east"}), place.account)
    predicate = release.certificate["predicate"]
    assert predicate["table"]["given"] == ["ward", "age"]
    assert any("ward, age" in line for line in predicate["assumptions"])
    assert any("ward, age" in line for line in predicate["not_protected"])
    assert "drawn with ward, age supplied" in release.report


@pytest.mark.parametrize(
    ("given", "rows", "says"),
    [
        ({"height": 3}, None, "the schema has ward, age, smokes"),
        ({"patient": 3}, None, "'patient'"),
        ({}, None, "no column"),
        ({"ward": "atlantis-7"}, 3, "allowed are north, south, east"),
        ({"ward": ["north", "atlantis-7"]}, None, "1 of 2 values"),
        ({"age": 741}, 3, "the values given for column 'age' are out of bounds; the schema has 0 to 99"),
        ({"smokes": None}, 2, "not in the schema"),
        ({"age": [1, 2], "ward": ["north"]}, None, "equally many"),
        ({"age": [1, 2]}, 3, "2 rows and 3 were asked for"),
        ({"age": []}, None, "'given' has no rows; supply one value for each row to be drawn, at least one"),
        ({"age": [1, 2]}, 3, "supply one value for each row, or ask for no number"),
        ({"age": [1, 741, 742]}, None, "2 of 3 values (the first in row 2) given for column 'age' are out of bounds"),
        ({"age": "old"}, 3, "column 'age' are not in the schema; allowed: integer, 0 to 99"),
        ({"smokes": ""}, 2, "they are empty, and the column is not declared 'missing: true'"),
    ],
)
def test_bad_given_is_refused_without_quoting_a_value(place, given, rows, says):
    head = place.account.ledger.head
    with pytest.raises(BundleError) as error:
        place.model.sample(rows, given=given)
    assert says in str(error.value)
    assert "atlantis-7" not in str(error.value)
    assert "741" not in str(error.value)
    assert place.account.ledger.head == head


@pytest.mark.parametrize(
    ("name", "cell", "point"),
    [
        ("x", "true", 100),
        ("x", " 5 ", 500),
        ("x", b"7", 700),
        ("x", "99.999", 10000),
        ("x", "1e400", None),
        ("x", "-0.006", None),
        ("n", 5.7, 5),
        ("n", 100.5, None),
        ("day", "2020-03-01T10:00:00+01:00", 18322),
        ("day", "2020-03-01 10:00:00,5", 18322),
        ("day", b"2020-03-01", 18322),
        ("day", "2021-12-31T23:59", 18992),
        ("day", "2022-01-01", None),
        ("moment", pd.Timestamp("2020-05-05", tz="UTC"), 1588636800),
        ("moment", "2020-05-05T00:00:00.25-08:00", 1588636800),
    ],
)
def test_given_numbers_and_dates_are_read_as_they_are_encoded(name, cell, point):
    """And one out of bounds is refused in our words, whatever pandas or Arrow think of it."""
    bounds = {"min": date(2020, 1, 1), "max": date(2021, 12, 31), "bins": 8}
    columns = (
        Float(name="x", min=0, max=100, decimals=2, bins=10),
        Integer(name="n", min=0, max=100, bins=10),
        Date(name="day", **bounds),
        Datetime(name="moment", **bounds),
    )
    encoder = Encoder(Schema(name="t", columns=columns))
    if point is None:
        with pytest.raises(BundleError, match="are out of bounds") as error:
            encode_given({name: cell}, 2, encoder)
        assert str(cell) not in str(error.value)
        return
    supplied = encode_given({name: cell}, 2, encoder)
    assert supplied.points[name].tolist() == [point] * 2
    codes = encoder.encode_column(name, supplied.exact[name])
    np.testing.assert_array_equal(codes, supplied.codes[name])


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("nothing.csv", None, "No such file"),
        ("empty.csv", b"", "it is empty; its first line must name the columns"),
        ("twice.csv", b"age,age\n1,2\n", "column 'age' is there twice"),
        ("bytes.csv", b"\xff\xfe\x00", "not UTF-8"),
        ("text.parquet", b"age\n1\n", "not a readable Parquet file"),
        ("table.txt", b"age\n1\n", "must end in .csv or .parquet"),
    ],
)
def test_a_file_of_given_columns_that_cannot_be_read_says_why(tmp_path, name, body, says):
    if body is not None:
        (tmp_path / name).write_bytes(body)
    with pytest.raises(BundleError) as error:
        read_given(tmp_path / name)
    assert says in str(error.value)
    assert name in str(error.value)
