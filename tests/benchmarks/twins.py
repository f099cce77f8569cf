"""The same endpoints written by hand on asyncpg, and with advanced-alchemy's service and the ORM, behind the same door."""

import uuid
from typing import Any

import msgspec
from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from sqlalchemy import DateTime, LargeBinary, SmallInteger, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from insula.core.db import Transaction
from insula.core.feature import Feature
from insula.core.ids import new_id, to_text, to_uuid
from insula.core.listing import Page
from insula.features.projects.controllers import READ, WRITE
from insula.features.projects.models import Project
from insula.features.projects.schemas import ProjectCreate, ProjectRead

_BASE = "/v1/organizations/{organization_id:str}"
_PAGE = """
SELECT id, name, key, status, team_id, metadata::text, created_by, created_at, updated_at, deleted_at, version
  FROM app.project WHERE deleted_at IS NULL ORDER BY id DESC LIMIT 21
"""


@get(f"{_BASE}/twin/asyncpg", permission=READ)
async def asyncpg_page(db: NamedDependency[Transaction]) -> Page[ProjectRead]:
    """As few lines as asyncpg allows."""
    rows = await db.driver.fetch(_PAGE)
    projects = [
        ProjectRead(
            to_text("prj", r[0]), r[1], r[2], r[3], to_text("tea", r[4]) if r[4] else None,
            msgspec.Raw(r[5].encode()), to_text("mem", r[6]) if r[6] else None, r[7], r[8], r[9], r[10],
        )
        for r in rows[:20]
    ]
    return Page(projects)


class _Repository(SQLAlchemyAsyncRepository[Project]):
    model_type = Project


class _Service(SQLAlchemyAsyncRepositoryService[Project]):
    repository_type = _Repository


class _ServiceRead(msgspec.Struct):
    id: str
    name: str
    key: str
    status: str
    team_id: str | None
    metadata_: dict[str, Any]
    created_by: str | None
    created_at: Any
    updated_at: Any
    deleted_at: Any
    version: int


@post(f"{_BASE}/twin/service", permission=READ)  # POST: a GET has no ORM session here
async def service_page(db: NamedDependency[Transaction]) -> Page[_ServiceRead]:
    """The way advanced-alchemy's documentation does it, on the session of the request's transaction."""
    service = _Service(session=_session(db))
    projects = await service.get_many(Project.deleted_at.is_(None), LimitOffset(20, 0), OrderBy("id", "desc"))
    return Page(list(service.to_schema(projects, schema_type=_ServiceRead).items))


class _Base(DeclarativeBase):
    pass


class _Event(_Base):
    __tablename__ = "event"
    __table_args__ = {"schema": "app"}
    tenant_id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=text("app.tenant_id()"))
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    type: Mapped[str]
    version: Mapped[int] = mapped_column(SmallInteger)
    actor_type: Mapped[str]
    actor_id: Mapped[str]
    credential_id: Mapped[str]
    target_type: Mapped[str]
    target_id: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    context: Mapped[dict[str, Any]] = mapped_column(JSONB)


class _Outbox(_Base):
    __tablename__ = "outbox"
    __table_args__ = {"schema": "app"}
    __mapper_args__ = {"eager_defaults": False}
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    tenant_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    user_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    task: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    due_at: Mapped[Any] = mapped_column(DateTime(timezone=True), server_default=func.now())


class _Idempotency(_Base):
    __tablename__ = "idempotency"
    __table_args__ = {"schema": "app"}
    __mapper_args__ = {"eager_defaults": False}
    user_id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[bytes] = mapped_column(LargeBinary)


@post(f"{_BASE}/twin/orm", permission=WRITE)
async def orm_create(
    request: Request[Any, Any, Any], db: NamedDependency[Transaction], data: JSONBody[ProjectCreate]
) -> _ServiceRead:
    """The same rows through the ORM: project by a service, then event, outbox row and stored answer."""
    session, principal = _session(db), request.scope["user"]
    project = await _Service(session=session).create(
        Project(name=data.name, key=data.key, status=data.status, metadata_=data.metadata)
    )
    session.add(
        _Event(
            id=to_uuid("evt", new_id("evt")), type="project.created", version=1, actor_type="user",
            actor_id=principal.user_id, credential_id=principal.credential_id, target_type="project",
            target_id=project.id, data={"name": project.name, "key": project.key}, context={"ip": db.facts.ip},
        )
    )
    session.add(
        _Outbox(
            id=to_uuid("job", new_id("job")), tenant_id=to_uuid("org", principal.organization_id),
            user_id=to_uuid("usr", principal.user_id), task="bench.nothing", payload={"project_id": project.id},
        )
    )
    session.add(
        _Idempotency(
            user_id=to_uuid("usr", principal.user_id), key_hash=uuid.uuid4().bytes * 2, fingerprint=bytes(32),
            answer=msgspec.json.encode({"id": project.id, "name": project.name}),
        )
    )
    await session.flush()
    return _Service(session=session).to_schema(project, schema_type=_ServiceRead)


def _session(db: Transaction) -> AsyncSession:
    return db.session


FEATURE = Feature(name="twins", controllers=(asyncpg_page, service_page, orm_create))
