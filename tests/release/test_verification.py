"""Verify: 0 intact and known, 3 intact and unknown, 1 broken; never a traceback, whatever is in the folder."""

import base64
import contextlib
import copy
import hashlib
import json
import os
import re

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accountants import SigningKey
from accountants.certificate import PAYLOAD_TYPE, sign
from accountants.dsse import Envelope
from dpsynth.release import admit, verify
from dpsynth.release.bundle import FILES, LATER, SUBJECTS
from dpsynth.release.certificate import certificate_page
from dpsynth.release.parquet import to_parquet

KEY = SigningKey.generate()
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(folder, trusted=None):
    """The exit code; a broken release ends in one sentence."""
    found = verify(folder, trusted or {})
    if found.exit_code == 1:
        last = found.findings[-1]
        assert not last.passed
        assert last.text.endswith(".")
        assert "\n" not in last.text
        assert 10 < len(last.text) < 500
        assert found.statement is None
    else:
        assert all(finding.passed for finding in found.findings)
    return found.exit_code


def forge(release, change=lambda body: None, key=KEY, payload_type=PAYLOAD_TYPE, *, folder=None):
    """The certificate changed and signed again with a key of the forger's own; in `folder` its page is made again."""
    body = copy.deepcopy(dict(release.certificate))
    body["predicate"]["issuer"] = {"key_id": key.public.key_id, "public_key": key.public.pem()}
    change(body)
    if folder is not None and isinstance(body.get("predicate"), dict):
        page = certificate_page(body["predicate"]).encode()
        (folder / "certificate.html").write_bytes(page)
        with contextlib.suppress(LookupError, TypeError, StopIteration):  # a certificate that lost its subjects
            sign_for(body, "certificate.html", page)
    return Envelope.seal(payload_type, rfc8785.dumps(body), key).to_bytes()


def sign_for(body, name, raw):
    """Have a statement name other bytes for a file."""
    digest = hashlib.sha256(raw).hexdigest()
    next(s for s in body["subject"] if s["name"] == name)["digest"]["sha256"] = digest
    if name == "synthetic.parquet":
        body["predicate"]["table"]["sha256"] = digest


def test_known_unknown(folder, place):
    assert check(folder, place.keys.trusted()) == 0
    assert check(folder) == 3
    assert check(folder, {KEY.public.key_id: KEY.public}) == 3
    assert check(str(folder), place.keys.trusted()) == 0
    assert "implied" not in str(verify(folder, {}))
    assert "which you do not know" in str(verify(folder, {}))
    assert str(verify(folder, {})).splitlines()[-1].startswith("note  ")
    assert "ok      certificate.html says what certificate.json says, and that follows" in str(verify(folder, {}))
    assert "which you trust" in str(verify(folder, place.keys.trusted()))
    assert "a draw from dataset 'clinic': 500 rows, schema as certified" in str(verify(folder, {}))
    assert re.search(
        r"imply epsilon (1|0\.9\d+) at delta 1e-9; declared is 1", str(verify(folder, place.keys.trusted()))
    )


def test_supplied_columns_are_named(place, tmp_path):
    sealed = place.model.sample(3, given={"age": [1, 2, 3], "ward": "east"})
    said = str(verify(admit(sealed, place.account).write(tmp_path / "given"), {}))
    assert "3 rows, 2 of the columns supplied, not drawn ('ward, age')" in said


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flip", "cut", "append", "empty", "remove", "link", "folder"])
def test_any_file_changed_is_broken(folder, place, name, damage, tmp_path):
    file = folder / name
    raw = file.read_bytes()
    file.unlink()
    if damage == "link":
        (tmp_path / "same").write_bytes(raw)
        file.symlink_to(tmp_path / "same")
    elif damage == "folder":
        file.mkdir()
    elif damage != "remove":
        middle = len(raw) // 2
        flipped = raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]
        file.write_bytes({"flip": flipped, "cut": raw[:-20], "append": raw + b"x", "empty": b""}[damage])
    assert check(folder, place.keys.trusted()) == 1
    assert check(folder) == 1


