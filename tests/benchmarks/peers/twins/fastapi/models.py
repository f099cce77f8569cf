"""The tables as SQLAlchemy's ORM maps them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Interval
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Row(DeclarativeBase):
    __table_args__ = {"schema": "app"}
    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB}


class User(Row):
    __tablename__ = "user"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    version: Mapped[int]


class Credential(Row):
    __tablename__ = "credential"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    hash: Mapped[bytes]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app.user.id"))
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    idle_timeout: Mapped[Any] = mapped_column(Interval)
    revoked_at: Mapped[datetime | None]


class Organization(Row):
    __tablename__ = "organization"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    suspended_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class Membership(Row):
    __tablename__ = "membership"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("app.organization.id"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app.user.id"))
    role: Mapped[str]
    status: Mapped[str]


class Project(Row):
    __tablename__ = "project"
    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    name_norm: Mapped[str]
    key: Mapped[str]
    status: Mapped[str]
    team_id: Mapped[UUID | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata")
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    version: Mapped[int]


class Event(Row):
    __tablename__ = "event"
    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    version: Mapped[int]
    actor_type: Mapped[str]
    actor_id: Mapped[str]
    credential_id: Mapped[str]
    target_type: Mapped[str]
    target_id: Mapped[str]
    data: Mapped[dict[str, Any]]
    context: Mapped[dict[str, Any]]


class Outbox(Row):
    __tablename__ = "outbox"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    user_id: Mapped[UUID]
    lane: Mapped[UUID]
    task: Mapped[str]
    payload: Mapped[dict[str, Any]]


class Idempotency(Row):
    __tablename__ = "idempotency"
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    answer: Mapped[bytes]
