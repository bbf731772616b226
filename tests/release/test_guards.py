"""Guards that the other tests never need: second lines of defence, each tested where the first one is taken away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accountants import Budget, GateRefused, Ledger, SigningKey, Status
from accountants.dsse import Envelope, EnvelopeError, strict_json
from dpsynth.errors import ModelStoreError
from dpsynth.generators import Independent
from dpsynth.planned import plan
from dpsynth.release import ModelStore, admit, verify
from dpsynth.release.sealed import Contents, seal, unseal
from dpsynth.session import fit
from tests.release.conftest import SCHEMA, rows


def test_admission_takes_the_digest_of_the_bytes_not_the_one_it_is_told(place):
    drawn = place.model.sample(6, seed=1)
    contents = unseal(drawn)
    other = seal(Contents(contents.parquet + b"\0", contents.codes), 6, (), drawn.provenance)
    object.__setattr__(other, "digest", drawn.digest)
    with pytest.raises(GateRefused) as refused:
        admit(other, place.account)
    assert refused.value.rule == "table"


def test_a_model_that_could_not_be_stored_is_never_committed(monkeypatch):
    account = Ledger("sqlite://").open("clinic", Budget(3))

    def full(self, stored):
        raise ModelStoreError("no room")

    monkeypatch.setattr(ModelStore, "save", full)
    with pytest.raises(ModelStoreError):
        fit(plan(Independent(), SCHEMA, Budget(1)), rows(50), account, store=ModelStore(None))
    (release,) = account.state.releases.values()
    assert release.status is Status.FORFEITED
    assert release.model is None


def test_json_larger_than_any_certificate_is_not_parsed(monkeypatch):
    monkeypatch.setattr("accountants.dsse.MOST_BYTES", 10)
    assert strict_json(b"[1, 2, 3]") == [1, 2, 3]
    with pytest.raises(EnvelopeError, match="at most 10 are read"):
        strict_json(b"[1, 2, 3, 4]")


def test_every_other_file_intact_a_signature_by_nobody_is_broken(folder, place):
    """The payload is as it was, so nothing else in the release contradicts it: the signature alone can tell."""
    path = folder / "certificate.json"
    envelope = Envelope.from_bytes(path.read_bytes())
    assert verify(folder, place.keys.trusted()).exit_code == 0
    for signature in (bytes(64), SigningKey.generate().sign(envelope.payload), envelope.signature[::-1], b""):
        path.write_bytes(replace(envelope, signature=signature).to_bytes())
        assert verify(folder, place.keys.trusted()).exit_code == 1
        assert verify(folder, {}).exit_code == 1