@pytest.mark.parametrize("name", LATER)
def test_a_release_of_0_1_0_is_intact(folder, release, name):
    """Its certificate signs five files. A later one may not be missing where it was signed, nor come unsigned."""
    raw = {each: (folder / each).read_bytes() for each in LATER}
    (folder / name).unlink()
    assert f"lacks {name}" in str(verify(folder, {}))
    for each in LATER:
        (folder / each).unlink(missing_ok=True)

    def before(body):
        body["subject"] = [s for s in body["subject"] if s["name"] not in LATER]

    (folder / "certificate.json").write_bytes(forge(release, before, folder=folder))
    assert check(folder) == 3
    assert "these are the 5 files that were signed" in str(verify(folder, {}))
    (folder / name).write_bytes(raw[name])
    assert check(folder) == 1
    assert f"nobody signed the file {name}" in str(verify(folder, {}))


@pytest.mark.parametrize("name", ["raw.csv", ".hidden", "synthetic.parquet.bak", "\x1b[31mred", "é\udcff"])
def test_a_file_nobody_signed_is_broken(folder, place, name):
    (folder / name).write_bytes(b"")
    assert check(folder, place.keys.trusted()) == 1
    assert verify(folder, {}).findings[-1].text.isascii()


def test_edited_and_signed_again_is_never_known(folder, release, place):
    table = folder / "synthetic.parquet"
    table.write_bytes(to_parquet(release.frame.assign(ward="north")))

    def resign(body):
        sign_for(body, table.name, table.read_bytes())

    trusted = place.keys.trusted()
    (known,) = trusted
    (folder / "certificate.json").write_bytes(forge(release, resign, folder=folder))
    assert check(folder, trusted) == 3

    def borrow(body):
        resign(body)
        body["predicate"]["issuer"] = dict(release.certificate["predicate"]["issuer"])

    (folder / "certificate.json").write_bytes(forge(release, borrow))
    assert check(folder, trusted) == 1
    forged = json.loads(forge(release, borrow))
    forged["signatures"][0]["keyid"] = known
    (folder / "certificate.json").write_text(json.dumps(forged))
    assert check(folder, trusted) == 1
    assert check(folder) == 1


def test_a_signature_covers_the_payload_type(folder, release):
    forged = json.loads(forge(release, payload_type="text/plain"))
    forged["payloadType"] = PAYLOAD_TYPE
    (folder / "certificate.json").write_text(json.dumps(forged))
    assert check(folder) == 1


def test_two_signatures_or_none_are_refused(folder, release):
    for change in (lambda s: s + s, lambda s: []):
        forged = json.loads(forge(release))
        forged["signatures"] = change(forged["signatures"])
        (folder / "certificate.json").write_text(json.dumps(forged))
        assert check(folder) == 1


def put(body, path, value):
    *parents, last = path
    for step in parents:
        body = body[step]
    body[last] = value


