"""What stands between the door and the handler: rate limits, the count of refused credentials, the relay's bell."""

import asyncio
import hashlib
from typing import Final
from uuid import UUID

import structlog
from litestar.types import HTTPScope
from redis.asyncio import Redis
from redis.exceptions import RedisError

from insula.core.cache import key
from insula.core.db import Transaction
from insula.core.http.authentication import Presented
from insula.core.http.rate_limit import AddressRateLimit, refusal
from insula.core.http.still_refused import StillRefused
from insula.core.ids import to_uuid
from insula.core.jobs import wake
from insula.core.limits import Limit, Limiter
from insula.core.permissions import Principal

_log = structlog.get_logger("insula.admission")

BREATH_SECONDS: Final = 0.02
"""Between two rings: a publish costs as much as a statement, and the relay hears of all jobs at once."""


class RateLimits:
    """Limits per person and organization, all sessions together (per credential where nobody stands behind it), and per
    organization; outside of organizations a person has a count of their own.

    They are asked after the door, which alone knows whose request it is: a stranger must not be able to use up an
    organization's requests. Refused credentials are counted by address, strictly.
    """

    def __init__(
        self, redis: Redis, limiter: Limiter, addresses: AddressRateLimit, credential: Limit, organization: Limit
    ) -> None:
        self._limiter, self._addresses = limiter, addresses
        self._credential, self._organization = credential, organization
        self._still_refused = StillRefused()
        self._bell = Bell(redis)

    def known(self, scope: HTTPScope, shown: Presented) -> None:
        """Before the door: raises RateLimited for who was refused there a moment ago. Strangers never are.

        Nor are members for what others asked too much, unless they were refused for it themselves in the last minute.
        """
        if not self._still_refused:
            return
        caller = _caller(scope, shown)
        if decision := self._still_refused.decision(caller, caller[1]):
            scope["state"]["rate_limit"] = decision
            raise refusal(decision)

    async def refused(self, scope: HTTPScope) -> None:
        await self._addresses.credential_refused(scope)

    async def admitted(self, scope: HTTPScope, principal: Principal, shown: Presented) -> None:
        if "rate_limit" in scope["state"]:  # it was let in before, and is run once more
            return
        organization = principal.organization_id
        who = principal.user_id or principal.credential_id or ""
        limits = [(key(organization, "credential", who), self._credential)]
        if organization:
            limits.append((key(organization, "requests"), self._organization))
        await self._count(scope, limits, shown)

    async def turned_away(self, scope: HTTPScope, user_id: str, shown: Presented) -> None:
        """Known, but not here: uncounted, one person could ask after every organization there is.

        All their sessions together, and apart from what they ask for where they belong.
        """
        await self._count(scope, [(key(None, "turned-away", user_id), self._credential)], shown)

    async def _count(self, scope: HTTPScope, limits: list[tuple[str, Limit]], shown: Presented) -> None:
        decision = await self._limiter.check(limits)
        scope["state"]["rate_limit"] = decision
        if not decision.allowed:
            caller = _caller(scope, shown)
            self._still_refused.hold(caller, decision)
            if decision.limit.name == self._organization.name:
                self._still_refused.hold(caller[1], decision)
            raise refusal(decision)

    def settled(self, transaction: Transaction) -> None:
        if transaction.rings:
            self._bell.ring()


def _caller(scope: HTTPScope, shown: Presented) -> tuple[bytes, UUID]:
    """Who asks for whom; neither secrets are kept nor what somebody made up instead of an id."""
    organization = scope["path_params"].get("organization_id", "")
    return hashlib.sha256(shown.token.encode()).digest(), to_uuid("org", organization)


class Bell:
    """Wakes the relay, once for all jobs committed meanwhile. It polls as well: a lost ring costs a moment."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._wanted = False
        self._ringing: asyncio.Task[None] | None = None

    def ring(self) -> None:
        """Nobody waits for it: the jobs are committed already."""
        self._wanted = True
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring())

    async def _ring(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                await wake(self._redis)
            except (RedisError, OSError, RuntimeError) as error:  # the last: uvloop's, of what was closed while it rang
                _log.debug("relay not woken", cause=repr(error))
            await asyncio.sleep(BREATH_SECONDS)
