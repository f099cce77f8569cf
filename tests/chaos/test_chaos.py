"""The API, workers, Redis and Postgres are killed at random: what was promised happens, and once."""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.chaos.contenders import SaqAlone
from tests.chaos.house import House
from tests.chaos.program import Program, serve, work
from tests.chaos.run import run


async def test_what_was_promised_happens_once_whatever_is_killed(pytestconfig: pytest.Config) -> None:
    kills: int = pytestconfig.getoption("--chaos-kills", 12)
    seconds: float = pytestconfig.getoption("--chaos-seconds", 6.0)
    report = await run(Program(), kills=kills, seconds=seconds)
    print(report)
    assert sum(report.killed.values()) == kills
    assert report.promises > seconds * 3, "too little was asked for to prove anything"
    assert report.broken() == []


async def test_the_same_count_finds_what_saq_alone_loses() -> None:
    for _ in range(4):  # whether a kill meets a job on its way is a matter of luck
        report = await run(SaqAlone(), kills=6, seconds=3, victims=("worker", "redis"), patience=5)
        if report.lost > report.unfinished:
            break
    assert report.lost > report.unfinished, f"what is late is not lost: {report}"
    assert 0 < report.lost < report.promises, f"nothing happened, so that nothing is known of what was lost: {report}"
    assert all(re.fullmatch(r"effect-\d+", name) for name in report.lost_names), report
    assert report.refused == []
    assert {"lost"} <= {broken.split()[1] for broken in report.broken()}


async def test_the_same_count_finds_what_clients_without_keys_do_twice() -> None:
    for _ in range(4):  # whether an answer is lost that somebody asks for again is a matter of luck
        report = await run(Program(keys=False), kills=2, seconds=3, victims=("worker", "api"))
        assert report.lost == 0, report
        assert report.refused_otherwise() == []
        if report.twice:
            break
    assert report.twice_names, report
    assert all(re.fullmatch(r"effect-\d+(/after)?", name) for name in report.twice_names), report
    assert "twice" in " ".join(report.broken())


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with House((("worker", work), ("api", serve)), patience_seconds=20) as house:
        yield house


async def _until(superuser: asyncpg.Connection, question: str) -> None:
    async with asyncio.timeout(30):
        while not await superuser.fetchval(question):
            await asyncio.sleep(0.02)


async def test_a_worker_that_is_told_to_stop_finishes_what_it_runs_and_leaves_the_rest(house: House) -> None:
    superuser, program = await house.superuser(), Program()
    await program.open(house)
    errands = [number for number in range(150) if number % 5 > 1]  # letters would wait for this busy process
    asked = asyncio.gather(*map(program.ask, errands), return_exceptions=True)
    await _until(superuser, "SELECT count(*) > 20 FROM app.chaos_effect")
    (took,) = await house.terminate("worker")
    await asked
    await program.close()
    assert took < 10  # seconds: it does not wait out the time it has
    after = dict(
        await superuser.fetch("SELECT status, count(*) FROM app.outbox WHERE started_at IS NOT NULL GROUP BY 1")
    )
    assert after.keys() == {"done"}, "nothing was left in the middle"
    counted = await superuser.fetchval("SELECT sum(crashes) + sum(failures) FROM app.outbox")
    assert counted == 0
    await superuser.close()


async def test_an_idle_worker_stops_at_once(house: House) -> None:
    superuser = await house.superuser()
    await _until(superuser, "SELECT count(*) > 0 FROM app.tick")
    await superuser.close()
    (took,) = await house.terminate("worker")
    assert took < 10  # seconds: it does not wait out the time it has
