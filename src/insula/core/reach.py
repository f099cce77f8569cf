"""A database that cannot be reached, in words for whoever set it up."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from insula.core.mendable import Mendable

_REFUSALS: Final = (
    OSError,  # no such host, nobody listens, no answer in time
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InvalidAuthorizationSpecificationError,  # wrong passwords too
    asyncpg.InvalidCatalogNameError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientPrivilegeError,
)


class Unreachable(Mendable):
    """No connection can be made; the message says where to, as whom, and why not. It holds no password."""

    def __init__(self, url: str, cause: BaseException) -> None:
        to = urlsplit(url)
        self.login, self.host = to.username or "", to.hostname or ""
        server = f"{self.host}:{to.port or 5432}"
        super().__init__(
            f"no connection to PostgreSQL at {server}{to.path} as {self.login}: {cause or type(cause).__name__}"
        )
        self.is_away = isinstance(cause, OSError)
        """Nobody answers there at all."""
        self.same = server if self.is_away else str(self)
        """Equal for those that have one cause: a server that is away is away for every login and database."""


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Around the first connection to a server: raises Unreachable where none can be made."""
    try:
        yield
    except _REFUSALS as error:
        raise Unreachable(url, error) from error
