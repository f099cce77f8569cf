"""How often passwords, tokens and mailboxes may be tried: by one address, and at one account from all of them."""

from insula.core import cache
from insula.core.http.rate_limit import refusal
from insula.core.limits import Limit, Limiter
from insula.core.listing import normalize
from insula.core.tokens import digest


class Throttle:
    """Slows guessers and senders of unwanted mail down. Known and unknown accounts are counted alike.

    An account is never locked: whoever tries it without end makes its owner wait for a minute between two tries.
    """

    def __init__(self, limiter: Limiter, per_minute: int, pepper: bytes) -> None:
        self._limiter, self._pepper = limiter, pepper
        self._address = Limit("sign-in", per_minute, 60, strict=True)
        self._account = Limit("account", 6 * per_minute, 3600, burst=per_minute, strict=True)
        self._mailbox = Limit("mailbox", max(per_minute // 2, 1), 3600, strict=True)

    async def attempt(self, address: str, secret_of: str) -> None:
        """Count a try to prove something: an account's password, or what goes with a token."""
        await self._count(address, self._account, secret_of)

    async def letter(self, address: str, email: str) -> None:
        """Count a wish to have a letter sent."""
        await self._count(address, self._mailbox, email)

    async def _count(self, address: str, limit: Limit, subject: str) -> None:
        # Redis learns neither addresses of people nor tokens, nor what the database stores of these.
        hidden = digest(f"{limit.name} {normalize(subject)}", self._pepper).hex()
        decision = await self._limiter.check(
            [
                (cache.key(None, "limit", self._address.name, address), self._address),
                (cache.key(None, "limit", limit.name, hidden), limit),
            ]
        )
        if not decision.allowed:
            raise refusal(decision)
