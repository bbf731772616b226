"""Signing keys and the folder they live in."""

import copy
import pickle
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from accountants import KeyFileError, Keyring, PublicKey, SigningKey


def test_signatures_verify_with_the_public_half_only():
    key, other = SigningKey.generate(), SigningKey.generate()
    signature = key.sign(b"message")
    assert key.public.verify(signature, b"message")
    assert not key.public.verify(signature, b"another")
    assert not key.public.verify(signature[:-1], b"message")
    assert not other.public.verify(signature, b"message")


def test_saved_for_the_owner_only_and_read_back(tmp_path):
    key, path = SigningKey.generate(), tmp_path / "signing.pem"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).public == key.public
    assert [entry.name for entry in tmp_path.iterdir()] == ["signing.pem"]


def test_never_overwritten(tmp_path):
    path = tmp_path / "signing.pem"
    first = SigningKey.generate()
    first.save(path)
    with pytest.raises(KeyFileError, match="never overwritten"):
        SigningKey.generate().save(path)
    assert SigningKey.load(path).public == first.public
    with pytest.raises(KeyFileError, match="cannot write"):
        first.save(tmp_path / "nowhere" / "signing.pem")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "signing.pem"
    SigningKey.generate().save(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        SigningKey.load(path)


def test_missing_and_malformed(tmp_path):
    with pytest.raises(KeyFileError, match="keys new"):
        SigningKey.load(tmp_path / "signing.pem")
    with pytest.raises(KeyFileError, match="cannot read"):
        SigningKey.load(tmp_path)
    path = tmp_path / "bad.pem"
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="PKCS8") as caught:
        SigningKey.load(path)
    assert "SECRETSECRET" not in str(caught.value)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(encoding, form, serialization.NoEncryption())
    )
    with pytest.raises(KeyFileError, match="not Ed25519"):
        SigningKey.load(path)


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_signing_key_is_not_copied(way):
    with pytest.raises(TypeError, match="not pickled"):
        way(SigningKey.generate())


def test_nothing_prints_a_key():
    key = SigningKey.generate()
    assert repr(key) == f"SigningKey({key.public.key_id[:16]})"
    assert not hasattr(key, "__dict__")


def test_public_keys_round_trip():
    public = SigningKey.generate().public
    again = PublicKey.from_pem(public.pem())
    assert again == public
    assert hash(again) == hash(public)
    assert again.key_id == public.key_id
    assert len(public.key_id) == 64
    assert PublicKey.from_pem(public.pem().encode()) == public
    assert public != "x"


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_malformed_public_keys(text):
    with pytest.raises(KeyFileError, match="not a public key"):
        PublicKey.from_pem(text)


def test_private_and_foreign_keys_are_no_public_keys(tmp_path):
    SigningKey.generate().save(tmp_path / "signing.pem")
    with pytest.raises(KeyFileError, match="private key"):
        PublicKey.from_pem((tmp_path / "signing.pem").read_text())
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    foreign = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(encoding, form)
    with pytest.raises(KeyFileError, match="not an Ed25519"):
        PublicKey.from_pem(foreign)
    with pytest.raises(KeyFileError, match="32 bytes"):
        PublicKey(b"short")


def test_keyring_makes_its_key_once(tmp_path):
    ring = Keyring(tmp_path / "deep" / "keys")
    assert ring.trusted() == {}
    with pytest.raises(KeyFileError):
        ring.signing_key()
    key = ring.signing_key(create=True)
    assert ring.signing_key(create=True).public == key.public
    assert ring.trusted() == {key.public.key_id: key.public}
    assert stat.S_IMODE(ring.folder.stat().st_mode) & 0o077 == 0


def test_keyring_trusts_what_it_is_given(tmp_path):
    ring, other = Keyring(tmp_path), SigningKey.generate().public
    own = ring.signing_key(create=True).public
    for _ in range(2):
        assert ring.trust(other.pem()) == other
    assert ring.trusted() == {own.key_id: own, other.key_id: other}
    (tmp_path / "trusted" / "bad.pem").write_text("nonsense")
    (tmp_path / "trusted" / "bad.pem").chmod(0o600)
    with pytest.raises(KeyFileError, match=r"bad\.pem"):
        ring.trusted()


def test_trusted_keys_that_others_may_write_are_refused(tmp_path):
    ring = Keyring(tmp_path)
    ring.trust(SigningKey.generate().public.pem())
    next((tmp_path / "trusted").glob("*.pem")).chmod(0o666)
    with pytest.raises(KeyFileError, match="chmod go-w"):
        ring.trusted()


def test_a_keyring_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="key folder"):
        Keyring(tmp_path / "file").signing_key(create=True)


def test_a_new_key_is_made_once(tmp_path):
    ring = Keyring(tmp_path / "keys")
    key = ring.new_signing_key()
    assert ring.signing_key().public == key.public
    with pytest.raises(KeyFileError, match="never overwritten"):
        ring.new_signing_key()
    assert ring.signing_key().public == key.public


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_key_in_a_folder_that_others_may_write_is_refused(tmp_path, mode):
    ring = Keyring(tmp_path / "keys")
    ring.new_signing_key()
    ring.folder.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod go-w"):
        ring.signing_key()
    ring.folder.chmod(0o1777)
    assert ring.signing_key(), "in a sticky folder, as /tmp is, others cannot replace it"


def test_writers_and_publishers_are_two_sets(tmp_path):
    ring = Keyring(tmp_path)
    own = ring.signing_key(create=True).public
    publisher, writer = SigningKey.generate().public, SigningKey.generate().public
    ring.trust(publisher.pem())
    ring.trust(writer.pem(), writer=True)
    assert ring.trusted() == {own.key_id: own, publisher.key_id: publisher}
    assert ring.writers() == {own.key_id: own, writer.key_id: writer}
    next((tmp_path / "writers").glob("*.pem")).chmod(0o666)
    with pytest.raises(KeyFileError, match="chmod go-w"):
        ring.writers()
    assert ring.trusted()
