"""Short forms: one kill of each kind, the control that has to find what is lost without protection, a few jobs measured."""

import shutil

import pytest

from tests.scale import jobs, kills
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


@pytest.mark.parametrize("letters", [False, True])
async def test_the_cost_of_jobs_is_counted_and_each_is_done(letters: bool) -> None:
    figures = await jobs.measured(1, tenants=8, jobs=160, letters=letters)
    print(figures)
    assert 0 < figures.jobs <= 160
    assert min(figures.spent[kind] for kind in ("worker", "postgres")) > 0
