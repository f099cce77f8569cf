"""The same endpoints by hand on asyncpg, and with advanced-alchemy and the ORM, behind the same door."""

import hashlib
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Any

import msgspec
from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from advanced_alchemy.service import SQLAlchemyAsyncRepositoryService
from litestar import Request, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody, QueryParameter
from sqlalchemy import DateTime, LargeBinary, SmallInteger, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from insula.core import clock, crypto
from insula.core.db import Transaction
from insula.core.feature import Feature
from insula.core.http.idempotency import ASKED, Asked
from insula.core.ids import new_id, to_text, to_uuid
from insula.core.jobs import enqueue
from insula.core.listing import Page
from insula.core.permissions import Principal
from insula.core.schemas import Task
from insula.features.projects.controllers import READ, WRITE, provide_projects
from insula.features.projects.models import Project
from insula.features.projects.schemas import ProjectCreate, ProjectRead
from insula.features.projects.service import QUOTA, ProjectService

_BASE = "/v1/organizations/{organization_id:str}/twin"

# ---- what every request has


@get(f"{_BASE}/nothing", status_code=204, public="to be measured")
async def nothing() -> None:
    """No door, no transaction."""


@get(f"{_BASE}/entered", status_code=204, permission=READ)
async def entered() -> None:
    """Past the door, and nothing more."""


# ---- a page of 20 projects

_PAGE = """
SELECT id, name, key, status, team_id, metadata::text, created_by, created_at, updated_at, deleted_at, version
  FROM app.project WHERE deleted_at IS NULL AND id < $2 ORDER BY id DESC LIMIT $1
"""
_OURS = "/v1/organizations/{organization_id}/projects"
_LAST = uuid.UUID(int=(1 << 128) - 1)


@get(f"{_BASE}/asyncpg", permission=READ)
async def asyncpg_page(
    request: Request[Any, Any, Any],
    db: NamedDependency[Transaction],
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, QueryParameter(max_length=1000)] = None,
) -> Page[ProjectRead]:
    """As little as the same bytes take: no filters, no other sorts, but the signed cursor."""
    key = request.app.state.keyring.cursors[0]
    binding = msgspec.json.encode([request.scope["user"].organization_id, _OURS, "ProjectRead", "-created_at", []])
    rows = await db.driver.fetch(_PAGE, limit + 1, _LAST if cursor is None else _opened(key, cursor, binding))
    projects = [
        ProjectRead(
            to_text("prj", r[0]),
            r[1],
            r[2],
            r[3],
            to_text("tea", r[4]) if r[4] else None,
            msgspec.Raw(r[5].encode()),
            to_text("mem", r[6]) if r[6] else None,
            r[7],
            r[8],
            r[9],
            r[10],
        )
        for r in rows[:limit]
    ]
    return Page(projects, _sealed(key, projects[-1].id, binding) if len(rows) > limit else None)


def _sealed(key: bytes, last: str, binding: bytes) -> str:
    position = msgspec.json.encode([last])
    return urlsafe_b64encode(_mac(key, position, binding) + position).decode().rstrip("=")


def _opened(key: bytes, cursor: str, binding: bytes) -> uuid.UUID:
    sealed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert _mac(key, sealed[16:], binding) == sealed[:16]
    return to_uuid("prj", msgspec.json.decode(sealed[16:])[0])


def _mac(key: bytes, position: bytes, binding: bytes) -> bytes:
    return hashlib.blake2b(binding + b"\0" + position, key=key, digest_size=16).digest()


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
    metadata_: dict[str, Any]  # from_attributes reads the mapped name
    created_by: str | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    version: int


@post(f"{_BASE}/service", permission=READ, status_code=200)  # POST: a GET has no ORM session here
async def service_page(db: NamedDependency[Transaction]) -> Page[_ServiceRead]:
    """The way advanced-alchemy's documentation does it, on the session of the request's transaction."""
    service = _Service(session=db.session)
    projects = await service.get_many(Project.deleted_at.is_(None), LimitOffset(20, 0), OrderBy("id", "desc"))
    return Page(list(service.to_schema(projects, schema_type=_ServiceRead).items), None)


