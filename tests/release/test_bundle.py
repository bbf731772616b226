"""Release folders appear whole or not at all, and what is in them depends on noisy answers alone."""

import json
import os
import re
import stat

import pandas as pd
import pyarrow.parquet as pq
import pytest

from accountants import Account, Budget, GateRefused, Ledger, Policy, SigningKey
from accountants.dsse import Envelope
from dpsynth.errors import BundleError
from dpsynth.release import ModelStore, admit, check_target, read_origin
from dpsynth.release.bundle import FILES, write_bundle
from dpsynth.release.certificate import certificate_page
from dpsynth.release.fitted import FittedModel
from dpsynth.release.sealed import Contents, seal, unseal

PAYLOADS = dict.fromkeys(FILES, b"x")


def statement(folder):
    return json.loads(Envelope.from_bytes((folder / "certificate.json").read_bytes()).payload)


def test_eight_flat_files_with_normal_modes(folder):
    assert sorted(os.listdir(folder)) == sorted(FILES)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in FILES} == {0o666 & ~umask}


def test_the_frame_is_what_the_file_holds(release, folder):
    pd.testing.assert_frame_equal(release.frame, pd.read_parquet(folder / "synthetic.parquet"))
    assert list(release.frame.columns) == ["ward", "age", "smokes"]
    assert len(release.frame) == 500
    assert release.report == (folder / "report.html").read_text("utf-8")
    assert release.page == (folder / "certificate.html").read_text("utf-8")
    assert statement(folder) == release.certificate
    assert "500 rows" in repr(release)


def test_everything_says_synthetic(folder):
    table = pq.read_table(folder / "synthetic.parquet")
    assert b"SYNTHETIC" in pq.read_metadata(folder / "synthetic.parquet").metadata
    assert all(b"SYNTHETIC" in field.metadata for field in table.schema)
    said = (folder / "README.txt").read_text()
    assert said.startswith("SYNTHETIC DATA")
    assert "dpsynth verify ." in said
    assert "pip install" not in said  # whose package of that name a receiver would get, nobody here knows
    for page in ("report.html", "certificate.html"):
        assert '<div class="band">SYNTHETIC</div>' in (folder / page).read_text()
    assert statement(folder)["predicate"]["synthetic"] is True


def test_no_file_says_anonymous_or_where_it_was_made(folder, place):
    everything = b"".join((folder / name).read_bytes() for name in FILES) + json.dumps(statement(folder)).encode()
    for word in (b"anonym", b"Anonym", str(place.folder).encode(), b"seed"):
        assert word not in everything
    host = re.escape(os.uname().nodename.encode())  # as a word: a short name is in any base64 by chance
    assert not re.search(rb"(?<![\w+/])" + host + rb"(?![\w+/])", everything)


@pytest.mark.parametrize("make", ["file", "full", "link", "no parent", "parent is a file"])
def test_a_target_that_is_not_free_is_refused_first(tmp_path, make):
    target = tmp_path / "out"
    if make == "file":
        target.write_text("")
    elif make == "full":
        target.mkdir()
        (target / "a").write_text("kept")
    elif make == "link":
        target.symlink_to(tmp_path / "elsewhere")
    elif make == "no parent":
        target = tmp_path / "a" / "out"
    else:
        (tmp_path / "a").write_text("")
        target = tmp_path / "a" / "out"
    with pytest.raises(BundleError, match="cannot write to"):
        check_target(target)
    with pytest.raises(BundleError):
        write_bundle(target, PAYLOADS)
    assert not (tmp_path / "elsewhere").exists()
    if make == "full":
        assert os.listdir(target) == ["a"]


def test_a_read_only_parent_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(BundleError, match="read-only"):
        check_target(tmp_path / "out")


