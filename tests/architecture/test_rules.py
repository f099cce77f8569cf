"""The program keeps the rules of its house, and each rule notices when it is broken."""

from collections.abc import Callable
from types import ModuleType

import pytest

from tests.architecture import data, shape
from tests.architecture.sources import Source, parse, sources

Rule = Callable[[Source], shape.Findings]

PROGRAM = ("src", "migrations")
EVERYTHING = ("src", "migrations", "tests")
CODE = ("src", "tests", "deploy", ".ci")
"""All of it but migrations: each of those is as long as what it makes, and stays as it was released."""


def rules_in(module: ModuleType) -> list[Rule]:
    return [
        found
        for name, found in vars(module).items()
        if callable(found) and found.__module__ == module.__name__ and "_" in name.strip("_") and name[0] != "_"
    ]


RULES = rules_in(shape) + rules_in(data)

SCOPE: dict[Rule, tuple[str, ...]] = {
    shape.files_have_at_most_300_lines: CODE,
    shape.functions_have_at_most_40_lines: CODE,
    shape.functions_take_at_most_5_parameters: (*CODE, "migrations"),
    shape.names_say_what_a_thing_is: EVERYTHING,
    shape.nothing_is_left_for_later: EVERYTHING,
    shape.skipped_tests_give_a_reason: EVERYTHING,
    shape.annotations_are_what_they_say: EVERYTHING,
    data.transactions_are_opened_in_one_place: ("src",),
    data.sql_is_never_built_from_strings: ("src",),
    data.the_context_is_set_by_doors_only: ("src",),
}
"""Where a rule holds, if not in the program and its migrations."""

EXCEPTIONS: dict[tuple[Rule, str], str] = {
    (shape.functions_take_at_most_5_parameters, "src/insula/core/listing.py"): "a list's parts, named where declared",
    (shape.modules_say_in_one_line_what_they_are, "src/insula/core/limits.py"): "and why no library does it",
    (shape.modules_say_in_one_line_what_they_are, "src/insula/embedded/launch.py"): "and why it is a script",
    (shape.imports_are_absolute_and_stand_at_the_top, "src/insula/__main__.py"): "--help must not import the program",
    (data.transactions_are_opened_in_one_place, "src/insula/core/db.py"): "this is the place",
    (data.transactions_are_opened_in_one_place, "src/insula/operators.py"): "the migrator names operators: no API can",
    (data.transactions_are_opened_in_one_place, "src/insula/provision.py"): "makes the database and migrates it",
    (
        data.transactions_are_opened_in_one_place,
        "src/insula/rotation.py",
    ): "the migrator replaces a key of the server's",
    (data.transactions_are_opened_in_one_place, "src/insula/seed.py"): "the demo's people are made by the owner",
    (data.sql_is_never_built_from_strings, "src/insula/core/journal.py"): "two statements of ours in one; values bind",
    (data.sql_is_never_built_from_strings, "src/insula/core/rls.py"): "DDL of migrations takes no binds",
    (data.sql_is_never_built_from_strings, "src/insula/provision.py"): "roles take no binds; the server quotes them",
    (data.the_context_is_set_by_doors_only, "src/insula/core/rls.py"): "a migration hands its scripts to the door",
    (data.lists_are_never_counted, "src/insula/core/quotas.py"): "up to the limit, and not for every row",
    (data.lists_are_never_counted, "src/insula/core/gauges.py"): "a gauge of the outbox, which stops at 10,000",
    (data.time_comes_from_the_clock, "src/insula/core/clock.py"): "this is the clock",
}
"""One file each, with the reason."""

