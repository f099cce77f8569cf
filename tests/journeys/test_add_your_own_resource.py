"""The walk-through in the projects folder, followed to the letter in a copy of the project."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest

from insula.core.catalogue import check_catalogue
from insula.embedded.process import free_port
from insula.schema import REVISION
from insula.settings import Settings, variables
from tests.architecture.sources import ROOT, parse
from tests.architecture.test_rules import RULES
from tests.canaries import WATCH
from tests.conftest import address, clone
from tests.factories import Member, World
from tests.journeys.walkthrough import Steps
from tests.migrations.expansion import copied

FOLDERS = ("src", "migrations", "tests", "pyproject.toml", ".squawk.toml", "LICENSE")

LISTS = {"src/insula/product.py", "pyproject.toml"}
MATRIX, INVENTORY = "tests/architecture/permission_matrix.txt", "migrations/inventory.txt"
GOLDEN = {"migrations/diagram.md", INVENTORY, MATRIX}
"""What a program writes, and a person looks at."""

OPERATION = "tests/fuzz/test_operations.py::test_an_operation_answers_as_declared_whatever_it_is_asked"
GENERATED = (
    "tests/features/test_tickets.py",
    f"{OPERATION}[close_ticket]",
    f"{OPERATION}[get_ticket]",
    "tests/features/test_organization_end.py",
    "tests/attacks/test_isolation.py",
    "tests/isolation/test_bounds.py::test_every_moment_that_requests_may_write_has_bounds",
    "tests/isolation/test_catalogue.py::test_our_own_schema_breaks_no_rule",
    "tests/isolation/test_plans.py",
    "tests/isolation/test_tables.py",
    "tests/http/test_openapi.py",
    "tests/http/test_refusals.py",
    "tests/migrations/test_squawk.py::test_what_the_migrations_send_passes",
    "tests/migrations/test_up_and_down.py::test_down_and_up_again_leaves_the_same_schema_at_every_revision",
    "tests/architecture/test_features.py",
    "tests/architecture/test_golden.py",
    "tests/architecture/test_permission_matrix.py",
    "tests/architecture/test_routes.py",
    "tests/architecture/test_statements.py",
)
"""Tests that look at everything there is, and so at what is new."""
ELSEWHERE = ("tests/core/test_worker.py::test_a_job_is_done_after_its_commit",)
"""Tests that know the lists as they stand here; these too hold where somebody has added to them."""

Named = Callable[[str], str]
"""What the copy calls what is called so in the README."""

COMMENT = "SELECT obj_description('app'::regnamespace, 'pg_namespace')"


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    steps = Steps(copied(tmp_path_factory.mktemp("copy") / "project", FOLDERS))
    steps.follow()
    return steps


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for name in FOLDERS for path in (folder / name, *(folder / name).rglob("*"))]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


def words(text: bytes) -> set[str]:
    return set(re.findall(r"\w+", text.decode()))


def test_nothing_changes_but_its_files_the_lists_of_features_and_what_programs_write(steps: Steps) -> None:
    only_its_own_is_new(steps, ROOT, changed=LISTS | GOLDEN)
    assert steps.named("tickets/{ticket_id}/closure") in (steps.copy / MATRIX).read_text(encoding="utf-8")
    assert steps.named("relation app.ticket") in (steps.copy / INVENTORY).read_text(encoding="utf-8")


async def test_whoever_has_followed_the_steps_can_follow_them_again(
    steps: Steps, addresses: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    again = Steps(shutil.copytree(steps.copy, tmp_path / "again"))
    again.write()
    only_its_own_is_new(again, steps.copy, changed=LISTS)
    assert again.named("app.ticket") != steps.named("app.ticket")
    routes = again.run("-m", "insula", "routes")
    for followed in (steps, again):
        assert followed.named("tickets/{ticket_id}/closure") in routes
    name = f"insula_again_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await clone(addresses["admin"], name)
    again.run("-m", "insula", "migrate", **elsewhere(settings, addresses["admin"], name))
    superuser = await asyncpg.connect(addresses["admin"], database=name)
    try:
        for followed in (steps, again):
            assert await superuser.fetchval(followed.named("SELECT to_regclass('app.ticket') IS NOT NULL"))
    finally:
        await superuser.close()


def only_its_own_is_new(steps: Steps, origin: Path, changed: set[str]) -> None:
    before, after = files(origin), files(steps.copy)
    assert {path for path in before if after.get(path) != before[path]} == changed
    made = {
        path
        for path in after.keys() - before.keys()
        if not path.startswith(steps.named("src/insula/features/tickets/"))
    }
    assert made == {steps.named("migrations/own/own_0001_tickets.py"), steps.named("tests/features/test_tickets.py")}
    for path in LISTS:
        assert words(after[path]) ^ words(before[path]) == {steps.named("tickets")}, path


def test_the_linters_have_nothing_to_say(steps: Steps) -> None:
    before = files(ROOT)
    changed = sorted(path for path, text in files(steps.copy).items() if before.get(path) != text)
    python = [path for path in changed if path.endswith(".py")]
    steps.run("-m", "ruff", "check", *python)
    steps.run("-m", "ruff", "format", "--check", *python)
    for path in python:
        for rule in RULES:
            if path.startswith("src/"):
                assert not list(rule(parse(path, (steps.copy / path).read_text(encoding="utf-8")))), (rule, path)
    steps.run("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", COLUMNS="120")


async def test_the_new_resource_is_there_for_its_organization_and_nobody_else(
    steps: Steps, addresses: dict[str, str], settings: Settings
) -> None:
    name = f"insula_own_resource_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await clone(addresses["admin"], name)
    environment = elsewhere(settings, addresses["admin"], name)
    steps.run("-m", "insula", "migrate", **environment)
    superuser = await asyncpg.connect(addresses["admin"], database=name)
    try:
        world = World(None, settings, superuser)
        owner, stranger = await world.owner(), await world.owner()
        viewer = await world.member(owner.organization_id, "viewer")
        async with serving(steps, environment) as url:
            await tickets_work(url, owner, steps.named)
            await nobody_else_sees_them(url, owner, stranger, viewer, tickets=steps.named("/tickets"))
            await they_are_described(url, steps.named)
    finally:
        await superuser.close()
    await isolation_is_proven(address(addresses["admin"], "app_rw", name), steps.named("app.ticket"))


async def test_a_newer_insula_migrates_beside_what_is_ones_own(
    steps: Steps, addresses: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """Its next revision knows nothing of ours, nor ours of it; and the last step takes back ours alone."""
    name = f"insula_newer_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await clone(addresses["admin"], name)
    environment = elsewhere(settings, addresses["admin"], name)
    steps.run("-m", "insula", "migrate", **environment)
    ours, own = REVISION.split()[0], steps.named("own_0001")
    newer = f"{int(ours) + 1:04}"
    text = (ROOT / "migrations" / "script.py.mako").read_text(encoding="utf-8")
    for line, value in (
        ("message", "Newer."),
        ("repr(up_revision)", repr(newer)),
        ("repr(down_revision)", repr(ours)),
    ):
        text = text.replace(f"${{{line}}}", value)
    text = re.sub(r"\$\{(up|down)grades .*\}", "pass", text)
    file = steps.copy / "migrations" / "versions" / f"{newer}_newer.py"
    file.write_text(text, encoding="utf-8")
    superuser = await asyncpg.connect(addresses["admin"], database=name)
    try:
        assert await superuser.fetchval(COMMENT) == f"{ours} {own}"
        steps.run("-m", "insula", "migrate", **environment)
        assert await superuser.fetchval(COMMENT) == f"{newer} {own}"
        steps.run("-m", "insula", "migrate", "--", "insula@-1", **environment)
        assert await superuser.fetchval(COMMENT) == f"{ours} {own}"
        assert await superuser.fetchval(steps.named("SELECT to_regclass('app.ticket') IS NOT NULL"))
        steps.run("-m", "insula", "migrate", "--", "own@-1", **environment)  # the way back
        assert await superuser.fetchval(COMMENT) == REVISION
        assert not await superuser.fetchval(steps.named("SELECT to_regclass('app.ticket') IS NOT NULL"))
    finally:
        file.unlink()
        await superuser.close()


def test_the_generated_tests_cover_the_new_resource(steps: Steps) -> None:
    said = steps.run("-m", "pytest", "-q", "-n", "0", *map(steps.named, GENERATED), *ELSEWHERE)
    assert " passed" in said


def test_the_tests_that_are_to_be_run_first_are_there_and_among_those(steps: Steps) -> None:
    for path in steps.quick_tests():
        assert (steps.copy / steps.named(path)).exists() and any(test.startswith(path) for test in GENERATED), path


async def tickets_work(url: str, owner: Member, named: Named) -> None:
    tickets = owner.url(named("/tickets"))
    async with signed_in(url, owner) as client:
        opened = await client.post(tickets, json={"subject": "The printer is on fire"})
        assert opened.status_code == 201, opened.text
        ticket = opened.json()
        assert ticket["id"].startswith(named("tic_"))
        assert (await client.get(f"{tickets}/{ticket['id']}")).json() == ticket
        assert (await client.get(tickets)).json()["data"] == [ticket]
        assert (await client.post(f"{tickets}/{ticket['id']}/closure")).json()["status"] == "closed"
        events = (await client.get(owner.url("/events"), params={"target_id": ticket["id"]})).json()["data"]
        assert {event["type"] for event in events} == {named("ticket.opened"), named("ticket.closed")}


async def nobody_else_sees_them(url: str, owner: Member, stranger: Member, viewer: Member, *, tickets: str) -> None:
    async with signed_in(url, owner) as client:
        ticket = (await client.get(owner.url(tickets))).json()["data"][0]["id"]
    async with signed_in(url, stranger) as client:
        assert (await client.get(owner.url(tickets))).status_code == 404
        assert (await client.get(stranger.url(f"{tickets}/{ticket}"))).status_code == 404
        assert (await client.post(stranger.url(f"{tickets}/{ticket}/closure"))).status_code == 404
        assert (await client.get(stranger.url(tickets))).json()["data"] == []
    async with signed_in(url, viewer) as client:
        assert (await client.get(viewer.url(tickets))).status_code == 200
        refused = await client.post(viewer.url(tickets), json={"subject": "Mine"})
        assert refused.json()["code"] == "permission_missing"
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get(owner.url(tickets))).status_code == 401


async def they_are_described(url: str, named: Named) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        document = (await client.get("/openapi.json")).json()
    operations = {operation["operationId"] for item in document["paths"].values() for operation in item.values()}
    assert {named(f"{verb}_ticket") for verb in ("get", "open", "close")} | {named("list_tickets")} <= operations
    assert named("TicketRead") in document["components"]["schemas"]
    closure = document["paths"][named("/v1/organizations/{organization_id}/tickets/{ticket_id}/closure")]["post"]
    assert closure["responses"]["409"]["$ref"].endswith(named("/ConflictOrRequestInProgressOrTicketAlreadyClosed"))
    assert named("Tickets") in {tag["name"] for tag in document["tags"]}


async def isolation_is_proven(dsn: str, table: str) -> None:
    """By the rules that the program itself asks at every start."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            assert await check_catalogue(connection) == []
            classified = "SELECT obj_description($1::text::regclass, 'pg_class')"
            assert await connection.fetchval(classified, table) == "class: tenant"
            assert await connection.fetchval("SELECT app.tenant_id()") is None
            assert await connection.fetch(f"SELECT * FROM {table}") == []
    finally:
        await connection.close()


