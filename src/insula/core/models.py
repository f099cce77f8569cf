"""What every mapped table is made of."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, DateTime, FetchedValue, MetaData, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from insula.core import clock
from insula.core.ids import TypeID, new_id
from insula.core.tables import SCHEMA


class Document(JSONB):
    """JSON, in which true is another value than 1, and 1 than 1.0; to Python they are the same."""

    def compare_values(self, x: Any, y: Any) -> bool:
        return bool(x == y) and _written(x) == _written(y)


class Base(DeclarativeBase):
    """The mapped half of the schema; migrations are its only author."""

    metadata = MetaData(schema=SCHEMA)
    type_annotation_map = {str: Text, datetime: DateTime(timezone=True), dict[str, Any]: Document, int: BigInteger}  # noqa: RUF012  # SQLAlchemy reads it as it is


def _written(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


class TenantOwned:
    """Rows of one organization. Nobody sets ``tenant_id``: the signed context does, and row security checks it."""

    ID_PREFIX: str

    tenant_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, server_default=FetchedValue())

    @declared_attr
    @classmethod
    def id(cls) -> Mapped[str]:
        return mapped_column(TypeID(cls.ID_PREFIX), primary_key=True, default=minted(cls.ID_PREFIX))


def _as_created(context: Any) -> Any:
    """A row that was never changed says so: both moments are the same."""
    return context.get_current_parameters()["created_at"]


class Timestamped:
    """When the row was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=_as_created, onupdate=clock.now)


class Versioned:
    """Counts changes; the ORM refuses to overwrite a version it has not read, the API speaks of it as ETag."""

    version: Mapped[int]

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.__dict__.get("version") or cls.__table__.c.version}  # type: ignore[attr-defined]


class SoftDeleted:
    """Deleted rows stay restorable for a while; then a job purges them."""

    deleted_at: Mapped[datetime | None]


def minted(prefix: str) -> Callable[[], str]:
    """A column default that mints ids with this prefix."""
    return lambda: new_id(prefix)
