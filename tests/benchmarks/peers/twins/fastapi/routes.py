"""The same routes with FastAPI and SQLAlchemy's asynchronous ORM, in a process of its own."""

import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException, Query
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from redis.asyncio import Redis
from sqlalchemy import and_, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from uuid_utils.compat import uuid7

from tests.benchmarks.peers.twins.fastapi.models import (
    Credential,
    Event,
    Idempotency,
    Membership,
    Organization,
    Outbox,
    Project,
    User,
)
from tests.benchmarks.peers.twins.shapes import LAST, PER_MINUTE, READERS, WORKERS, digest, opened, sealed

engine = create_async_engine(
    os.environ["PEER_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=8, max_overflow=0
)
Sessions = async_sessionmaker(engine, expire_on_commit=False)
redis = Redis.from_url(os.environ["PEER_REDIS_URL"])


class Me(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    name: str
    email: str
    created_at: datetime
    updated_at: datetime
    version: int


class ProjectCreate(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=200)
    key: str = Field(pattern="^[A-Z][A-Z0-9]{1,9}$")
    status: Literal["active", "paused", "archived"] = "active"
    team_id: UUID | None = None
    metadata: dict[str, str | int | float | bool | None] = Field(default={}, max_length=50)


class ProjectRead(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    name: str
    key: str
    status: str
    team_id: UUID | None
    metadata: dict[str, Any] = Field(validation_alias="metadata_")
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    version: int


class Page(BaseModel):
    data: list[ProjectRead]
    next_cursor: str | None


class Caller(NamedTuple):
    user: User
    credential_id: UUID
    membership: Membership | None


async def session() -> AsyncIterator[AsyncSession]:
    async with Sessions() as opened:
        yield opened


Db = Annotated[AsyncSession, Depends(session)]
Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]

LIVE = and_(
    Credential.kind == "session",
    Credential.revoked_at.is_(None),
    Credential.expires_at > func.now(),
    Credential.last_used_at + Credential.idle_timeout > func.now(),
    User.disabled_at.is_(None),
)


async def signed_in(db: Db, bearer: Bearer) -> Caller:
    asked = select(User, Credential.id).join(Credential, Credential.user_id == User.id)
    found = (await db.execute(asked.where(Credential.hash == digest(bearer.credentials), LIVE))).first()
    if found is None:
        raise HTTPException(401)
    await count(found[0].id)
    return Caller(found[0], found[1], None)


async def member(organization_id: UUID, db: Db, bearer: Bearer) -> Caller:
    of_it = and_(Membership.user_id == User.id, Membership.tenant_id == organization_id, Membership.status == "active")
    opened = and_(
        Organization.id == Membership.tenant_id, Organization.suspended_at.is_(None), Organization.deleted_at.is_(None)
    )
    asked = (
        select(User, Credential.id, Membership, Organization.id)
        .join(Credential, Credential.user_id == User.id)
        .outerjoin(Membership, of_it)
        .outerjoin(Organization, opened)
    )
    found = (await db.execute(asked.where(Credential.hash == digest(bearer.credentials), LIVE))).first()
    if found is None:
        raise HTTPException(401)
    if found[3] is None:
        raise HTTPException(404)
    await count(found[0].id)
    return Caller(found[0], found[1], found[2])


async def count(user_id: UUID) -> None:
    key = f"peer:{user_id}:{int(time.time()) // 60}"
    counted, _ = await redis.pipeline(transaction=False).incr(key).expire(key, 60).execute()
    if counted > PER_MINUTE:
        raise HTTPException(429)


def may(roles: frozenset[str]) -> Any:
    async def check(caller: Annotated[Caller, Depends(member)]) -> Caller:
        if caller.membership is None or caller.membership.role not in roles:
            raise HTTPException(403)
        return caller

    return Depends(check)


Reader = Annotated[Caller, may(READERS)]
Worker = Annotated[Caller, may(WORKERS)]
app = FastAPI(openapi_url=None)


@app.get("/ready")
async def ready(db: Db) -> int:
    return await db.scalar(select(1)) or 0


@app.get("/me")
async def me(caller: Annotated[Caller, Depends(signed_in)]) -> Me:
    return Me.model_validate(caller.user)


@app.get("/organizations/{organization_id}/projects", response_model=Page)
async def list_projects(
    organization_id: UUID,
    db: Db,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> Any:
    live = select(Project).where(Project.tenant_id == organization_id, Project.deleted_at.is_(None))
    after = live.where(Project.id < (opened(cursor) if cursor else LAST)).order_by(Project.id.desc()).limit(limit + 1)
    rows = (await db.scalars(after)).all()
    return {"data": rows[:limit], "next_cursor": sealed(rows[limit - 1].id) if len(rows) > limit else None}


@app.get("/organizations/{organization_id}/projects/{project_id}", response_model=ProjectRead)
async def get_project(organization_id: UUID, project_id: UUID, db: Db, caller: Reader) -> Any:
    this = select(Project).where(
        Project.tenant_id == organization_id, Project.id == project_id, Project.deleted_at.is_(None)
    )
    found = await db.scalar(this)
    if found is None:
        raise HTTPException(404)
    return found


@app.post("/organizations/{organization_id}/projects", status_code=201, response_model=ProjectRead)
async def create_project(
    organization_id: UUID,
    db: Db,
    caller: Worker,
    data: ProjectCreate,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=255)],
) -> Any:
    now = datetime.now(UTC)
    project = Project(
        tenant_id=organization_id,
        id=uuid7(),
        name=data.name,
        name_norm=data.name.casefold(),
        key=data.key,
        status=data.status,
        team_id=data.team_id,
        metadata_=data.metadata,
        created_by=caller.membership and caller.membership.id,
        created_at=now,
        updated_at=now,
        deleted_at=None,
        version=1,
    )
    kept = Idempotency(
        user_id=caller.user.id,
        key_hash=digest(f"{organization_id} {idempotency_key}"),
        fingerprint=digest(data.model_dump_json()),
        answer=ProjectRead.model_validate(project).model_dump_json().encode(),
    )
    db.add_all([project, *beside(caller, project), kept])
    try:
        await db.commit()
    except IntegrityError:
        await db.rollback()
        return await repeated(db, kept)
    return Response(kept.answer, 201, media_type="application/json")


def beside(caller: Caller, project: Project) -> list[Event | Outbox]:
    return [
        Event(
            tenant_id=project.tenant_id,
            id=uuid7(),
            type="project.created",
            version=1,
            actor_type="user",
            actor_id=str(caller.user.id),
            credential_id=str(caller.credential_id),
            target_type="project",
            target_id=str(project.id),
            data={"name": project.name, "key": project.key},
            context={},
        ),
        Outbox(
            id=uuid7(),
            tenant_id=project.tenant_id,
            user_id=caller.user.id,
            lane=project.tenant_id,
            task="bench.announce",
            payload={"project_id": str(project.id)},
        ),
    ]


async def repeated(db: AsyncSession, asked: Idempotency) -> Response:
    """The answer that was kept for this key; without one it is the project's own key that was taken."""
    kept = await db.get(Idempotency, (asked.user_id, asked.key_hash))
    if kept is None:
        raise HTTPException(409)
    if kept.fingerprint != asked.fingerprint:
        raise HTTPException(422)
    return Response(kept.answer, 201, media_type="application/json")