def signed_in(url: str, member: Member) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {member.person.token}"})


@asynccontextmanager
async def serving(steps: Steps, environment: dict[str, str]) -> AsyncIterator[str]:
    """The copy's API as a process of its own."""
    url = f"http://127.0.0.1:{environment['INSULA_PORT']}"
    file = steps.copy / "api.log"
    WATCH.said_in(file)
    with file.open("wb") as log:
        api = subprocess.Popen(
            [sys.executable, "-m", "insula", "api"], cwd=steps.copy, env=steps.environment(**environment),
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        async with httpx.AsyncClient() as client:
            for _ in range(600):
                assert api.poll() is None, file.read_text()
                try:
                    if (await client.get(f"{url}/readyz")).status_code == 200:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        yield url
    finally:
        api.terminate()
        assert api.wait(timeout=30) == 0


def elsewhere(settings: Settings, admin: str, database: str) -> dict[str, str]:
    """The settings of this run as INSULA_* variables, for another database and a free port."""
    urls = {
        f"{purpose}database_url": address(admin, login, database)
        for purpose, login in (("", "app_rw"), ("identity_", "app_identity"), ("platform_", "app_platform"),
                               ("owner_", "app_migrator"))
    }  # fmt: skip
    return variables(msgspec.structs.replace(settings, **urls, port=free_port(), metrics_port=0))
