"""Who is counted, what callers learn about their limits, and the limits on addresses."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from insula.core import cache
from insula.core.errors import RateLimited
from insula.core.http.access_log import PROBES
from insula.core.http.authentication import carries_credential
from insula.core.http.still_refused import StillRefused
from insula.core.limits import Decision, Limit, Limiter

UNKNOWN: Final = "::"
"""The address of a caller that has none, such as a Unix socket's."""

_REMEMBERED: Final = 10_000
_LONGEST: Final = 64


def client_address(scope: Scope, trusted_hops: int) -> str:
    """The caller's IP address, for the audit trail and for allow lists.

    X-Forwarded-For is believed for as many entries, from the right, as proxies of ours stand in front: each
    wrote down who called it, and everything further left is the caller's invention.
    """
    peer = scope.get("client")
    address = _parsed(peer[0]) if peer else None
    if trusted_hops:
        written = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        entries = [entry for entry in written.decode("latin-1").split(",") if entry.strip()][-trusted_hops:]
        address = (_parsed(entries[0][:_LONGEST]) if entries else None) or address
    return address or UNKNOWN


@lru_cache(maxsize=_REMEMBERED)
def counted_address(address: str) -> str:
    """What limits count: an IPv6 caller owns a whole /64, and could come from a new address every time."""
    return str(IPv6Network((address, 64), strict=False)) if ":" in address else address


@lru_cache(maxsize=_REMEMBERED)
def _parsed(text: str) -> str | None:
    """The canonical form of what proxies write: bare, quoted or bracketed, with or without a port."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def headers(decision: Decision) -> dict[bytes, bytes]:
    """As in draft-ietf-httpapi-ratelimit-headers-11; after a refusal the window ends with Retry-After."""
    limit, window = decision.limit, decision.retry_after or decision.reset_seconds
    told = {
        b"ratelimit-policy": f'"{limit.name}";q={limit.quantity};w={limit.window}'.encode(),
        b"ratelimit": f'"{limit.name}";r={decision.remaining};t={window}'.encode(),
    }
    if not decision.allowed:
        told[b"retry-after"] = str(decision.retry_after).encode()
    return told


def refusal(decision: Decision) -> RateLimited:
    """The 429 for a decision that went against the caller."""
    told = {name.decode(): text.decode() for name, text in headers(decision).items()}
    return RateLimited(decision.retry_after, told)


class AddressRateLimit(ASGIMiddleware):
    """Stops addresses that ask too much without a credential, before the database, and those that guess credentials.

    Only the door can tell a guess from a credential, so guesses are stopped behind it: an office shares one address,
    and whoever guesses there must not lock the others out.

    Leaves ``client_address`` and, where it counted, the decision as ``rate_limit`` in ``scope["state"]``.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, limiter: Limiter, *, anonymous: Limit, refusals: Limit, trusted_hops: int) -> None:
        self._limiter = limiter
        self._anonymous = anonymous
        self._refusals = refusals
        self._trusted_hops = trusted_hops
        self._guessing = StillRefused()

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        assert scope["type"] == ScopeType.HTTP
        if scope["path"] not in PROBES:  # every pod of a node is probed from one address
            scope["state"]["client_address"] = client_address(scope, self._trusted_hops)
            await self._admit(scope)
        await next_app(scope, receive, send)

    async def _admit(self, scope: HTTPScope) -> None:
        # Nobody checks credentials on a public route, nor of OPTIONS, so there one must not lift the limit.
        checked = "public" not in scope["route_handler"].opt and scope["method"] != "OPTIONS"
        if checked and carries_credential(scope):
            return
        address = counted_address(scope["state"]["client_address"])
        decision = await self._limiter.check([_counter(address, self._anonymous)])
        if not decision.allowed:
            raise refusal(decision)
        scope["state"]["rate_limit"] = decision

    async def credential_refused(self, scope: Scope) -> None:
        """Count a credential the door did not know; raises RateLimited when its address showed too many."""
        address = counted_address(client_address(scope, self._trusted_hops))
        decision = self._guessing.decision(address)
        if decision is None:
            decision = await self._limiter.check([_counter(address, self._refusals)])
            if decision.allowed:
                return
            self._guessing.hold(address, decision)
        raise refusal(decision)


def _counter(address: str, limit: Limit) -> tuple[str, Limit]:
    return cache.key(None, "limit", limit.name, address), limit
