"""Redis: how it is reached, how its keys are named, how scripts run on it."""

import asyncio
import hashlib
import ssl
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError, ResponseError

_CONNECTIONS: Final = 32
_CONNECT_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 30
"""A connection idle for so long is pinged before it is trusted: firewalls drop such ones silently."""

_ESCAPES: Final = str.maketrans({"%": "%25", ":": "%3A"})

_Call = tuple[tuple[Any, ...], asyncio.Future[Any]]


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
    return verifying(Redis.from_pool(pool))


def verifying(redis: Redis) -> Redis:
    """The same client; where its address names authorities (``ssl_ca_certs``), it believes these and no others.

    By itself it would believe those of the operating system as well, hundreds of them.
    """
    if "ssl_ca_certs" in redis.connection_pool.connection_kwargs:
        redis.connection_pool.connection_class = _OfOneAuthority
    return redis


class _OfOneAuthority(SSLConnection):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        context = ssl.create_default_context(cafile=self.ssl_context.ca_certs)
        context.check_hostname = self.ssl_context.check_hostname
        context.verify_mode = ssl.VerifyMode(self.ssl_context.cert_reqs)
        if self.ssl_context.certfile:
            context.load_cert_chain(self.ssl_context.certfile, self.ssl_context.keyfile)
        self.ssl_context.context = context


@lru_cache(maxsize=16_384)
def key(tenant: str | None, *parts: str) -> str:
    """The name of a stored value: its owner first, so that no two tenants can share one.

    ``None`` is for what belongs to no tenant. Separators inside parts are escaped, so different parts never
    make the same key; the braces keep a tenant's keys on one node of a cluster.
    """
    if tenant == "":
        raise ValueError("an empty tenant would share its keys with every other empty tenant")
    owner = "-" if tenant is None else f"{{{tenant.translate(_ESCAPES)}}}"
    return ":".join(("insula", owner, *(part.translate(_ESCAPES) for part in parts)))


class Script:
    """A Lua script, run in batches: what is asked while an answer is awaited travels together.

    Under load this halves what a call costs the CPU. One connection serves the whole process: it is taken from the
    pool once, because the pool's care for each loan costs more than the script.
    """

    def __init__(self, redis: Redis, text: str, patience: float) -> None:
        self._redis: Any = redis  # redis-py's hints join the answers of its two clients
        self._text = text
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._patience = patience
        self._waiting: list[_Call] = []
        self._sender: asyncio.Task[None] | None = None
        self._connection: Any = None

    async def run(self, keys: Sequence[str], arguments: Sequence[int]) -> Any:
        """The script's answer. Raises RedisError, OSError or TimeoutError when there is none in time."""
        # Encoded here, so that a key that cannot be fails its own caller and not the batch.
        words = (len(keys), *(key.encode() for key in keys), *arguments)
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((words, answer))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        try:
            return await answer
        except NoScriptError:  # a fresh or restarted server
            async with asyncio.timeout(self._patience):
                return await self._redis.eval(self._text, *words)

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                async with asyncio.timeout(self._patience):
                    answers = await self._run_all(batch)
            except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must hear of it
                batch, self._waiting = batch + self._waiting, []
                answers = [error] * len(batch)
            for (_, answer), found in zip(batch, answers, strict=True):
                if answer.done():  # its caller went away
                    continue
                if isinstance(found, Exception):
                    answer.set_exception(found)
                else:
                    answer.set_result(found)

    async def _run_all(self, batch: list[_Call]) -> list[Any]:
        message = [hiredis.pack_command(("EVALSHA", self._sha, *words)) for words, _ in batch]
        if self._connection is None:
            self._connection = await self._redis.connection_pool.get_connection()
            self._connection.socket_timeout = None  # our patience is shorter, and set once per batch
        was_open = self._connection.is_connected
        try:
            return await self._exchange(message)
        except ConnectionLost:  # perhaps while nobody used it
            if not was_open:
                raise
            return await self._exchange(message)

    async def _exchange(self, message: list[bytes]) -> list[Any]:
        await self._connection.send_packed_command(message, check_health=False)
        return [await self._answer() for _ in message]

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as refusal:
            return refusal