# ---- a project created, with its event, a job and the stored answer


class Announce(Task, frozen=True):
    """A job that nobody runs here."""

    NAME = "bench.announce"

    project_id: str


@post(f"{_BASE}/ours", permission=WRITE, dependencies={"projects": Provide(provide_projects, sync_to_thread=False)})
async def our_create(
    db: NamedDependency[Transaction],
    projects: NamedDependency[ProjectService],
    principal: NamedDependency[Principal],
    data: JSONBody[ProjectCreate],
) -> ProjectRead:
    """The real endpoint, and a job."""
    project = await projects.start(data, created_by=principal.membership_id)
    enqueue(db, Announce(project_id=project.id))
    return ProjectRead.of(project)


class _Base(DeclarativeBase):
    pass


class _Event(_Base):
    __tablename__ = "event"
    __table_args__ = {"schema": "app"}
    __mapper_args__ = {"eager_defaults": False}
    tenant_id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
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
    lane: Mapped[uuid.UUID] = mapped_column(Uuid)
    task: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    trace: Mapped[str | None]
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class _Idempotency(_Base):
    __tablename__ = "idempotency"
    __table_args__ = {"schema": "app"}
    __mapper_args__ = {"eager_defaults": False}
    user_id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[bytes] = mapped_column(LargeBinary)


@post(f"{_BASE}/orm", permission=WRITE)
async def orm_create(
    request: Request[Any, Any, Any], db: NamedDependency[Transaction], data: JSONBody[ProjectCreate]
) -> _ServiceRead:
    """The same statements and rows through the ORM at its best: everything added, flushed once.

    The door has looked for a stored answer, as it does for ours; storing this one is the ORM's.
    """
    session, principal = db.session, request.scope["user"]
    del request.scope["insula_remember"]  # type: ignore[typeddict-item]
    await QUOTA.require_room(db)
    project = Project(
        id=new_id("prj"),
        name=data.name,
        key=data.key,
        status=data.status,
        team_id=data.team_id,
        metadata_=data.metadata,
        created_by=principal.membership_id,
        created_at=(now := clock.now()),
        updated_at=now,
        version=1,
    )
    answer = _Service(session=session).to_schema(project, schema_type=_ServiceRead)
    session.add_all([project, *_beside(request, project, answer)])
    await session.flush()
    db.rings = True
    return answer


def _made(project: Project) -> dict[str, Any]:
    told = {name: getattr(project, name) for name in ("name", "key", "status", "team_id")}
    return told | {"metadata": project.metadata_}


def _beside(request: Request[Any, Any, Any], project: Project, answer: _ServiceRead) -> list[_Base]:
    """The event, the job and the stored answer."""
    principal, facts = request.scope["user"], request.scope["insula_db"].facts  # type: ignore[typeddict-item]
    asked: Asked = request.scope[ASKED]  # type: ignore[typeddict-item]
    tenant, user = to_uuid("org", principal.organization_id), to_uuid("usr", principal.user_id)
    kept = msgspec.msgpack.encode([201, [["content-type", "application/json"]], msgspec.json.encode(answer)])
    return [
        _Event(
            tenant_id=tenant,
            id=to_uuid("evt", new_id("evt")),
            type="project.created",
            version=1,
            actor_type="user",
            actor_id=principal.user_id,
            credential_id=principal.credential_id,
            target_type="project",
            target_id=project.id,
            data=_made(project),
            context={"request_id": facts.request_id, "ip": facts.ip, "user_agent": facts.user_agent},
        ),
        _Outbox(
            id=to_uuid("job", new_id("job")),
            tenant_id=tenant,
            user_id=user,
            lane=tenant,
            task=Announce.NAME,
            payload={"project_id": project.id},
            trace=facts.trace_id,
        ),
        _Idempotency(
            user_id=user,
            key_hash=asked.name,
            fingerprint=hashlib.sha256(request.scope["raw_path"]).digest(),
            answer=crypto.seal(crypto.derive(asked.secret, "insula/idempotent-answer"), kept, asked.name),
        ),
    ]


FEATURE = Feature(name="twins", controllers=(nothing, entered, asyncpg_page, service_page, our_create, orm_create))
