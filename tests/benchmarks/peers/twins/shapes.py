"""What the Python twins have in common: who may do what, cursors, fingerprints."""

import hashlib
import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

SECRET = os.environ["PEER_SECRET"].encode()
PER_MINUTE = int(os.environ["PEER_PER_MINUTE"])
WORKERS = frozenset({"owner", "admin", "member"})
READERS = WORKERS | {"viewer"}
LAST = UUID(int=(1 << 128) - 1)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def sealed(last: UUID) -> str:
    """A cursor: where the page ended, signed."""
    return urlsafe_b64encode(_mac(last.bytes) + last.bytes).decode().rstrip("=")


def opened(cursor: str) -> UUID:
    """Where a page begins. Raises ValueError for a cursor that is not ours."""
    found = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    if not hmac.compare_digest(_mac(found[16:]), found[:16]):
        raise ValueError(cursor)
    return UUID(bytes=found[16:])


def _mac(position: bytes) -> bytes:
    return hmac.digest(SECRET, position, "sha256")[:16]
