"""The same routes with Django Ninja and Django's ORM, in a process of its own."""

import os
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from ninja import Field, Header, NinjaAPI, Query, Schema
from ninja.errors import HttpError
from ninja.security import HttpBearer
from pydantic import ConfigDict
from redis import Redis
from uuid_utils.compat import uuid7

from tests.benchmarks.peers.twins.ninja.models import (
    Credential,
    Event,
    Idempotency,
    Membership,
    Outbox,
    Project,
)
from tests.benchmarks.peers.twins.shapes import LAST, PER_MINUTE, READERS, WORKERS, digest, opened, sealed

redis = Redis.from_url(os.environ["PEER_REDIS_URL"])


class Me(Schema):
    id: UUID
    name: str
    email: str
    created_at: datetime
    updated_at: datetime
    version: int


class ProjectCreate(Schema):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=200)
    key: str = Field(pattern="^[A-Z][A-Z0-9]{1,9}$")
    status: Literal["active", "paused", "archived"] = "active"
    team_id: UUID | None = None
    metadata: dict[str, str | int | float | bool | None] = Field(default={}, max_length=50)


class ProjectRead(Schema):
    id: UUID
    name: str
    key: str
    status: str
    team_id: UUID | None
    metadata: dict[str, Any]
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    version: int


class Page(Schema):
    data: list[ProjectRead]
    next_cursor: str | None


def live(token: str) -> Any:
    """The session, if it is still good, and its user with it."""
    return Credential.objects.select_related("user").filter(
        hash=digest(token),
        kind="session",
        revoked_at=None,
        expires_at__gt=Now(),
        last_used_at__gt=Now() - F("idle_timeout"),
        user__disabled_at=None,
    )


class SignedIn(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> Any:
        try:
            found = live(token).get()
        except Credential.DoesNotExist:
            return None
        count(found.user_id)
        return found


class Member(HttpBearer):
    """Somebody who is in the organization of the path, with one of these roles."""

    def __init__(self, roles: frozenset[str]) -> None:
        self.roles = roles
        super().__init__()

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        organization = request.resolver_match.kwargs["organization_id"]
        try:
            found = Membership.objects.filter(
                organization_id=organization,
                status="active",
                organization__suspended_at=None,
                organization__deleted_at=None,
                user__disabled_at=None,
                user__credentials__hash=digest(token),
                user__credentials__kind="session",
                user__credentials__revoked_at=None,
                user__credentials__expires_at__gt=Now(),
                user__credentials__last_used_at__gt=Now() - F("user__credentials__idle_timeout"),
            )
            found = found.annotate(credential_id=F("user__credentials__id")).get()
        except Membership.DoesNotExist:
            if live(token).exists():
                raise HttpError(404, "Not found") from None
            return None
        count(found.user_id)
        if found.role not in self.roles:
            raise HttpError(403, "Forbidden")
        return found


def count(user_id: UUID) -> None:
    key = f"peer:{user_id}:{int(time.time()) // 60}"
    counted, _ = redis.pipeline(transaction=False).incr(key).expire(key, 60).execute()
    if counted > PER_MINUTE:
        raise HttpError(429, "Too many requests")


api = NinjaAPI(openapi_url=None, docs_url=None)


@api.get("/ready")
def ready(request: HttpRequest) -> int:
    connection.ensure_connection()
    return 1


@api.get("/me", auth=SignedIn(), response=Me)
def me(request: Any) -> Any:
    return request.auth.user


@api.get("/organizations/{uuid:organization_id}/projects", auth=Member(READERS), response=Page)
def list_projects(
    request: HttpRequest,
    organization_id: UUID,
    limit: Annotated[int, Query(20, ge=1, le=100)],
    cursor: Annotated[str | None, Query(None, max_length=1000)],
) -> Any:
    after = opened(cursor) if cursor else LAST
    asked = Project.objects.filter(tenant_id=organization_id, deleted_at=None, id__lt=after).order_by("-id")
    rows = list(asked[: limit + 1])
    return {"data": rows[:limit], "next_cursor": sealed(rows[limit - 1].id) if len(rows) > limit else None}


@api.get("/organizations/{uuid:organization_id}/projects/{uuid:project_id}", auth=Member(READERS), response=ProjectRead)
def get_project(request: HttpRequest, organization_id: UUID, project_id: UUID) -> Any:
    return get_object_or_404(Project, tenant_id=organization_id, id=project_id, deleted_at=None)


@api.post("/organizations/{uuid:organization_id}/projects", auth=Member(WORKERS), response={201: ProjectRead})
def create_project(
    request: Any,
    organization_id: UUID,
    data: ProjectCreate,
    idempotency_key: Annotated[str, Header(..., min_length=1, max_length=255)],
) -> Any:
    now = datetime.now(UTC)
    project = Project(
        tenant_id=organization_id,
        id=uuid7(),
        name_norm=data.name.casefold(),
        created_by=request.auth.id,
        created_at=now,
        updated_at=now,
        deleted_at=None,
        version=1,
        **data.dict(),
    )
    kept = Idempotency(
        user_id=request.auth.user_id,
        key_hash=digest(f"{organization_id} {idempotency_key}"),
        fingerprint=digest(data.model_dump_json()),
        answer=ProjectRead.from_orm(project).model_dump_json().encode(),
    )
    try:
        with transaction.atomic():
            project.save(force_insert=True)
            for row in beside(request.auth, project):
                row.save(force_insert=True)
            kept.save(force_insert=True)
    except IntegrityError:
        return repeated(kept)
    return HttpResponse(kept.answer, "application/json", 201)


def beside(member: Any, project: Project) -> list[Event | Outbox]:
    return [
        Event(
            tenant_id=project.tenant_id,
            id=uuid7(),
            type="project.created",
            version=1,
            actor_type="user",
            actor_id=str(member.user_id),
            credential_id=str(member.credential_id),
            target_type="project",
            target_id=str(project.id),
            data={"name": project.name, "key": project.key},
            context={},
        ),
        Outbox(
            id=uuid7(),
            tenant_id=project.tenant_id,
            user_id=member.user_id,
            lane=project.tenant_id,
            task="bench.announce",
            payload={"project_id": str(project.id)},
        ),
    ]


def repeated(asked: Idempotency) -> HttpResponse:
    """The answer that was kept for this key; without one it is the project's own key that was taken."""
    kept = Idempotency.objects.filter(user_id=asked.user_id, key_hash=asked.key_hash).first()
    if kept is None:
        raise HttpError(409, "This key is taken")
    if bytes(kept.fingerprint) != asked.fingerprint:
        raise HttpError(422, "This Idempotency-Key was used with another request")
    return HttpResponse(bytes(kept.answer), "application/json", 201)


urlpatterns = [path("", api.urls)]
