"""Signing keys: Ed25519 private keys in files only their owner can read, and the public keys one trusts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import NoReturn, final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from accountants.errors import KeyFileError

_REPLACEABLE = (stat.S_IWGRP, stat.S_IWOTH, stat.S_IWGRP | stat.S_IWOTH)
"""Modes of a folder in which others may replace files: writable by them, and not sticky as /tmp is."""


@final
class PublicKey:
    """An Ed25519 public key; equal where its raw bytes are equal.

    Attributes:
        key_id: sha256 of the 32 raw bytes, lower-case hex.
    """

    __slots__ = ("_key", "_raw", "key_id")

    def __init__(self, raw: bytes) -> None:
        try:
            self._key = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError:
            raise KeyFileError(f"an Ed25519 public key has 32 bytes, got {len(raw)}") from None
        self._raw = bytes(raw)
        self.key_id = hashlib.sha256(self._raw).hexdigest()

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` over `message` was made by this key's private half."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def pem(self) -> str:
        """SubjectPublicKeyInfo in PEM."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_bytes(encoding, form).decode("ascii")

    @classmethod
    def from_pem(cls, pem: str | bytes) -> PublicKey:
        """The inverse of `pem`.

        Raises:
            KeyFileError: not PEM, not Ed25519, or a private key.
        """
        data = pem.encode() if isinstance(pem, str) else pem
        if b"PRIVATE KEY" in data:
            raise KeyFileError("this is a private key; pass on the public half only (`dpsynth keys show`)")
        try:
            key = serialization.load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            raise KeyFileError("not a public key: expected an Ed25519 key in PEM (BEGIN PUBLIC KEY)") from None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError("not an Ed25519 public key; make one with `dpsynth keys new`")
        return cls(key.public_bytes_raw())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other._raw == self._raw

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.key_id[:16]})"


@final
class SigningKey:
    """An Ed25519 private key. It is never printed, pickled or copied; `save` is the one way out, to a 0600 file."""

    __slots__ = ("_key", "public")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message`."""
        return self._key.sign(message)

    def save(self, path: Path | str) -> None:
        """Write PKCS8 PEM, readable by the owner only. The file appears complete or not at all.

        Raises:
            KeyFileError: the file exists already, or cannot be written.
        """
        path = Path(path)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        pem = self._key.private_bytes(encoding, form, serialization.NoEncryption())
        partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            write_private(partial, pem)
            os.link(partial, path)
        except FileExistsError:
            raise KeyFileError(f"{path} exists and keys are never overwritten; move it away or use it") from None
        except OSError as error:
            raise KeyFileError(f"cannot write the key to {path} ({error.strerror}); choose a folder you own") from None
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()

    @classmethod
    def load(cls, path: Path | str) -> SigningKey:
        """Read a key that `save` wrote.

        Raises:
            KeyFileError: missing, malformed, open to other users, or in a folder where they could replace it.
        """
        path = Path(path)
        try:
            if path.parent.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISVTX) in _REPLACEABLE:
                raise KeyFileError(f"other users could replace keys in {path.parent}; run `chmod go-w {path.parent}`")
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & (stat.S_IRWXG | stat.S_IRWXO):
                    raise KeyFileError(
                        f"{path} can be read by other users (mode {stat.S_IMODE(mode):04o}); run `chmod 600 {path}`"
                    )
                data = file.read(65536)
        except FileNotFoundError:
            raise KeyFileError(f"there is no signing key at {path}; make one with `dpsynth keys new`") from None
        except OSError as error:
            raise KeyFileError(f"cannot read the signing key at {path} ({error.strerror})") from None
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyFileError(f"{path} is not an unencrypted PKCS8 key in PEM; restore it from a copy") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{path} holds a key that is not Ed25519; make one with `dpsynth keys new`")
        return cls(key)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.key_id[:16]})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is not pickled or copied; save it to a file and load it there")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()


@final
class Keyring:
    """A folder with one signing key (``signing.pem``) and two sets of public keys.

    ``trusted/*.pem`` are publishers, whose certificates are believed. ``writers/*.pem`` are colleagues, whose rows in
    a shared ledger are believed. Neither makes the other: who publishes elsewhere may not charge budgets here.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def signing_path(self) -> Path:
        """Where the signing key lies."""
        return self.folder / "signing.pem"

    def signing_key(self, *, create: bool = False) -> SigningKey:
        """The folder's signing key, made on first need where `create` is set.

        Raises:
            KeyFileError: missing (and not `create`), malformed, open to other users, or not writable.
        """
        if create and not self.signing_path.exists():
            try:
                return self.new_signing_key()
            except KeyFileError:
                if not self.signing_path.exists():  # otherwise another process was first, and its key is the key
                    raise
        return SigningKey.load(self.signing_path)

    def new_signing_key(self) -> SigningKey:
        """Make the folder's signing key, of which there is none yet.

        Raises:
            KeyFileError: there is one, and it is never overwritten; or the folder cannot be written.
        """
        _make_folder(self.folder)
        SigningKey.generate().save(self.signing_path)
        return SigningKey.load(self.signing_path)

    def trusted(self) -> dict[str, PublicKey]:
        """Publishers by key id: the keys in ``trusted/``, and the signing key's own where there is one.

        Raises:
            KeyFileError: a file there is malformed, or other users may write it.
        """
        return self._public_keys("trusted")

    def writers(self) -> dict[str, PublicKey]:
        """Writers of a shared ledger by key id: the keys in ``writers/``, and the signing key's own where there is one.

        Raises:
            KeyFileError: a file there is malformed, or other users may write it.
        """
        return self._public_keys("writers")

    def _public_keys(self, name: str) -> dict[str, PublicKey]:
        keys: dict[str, PublicKey] = {}
        folder = self.folder / name
        if folder.is_dir():
            _refuse_writable(folder)
            for path in sorted(folder.glob("*.pem")):
                _refuse_writable(path)
                try:
                    key = PublicKey.from_pem(path.read_bytes())
                except OSError as error:
                    raise KeyFileError(f"cannot read {path} ({error.strerror})") from None
                except KeyFileError as error:
                    raise KeyFileError(f"{path}: {error}") from None
                keys[key.key_id] = key
        if self.signing_path.exists():
            own = self.signing_key().public
            keys[own.key_id] = own
        return keys

    def trust(self, pem: str | bytes, *, writer: bool = False) -> PublicKey:
        """Add a public key to the publishers, or to the writers; adding it twice changes nothing.

        Raises:
            KeyFileError: not an Ed25519 public key in PEM, or the folder cannot be written.
        """
        key = PublicKey.from_pem(pem)
        folder = self.folder / ("writers" if writer else "trusted")
        _make_folder(folder)
        partial = folder / f".{secrets.token_hex(8)}"
        try:
            write_private(partial, key.pem().encode())
            partial.replace(folder / f"{key.key_id}.pem")
        except OSError as error:
            raise KeyFileError(f"cannot write to {folder} ({error.strerror}); choose a folder you own") from None
        finally:
            partial.unlink(missing_ok=True)
        return key


def write_private(path: Path, data: bytes) -> None:
    """Create `path` (mode 0600) with `data`, on disk when this returns.

    Raises:
        OSError: it exists or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"cannot make the key folder {folder} ({error.strerror})") from None


def _refuse_writable(path: Path) -> None:
    if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KeyFileError(f"{path} can be written by other users, who could add keys; run `chmod go-w {path}`")
