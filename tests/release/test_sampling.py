"""Draws: sealed, recorded, repeatable where asked, and only from public arguments."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from dpsynth.errors import BundleError, ModelStoreError
from dpsynth.release import FittedModel, ModelStore, SealedTable, admit
from dpsynth.release.sealed import Contents, unseal
from dpsynth.release.sealed import SealedTable as Sealed


def test_a_table_stays_sealed(place):
    sealed = place.model.sample(20, seed=5)
    assert repr(sealed) == f"SealedTable({sealed.digest})"
    assert not hasattr(sealed, "frame")
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
        Sealed(object(), Contents(b"", {}), 1, (), place.model._provenance())
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
        ({"age": 741}, 3, "the schema has 0 to 99"),
        ({"smokes": None}, 2, "not in the schema"),
        ({"age": [1, 2], "ward": ["north"]}, None, "equally many"),
        ({"age": [1, 2]}, 3, "2 rows and 3 were asked for"),
        ({"age": []}, None, "at least one"),
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
