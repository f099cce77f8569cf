"""Bearer secrets: one text format, checked without the database, stored as a keyed hash only."""

import hashlib
import hmac
import secrets
from base64 import b32encode
from typing import Final, Literal
from zlib import crc32

from insula.core.ids import new_id

Kind = Literal["session", "verification", "reset", "invitation"]

PREFIXES: Final[dict[Kind, str]] = {
    "session": "ses",
    "verification": "ver",
    "reset": "rst",
    "invitation": "inv",
}
_SECRET_BYTES: Final = 20  # 160 bits: 32 characters without padding
_CHECKSUM_LENGTH: Final = 7
_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PLACES: Final = range(5 * _CHECKSUM_LENGTH - 5, -1, -5)
_LENGTH: Final = 8 + 26 + 32 + _CHECKSUM_LENGTH
_MINTED: Final = 10
"""Characters at the beginning of an id that are its moment: they sort by time."""


def credential_id() -> str:
    """Mint the id of a credential row; the token carries it, so that a leaked one can be found and revoked."""
    return new_id("crd")


def mint(kind: Kind, credential: str) -> str:
    """A fresh token: ``ins_<kind>_<id><secret><checksum>``, recognisable by secret scanners."""
    return _compose(kind, credential, secrets.token_bytes(_SECRET_BYTES))


def derive(kind: Kind, credential: str, key: bytes, sending: int, to: str) -> str:
    """The token of a mailed link: derived, so that no queue and no replay ever holds it.

    ``sending`` counts from 1; each resend makes another token. ``to`` is whom it is for, the person or the normalised
    address: else SQL could have one row's token mailed to another row's reader, or an id that it knows the token of
    used again for somebody else.
    """
    message = f"{kind}:{credential}:{sending}:{to}".encode()
    return _compose(kind, credential, hmac.digest(key, message, "sha256")[:_SECRET_BYTES])


def well_formed(token: str, kind: Kind) -> bool:
    """Whether the checksum fits: mistyped and guessed tokens cost no query."""
    if len(token) != _LENGTH or not token.isascii() or not token.startswith(f"ins_{PREFIXES[kind]}_"):
        return False
    return hmac.compare_digest(token[-_CHECKSUM_LENGTH:], _checksum(token[:-_CHECKSUM_LENGTH]))


def minted(token: str) -> str:
    """When a well-formed token's credential was minted, as its id says it."""
    return token[8 : 8 + _MINTED]


def minted_with(credential: str) -> str:
    """When a credential was minted, likewise."""
    return credential.removeprefix("crd_")[:_MINTED]


def digest(token: str, pepper: bytes) -> bytes:
    """What is stored and looked up: keyed BLAKE2b (RFC 7693) under a key the database does not have.

    Not HMAC: OpenSSL sets one up in 40 microseconds, this takes one, and every request needs it.
    """
    return hashlib.blake2b(token.encode(), key=pepper, digest_size=32).digest()


def _compose(kind: Kind, credential: str, secret: bytes) -> str:
    body = f"ins_{PREFIXES[kind]}_{credential.removeprefix('crd_')}{_text(secret)}"
    return body + _checksum(body)


def _checksum(body: str) -> str:
    """Base32 of the CRC's four bytes, spelled out: every request checks one, and b32encode is slow."""
    bits = crc32(body.encode()) << 3
    return "".join([_BASE32[bits >> place & 31] for place in _PLACES])


def _text(data: bytes) -> str:
    return b32encode(data).decode().rstrip("=").lower()
