"""Every function that a tenant's SQL may execute is executed, with plausible arguments: none tells of the neighbour."""

import pytest

from tests.isolation.arena import Arena, answers, assert_nothing_of

EXECUTABLE = """
SELECT p.oid::regproc::text AS name, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t) AS types
  FROM pg_proc p
 WHERE p.prokind IN ('f', 'p') AND has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(p.pronamespace, 'USAGE')
   AND NOT ('internal'::regtype = ANY (p.proargtypes)) AND p.prorettype <> 'internal'::regtype
   -- They wait, and tell nothing.
   AND p.proname !~ '^pg_sleep'
 ORDER BY 1
"""

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

ROW = "(SELECT p FROM app.project p LIMIT 1)"
EXPRESSIONS = {
    "oid": ("1::oid", "'app.project'::regclass::oid", "'pg_authid'::regclass::oid"),
    "anyarray": ("ARRAY['x']", "ARRAY[1]", "ARRAY[NULL::text]"),
    "anycompatiblearray": ("ARRAY['x']", "ARRAY[1]", "ARRAY[NULL::text]"),
    **dict.fromkeys(
        ('"any"', "anyelement", "anynonarray", "anycompatible", "anycompatiblenonarray", "record"), (ROW,) * 3
    ),
}


def call(name: str, types: list[str], variant: int) -> str:
    """The call with the n-th plausible value of each type; NULL where none is known."""
    arguments = ", ".join(argument(type_, variant) for type_ in types)
    return f"SELECT * FROM {name}({arguments})"


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
    calls = [
        call(name, types, variant).replace("{b}", b.id).replace("{b_project}", b.project).replace("{b_user}", b.person)
        for name, types in functions
    ]
    for start in range(0, len(calls), 500):
        async with arena.inside(arena.a, read_only=True) as transaction:
            await transaction.driver.execute("SET LOCAL statement_timeout = 300; SET LOCAL lock_timeout = 100")
            assert_nothing_of(b, await answers(transaction.driver, calls[start : start + 500]))
        await arena.works_for(b)
    assert_nothing_of(b, await arena.attack(arena.harvest, read_only=True))
