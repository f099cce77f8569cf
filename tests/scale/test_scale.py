"""The short form of the proof: one kill of each kind, and the control that has to find what is lost without protection."""

import shutil

import pytest

from tests.scale import kills
from tests.scale.estate import Estate

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
    pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed"),
]


async def test_whatever_is_killed_what_was_acknowledged_is_found_once() -> None:
    async with Estate(apis=3, workers=2) as estate:
        told = await kills.killing(estate, rounds=1, per_second=20)
        kinds = estate.mortals().keys()
    print(told)
    assert told.report.killed.keys() == kinds
    assert told.failovers, "the master of Redis came back before another was chosen"
    assert told.repeated, "nobody noticed anything"
    assert told.report.acknowledged > 200, "too little was asked for to prove anything"
    assert told.report.broken() == []


async def test_the_same_count_finds_what_clients_without_keys_do_twice() -> None:
    for _ in range(4):  # whether a kill meets a request on its way is a matter of luck
        async with Estate(apis=3, workers=1, change=kills.careless) as estate:
            told = await kills.killing(estate, rounds=2, per_second=60, kinds=("api", "haproxy"), keys=False)
        assert told.report.lost == 0, told
        assert told.report.refused_otherwise() == []
        if told.report.done_twice():
            break
    assert told.report.done_twice(), told