PLANTED: dict[Rule, tuple[str, ...]] = {
    shape.files_have_at_most_300_lines: ("x = 1\n" * 301,),
    shape.functions_have_at_most_40_lines: ("def f():\n" + "    x = 1\n" * 40,),
    shape.functions_take_at_most_5_parameters: ("def f(self, a, b, c, d, *, e, f): ...",),
    shape.names_say_what_a_thing_is: ("class ProjectManager: ...", "class _JobHelper: ..."),
    shape.modules_say_in_one_line_what_they_are: ("'''Two\nlines.'''", "x = 1"),
    shape.nothing_is_left_for_later: ("def f():\n    raise NotImplementedError", "x = 1  # T~ODO: more"),
    shape.skipped_tests_give_a_reason: (
        "import pytest\n@pytest.mark.skip\ndef test(): ...",
        "import pytest\n@pytest.mark.skipif(True)\ndef test(): ...",
        "import pytest\npytest.skip()",
    ),
    shape.annotations_are_what_they_say: (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING: ...",
        "from __future__ import annotations",
    ),
    shape.imports_are_absolute_and_stand_at_the_top: ("def f():\n    import os", "from . import clock"),
    shape.callers_stand_above_what_they_call: ("def _g(): ...\ndef f():\n    _g()",),
    shape.ignored_warnings_give_a_reason: ("x = 1  # noqa: S608", "x = 1  # noqa"),
    shape.only_entrypoints_read_the_environment: (
        "import os\nx = os.environ['X']",
        "from os import getenv\nx = getenv('X')",
    ),
    data.transactions_are_opened_in_one_place: (
        "async def f(driver):\n    await driver.execute('BEGIN')",
        "import asyncpg\nasync def f(url):\n    return await asyncpg.connect(url)",
        "async def f(engine):\n    async with engine.begin(): ...",
        "async def f(self):\n    async with self._driver.transaction(): ...",
        "from sqlalchemy.ext.asyncio import AsyncSession\nx = AsyncSession()",
    ),
    data.sql_is_never_built_from_strings: (
        "async def f(db, x):\n    await db.execute(f'SELECT {x}')",
        "async def f(db, x):\n    await db.fetch('SELECT ' + x)",
        "async def f(db, x):\n    await db.fetch('SELECT %s' % x)",
        "async def f(db, x):\n    await db.fetch('SELECT {}'.format(x))",
        "async def f(db, x):\n    s = f'SELECT {x}'\n    await db.execute(s)",
        "def f(x):\n    return f'DELETE FROM app.project WHERE {x}'",
        "from x import columns\nLIST = f'SELECT {columns()} FROM app.project'",
    ),
    data.text_takes_literals_only: ("import sqlalchemy as sa\ndef f(x):\n    return sa.text(x)",),
    data.lists_are_never_counted: (
        "import sqlalchemy as sa\nx = sa.select(sa.func.count())",
        "X = 'SELECT count(*) FROM app.project'",
    ),
    data.the_context_is_set_by_doors_only: (
        "X = \"SELECT set_config('app.context', '', true)\"",
        "X = 'SET ROLE app_owner'",
    ),
    data.time_comes_from_the_clock: (
        "from datetime import datetime\nx = datetime.now()",
        "import time\nx = time.time()",
    ),
    data.ids_sort_by_time: ("from uuid import uuid4\nx = uuid4()",),
    data.other_hosts_are_called_through_the_outbound_client: ("import httpx", "from urllib.request import urlopen"),
}


def findings(rule: Rule) -> dict[str, list[str]]:
    """Path -> what the rule finds there."""
    found: dict[str, list[str]] = {}
    for source in sources(*SCOPE.get(rule, PROGRAM)):
        for line, wrong in rule(source):
            found.setdefault(source.path, []).append(f"{source.path}:{line}: {wrong}")
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_program_keeps_the_rule(rule: Rule) -> None:
    broken = [line for path, lines in findings(rule).items() if (rule, path) not in EXCEPTIONS for line in lines]
    assert not broken, "\n".join([rule.__doc__ or "", *broken])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_notices_when_it_is_broken(rule: Rule) -> None:
    for planted in PLANTED[rule]:
        assert list(rule(parse("src/insula/core/planted.py", planted.replace("~", "")))), planted


@pytest.mark.parametrize(("rule", "path"), EXCEPTIONS, ids=lambda part: getattr(part, "__name__", part))
def test_the_exception_is_still_needed(rule: Rule, path: str) -> None:
    assert path in findings(rule)
