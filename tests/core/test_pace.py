"""How fast the relay hands out what one organization asks for, and that nobody else waits for that pace."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.core.pace import BURST_SECONDS, Pace
from insula.core.relay import BREATH_SECONDS, PACED_SECONDS, POLL_SECONDS, PROGRAM
from tests.core.workbench import A, B, C, Note, Workbench


@given(
    per_minute=st.integers(1, 100_000),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=40),
)
def test_no_lane_is_given_more_than_its_burst_and_its_rate(per_minute: int, steps: list[tuple[float, int]]) -> None:
    now, given_out = 1000.0, 0
    pace = Pace(per_minute, lambda: now)
    for pause, wanted in steps:
        now += pause
        left = pace.left().get(A, wanted)
        taken = min(left, wanted)
        pace.spend([A] * taken)
        given_out += taken
        allowed = per_minute / 60 * (now - 1000.0 + BURST_SECONDS)
        assert given_out <= allowed + 50, "the whole of one look may be too much"
        wait = pace.wait()
        if wait is not None:
            assert pace.left()[A] == 0
            assert pace.must_wait(A)
            assert wait < (50 * 60 / per_minute) + 60 / per_minute
            now += wait + 1e-6
            assert pace.left().get(A, 1) >= 1
            assert not pace.must_wait(A)


async def test_a_flood_is_handed_out_at_its_pace_and_everybody_else_at_once(bench: Workbench) -> None:
    await bench.flood(A, 100)
    await bench.flood(B, 3)
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, task, payload) SELECT gen_random_uuid(), $1, '{}' FROM generate_series(1, 20)",
        Note.NAME,
    )
    relay, first, began = bench.relay(ahead=6, per_minute=150), [], time.monotonic()
    for _ in range(20):
        await relay.hand_out()
        first += await bench.lanes()
    burst, since = int(2.5 * BURST_SECONDS), time.monotonic() - began
    assert burst <= first.count(A) <= burst + 1 + 2.5 * since
    assert (first.count(B), first.count(PROGRAM)) == (3, 20)

    began, later = time.monotonic(), []
    while len(later) < 3:
        pause = await relay.hand_out()
        assert PACED_SECONDS <= pause <= POLL_SECONDS, "one at a time, without a look in vain after each"
        later += await bench.lanes()
        await asyncio.sleep(pause)
    assert later == [A, A, A]
    assert time.monotonic() - began > 0.5, "one after 0.4 seconds each"


async def test_others_who_ask_for_much_do_not_wait_for_the_pace_of_one(bench: Workbench) -> None:
    await bench.flood(A, 20)
    relay = bench.relay(ahead=6, per_minute=60)
    await relay.hand_out()
    await bench.lanes()
    await bench.flood(B, 4)
    await bench.flood(C, 4)
    pauses = []
    for _ in range(2):
        pauses.append(await relay.hand_out())
        await bench.lanes()
    assert pauses[0] == BREATH_SECONDS, "all that there was room for: there may be more"
    assert pauses[1] >= PACED_SECONDS


@pytest.mark.parametrize("in_flight", [8, 200])
async def test_others_do_not_wait_for_the_pace_of_one_where_their_share_is_small(
    bench: Workbench, in_flight: int
) -> None:
    await bench.flood(A, 500)
    relay = bench.relay(in_flight=in_flight, ahead=10, per_minute=600)
    for _ in range(40):
        await relay.hand_out()
        await finish(bench)
    await bench.flood(B, 30)
    while await bench.superuser.fetchval("SELECT count(*) FROM app.outbox WHERE status = 'due' AND lane = $1", B):
        assert await relay.hand_out() == BREATH_SECONDS
        await finish(bench)
    assert await relay.hand_out() >= PACED_SECONDS


async def finish(bench: Workbench) -> None:
    """What was handed out is done at once."""
    await bench.taken()
    await bench.superuser.execute("UPDATE app.outbox SET status = 'done', finished_at = now() WHERE status = 'leased'")
