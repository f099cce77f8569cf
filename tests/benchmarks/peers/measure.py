"""Alternating rounds, before each peer ours, and the table of what they gave."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import psutil

from tests.benchmarks.peers.contestants import OURS, Contestant
from tests.benchmarks.peers.data import Caller, Paths
from tests.benchmarks.peers.line import Line
from tests.benchmarks.peers.place import cpu_seconds
from tests.benchmarks.peers.raw import Raw

_SECONDS: Final = 0.7
_WARM_SECONDS: Final = 1.5
_PATIENCE_SECONDS: Final = 30


class Sample(NamedTuple):
    """One round: requests a second, and microseconds of CPU for each."""

    rate: float
    server: float
    postgres: float


Requests = Callable[[Paths, Caller], Iterator[bytes]]


class Asked(NamedTuple):
    """One contestant, and the requests of each caller."""

    name: str
    of: Contestant | Raw
    requests: Requests


class Pair(NamedTuple):
    """Ours and a peer, one right after the other."""

    ours: Sample
    peer: Sample


class Course(NamedTuple):
    """Where it is run."""

    callers: list[Caller]
    postgres: psutil.Process
    rounds: int

    async def run(self, asked: list[Asked]) -> dict[str, list[Pair]]:
        """The first is ours; the pairs of each of the others."""
        ours, *peers = asked
        warm, seconds = (_WARM_SECONDS, _SECONDS) if self.rounds else (0, 0)  # everybody asks once all the same
        for each in asked:
            await self._burst(each, warm)
        pairs: dict[str, list[Pair]] = {peer.name: [] for peer in peers}
        for _ in range(self.rounds or 1):
            for peer in peers:
                pairs[peer.name].append(Pair(await self._burst(ours, seconds), await self._burst(peer, seconds)))
        return pairs

    async def _burst(self, asked: Asked, seconds: float) -> Sample:
        before = cpu_seconds(self.postgres)
        if isinstance(asked.of, Raw):
            began = time.perf_counter()
            async with asyncio.timeout(_PATIENCE_SECONDS):
                rate = await asked.of.rate(1)
            count = rate * min(1.0, time.perf_counter() - began)
            return Sample(rate, 0.0, (cpu_seconds(self.postgres) - before) / count * 1e6)
        lines = [await Line.connect(asked.of.port) for _ in self.callers]
        server, began = cpu_seconds(asked.of.process), time.perf_counter()
        until = began + seconds
        works = [
            _work(line, asked.requests(asked.of.paths, caller), until)
            for line, caller in zip(lines, self.callers, strict=True)
        ]
        async with asyncio.timeout(seconds + _PATIENCE_SECONDS):
            count = sum(await asyncio.gather(*works))
        took = time.perf_counter() - began
        served, stored = cpu_seconds(asked.of.process) - server, cpu_seconds(self.postgres) - before
        for line in lines:
            line.close()
        return Sample(count / took, served / count * 1e6, stored / count * 1e6)


async def _work(line: Line, requests: Iterator[bytes], until: float) -> int:
    """Requests for so long, one after the other; returns how many."""
    count = 0
    for request in requests:
        status, body = await line.exchange(request)
        assert status < 300, f"{request!r}: {status} {body!r}"
        count += 1
        if time.perf_counter() > until:
            break
    return count


def report(title: str, pairs: dict[str, list[Pair]], goals: dict[str, float]) -> bool:
    """Print what each gave and the ratios of ours to it, medians over the rounds; whether the goals are met.

    A goal is about requests a second. Where others use the machine as well, the CPU tells more.
    """
    print(
        f"\n{title}\n  {'':<28}{'req/s':>9}{'server us':>11}{'postgres us':>13}{'x clock':>10}{'x CPU':>8}{'x both':>8}"
    )
    _row(OURS, [pair.ours for found in pairs.values() for pair in found], "")
    met = True
    for name, found in pairs.items():
        if not all(pair.ours.server for pair in found):
            _row(
                name, [pair.peer for pair in found], "  nothing to compare: so few requests took no CPU that is counted"
            )
            continue
        clock = statistics.median(pair.ours.rate / pair.peer.rate for pair in found)
        ratios = f"{clock:>9.2f}x"
        if found[0].peer.server:
            alone = statistics.median(pair.peer.server / pair.ours.server for pair in found)
            both = statistics.median(_both(pair.peer) / _both(pair.ours) for pair in found)
            ratios += f"{alone:>7.2f}x{both:>7.2f}x"
        goal = goals.get(name)
        if goal is not None:
            met &= clock >= goal
            ratios += f"  goal {goal}x {'ok' if clock >= goal else 'MISSED'}"
        _row(name, [pair.peer for pair in found], ratios)
    return met


def _both(sample: Sample) -> float:
    return sample.server + sample.postgres


def _row(name: str, samples: list[Sample], ratios: str) -> None:
    rate, server, postgres = (statistics.median(values) for values in zip(*samples, strict=True))
    shown = f"{server:.0f}" if server else "-"
    print(f"  {name:<28}{rate:>9.0f}{shown:>11}{postgres:>13.0f}{ratios}", flush=True)