LIES = [
    (("guarantee", "budget", "epsilon"), "0.5", "more than the 0.5 it declares"),
    (("guarantee", "budget", "delta"), "1e-12", "more than the 1 it declares"),
    (("guarantee", "budget", "delta"), "1e-30", "less than what"),
    (("guarantee", "budget", "epsilon"), "NaN", "finite"),
    (("guarantee", "budget", "epsilon"), "-1", "above 0"),
    (("guarantee", "budget", "epsilon"), "1e99999999", "means nothing"),
    (("guarantee", "budget", "epsilon"), "1e-99999999", "means nothing"),
    (("guarantee", "budget", "epsilon"), 1, "'epsilon' is missing"),
    (("guarantee", "accounting", "epsilon"), "0.3", "states epsilon 0.3"),
    (("guarantee", "accounting", "epsilon"), "NaN", "states epsilon"),
    (("guarantee", "numerics", "class"), "none", "promises no privacy"),
    (("guarantee", "unit", "at_most"), 0, "at_most"),
    (("guarantee", "unit", "relation"), "replace_one", "relation"),
    (("lifetime", "budget", "epsilon"), "0.1", "states a cap that its lifetime budget"),
    (("lifetime", "cap", "mu_squared"), "1e-9", "exceeds the dataset's lifetime"),
    (("looks", "plan"), {"kind": "adaptive", "mu": "1e400", "kinds": ["gaussian"]}, "protects nothing"),
    (("looks", "plan"), {"kind": "adaptive", "mu": "nan", "kinds": ["gaussian"]}, "protects nothing"),
    (("looks", "plan"), {"kind": "adaptive", "mu": "-1", "kinds": ["gaussian"]}, "mu"),
    (("looks", "plan"), {"kind": "adaptive", "mu": "0.01", "kinds": ["gaussian"]}, "states epsilon"),
    (("looks", "plan"), {"kind": "adaptive", "mu": "0.01", "kinds": [[]]}, "malformed"),
    (("looks", "plan"), {"kind": "fixed", "events": []}, "at least one"),
    (("looks", "plan", "events", 0, "count"), 10**9, "more than 1000000 looks"),
    (("looks", "plan", "events", 0, "count"), -1, "impossible count"),
    (("looks", "plan", "events", 0, "count"), True, "impossible count"),
    (("looks", "plan", "events", 0, "count"), 40, "more than the"),
    (("looks", "plan", "events", 0, "kind"), "witchcraft", "unknown event kind"),
    (("looks", "plan", "events", 0, "kind"), ["gaussian"], "malformed"),
    (("looks", "plan", "events", 0, "noise_multiplier"), "-3", "too little noise"),
    (("looks", "plan", "events", 0, "noise_multiplier"), "0", "too little noise"),
    (("looks", "plan", "events", 0, "noise_multiplier"), "nan", "too little noise"),
    (("looks", "plan", "events", 0, "noise_multiplier"), "9" * 200, "not an event"),
    (("looks", "frame"), [{"kind": "gaussian", "noise_multiplier": "5"}], "more than the"),
    (("looks", "frame"), None, "not a list"),
    (("looks", "charged", "plan"), [{"kind": "gaussian", "noise_multiplier": "1"}], "not among those"),
    (("looks", "charged", "frame"), [{"kind": "gaussian", "noise_multiplier": "99"}], "not among those"),
    (("lifetime", "cap", "mu_squared"), "9", "states a cap that its lifetime budget"),
    (("lifetime", "cap", "delta0"), "1e-9", "states a cap that its lifetime budget"),
    (("lifetime", "charged", "mu_squared"), "9", "more is charged than the lifetime budget"),
    (("lifetime", "charged", "mu_squared"), "1e-9", "less is charged to its dataset than this release"),
    (("lifetime", "charged", "mu_squared"), "-1", "never negative"),
    (("guarantee", "accounting", "mu_squared"), "1e-9", "another charge than its looks cost"),
    (("guarantee", "accounting", "mu_squared"), "9", "another charge than its looks cost"),
    (("guarantee", "accounting", "delta0"), "1e-9", "another charge than its looks cost"),
    (("guarantee", "accounting", "delta_used"), "0.5", "another delta was left"),
    (("guarantee", "accounting", "second_accountant"), {"low": "0", "high": "0"}, "another interval"),
    (("guarantee", "accounting", "second_accountant"), None, "another interval"),
    (("looks", "capacity_mu_squared"), "0", "another charge than its looks cost"),
    (("looks", "realised_mu_squared"), "0", "came to something else"),
    (("lifetime", "relation"), "anything at all", "which neighbours"),
    (("table", "rows"), 0, "number of rows"),
    (("table", "rows"), True, "number of rows"),
    (("table", "rows"), 501, "has 500 rows where the certificate says 501"),
    (("table", "sha256"), "0" * 64, "another table"),
    (("table", "sha256"), None, "does not name its table"),
    (("schema", "sha256"), "0" * 64, "not the schema that the certificate names"),
    (("schema",), [], "does not name its table and its schema"),
    (("model", "sha256"), "x" * 64, "not a sha256"),
    (("synthetic",), False, "synthetic"),
    (("version",), 2, "newer"),
    (("issuer", "public_key"), "not a key", "no readable signing key"),
    (("issuer", "public_key"), "x" * 5000, "who issued it"),
    (("issuer",), None, "who issued it"),
]


