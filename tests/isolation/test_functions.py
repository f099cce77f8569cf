"""Every function that a tenant's SQL may execute is executed, with plausible arguments: none tells of the neighbour."""

from collections.abc import Iterable

import asyncpg
import pytest

from insula.core.catalogue.doors import APP_RW
from insula.core.catalogue.doors import EXECUTABLE as BY_LOGIN
from insula.core.tables import delete_door
from tests.isolation.arena import Arena, Tenant, answers, assert_nothing_of

EXECUTABLE = """
SELECT p.oid::regproc::text AS name, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t) AS types
  FROM pg_proc p
 WHERE p.prokind IN ('f', 'p') AND has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(p.pronamespace, 'USAGE')
   AND NOT ('internal'::regtype = ANY (p.proargtypes)) AND p.prorettype <> 'internal'::regtype
   -- They wait, and tell nothing.
   AND p.proname !~ '^pg_sleep'
 ORDER BY 1
"""

OURS = """
SELECT p.oid::regproc::text AS name, p.proname, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t) AS types
  FROM pg_proc p
 WHERE p.pronamespace = 'app'::regnamespace AND p.proname = ANY ($1)
"""

LAST = ("app.revoke_my_sessions",)

TEXTS = ("app.project", "SELECT * FROM app.project", "app.credential")
VALUES: dict[str, tuple[str, ...]] = {
    "text": TEXTS,
    "name": ("app_rw", "app.context", "project"),
    "cstring": ("app.project", "1", "{}"),
    "regclass": ("app.project", "app.credential", "app.event"),
    "integer": ("1", "0", "2"),
    "bigint": ("1", "0", "2"),
    "smallint": ("1", "0", "2"),
    "boolean": ("true", "false", "true"),
    "uuid": ("{b}", "{b_project}", "{b_user}"),
    "uuid[]": ("{{b_project}}", "{{b}}", "{}"),
    "bytea": ("x", "\\x00", ""),
    "bytea[]": ("{x}", "{}", "{x}"),
    "text[]": ("{app.project}", "{name}", "{}"),
    "json": ('{"a": 1}', "[]", "null"),
    "jsonb": ('{"a": 1}', "[]", "null"),
    "jsonpath": ("$.*", "$", "strict $.a"),
    "xml": ("<a/>", "<b>1</b>", "x"),
    "regproc": ("now", "app.enter", "version"),
    "regprocedure": ("now()", "app.tenant_id()", "version()"),
    "regtype": ("uuid", "text", "app.project"),
    "regrole": ("app_door", "app_owner", "app_rw"),
    "regnamespace": ("app", "pg_catalog", "migration"),
    "interval": ("1 day", "0", "-1 day"),
    "timestamp with time zone": ("now", "2020-01-01", "infinity"),
    "double precision": ("1", "0", "60"),
    "numeric": ("1", "0", "2"),
    "tsquery": ("a", "b", "c"),
    "tsvector": ("a", "b", "c"),
    "refcursor": ("kept", "c", "d"),
    "pg_lsn": ("0/0", "0/1", "1/0"),
    "xid": ("1", "2", "3"),
    "tid": ("(0,1)", "(0,2)", "(1,1)"),
}

DELETES = {delete_door(table) for table in ("membership", "team_member")}
"""Doors that core/rls.py makes with a table."""
ROW = "(SELECT p FROM app.project p LIMIT 1)"
EXPRESSIONS = {
    "oid": ("1::oid", "'app.project'::regclass::oid", "'pg_authid'::regclass::oid"),
    "anyarray": ("ARRAY['x']", "ARRAY[1]", "ARRAY[NULL::text]"),
    "anycompatiblearray": ("ARRAY['x']", "ARRAY[1]", "ARRAY[NULL::text]"),
    **dict.fromkeys(
        ('"any"', "anyelement", "anynonarray", "anycompatible", "anycompatiblenonarray", "record"), (ROW,) * 3
    ),
}


def aimed(functions: Iterable[asyncpg.Record], variant: int, b: Tenant) -> list[str]:
    """Calls of them with the n-th plausible value of each type, pointed at the neighbour; NULL where none is known."""
    return [
        f"SELECT * FROM {name}({', '.join(argument(type_, variant) for type_ in types)})"
        .replace("{b}", b.id).replace("{b_project}", b.project).replace("{b_user}", b.person)
        for name, types in ((function["name"], function["types"]) for function in functions)
    ]  # fmt: skip


def argument(type_: str, variant: int) -> str:
    if type_ in EXPRESSIONS:
        return EXPRESSIONS[type_][variant]
    return f"'{VALUES[type_][variant]}'::{type_}" if type_ in VALUES else f"NULL::{type_}"


@pytest.mark.parametrize("variant", range(3))
async def test_no_function_tells_of_the_neighbour(arena: Arena, variant: int) -> None:
    await arena.works_for(arena.b)
    async with arena.inside(arena.a, read_only=True) as transaction:
        functions = await transaction.driver.fetch(EXECUTABLE)
    assert len(functions) > 2500
    b = arena.b
    calls = aimed(functions, variant, b)
    for start in range(0, len(calls), 500):
        async with arena.inside(arena.a, read_only=True) as transaction:
            await transaction.driver.execute("SET LOCAL statement_timeout = 300; SET LOCAL lock_timeout = 100")
            assert_nothing_of(b, await answers(transaction.driver, calls[start : start + 500]))
        await arena.works_for(b)
    assert_nothing_of(b, await arena.attack(arena.harvest, read_only=True))


async def ours(arena: Arena, names: set[str]) -> list[asyncpg.Record]:
    found = await arena.superuser.fetch(OURS, names)
    assert {function["proname"] for function in found} == names
    return found


@pytest.mark.parametrize("variant", range(3))
async def test_no_door_lets_a_command_change_or_tell_what_is_the_neighbours(arena: Arena, variant: int) -> None:
    # Two end their own connection, and are called above; one ends the thief's own session, and comes last.
    doors = sorted(
        await ours(arena, set(APP_RW) - {"prove_untouched", "end_session"} | DELETES),
        key=lambda door: door["name"] in LAST,
    )
    thief, told = await arena.tenant(), ""
    for call in aimed(doors, variant, arena.b):
        async with arena.inside(thief, read_only=False) as transaction:
            answer = await answers(transaction.driver, [call])
            await transaction.driver.execute("COMMIT")
            transaction.settled = True
            assert "UndefinedFunction" not in answer, call
            told += answer
    assert_nothing_of(arena.b, told)
    assert_nothing_of(arena.a, await arena.works_for(arena.b))
    assert_nothing_of(arena.b, await arena.attack(arena.harvest, read_only=False))


async def test_the_doors_of_other_logins_are_shut(arena: Arena) -> None:
    doors = await ours(arena, {name for login in BY_LOGIN.values() for name in login} - set(APP_RW))
    async with arena.inside(arena.a, read_only=False) as transaction:
        for door, call in zip(doors, aimed(doors, 0, arena.b), strict=True):
            assert f"permission denied for function {door['proname']}" in await answers(transaction.driver, [call])
