"""The program's keys, each in versions: an id says which of them goes with it."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, get_args
from uuid import UUID

import msgspec

from insula.core import clock, tokens
from insula.core.crypto import derive
from insula.core.ids import to_text

Purpose = Literal["credential", "mailed_token", "cursor", "pseudonym"]
"""One key per purpose, so that what one of them signs means nothing to another."""

PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)
FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Since when the first version of each key is good: before any id was minted."""


class Version(msgspec.Struct, frozen=True):
    """A key, and since when: it goes with what was minted from then on, until there is a newer one."""

    since: str
    """As ids say it: their first ten characters, which sort by time."""
    key: bytes


class Keyring:
    """All keys of this process. A rotation adds a version while everything runs; nothing is ever looked up twice."""

    def __init__(self, versions: Mapping[Purpose, Sequence[Version]] | None = None) -> None:
        self._versions: dict[Purpose, list[Version]] = {}
        self.use(versions or {})

    @classmethod
    def from_secret(cls, secret: bytes) -> "Keyring":
        """The first versions, as INSULA_SECRET_KEY gives them."""
        return cls({purpose: [Version(since(FIRST), first_key(secret, purpose))] for purpose in PURPOSES})

    def use(self, versions: Mapping[Purpose, Sequence[Version]]) -> None:
        """Forget the keys of before and have these."""
        self._versions = {
            purpose: sorted(found, key=lambda version: version.since, reverse=True)
            for purpose, found in versions.items()
        }

    def digest(self, token: str) -> bytes:
        """What the database knows of a well-formed token."""
        return tokens.digest(token, self._of("credential", tokens.minted(token)))

    def mailed(self, kind: tokens.Kind, credential: str, *, to: str, sending: int = 1) -> str:
        """The token of a mailed link, as ``tokens.derive`` makes it."""
        key = self._of("mailed_token", tokens.minted_with(credential))
        return tokens.derive(kind, credential, key, sending, to)

    @property
    def cursors(self) -> list[bytes]:
        """What signs pagination cursors: the first signs, all are believed."""
        current = self._current("cursor")
        return [current, *(version.key for version in self._versions["cursor"] if version.key != current)]

    def pseudonym(self, text: str) -> str:
        """A name for something that Redis is not to learn. After a rotation it is another one."""
        return hashlib.blake2b(text.encode(), key=self._current("pseudonym"), digest_size=32).hexdigest()

    def _current(self, purpose: Purpose) -> bytes:
        """Never one that is still to come, of which other processes may not have heard."""
        return self._of(purpose, since(clock.now()))

    def _of(self, purpose: Purpose, minted: str) -> bytes:
        """The newest version that was there when it was minted; the oldest, where that one is forgotten already."""
        found = self._versions[purpose]
        return next((version.key for version in found if version.since <= minted), found[-1].key)


def first_key(secret: bytes, purpose: Purpose) -> bytes:
    """Not random, so that installations from before there were versions keep their credentials."""
    return derive(secret, f"insula/{purpose}")


def since(instant: datetime) -> str:
    """How the ids of an instant begin."""
    return tokens.minted_with(to_text("crd", UUID(int=int(instant.timestamp() * 1000) << 80)))
