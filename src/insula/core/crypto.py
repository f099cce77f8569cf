"""Keys derived from the one secret, and authenticated encryption; all primitives are the cryptography library's."""

import secrets

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12


class Keys(msgspec.Struct, frozen=True):
    """One key per purpose, so that what one of them signs means nothing to another."""

    credential: bytes
    """The pepper of stored credential hashes."""
    mailed_token: bytes
    """Derives the tokens of mailed links from their row's id."""
    cursor: bytes
    """Signs pagination cursors."""

    @classmethod
    def from_secret(cls, secret: bytes) -> "Keys":
        """``secret`` is INSULA_SECRET_KEY: at least 32 random bytes."""
        return cls(*(derive(secret, f"insula/{purpose}") for purpose in cls.__struct_fields__))


def derive(secret: bytes, purpose: str) -> bytes:
    """A 256-bit key for one purpose (HKDF-SHA256, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret)


def seal(key: bytes, plaintext: bytes, bound_to: bytes) -> bytes:
    """Encrypt; the result opens only with the same key and the same ``bound_to`` (AES-256-GCM, random nonce)."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, bound_to)


def unseal(key: bytes, sealed: bytes, bound_to: bytes) -> bytes | None:
    """Decrypt, or None when anything was altered."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound_to)
    except InvalidTag:
        return None
