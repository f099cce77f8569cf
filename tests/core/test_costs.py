"""What housekeeping costs goes by how much it takes, not by how much there is."""

import asyncpg
import pytest

from tests.core.workbench import Note, Workbench

MANY = 20_000
TAKEN = 10
LONG_AGO = "now() - interval '900 days' + i * interval '1 second'"

PLANTED = {
    "outbox": (
        "INSERT INTO app.outbox (id, lane, task, payload, due_at)"
        f" SELECT gen_random_uuid(), '00000000-0000-0000-0000-000000000001', '{Note.NAME}', '{{}}', {LONG_AGO} FROM generate_series(1, $1) AS i"
    ),
    "account_event": (
        "INSERT INTO app.account_event (user_id, id, type, version, target_type, data, context, recorded_at)"
        " SELECT gen_random_uuid(), app.later_id('01900000-0000-7000-8000-000000000000', i), 'a.b', 1, 'user', '{}', '{}',"
        f" {LONG_AGO}"
        " FROM generate_series(1, $1) AS i"
    ),
    "credential": (
        "INSERT INTO app.credential (id, kind, hash, expires_at)"
        f" SELECT gen_random_uuid(), 'reset', sha256(i::text::bytea), {LONG_AGO} FROM generate_series(1, $1::integer) AS i"
    ),
    "idempotency": (
        "INSERT INTO app.idempotency (user_id, key_hash, fingerprint, answer, created_at)"
        f" SELECT gen_random_uuid(), sha256(i::text::bytea), '', '', {LONG_AGO} FROM generate_series(1, $1::integer) AS i"
    ),
}

LEASED = """
UPDATE app.outbox AS o SET status = 'leased', lease_hash = '', leased_until = now() + interval '1 hour' * sign(place - $1 - 0.5)
  FROM (SELECT id, row_number() OVER () AS place FROM app.outbox) AS p WHERE p.id = o.id
"""
"""All of them, and so many of the leases ran out."""

CALLS = {
    "claim": (
        "outbox",
        (
            "SELECT * FROM app.claim_jobs('default', (SELECT array_agg(sha256(i::text::bytea)) FROM generate_series(1, $1::integer) AS i),"
            " 60, 1000, 1000, '00000000-0000-0000-0000-000000000000', '{}', '{}')"
        ),
    ),
    "sweep": ("outbox", "SELECT * FROM app.sweep_jobs($1, 0, '{}')"),
    "purge of account events": ("account_event", "SELECT app.purge_account_events(interval '100 days', $1)"),
    "purge of credentials": ("credential", "SELECT app.purge_credentials(interval '1 day', $1)"),
    "purge of answers": ("idempotency", "SELECT app.purge_idempotency($1)"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_it_reads_no_more_than_it_takes(bench: Workbench, name: str) -> None:
    table, call = CALLS[name]
    superuser = bench.superuser
    await superuser.execute("SET session_replication_role = replica")  # whose they are does not matter
    await superuser.execute(PLANTED[table], MANY)
    await superuser.execute("RESET session_replication_role")
    # A vacuum that came while they were planted believes the table empty, and joins would compare each with each.
    await superuser.execute(f"ANALYZE app.{table}")
    if name == "sweep":
        await superuser.execute(LEASED, TAKEN)
    await superuser.execute(f"ANALYZE app.{table}")
    # As after five calls, when the plan is made for any number.
    async with superuser.transaction():
        await superuser.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        found, changed = await touched(superuser, table)
        await superuser.fetch(call, TAKEN)
        found_now, changed_now = await touched(superuser, table)
    assert TAKEN <= changed_now - changed <= 2 * TAKEN
    assert found_now - found < 30 * TAKEN


async def test_how_long_jobs_wait_is_asked_without_reading_the_flood(bench: Workbench) -> None:
    superuser = bench.superuser
    await superuser.execute(PLANTED["outbox"], MANY)
    async with superuser.transaction():
        found, _ = await touched(superuser, "outbox")
        assert await superuser.fetchval("SELECT app.longest_wait('default', '{}')") > 800 * 86_400
        but = "ARRAY['00000000-0000-0000-0000-000000000001'::uuid]"
        assert await superuser.fetchval(f"SELECT app.longest_wait('default', {but})") == 0
        await superuser.execute(
            "INSERT INTO app.outbox (id, task, payload, due_at)"
            " VALUES (gen_random_uuid(), 'x', '{}', now() - interval '1 day')"
        )
        assert await superuser.fetchval(f"SELECT app.longest_wait('default', {but})") == 86_400
        found_now, _ = await touched(superuser, "outbox")
    assert found_now - found < 10


async def touched(superuser: asyncpg.Connection, table: str) -> tuple[int, int]:
    """Rows that this connection has found and changed lately."""
    row = await superuser.fetchrow(
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0), n_tup_upd + n_tup_del"
        " FROM pg_stat_xact_user_tables WHERE relid = $1::regclass",
        f"app.{table}",
    )
    return row[0], row[1]
