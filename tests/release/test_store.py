"""The model store keeps models intact, or says that they are not."""

import io
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from dpsynth.errors import ModelStoreError
from dpsynth.measurement import NoisyCounts, Selected
from dpsynth.release import ModelStore, npz, transcript
from dpsynth.release.store import FILES, load_model


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, Selected):
        return a == b
    recodings = [x.recoding and {k: v.tolist() for k, v in x.recoding.items()} for x in (a, b)]
    return (
        (a.clique, a.sigma) == (b.clique, b.sigma)
        and np.array_equal(a.values, b.values)
        and len({str(r) for r in recodings}) == 1
    )


def test_what_is_saved_is_loaded(place):
    stored = place.model.stored
    again = place.model.store.load(place.model.digest)
    assert again.schema == stored.schema
    assert again.claim == stored.claim
    assert len(again.transcript) == len(stored.transcript)
    assert all(map(same, again.transcript, stored.transcript))
    assert again.to_files() == stored.to_files()
    draws = [m.model.sample(50, np.random.default_rng(3)) for m in (stored, again)]
    assert all(np.array_equal(draws[0][a], draws[1][a]) for a in draws[0])


def test_saving_again_changes_nothing_and_memory_agrees(place):
    store = place.model.store
    assert store.save(place.model.stored) == place.model.digest == ModelStore(None).save(place.model.stored)
    assert sorted(os.listdir(store.folder)) == [place.model.digest]
    memory = ModelStore(None)
    assert place.model.digest not in memory
    memory.save(place.model.stored)
    assert place.model.digest in memory
    assert memory.load(place.model.digest).claim == place.model.claim


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_a_damaged_model_is_never_loaded(place, tmp_path, name, damage):
    store = ModelStore(tmp_path)
    digest = store.save(place.model.stored)
    file = tmp_path / digest / name
    raw = file.read_bytes()
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes({"flip": raw[:-1] + bytes([raw[-1] ^ 1]), "cut": raw[:-3], "empty": b""}[damage])
    with pytest.raises(ModelStoreError, match="damaged"):
        store.load(digest)


def test_a_file_too_many_and_a_folder_renamed_are_damage(place, tmp_path):
    store = ModelStore(tmp_path)
    digest = store.save(place.model.stored)
    (tmp_path / ("0" * 64)).symlink_to(tmp_path / digest)
    with pytest.raises(ModelStoreError, match="not what the digest names"):
        store.load("0" * 64)
    (tmp_path / digest / "pickle.pkl").write_bytes(b"")
    with pytest.raises(ModelStoreError, match="damaged"):
        store.load(digest)


@pytest.mark.parametrize("digest", ["f" * 64, "", "..", "../" + "f" * 61, "F" * 64, None, 3])
def test_an_unknown_digest_is_an_error(tmp_path, digest):
    assert digest not in ModelStore(tmp_path)
    with pytest.raises((ModelStoreError, TypeError)):
        ModelStore(tmp_path).load(digest)


def test_a_store_that_cannot_be_written_says_so(place, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelStoreError, match="cannot write"):
        ModelStore(tmp_path / "file" / "models").save(place.model.stored)
    with pytest.raises(ModelStoreError, match="cannot write"):
        ModelStore(tmp_path / "file").save(place.model.stored)


def test_a_crash_leaves_no_half_model(place, tmp_path, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            ModelStore(tmp_path).save(place.model.stored)
    assert os.listdir(tmp_path) == []


def test_models_of_an_unknown_kind_are_refused():
    for header in ({}, {"kind": "pickle"}, {"kind": None}):
        with pytest.raises(ValueError, match="kind"):
            load_model(header, {})


@given(
    st.dictionaries(st.text("abcé/_.", min_size=1, max_size=6), nps.arrays(np.int64, nps.array_shapes()), max_size=3)
)
def test_arrays_round_trip_with_equal_bytes(arrays):
    raw = npz.pack(arrays)
    assert npz.pack(dict(reversed(arrays.items()))) == raw
    back = npz.unpack(raw)
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


def test_no_pickle_is_written_or_read():
    with pytest.raises(ValueError, match="pickle"):
        npz.pack({"a": np.array([{}], dtype=object)})
    out = io.BytesIO()
    np.savez(out, a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="plain arrays"):
        npz.unpack(out.getvalue())
    for raw in (b"", b"PK\x03\x04", b"\x80\x04N."):
        with pytest.raises(ValueError, match="plain arrays"):
            npz.unpack(raw)
    with zipfile.ZipFile(io.BytesIO(npz.pack({"a": np.arange(3)}))) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


CLIQUES = st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(tuple)


@st.composite
def answers(draw):
    if draw(st.booleans()):
        candidates = tuple(draw(st.lists(CLIQUES, min_size=1, max_size=5)))
        return Selected(candidates, draw(st.integers(0, len(candidates) - 1)))
    clique = draw(CLIQUES)
    values = draw(nps.arrays(np.int64, tuple(draw(st.integers(1, 3)) for _ in clique)))
    recoded = draw(st.none() | st.just({a: np.array([0, 1, 0]) for a in clique}))
    return NoisyCounts(clique, values, draw(st.floats(1e-3, 1e6)), recoded)


@given(st.lists(answers(), max_size=6).map(tuple))
def test_transcripts_round_trip(said):
    header, arrays = transcript.dump(said)
    back = transcript.load(header, npz.unpack(npz.pack(arrays)))
    assert len(back) == len(said)
    assert all(map(same, back, said))