@pytest.mark.parametrize(("path", "value", "says"), LIES, ids=lambda x: str(x)[:40])
def test_a_lie_signed_by_anyone_is_broken(folder, release, path, value, says):
    (folder / "certificate.json").write_bytes(forge(release, lambda body: put(body["predicate"], path, value)))
    assert check(folder, {KEY.public.key_id: KEY.public}) == 1
    assert check(folder) == 1
    assert says in verify(folder, {}).findings[-1].text


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)
)
HOSTILE = {
    "another schema": ("schema.yaml", b"columns: {a: {type: boolean}}", "not the schema"),
    "no schema": ("schema.yaml", b"[1, 2", "cannot be read as a schema"),
    "not text": ("schema.yaml", b"\xff\xfe\x00", "cannot be read as a schema"),
    "empty": ("schema.yaml", b"", "cannot be read as a schema"),
    "nested": ("schema.yaml", b"[" * 20_000, "cannot be read as a schema"),
    "a bomb": ("schema.yaml", BOMB.encode(), "cannot be read as a schema"),
    "a bomb in a column": ("schema.yaml", f"{BOMB}columns: {{x: *m}}".encode(), "cannot be read as a schema"),
    "huge": ("schema.yaml", b"#" * (4 * 1024 * 1024 + 1), "larger than any schema"),
    "no table": ("synthetic.parquet", b"", "cannot be read as Parquet"),
    "half a table": ("synthetic.parquet", b"PAR1", "cannot be read as Parquet"),
    "a wild footer": ("synthetic.parquet", b"PAR1" + b"\xff" * 20 + b"\x10\0\0\0PAR1", "cannot be read as Parquet"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_signed_by_anyone_is_broken(folder, release, case):
    name, raw, says = HOSTILE[case]
    (folder / name).write_bytes(raw)
    (folder / "certificate.json").write_bytes(forge(release, lambda body: sign_for(body, name, raw)))
    assert check(folder, {KEY.public.key_id: KEY.public}) == 1
    assert says in verify(folder, {}).findings[-1].text


def test_a_table_with_other_rows_than_certified_is_broken(folder, release):
    raw = to_parquet(release.frame.head(499))
    (folder / "synthetic.parquet").write_bytes(raw)
    (folder / "certificate.json").write_bytes(forge(release, lambda body: sign_for(body, "synthetic.parquet", raw)))
    assert check(folder) == 1
    assert "has 499 rows" in verify(folder, {}).findings[-1].text


@given(raw=st.binary(max_size=60), footer=st.booleans())
@FUZZ
def test_random_files_signed_by_anyone(folder, release, raw, footer):
    parquet = b"PAR1" + raw + len(raw).to_bytes(4, "little") + b"PAR1" if footer else raw
    for name, content in (("synthetic.parquet", parquet), ("schema.yaml", raw)):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        change = lambda body, name=name, content=content: sign_for(body, name, content)  # noqa: E731
        (folder / "certificate.json").write_bytes(forge(release, change))
        assert check(folder) == 1
        (folder / name).write_bytes(kept)


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/hostname", "..", ".", "", "a/b", "a\\b", "certificate.json", "\x00", "x" * 300, "other.csv"],
)
def test_files_outside_the_folder_are_never_opened(folder, release, name, monkeypatch):
    (folder.parent / "outside").write_bytes(b"")

    def change(body):
        body["subject"].append({"name": name, "digest": {"sha256": hashlib.sha256(b"").hexdigest()}})

    (folder / "certificate.json").write_bytes(forge(release, change))
    assert check(folder) == 1


def test_every_file_must_be_signed(folder, release):
    for name in SUBJECTS:
        change = lambda body, name=name: body.update(subject=[s for s in body["subject"] if s["name"] != name])  # noqa: E731
        (folder / "certificate.json").write_bytes(forge(release, change))
        assert check(folder) == 1
    (folder / "certificate.json").write_bytes(forge(release, lambda body: body["subject"].append(body["subject"][0])))
    assert check(folder) == 1


def test_no_folder(tmp_path):
    assert check(tmp_path / "none") == 1
    assert check(tmp_path) == 1
    (tmp_path / "file").write_text("")
    assert check(tmp_path / "file") == 1
    assert "it is a file" in str(verify(tmp_path / "file", {}))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"payload": NaN}',
        b'{"payload": 1e999}',
        b"1" * 10_000,
        b'{"payload": "", "payload": ""}',
        b'{"payloadType": "x", "payload": "%", "signatures": [{"keyid": "", "sig": ""}]}',
        b'{"payloadType": "\\ud800", "payload": "", "signatures": [{"keyid": "", "sig": ""}]}',
    ],
    ids=range(12),
)
def test_a_malformed_certificate_is_broken(folder, raw):
    (folder / "certificate.json").write_bytes(raw)
    assert check(folder) == 1
    wrapped = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(raw).decode(),
        "signatures": [{"keyid": "a", "sig": ""}],
    }
    (folder / "certificate.json").write_text(json.dumps(wrapped))
    assert check(folder) == 1


