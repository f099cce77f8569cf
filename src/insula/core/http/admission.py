"""What stands between the door and the handler: rate limits, the count of refused credentials, the relay's bell."""

from typing import Any

import structlog
from litestar.types import HTTPScope
from redis.asyncio import Redis
from redis.exceptions import RedisError

from insula.core.cache import key
from insula.core.db import Transaction
from insula.core.http.rate_limit import AddressRateLimit, headers, refusal
from insula.core.jobs import wake
from insula.core.limits import Limit, Limiter
from insula.core.permissions import Principal

_log = structlog.get_logger("insula.admission")


class RateLimits:
    """Limits per credential and, over all its credentials, per organization.

    They are asked after the door, which alone knows whose request it is: a stranger must not be able to use up an
    organization's requests. Refused credentials are counted by address, strictly.
    """

    def __init__(
        self, redis: Redis, limiter: Limiter, addresses: AddressRateLimit, credential: Limit, organization: Limit
    ) -> None:
        self._redis, self._limiter, self._addresses = redis, limiter, addresses
        self._credential, self._organization = credential, organization

    async def refused(self, scope: HTTPScope) -> None:
        await self._addresses.credential_refused(scope)

    async def admitted(self, scope: HTTPScope, principal: Principal) -> None:
        organization = principal.organization_id
        limits = [(key(organization, "credential", principal.credential_id or ""), self._credential)]
        if organization:
            limits.append((key(organization, "requests"), self._organization))
        decision = await self._limiter.check(limits)
        scope["state"]["rate_limit"] = decision
        if not decision.allowed:
            raise refusal(decision)

    async def settled(self, transaction: Transaction) -> None:
        """Ring the relay's bell; it polls as well, so a lost ring costs a moment."""
        if not transaction.queued:
            return
        try:
            await wake(self._redis)
        except (RedisError, OSError) as error:
            _log.debug("relay not woken", cause=repr(error))


def rate_limit_headers(state: dict[str, Any]) -> dict[str, str]:
    """The RateLimit headers of an answer (IETF draft), when its request was counted."""
    decision = state.get("rate_limit")
    return {name.decode(): value.decode() for name, value in headers(decision)} if decision is not None else {}
