"""Load from many tenants through the one address, and what it costs each kind of process."""

import asyncio
import itertools
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec
import psutil

from tests.benchmarks.process import Client
from tests.factories import Member
from tests.scale.estate import Estate

_NUMBERS: Final = itertools.count()
_KINDS: Final = 10
"""Of ten requests seven ask for a page, two for one member, one makes a project."""
_FULL: Final = 0.9
"""Of a CPU or of all of them: what uses so much has no more to give."""


class Caller(msgspec.Struct, frozen=True):
    """Somebody who asks."""

    token: str
    organization: str
    membership: str

    @classmethod
    def of(cls, member: Member) -> Self:
        return cls(member.person.token, member.organization_id, member.membership_id)

    def request(self, number: int) -> tuple[str, str, dict[str, Any]]:
        """Method, path and what else the client takes."""
        base = f"/v1/organizations/{self.organization}"
        match number % _KINDS:
            case 0:
                body = {"name": f"Project {number}", "key": f"L{number}"}
                return "POST", f"{base}/projects", {"body": body, "key": f"load-{number}"}
            case 1 | 2:
                return "GET", f"{base}/members/{self.membership}", {}
            case _:
                return "GET", f"{base}/projects?limit=20", {}


class Load(msgspec.Struct):
    """Clients with a connection each; how long their answers took, in milliseconds, and what those were."""

    port: int
    certificate: str
    """Path of what is to be trusted."""
    callers: list[Caller]
    took: list[float] = []
    statuses: Counter[int] = msgspec.field(default_factory=Counter)

    @classmethod
    def on(cls, estate: Estate, members: Sequence[Member]) -> Self:
        """Through the one address of the estate."""
        port = urlsplit(estate.haproxy.url).port
        assert port is not None
        return cls(port, str(estate.haproxy.certificate), [Caller.of(member) for member in members])

    async def run(self, seconds: float, *, clients: int, per_second: float | None = None) -> None:
        """For so long; ``per_second`` of all clients together, else as fast as they can."""
        until = time.monotonic() + seconds
        trust = ssl.create_default_context(cafile=self.certificate)
        rhythm = [_moments(number, clients, per_second) for number in range(clients)]
        await asyncio.gather(*(self._client(number, rhythm[number], until, trust) for number in range(clients)))

    async def _client(self, number: int, moments: Iterator[float], until: float, trust: ssl.SSLContext) -> None:
        caller = self.callers[number % len(self.callers)]
        client = await Client.connect(self.port, trust)
        for due in moments:
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if time.monotonic() > until:
                break
            method, path, more = caller.request(next(_NUMBERS))
            began = time.perf_counter()
            self.statuses[await client.request(method, path, token=caller.token, **more)] += 1
            self.took.append((time.perf_counter() - began) * 1000)
        await client.close()


def _moments(number: int, clients: int, per_second: float | None) -> Iterator[float]:
    """When this client asks: at a constant rate however long answers take, the clients one after the other."""
    if per_second is None:
        return itertools.repeat(0.0)
    began = time.monotonic()
    return (began + (number + turn * clients) / per_second for turn in itertools.count())


def cpu_seconds(estate: Estate) -> Counter[str]:
    """What each kind of process has used of the CPUs until now."""
    found: Counter[str] = Counter()
    for kind, pids in estate.pids().items():
        for pid in pids:
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                times = process.cpu_times()
                found[kind] += times.user + times.system
    own = psutil.Process().cpu_times()
    found["clients"] = own.user + own.system
    return found


def used_up(spent: Counter[str], seconds: float, shares: dict[str, float]) -> str:
    """What had no more to give; ``shares`` are those of a CPU that processes with one thread used."""
    cpus = psutil.cpu_count() or 1
    full = [f"{name} used {share:.0%} of a CPU" for name, share in shares.items() if share >= _FULL]
    if (all_of_it := spent.total() / seconds / cpus) >= _FULL:
        full.append(f"all {cpus} CPUs were used ({all_of_it:.0%})")
    return "; ".join(full) or f"nothing was used up: {all_of_it:.0%} of {cpus} CPUs"
