"""Redis: how it is reached and how its keys are named."""

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

_CONNECTIONS: Final = 32
_CONNECT_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 30
"""A connection idle for so long is pinged before it is trusted: firewalls drop such ones silently."""

_ESCAPES: Final = str.maketrans({"%": "%25", ":": "%3A"})


def connect(url: str) -> Redis:
    """A client for commands that answer at once; it connects when first used.

    Commands that wait for news (a blocking pop, a subscription) need a client without the read timeout.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_CONNECT_SECONDS,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_ANSWER_SECONDS,
        socket_keepalive=True,
        health_check_interval=_IDLE_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.1), retries=2),
    )
    return Redis.from_pool(pool)


def key(tenant: str | None, *parts: str) -> str:
    """The name of a stored value: its owner first, so that no two tenants can share one.

    ``None`` is for what belongs to no tenant. Separators inside parts are escaped, so different parts never
    make the same key; the braces keep a tenant's keys on one node of a cluster.
    """
    if tenant == "":
        raise ValueError("an empty tenant would share its keys with every other empty tenant")
    owner = "-" if tenant is None else f"{{{tenant.translate(_ESCAPES)}}}"
    return ":".join(("insula", owner, *(part.translate(_ESCAPES) for part in parts)))
