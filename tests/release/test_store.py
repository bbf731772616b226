"""The model store keeps models intact, or says that they are not."""

import contextlib
import json
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from dpsynth.errors import ModelStoreError
from dpsynth.measurement import NoisyCounts, Selected
from dpsynth.release import ModelStore, tensors, transcript
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
    raw = tensors.pack(arrays)
    assert tensors.pack(dict(reversed(arrays.items()))) == raw
    back = tensors.unpack(raw)
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


def safetensors(header, numbers=b"", length=None):
    """A file of that header, as text or as what it stands for."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


def entry(shape, start, end, dtype="I64"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HOSTILE = {
    "nothing": b"",
    "less than a length": b"\x08\x00",
    "no header": struct.pack("<Q", 8),
    "a header of exabytes": safetensors({}, length=2**63),
    "a header longer than the file": safetensors({}, length=300),
    "no JSON": safetensors(b"{"),
    "JSON that nests": safetensors(b"[" * 100_000),
    "a list": safetensors([]),
    "offsets beyond the file": safetensors({"a": entry([2], 0, 16)}, bytes(8)),
    "overlapping offsets": safetensors({"a": entry([2], 0, 16), "b": entry([2], 8, 24)}, bytes(24)),
    "a hole": safetensors({"a": entry([1], 0, 8), "b": entry([1], 16, 24)}, bytes(24)),
    "numbers after the end": safetensors({"a": entry([1], 0, 8)}, bytes(9)),
    "offsets backwards": safetensors({"a": entry([1], 8, 0)}, bytes(8)),
    "a shape of more than there is": safetensors({"a": entry([2**40], 0, 8)}, bytes(8)),
    "a shape that overflows": safetensors({"a": entry([2**62, 2**62], 0, 8)}, bytes(8)),
    "a negative shape": safetensors({"a": entry([-1], 0, 8)}, bytes(8)),
    "more axes than NumPy has": safetensors({"a": entry([1] * 200, 0, 8)}, bytes(8)),
    "another type": safetensors({"a": entry([1], 0, 8, "C64")}, bytes(8)),
    "half floats": safetensors({"a": entry([1], 0, 2, "F16")}, bytes(2)),
    "brain floats": safetensors({"a": entry([1], 0, 2, "BF16")}, bytes(2)),
    "no such type": safetensors({"a": entry([1], 0, 8, "O")}, bytes(8)),
    "a zip": b"PK\x03\x04" + bytes(40),
    "a pickle": b"\x80\x04N.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_of_arrays_is_refused_in_a_sentence(name):
    with pytest.raises(ValueError, match="not a file of plain arrays"):
        tensors.unpack(HOSTILE[name])


@given(st.data())
def test_a_damaged_file_of_arrays_is_read_or_refused(data):
    raw = bytearray(tensors.pack({"a": np.arange(6).reshape(2, 3), "b": np.ones(2, np.float32)}))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        found = tensors.unpack(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
        assert all(array.dtype.kind in "biuf" for array in found.values())


def test_only_numbers_are_written():
    for cells in ([{}], ["text"], [1j]):
        with pytest.raises(ValueError, match="allowed are numbers"):
            tensors.pack({"a": np.array(cells)})
    kept = {"a": np.arange(3, dtype=">i8"), "b": np.arange(6.0).reshape(2, 3).T}
    kept |= {"c": np.array(True), "d": np.zeros((0, 2))}
    back = tensors.unpack(tensors.pack(kept))
    for name, array in kept.items():
        assert back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)


def test_a_model_of_an_earlier_version_is_told_from_a_damaged_one(place, tmp_path):
    store = ModelStore(tmp_path)
    digest = store.save(place.model.stored)
    (tmp_path / digest / "model.safetensors").rename(tmp_path / digest / "model.npz")
    with pytest.raises(ModelStoreError, match=r"earlier dpsynth, which kept arrays as .npz; draw from it with the"):
        store.load(digest)


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
    back = transcript.load(header, tensors.unpack(tensors.pack(arrays)))
    assert len(back) == len(said)
    assert all(map(same, back, said))
