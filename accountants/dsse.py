"""DSSE envelopes: a payload, its type and signatures over both, so that neither can be swapped.

The format is the one of github.com/secure-systems-lab/dsse (version 1); any DSSE tool reads it. Opening an
envelope is written for hostile bytes: whatever is wrong is an `EnvelopeError` of one sentence.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from accountants.errors import AccountingError

MOST_BYTES = 32 * 1024 * 1024
"""No certificate is larger; nothing larger is parsed."""


class EnvelopeError(AccountingError, ValueError):
    """Bytes that are not a DSSE envelope with one signature."""


class Signer(Protocol):
    """What signs: an Ed25519 key and the public half that names it."""

    @property
    def public(self) -> Verifier:
        """The public half."""
        ...

    def sign(self, message: bytes, /) -> bytes:
        """The signature of `message`."""
        ...


class Verifier(Protocol):
    """What checks a signature."""

    @property
    def key_id(self) -> str:
        """sha256 (hex) of the raw public key."""
        ...

    def verify(self, signature: bytes, message: bytes, /) -> bool:
        """Whether `signature` is this key's over `message`."""
        ...


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed payload.

    Attributes:
        payload_type: media type of the payload; the signature covers it.
        payload: the bytes signed.
        key_id: which key is said to have signed. A claim, until `signed_by` says yes.
        signature: over `pre_authentication_encoding`.
    """

    payload_type: str
    payload: bytes
    key_id: str
    signature: bytes

    @classmethod
    def seal(cls, payload_type: str, payload: bytes, key: Signer) -> Envelope:
        """`payload`, signed by `key`."""
        message = pre_authentication_encoding(payload_type, payload)
        return cls(payload_type, payload, key.public.key_id, key.sign(message))

    def signed_by(self, key: Verifier) -> bool:
        """Whether `key` made the signature."""
        if key.key_id != self.key_id:
            return False
        return key.verify(self.signature, pre_authentication_encoding(self.payload_type, self.payload))

    def to_bytes(self) -> bytes:
        """The envelope as a JSON file."""
        body = {
            "payloadType": self.payload_type,
            "payload": base64.b64encode(self.payload).decode("ascii"),
            "signatures": [{"keyid": self.key_id, "sig": base64.b64encode(self.signature).decode("ascii")}],
        }
        return (json.dumps(body, indent=1) + "\n").encode("ascii")

    @classmethod
    def from_bytes(cls, raw: bytes) -> Envelope:
        """The inverse of `to_bytes`, on bytes nobody vouches for.

        Raises:
            EnvelopeError: not an envelope of ours, or more than `MOST_BYTES`.
        """
        match strict_json(raw):
            case {
                "payloadType": str(payload_type),
                "payload": str(payload),
                "signatures": [{"keyid": str(key_id), "sig": str(signature)}],
            }:
                return cls(payload_type, _decoded("payload", payload), key_id, _decoded("signature", signature))
        raise EnvelopeError("the certificate is not a DSSE envelope with exactly one signature")


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """PAE: ``DSSEv1 len(type) type len(payload) payload``, the bytes that are signed.

    >>> pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode("utf-8", "surrogatepass")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def strict_json(raw: bytes) -> Any:
    """JSON without NaN, infinities, keys named twice, or floats that overflow.

    Raises:
        EnvelopeError: anything else.
    """
    if len(raw) > MOST_BYTES:
        raise EnvelopeError(f"the certificate has {len(raw)} bytes; at most {MOST_BYTES} are read")
    try:
        return json.loads(
            raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique
        )
    except EnvelopeError:
        raise
    except (ValueError, RecursionError):
        raise EnvelopeError("the certificate is not well-formed JSON in UTF-8") from None


def _no_constant(name: str) -> NoReturn:
    raise EnvelopeError(f"the certificate holds the number {name}, which JSON does not have")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise EnvelopeError("the certificate holds a number too large to mean anything")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise EnvelopeError("the certificate names a field twice")
    return body


def _decoded(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EnvelopeError(f"the certificate's {name} is not base64") from None


__all__ = [
    "MOST_BYTES",
    "Envelope",
    "EnvelopeError",
    "Signer",
    "Verifier",
    "pre_authentication_encoding",
    "strict_json",
]