def test_a_place_that_only_seems_writable_is_refused_first():
    """/proc is writable by its mode, and nothing can be made there: nothing may be spent before that is known."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("no /proc here")
    with pytest.raises(BundleError, match="choose another folder"):
        check_target("/proc/dpsynth-release")


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "out").mkdir()
    assert check_target(tmp_path / "out") == tmp_path / "out"
    assert sorted(os.listdir(write_bundle(tmp_path / "out", PAYLOADS))) == sorted(FILES)


@pytest.mark.parametrize("call", ["fsync", "rename"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(tmp_path, monkeypatch, call, failure):
    def fail(*_):
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises((BundleError, KeyboardInterrupt)) as error:
            write_bundle(tmp_path / "out", PAYLOADS)
    assert os.listdir(tmp_path) == []
    if error.type is BundleError:
        assert "No space left" in str(error.value)


def test_a_bundle_has_its_six_files_and_no_other(tmp_path):
    with pytest.raises(ValueError, match="a bundle has the files"):
        write_bundle(tmp_path / "out", {**PAYLOADS, "raw.csv": b""})


def test_an_account_in_memory_gives_a_frame_and_no_folder(place, tmp_path):
    account = Ledger("sqlite://", SigningKey.generate()).open("one-liner", Budget(1))
    reservation = account.reserve(place.model.claim)
    reservation.start()
    store = ModelStore(None)
    reservation.commit(store.save(place.model.stored))
    model = FittedModel(place.model.stored, reservation.id, place.model.digest, account, store)
    release = admit(model.sample(10), account)
    assert len(release.frame) == 10
    with pytest.raises(BundleError, match=r"dpsynth\.open_ledger\(\)\.account\('NAME'\)"):
        release.write(tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_the_gate_refuses_what_the_ledger_does_not_know(place):
    sealed = place.model.sample(5)
    other = Ledger("sqlite://", SigningKey.generate()).open("other", Budget(1))
    with pytest.raises(GateRefused) as refused:
        admit(sealed, other)
    assert refused.value.rule == "table"
    contents = unseal(sealed)
    edited = seal(Contents(contents.parquet + b"!", contents.codes), 5, (), sealed.provenance)
    with pytest.raises(GateRefused, match="table"):
        admit(edited, place.account)
    with pytest.raises(GateRefused, match="policy"):
        admit(sealed, place.account, Policy(max_epsilon="0.5"))


def test_files_do_not_depend_on_rows_dates_or_ids(place, release, folder, tmp_path):
    """Another account, another key, another number of real rows, the same noisy answers: the same data and report."""
    key = place.keys.signing_key()
    account: Account = Ledger(f"sqlite:///{tmp_path / 'other.db'}", key).open("clinic", Budget(3, "1e-8"))
    reservation = account.reserve(place.model.claim)
    meter = reservation.start()
    for event in place.model.claim.plan.events:
        meter.charge(event)
    reservation.commit(place.model.digest)
    model = FittedModel(place.model.stored, reservation.id, place.model.digest, account, place.model.store)
    again = admit(model.sample(500, seed=1), account).write(tmp_path / "again")
    for name in FILES:
        if not name.startswith("certificate."):
            assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    one, two = statement(folder), statement(again)
    for body in (one, two):
        predicate = body["predicate"]
        del predicate["release"]["id"], predicate["ledger"]["hash"], predicate["ledger"]["seq"]
        body["subject"] = [entry for entry in body["subject"] if entry["name"] != "certificate.html"]
    assert one == two
    assert certificate_page(one["predicate"]) == certificate_page(two["predicate"])


def test_a_release_says_where_it_comes_from(folder, place, tmp_path):
    assert read_origin(folder) == ("clinic", place.model.release)
    for path in (tmp_path, tmp_path / "none", folder / "README.txt"):
        with pytest.raises(BundleError, match="cannot read the certificate"):
            read_origin(path)
    (folder / "certificate.json").write_text("{}")
    with pytest.raises(BundleError, match="envelope"):
        read_origin(folder)
