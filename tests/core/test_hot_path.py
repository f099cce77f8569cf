"""What the fast ways must not change: the bytes of a page, the statements of a command, what the ORM knows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from insula import app as program
from insula.core.db import Database, Transaction
from insula.core.http.access_log import AccessLog
from insula.core.ids import to_uuid
from insula.core.inserts import Insert
from insula.core.permissions import Principal
from insula.features.projects.models import Project
from insula.features.projects.repository import PROJECT, ProjectRepository
from insula.features.teams.schemas import TeamCreate
from insula.features.teams.service import TeamService
from insula.settings import Settings
from tests.benchmarks import twins
from tests.conftest import running
from tests.factories import Member, World


@asynccontextmanager
async def inside(world: World, litestar: Litestar, owner: Member) -> AsyncIterator[Transaction]:
    """A command's transaction in the owner's organization."""
    secret = world.digest(owner.person.token)
    database: Database = litestar.state.databases.rw
    async with database.transaction() as transaction:
        entered = await transaction.driver.fetchrow(
            "SELECT * FROM app.enter($1, $2)", secret, to_uuid("org", owner.organization_id)
        )
        assert entered["verdict"] == "admitted"
        transaction.principal = Principal(
            user_id=owner.person.id,
            credential_id=None,
            credential_kind="session",
            organization_id=owner.organization_id,
            limits={"projects": 100, "teams": 100},
        )
        yield transaction


async def test_a_page_is_the_bytes_that_its_hand_written_twin_answers(
    settings: Settings, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "FEATURES", (*program.FEATURES, twins.FEATURE))
    litestar = program.create_litestar(settings)
    async with running(litestar):
        owner = await World(AccessLog(litestar), settings, superuser).owner()
        for number in range(23):
            body = {"name": f"Project {number}", "key": f"P{number}", "metadata": {"number": number}}
            assert (await owner.client.post(owner.url("/projects"), json=body)).status_code == 201
        ours = await owner.client.get(owner.url("/projects"))
        twin = await owner.client.get(owner.url("/twin/asyncpg"))
        assert ours.content == twin.content
        assert ours.json()["next_cursor"]
        assert ours.headers["link"] == twin.headers["link"].replace("/twin/asyncpg", "/projects")
        rest = await owner.client.get(owner.url("/twin/asyncpg"), params={"cursor": ours.json()["next_cursor"]})
        assert [project["name"] for project in rest.json()["data"]] == ["Project 2", "Project 1", "Project 0"]


async def test_a_create_with_its_event_and_stored_answer_is_four_statements(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await world.owner()
    statements: list[str] = []
    heard: list[asyncpg.Connection] = []
    acquire = Database._acquire

    def hear(query: Any) -> None:
        statements.append(query.query)

    async def listened_to(self: Database, read_only: bool) -> Transaction:
        transaction = await acquire(self, read_only)
        transaction.driver.add_query_logger(hear)
        heard.append(transaction.driver)
        return transaction

    monkeypatch.setattr(Database, "_acquire", listened_to)
    for number in range(2):  # the first looks how much room there is, and may have to ask Postgres about types
        await asyncio.sleep(0)
        statements.clear()
        made = await owner.client.post(
            owner.url("/projects"),
            json={"name": "A project", "key": f"S{number}"},
            headers={"idempotency-key": str(number)},
        )
        assert made.status_code == 201
        await asyncio.sleep(0)
    for driver in heard:
        driver.remove_query_logger(hear)
    begin, enter, journal, commit = statements
    assert begin.startswith("BEGIN")
    assert "app.enter_once" in enter
    assert "INSERT INTO app.project" in journal
    assert "INSERT INTO app.event" in journal
    assert "INSERT INTO app.idempotency" in journal
    assert commit == "COMMIT"


async def test_a_row_that_was_just_added_is_changed_like_any_other(
    world: World, litestar: Litestar, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    async with inside(world, litestar, owner) as db:
        project = await ProjectRepository(db).add(Project(name="One", key="ONE"))
        assert (project.version, project.status, project.metadata_) == (1, "active", {})
        assert project.tenant_id == to_uuid("org", owner.organization_id)
        project.name = "Another"
        await db.commit()
    stored = await superuser.fetchrow(
        "SELECT name, name_norm, version FROM app.project WHERE id = $1", to_uuid("prj", project.id)
    )
    assert tuple(stored) == ("Another", "another", 2)


async def test_what_was_changed_before_is_written_before_a_row_is_added(world: World, litestar: Litestar) -> None:
    owner = await world.owner()
    async with inside(world, litestar, owner) as db:
        projects = ProjectRepository(db)
        first = await projects.add(Project(name="First", key="KEY"))
        first.key = "FREED"
        second = await projects.add(Project(name="Second", key="KEY"))  # unique: the change had to come first
        await db.commit()
    assert first.id < second.id


async def test_a_new_row_is_there_for_the_next_statement_of_its_transaction(world: World, litestar: Litestar) -> None:
    owner = await world.owner()
    async with inside(world, litestar, owner) as db:
        project = await ProjectRepository(db).add(Project(name="One", key="ONE"))
        assert await PROJECT.one_or_none(db, id=project.id) is not None
        assert await ProjectRepository(db).get(project.id) is project
        await db.commit()


@pytest.mark.parametrize("session_first", [False, True])
async def test_a_new_row_is_there_however_it_is_asked_for(
    world: World, litestar: Litestar, session_first: bool
) -> None:
    owner = await world.owner()
    ways: dict[str, Callable[[Transaction, Project], Awaitable[Any]]] = {
        "a repository": lambda db, project: ProjectRepository(db).get(project.id),
        "a library's way": lambda db, project: ProjectRepository(db).get_one_or_none(Project.key == project.key),
        "the session": lambda db, project: db.session.scalar(sa.select(Project).where(Project.key == project.key)),
        "its rows": lambda db, project: _first(db.session, sa.select(Project).where(Project.key == project.key)),
        "its refresh": lambda db, project: db.session.refresh(project, ["key"]),
        "a flush": lambda db, _: db.session.flush(),
    }
    for number, (way, ask) in enumerate(ways.items()):
        async with inside(world, litestar, owner) as db:
            if session_first:
                await db.session.scalar(sa.select(Project))
            project = await ProjectRepository(db).add(Project(name="One", key=f"WAY{number}"))
            if way == "a flush":
                project.name = "Two"
            found = await ask(db, project)
            assert found in {project, None}, way
            assert db.journal.row is None, way
            assert await PROJECT.one_or_none(db, id=project.id) is not None, way
            await db.commit()


async def _first(session: AsyncSession, statement: sa.Select[Any]) -> Any:
    return (await session.scalars(statement)).one()


async def test_a_savepoint_is_refused_since_a_row_that_waits_would_outlive_it(
    world: World, litestar: Litestar, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    async with inside(world, litestar, owner) as db:
        with pytest.raises(RuntimeError, match="in place of a savepoint"):
            async with db.session.begin_nested():
                await ProjectRepository(db).add(Project(name="Undone", key="UNDONE"))
        await db.commit()
    assert await superuser.fetchval("SELECT count(*) FROM app.project WHERE key = 'UNDONE'") == 0


async def test_what_is_made_and_changed_in_one_transaction_is_found_by_services(
    world: World, litestar: Litestar
) -> None:
    owner = await world.owner()
    async with inside(world, litestar, owner) as db:
        teams = TeamService(db)
        team = await teams.form(TeamCreate(name="One", description=""))
        await teams.take_in(team.id, owner.membership_id)
        await teams.take_in(team.id, owner.membership_id)
        await teams.take_out(team.id, owner.membership_id)
        await db.commit()
    listed = await owner.client.get(owner.url(f"/teams/{team.id}/members"))
    assert listed.json()["data"] == []


async def test_a_new_row_without_an_event_is_written_by_the_commit(
    world: World, litestar: Litestar, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    async with inside(world, litestar, owner) as db:
        project = await ProjectRepository(db).add(Project(name="One", key="ONE"))
        await db.commit()
    there = await superuser.fetchval("SELECT name FROM app.project WHERE id = $1", to_uuid("prj", project.id))
    assert there == "One"


async def test_a_new_row_that_is_refused_takes_its_event_and_its_answer_along(
    world: World, superuser: asyncpg.Connection
) -> None:
    owner = await world.owner()
    body = {"name": "One", "key": "TAKEN"}
    assert (await owner.client.post(owner.url("/projects"), json=body)).status_code == 201
    for _ in range(2):  # the refusal is not stored: it is found anew
        again = await owner.client.post(owner.url("/projects"), json=body, headers={"idempotency-key": "second"})
        assert again.status_code == 409
        assert again.json()["code"] == "project_key_taken"
        assert "idempotent-replayed" not in again.headers
    tenant = to_uuid("org", owner.organization_id)
    events = "SELECT count(*) FROM app.event WHERE tenant_id = $1 AND type = 'project.created'"
    assert await superuser.fetchval(events, tenant) == 1
    freed = {"name": "Two", "key": "FREE"}
    other = await owner.client.post(owner.url("/projects"), json=freed, headers={"idempotency-key": "second"})
    assert other.status_code == 201, "a key whose request was refused is free"


def test_a_column_that_only_the_database_fills_in_is_refused_with_its_name() -> None:
    class Base(DeclarativeBase): ...

    class Stamped(Base):
        __tablename__ = "stamped"
        tenant_id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[int] = mapped_column(server_default="1")

    with pytest.raises(TypeError, match=r"stamped\.at: what only the database fills in"):
        Insert(Stamped)