def test_a_huge_certificate_is_not_read(folder, release):
    with (folder / "certificate.json").open("wb") as file:
        file.truncate(40 * 1024 * 1024)
    assert check(folder) == 1
    assert "larger" in verify(folder, {}).findings[-1].text


@given(raw=st.binary(max_size=300))
@FUZZ
def test_random_bytes(folder, raw):
    (folder / "certificate.json").write_bytes(raw)
    assert check(folder) == 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "NaN", "-1", "1e-320", "1e308", "0", "Infinity", "\x00", "gaussian", "1e999999999", "sNaN"])
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5).filter(str.isascii), inner, max_size=3)
    ),
    max_leaves=5,
)


def paths(body, prefix=()):
    """Every place in a JSON value."""
    yield prefix
    if isinstance(body, dict | list):
        items = body.items() if isinstance(body, dict) else enumerate(body)
        for key, value in items:
            yield from paths(value, (*prefix, key))


@given(data=st.data())
@FUZZ
def test_any_field_may_hold_anything(folder, release, data):
    def change(body):
        for _ in range(data.draw(st.integers(1, 3))):
            path = data.draw(st.sampled_from([p for p in paths(body) if p]))
            if data.draw(st.booleans()):
                put(body, path, data.draw(JSON))
            else:
                inner = body
                for step in path[:-1]:
                    inner = inner[step]
                del inner[path[-1]]

    (folder / "certificate.json").write_bytes(forge(release, change, folder=folder))
    assert check(folder) in (1, 3)
    assert check(folder, {KEY.public.key_id: KEY.public}) in (0, 1)
    assert len(os.listdir(folder)) == len(FILES)


def test_a_page_that_says_something_else_is_broken_though_its_digest_is_signed(folder, release):
    page = folder / "certificate.html"
    page.write_text(page.read_text("utf-8").replace("ε = 1", "ε = 0", 1), "utf-8")
    change = lambda body: sign_for(body, page.name, page.read_bytes())  # noqa: E731
    (folder / "certificate.json").write_bytes(forge(release, change))
    assert check(folder) == 1
    assert "certificate.html does not say what certificate.json says" in verify(folder, {}).findings[-1].text


