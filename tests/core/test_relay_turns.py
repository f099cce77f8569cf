"""Whose turn it is at the relay: organizations go round in a circle, and no flood of one keeps the others waiting."""

import time
from uuid import UUID

import asyncpg
import pytest

from insula.core.relay import PROGRAM
from tests.core.workbench import A, B, C, D, E, Note, Workbench, leave_effect


async def test_organizations_take_turns(bench: Workbench) -> None:
    await bench.flood(B, 50)
    for tenant in (A, C, D):
        await bench.ask(Note(), Note(), tenant=tenant)
    await bench.relay(ahead=8).hand_out()
    assert sorted(await bench.lanes()) == [A, A, B, B, C, C, D, D]


async def test_the_time_of_others_comes_while_one_s_flood_waits_for_its_own(bench: Workbench) -> None:
    await bench.flood(A, 5000)
    await bench.superuser.execute("UPDATE app.outbox SET status = 'waiting'")
    await bench.ask(Note(), tenant=B, delay=60)
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, task, payload, due_at)"
        " VALUES (gen_random_uuid(), $1, '{}', now() + interval '1 minute')",
        Note.NAME,
    )
    await bench.superuser.execute("UPDATE app.outbox SET due_at = now() WHERE lane <> $1", A)
    await bench.relay(ahead=8).hand_out()
    others = await bench.superuser.fetch("SELECT lane, status FROM app.outbox WHERE lane <> $1 ORDER BY lane", A)
    assert [tuple(row) for row in others] == [(B, "leased"), (PROGRAM, "leased")]
    assert (await bench.statuses())["waiting"] > 3000, "what one claim does is bounded"


async def test_the_circle_goes_on_where_it_stopped(bench: Workbench) -> None:
    for tenant in (A, B, C, D, E):
        await bench.flood(tenant, 4)
    relay, seen = bench.relay(ahead=2), []
    for _ in range(5):
        await relay.hand_out()
        seen.append(await bench.lanes())
        while not seen[-1]:
            await relay.hand_out()
            seen[-1] = await bench.lanes()
    assert {tenant for turn in seen for tenant in turn} == {A, B, C, D, E}
    assert seen[0] == [A, B] and seen[1] == [C, D]


async def test_what_belongs_to_no_organization_shares_one_turn(bench: Workbench) -> None:
    """Letters of sign-up, and the program's own: no crowd of strangers makes the circle longer."""
    await bench.flood(A, 50)
    for _ in range(4):
        await bench.superuser.execute(
            "INSERT INTO app.outbox (id, tenant_id, user_id, task, payload)"
            " VALUES (gen_random_uuid(), NULL, gen_random_uuid(), $1, '{}')",
            Note.NAME,
        )
    await bench.relay(ahead=4).hand_out()
    assert sorted(await bench.lanes()) == [A, A, PROGRAM, PROGRAM]


async def test_what_a_person_asks_for_outside_of_organizations_keeps_no_letter_waiting(bench: Workbench) -> None:
    await bench.ask(*(Note() for _ in range(50)), tenant=None, user=B)
    await bench.superuser.execute(
        "INSERT INTO app.outbox (id, tenant_id, task, payload) VALUES (gen_random_uuid(), NULL, $1, '{}')", Note.NAME
    )
    await bench.relay(ahead=4).hand_out()
    assert sorted(await bench.lanes()) == [B, B, B, PROGRAM]


async def test_no_sql_of_a_request_asks_to_be_first(bench: Workbench) -> None:
    lie = "INSERT INTO app.outbox (id, tenant_id, user_id, lane, task, payload, due_at) VALUES"
    for lane, due in ((A, "now() - interval '1 second'"), (B, "now()"), (PROGRAM, "now()")):
        async with bench.anybody.transaction() as db:
            await db.driver.execute("SELECT app.set_context($1, NULL)", A)
            await db.driver.execute("SET LOCAL ROLE app_rw")
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await db.driver.execute(f"{lie} (gen_random_uuid(), $1, NULL, $2, 'x', '{{}}', {due})", A, lane)


async def test_one_organization_holds_a_quarter_of_what_is_in_flight_and_hides_nobody(bench: Workbench) -> None:
    for tenant in (A, B, C, D, E):
        await bench.flood(tenant, 30)
    relay = bench.relay(in_flight=16, ahead=100)
    taken: list[UUID] = []
    for _ in range(4):
        await relay.hand_out()
        taken += await bench.lanes()
    assert len(taken) == 16, "the cap on all of them"
    assert max(taken.count(tenant) for tenant in set(taken)) == 4, "the cap on one of them"

    # Four stand at their cap; one place is free, and the fifth must get it.
    await bench.clear()
    for tenant in (A, B, C, D, E):
        await bench.flood(tenant, 30)
    await bench.superuser.execute(
        "UPDATE app.outbox SET status = 'leased', lease_hash = sha256('x'), leased_until = now() + interval '1 minute'"
        " WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY lane) AS n FROM app.outbox"
        " WHERE lane < $1) AS first WHERE n <= 4)",
        E,
    )
    relay = bench.relay(in_flight=17, ahead=100)
    await relay.hand_out()
    assert await bench.lanes() == [E]


@pytest.mark.attack(130)
async def test_a_flood_of_one_organization_delays_another_by_less_than_two_seconds(
    bench: Workbench, pytestconfig: pytest.Config
) -> None:
    await bench.flood(A, pytestconfig.getoption("--flood-jobs", 30_000))
    relay, runner = bench.relay(), bench.runner({Note: leave_effect})
    for _ in range(5):
        for lease in await bench.leases(relay):
            await runner.run(lease)
    (job_id,) = await bench.ask(Note(text="at last"), tenant=B)
    began = time.monotonic()
    while (await bench.row(job_id))["status"] != "done":
        for lease in await bench.leases(relay):
            await runner.run(lease)
    assert time.monotonic() - began < 2
