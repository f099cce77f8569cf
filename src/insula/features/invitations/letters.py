"""How many letters an organization may send, and which token each carries."""

from collections.abc import Collection
from typing import Final

from insula.core import cache
from insula.core.errors import InvalidRequest, RateLimited, Wrong
from insula.core.ids import to_text
from insula.core.keyring import Keyring
from insula.core.limits import Limit, Limiter
from insula.core.permissions import Principal
from insula.features.invitations.models import Invitation

_DAY: Final = 86_400
_TO_ONE_ADDRESS: Final = Limit("invitation-address", 5, _DAY, strict=True)
"""Counted for each organization and each inviter by themselves: what others send to an address must not be told by a
refusal, and who has many organizations has no more letters for it.
"""


class Letters:
    """Keeps invitations from becoming a way to flood mailboxes, a single one or many."""

    def __init__(self, limiter: Limiter, keyring: Keyring, per_day: int) -> None:
        self._limiter, self._keyring, self._per_day = limiter, keyring, per_day

    async def take(self, inviter: Principal, addresses: Collection[str]) -> None:
        """Count a letter to each of these normalised addresses. Raises RateLimited."""
        if len(addresses) > self._per_day:
            raise InvalidRequest.about("/invitations", Wrong.TOO_LONG, f"at most {self._per_day} letters a day")
        # Redis learns no addresses of people.
        hidden = [self._keyring.pseudonym(address) for address in addresses]
        all_at_once = self._all_at_once(len(addresses))
        senders = {
            "one person": (None, "inviter", str(inviter.user_id)),
            "one organization": (inviter.organization_id, "inviters"),
        }
        for sender, counter in senders.items():
            limits = [(cache.key(*counter, "letters"), all_at_once)]
            limits += [(cache.key(*counter, "letters", address), _TO_ONE_ADDRESS) for address in hidden]
            decision = await self._limiter.check(limits)
            if not decision.allowed:
                raise RateLimited(decision.retry_after, reason=_most(decision.limit, sender))

    def token_digest(self, invitation: Invitation) -> bytes:
        """What is stored of the token that the invitation's latest letter will carry."""
        to = addressee(to_text("org", invitation.tenant_id), invitation.id, invitation.email_norm)
        token = self._keyring.mailed("invitation", invitation.credential_id, to=to, sending=invitation.sendings)
        return self._keyring.digest(token)

    def _all_at_once(self, letters: int) -> Limit:
        """The limiter takes one at a time: so many letters are one that takes as many times as long to pay off."""
        return Limit("invitations", self._per_day, letters * _DAY, burst=self._per_day // letters, strict=True)


def _most(limit: Limit, sender: str) -> str:
    """A limit is another one while Redis is away; its name stays."""
    to_one = " to one address" if limit.name == _TO_ONE_ADDRESS.name else ""
    letters, are = ("letter", "is") if limit.quantity == 1 else ("letters", "are")
    return f"{limit.quantity} {letters} a day{to_one} {are} sent by {sender}."


def addressee(organization: str, invitation: str, email_norm: str) -> str:
    """Whom a token is for: a row of another organization, or for another address, that names the same credential has
    another token.
    """
    return f"{organization} {invitation} {email_norm}"