def test_a_figure_for_people_changed_in_the_file_alone_is_broken(folder, release):
    change = lambda body: put(body["predicate"], ("guarantee", "most_the_odds_can_change"), "1.01")  # noqa: E731
    (folder / "certificate.json").write_bytes(forge(release, change))
    assert check(folder) == 1


SAID_OTHERWISE = {
    "guarantee.most_the_odds_can_change": lambda p: put(p, ("guarantee", "most_the_odds_can_change"), "1.01"),
    "guarantee.best_true_positive_rate.at_most": lambda p: put(
        p, ("guarantee", "best_true_positive_rate", "at_most"), "0.0101"
    ),
    "guarantee.trade_off": lambda p: put(p, ("guarantee", "trade_off", 5, "at_most"), "0.0001"),
    "lifetime.most_the_odds_can_change": lambda p: put(p, ("lifetime", "most_the_odds_can_change"), "2.72"),
    "lifetime.replenished": lambda p: put(p, ("lifetime", "replenished"), "every year"),
    "guarantee.in_words": lambda p: put(p, ("guarantee", "in_words"), "Everybody is safe."),
    "not_protected": lambda p: p["not_protected"].pop(1),
    "protected": lambda p: p["protected"].append("everybody"),
    "trust.model": lambda p: put(p, ("trust", "model"), "Local"),
    "mechanisms": lambda p: p["mechanisms"].pop(),
    "unprotected_quantities": lambda p: p.update(unprotected_quantities=["none"]),
    "the whole": lambda p: p.update(approved="by the regulator"),
}


@pytest.mark.parametrize("name", SAID_OTHERWISE)
def test_no_sentence_or_figure_of_the_software_can_be_replaced_by_another(folder, release, name):
    change = lambda body: SAID_OTHERWISE[name](body["predicate"])  # noqa: E731
    (folder / "certificate.json").write_bytes(forge(release, change, folder=folder))
    assert check(folder, {KEY.public.key_id: KEY.public}) == 1
    assert f"'{name}' in certificate.json is not what dpsynth" in verify(folder, {}).findings[-1].text


def test_what_is_declared_may_be_anything_declarable_and_the_last_bits_any_platform_s(folder, release):
    def change(body):
        said = body["predicate"]
        said["deployment"] |= {"curator": "Kirkwall Infirmary", "about_units": "1300"}
        said["assumptions"].append("the moon is public")
        said["release"] |= {"purpose": "teaching"}
        accounting = said["guarantee"]["accounting"]
        accounting["epsilon"] = repr(float(accounting["epsilon"]) * (1 + 1e-14))
        said["guarantee"]["accounting"]["mu_squared"] = said["guarantee"]["accounting"]["mu_squared"][:20]

    (folder / "certificate.json").write_bytes(forge(release, change, folder=folder))
    assert check(folder) == 3
    for words in ({"curator": "x\x1b"}, {"about_units": "1301"}, {"about_units": "many"}, {"curater": "x"}):
        change = lambda body, words=words: body["predicate"]["deployment"].update(words)  # noqa: E731
        (folder / "certificate.json").write_bytes(forge(release, change, folder=folder))
        assert check(folder) == 1


def test_the_page_of_another_version_is_held_against_its_digest_alone(folder, release):
    page = folder / "certificate.html"
    change = lambda body: put(body["predicate"], ("software",), "dpsynth 99.0")  # noqa: E731
    (folder / "certificate.json").write_bytes(forge(release, change))
    assert check(folder) == 3
    assert "only the version that issued them can tell ('dpsynth 99.0')" in str(verify(folder, {}))
    page.write_bytes(page.read_bytes() + b" ")
    assert check(folder) == 1


def test_sign_is_the_inverse_of_open(release, place):
    key = place.keys.signing_key()
    envelope = Envelope.from_bytes(sign(release.certificate, key))
    assert json.loads(envelope.payload) == release.certificate
    assert envelope.signed_by(key.public)
    assert not envelope.signed_by(KEY.public)
