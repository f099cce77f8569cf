"""How often passwords, tokens and mailboxes may be tried: by one address, and at one account from all of them."""

from typing import Final, Literal

from insula.core import cache
from insula.core.http.rate_limit import refusal
from insula.core.keyring import Keyring
from insula.core.limits import Limit, Limiter
from insula.core.listing import normalize

_CROWD: Final = 20
"""So many addresses have to try together before an account makes everybody wait, its owner too."""
_FEW: Final = 3
"""The same of letters, which trouble their recipient even when the sender gets nothing from them."""

Letter = Literal["verification", "reset"]


class Throttle:
    """Slows guessers and senders of unwanted mail down. Known and unknown accounts are counted alike.

    An account is never locked. One address uses up its own tries at it and nobody else's; only a crowd of addresses
    makes the owner wait between two tries, and the longer the more they are.
    """

    def __init__(self, limiter: Limiter, per_minute: int, keyring: Keyring) -> None:
        self._limiter, self._keyring = limiter, keyring
        self._address = Limit("sign-in", per_minute, 60, strict=True)
        self._judgement = Limit("password-judgement", per_minute, 60, strict=True)
        self._here = Limit("account-address", 6 * per_minute, 3600, burst=per_minute, strict=True)
        self._account = Limit("account", _CROWD * 6 * per_minute, 3600, burst=_CROWD * per_minute, strict=True)
        letters = max(per_minute // 2, 1)
        self._wisher = Limit("mailbox-address", letters, 3600, strict=True)
        self._mailbox = Limit("mailbox", _FEW * letters, 3600, strict=True)

    async def attempt(self, address: str, secret_of: str) -> None:
        """Count a try to prove something: an account's password, or what goes with a token."""
        await self._count_address(address)
        await self._count(self._key(self._here, address, secret_of), self._key(self._account, secret_of))

    async def letter(self, address: str, email: str, kind: Letter) -> None:
        """Count a wish to have a letter sent: whoever floods a mailbox with one kind leaves its owner the others.

        All that is delivered to one mailbox is counted together, however many addresses it has.
        """
        await self._count_address(address)
        mailbox = self._key(self._mailbox, _without_detail(email), kind)
        await self._count(self._key(self._wisher, address, email, kind), mailbox)

    async def may_judge(self, address: str) -> bool:
        """Count a look at a new password in a body that is refused: it takes the time of a guess, and is none."""
        key = cache.key(None, "limit", self._judgement.name, address)
        return (await self._limiter.check([(key, self._judgement)])).allowed

    async def _count_address(self, address: str) -> None:
        """By itself: a try that another limit refuses must cost its address as much as one that is made."""
        await self._count((cache.key(None, "limit", self._address.name, address), self._address))

    async def _count(self, *limits: tuple[str, Limit]) -> None:
        decision = await self._limiter.check(limits)
        if not decision.allowed:
            raise refusal(decision)

    def _key(self, limit: Limit, *subjects: str) -> tuple[str, Limit]:
        # Redis learns neither addresses of people nor tokens, nor what the database stores of these.
        hidden = self._keyring.pseudonym(" ".join([limit.name, *map(normalize, subjects)]))
        return cache.key(None, "limit", limit.name, hidden), limit


def _without_detail(email: str) -> str:
    """The address without what its owner may append to it: `ada+shop@example.com` is delivered to `ada@example.com`
    (RFC 5233, section 1).
    """
    local, _, domain = email.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"
