"""What a list endpoint is: a keyset page with a signed cursor, declared sorts and declared filters."""

import hashlib
import hmac
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, Self, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from asyncpg import Record
from msgspec import Meta

from insula.core.db import Transaction
from insula.core.errors import FieldError, InvalidRequest, Wrong
from insula.core.keyed import collated, compared, keyed, ordered
from insula.core.queries import Query

R = TypeVar("R", bound=msgspec.Struct)

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
_MAC: Final = 16
_SORTED_BY: Final = "sorted_by"


class Page(msgspec.Struct, Generic[R], frozen=True):
    """Some rows, and where to go on; ``next_cursor`` is null on the last page."""

    data: list[R]
    next_cursor: Annotated[str, Meta(examples=["eyJ2IjpbIjAxOTIwYzVlIl19"])] | None


class PageRequest(msgspec.Struct, frozen=True):
    """Which page is asked for, and of what: a cursor is worth something on ``route`` only."""

    keys: list[bytes]
    """The first signs cursors; what any of them signed is believed."""
    route: str = ""
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    sort: str | None = None


class Filter:
    """Equality with a column; an index (whose, column, id) finds the rows, in the order of their ids."""

    MEANING = "Only those whose `{name}` is this."
    """To readers of the documentation."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def clause(self, name: str) -> sa.ColumnElement[bool]:
        return compared(self.column, "=", sa.bindparam(name, type_=self.column.type))

    def binds(self, name: str, value: Any) -> dict[str, Any]:
        return {name: value}


class Prefix(Filter):
    """Starts with, over a normalised column in the C collation: a range of it, which an index finds in its order."""

    MEANING = (
        "Only those that start with this, in upper or lower case. However many blanks stand between words are one, and"
        " those in front are none; a blank at the end says that another word follows: `foo ` finds `Foo bar`, and"
        " neither `Foo` nor `Foobar`. They come in its order, where `sort` says nothing else."
    )

    def clause(self, name: str) -> sa.ColumnElement[bool]:
        start, end = sa.bindparam(name, type_=sa.Text), sa.bindparam(f"{name}_end", type_=sa.Text)
        return compared(self.column, ">=", start) & compared(self.column, "<", end)

    def binds(self, name: str, value: str) -> dict[str, Any]:
        words = normalize(value)
        start = f"{words} " if words and value[-1].isspace() else words
        return {name: start, f"{name}_end": start + "\U0010ffff"}


class Since(Filter):
    """At or after an instant, read off the UUIDv7 id: one index serves order, range and partition pruning."""

    MEANING = "Only those made at this moment or later."

    def clause(self, name: str) -> sa.ColumnElement[bool]:
        return self.column >= sa.bindparam(name, type_=sa.Uuid)  # type: ignore[no-any-return]

    def binds(self, name: str, value: datetime) -> dict[str, Any]:
        return {name: first_id_of(value)}


class Until(Since):
    """Before an instant, likewise."""

    MEANING = "Only those made before this moment, and none made at it."

    def clause(self, name: str) -> sa.ColumnElement[bool]:
        return self.column < sa.bindparam(name, type_=sa.Uuid)  # type: ignore[no-any-return]


class Listing(Generic[R]):
    """One list endpoint's statement, in all the combinations of sort and filters it offers.

    ``key`` is the unique id every order ends with. A sort by the key itself (UUIDv7: by time) is declared by
    mapping its name to the key. Every other sort, and every filter, needs an index (whose, column, id), made for the
    comparisons of keyed.py. Of several filters the first that is declared chooses the index.
    """

    def __init__(  # noqa: PLR0913  # what a list is, declared once at import
        self,
        statement: sa.Select[Any],
        row: type[R],
        *,
        key: Any,
        sorts: Mapping[str, Any],
        filters: Mapping[str, Filter] | None = None,
        default: str = "-created_at",
    ) -> None:
        self._statement, self._row, self._key = statement, row, key
        self.sorts, self.filters, self.default = dict(sorts), dict(filters or {}), default
        self.offered = tuple(direction + name for name in sorted(self.sorts) for direction in ("", "-"))
        """Every sort one may ask for."""
        self._query = lru_cache(maxsize=1024)(
            self._compile
        )  # the limit stands in the text: a bound one hides from the planner

    def __deepcopy__(self, _: Any) -> Self:
        """Itself: Litestar copies routes with their options, but these columns are the tables' own."""
        return self

    async def page(self, db: Transaction, request: PageRequest, **given: Any) -> Page[R]:
        """The page asked for. Raises InvalidRequest for an unknown sort or a cursor that is not this list's."""
        active = {name: value for name, value in given.items() if value is not None}
        sort = self._unasked(active) if request.sort is None else request.sort
        if (wrong := self.refused(sort)) is not None:
            raise InvalidRequest(errors=[wrong])
        binds: dict[str, Any] = {}
        for name, value in active.items():
            binds |= self.filters[name].binds(name, value)
        binding = self._binding(db, request.route, sort, active)
        if request.cursor:
            binds |= self._after(sort, _open(request.keys, request.cursor, binding))
        query = self._query(sort, frozenset(active), bool(request.cursor), request.limit + 1)
        records = await query.records(db, **binds)
        rows = [query.build(record) for record in records[: request.limit]]
        if len(records) <= request.limit:
            return Page(rows, None)
        last = self._position(sort, rows[-1], records[request.limit - 1])
        return Page(rows, _seal(request.keys[0], last, binding))

    def refused(self, sort: str) -> FieldError | None:
        """What is wrong with an order that is asked for: it is none of those that are offered."""
        if sort in self.offered:
            return None
        return FieldError("query/sort", Wrong.NOT_OFFERED, f"one of {', '.join(self.offered)}")

    @property
    def always(self) -> dict[str, str]:
        """What the document may say of the order of who asks for none: clients that are made of it send the default
        with every request, and that would be one where there is a prefix.
        """
        searched = any(isinstance(one, Prefix) for one in self.filters.values())
        return {} if searched else {"default": self.default}

    def _unasked(self, active: Collection[str]) -> str:
        """The order of who asked for none: that of the prefix, since the index that finds it has no other."""
        searched = [self.filters[name].column for name in active if isinstance(self.filters[name], Prefix)]
        return next(
            (name for name, column in self.sorts.items() if any(column is one for one in searched)), self.default
        )

    def _compile(self, sort: str, active: frozenset[str], continued: bool, limit: int) -> Query[R]:
        column, descending = self.sorts[sort.removeprefix("-")], sort.startswith("-")
        statement = self._statement
        for name in sorted(active):
            statement = statement.where(self.filters[name].clause(name))
        if continued:
            statement = statement.where(self._behind(column, descending=descending))
        if not self._shown(column):
            statement = statement.add_columns(column.label(_SORTED_BY))
        leading = self._leading(active) if column is self._key else column
        order = [self._key] if leading is None else [leading, self._key]
        directed = [ordered(item, descending=descending) for item in order]
        return Query(statement.order_by(*directed).limit(sa.literal_column(str(limit))), self._row)

    def _leading(self, active: Collection[str]) -> Any:
        """What stands before the key in the index of a filter, whose order says so although it has one value there.

        Of ids the planner knows that by itself.
        """
        equal = [one.column for name, one in self.filters.items() if name in active and type(one) is Filter]
        return equal[0] if equal and all(keyed(column) for column in equal) else None

    def _behind(self, column: Any, *, descending: bool) -> sa.ColumnElement[bool]:
        """What follows the row that a cursor names. The index begins at its value; whoever shares that comes by id."""
        after_id = sa.bindparam("after_id", type_=self._key.type)
        if column is self._key:
            return self._key < after_id if descending else self._key > after_id  # type: ignore[no-any-return]
        after = sa.bindparam("after_value", type_=column.type)
        here, there = sa.tuple_(collated(column), self._key), sa.tuple_(after, after_id)
        begun = compared(column, "<=" if descending else ">=", after)
        return begun & (here < there if descending else here > there)

    def _position(self, sort: str, row: R, record: Record) -> list[Any]:
        """What a cursor says: the last row's key, and what is stored of its sort value when that is something else."""
        column = self.sorts[sort.removeprefix("-")]
        identity = getattr(row, self._key.key)
        if column is self._key:
            return [identity]
        return [identity, getattr(row, column.key) if self._shown(column) else record[_SORTED_BY]]

    def _shown(self, column: Any) -> bool:
        return column.key in self._row.__struct_fields__

    def _after(self, sort: str, position: list[Any]) -> dict[str, Any]:
        column = self.sorts[sort.removeprefix("-")]
        if column is self._key:
            return {"after_id": position[0]}
        value = position[1]
        if isinstance(column.type, sa.DateTime):
            value = datetime.fromisoformat(value)
        return {"after_id": position[0], "after_value": value}

    def _binding(self, db: Transaction, route: str, sort: str, active: dict[str, Any]) -> bytes:
        """A cursor is worth something only here: same caller's tenant, same list, same sort, same filters."""
        principal = db.principal
        owner = (principal.organization_id or principal.user_id) if principal else None
        return msgspec.json.encode([owner, route, self._row.__name__, sort, sorted(active.items())])


def normalize(text: str) -> str:
    """The form in which names and addresses are compared, searched and sorted: one é, single blanks, no capitals."""
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()


def first_id_of(instant: datetime) -> UUID:
    """The smallest UUIDv7 of an instant (RFC 9562, section 5.7); instants before 1970 count as 1970."""
    milliseconds = max(0, int(instant.timestamp() * 1000))
    return UUID(int=min(milliseconds, (1 << 48) - 1) << 80)


def _seal(key: bytes, position: list[Any], binding: bytes) -> str:
    payload = msgspec.json.encode(position)
    return urlsafe_b64encode(_mac(key, payload, binding) + payload).decode().rstrip("=")


def _open(keys: list[bytes], cursor: str, binding: bytes) -> list[Any]:
    try:
        sealed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        sealed = b""
    mac, payload = sealed[:_MAC], sealed[_MAC:]
    if not any(hmac.compare_digest(mac, _mac(key, payload, binding)) for key in keys):
        raise InvalidRequest.about("query/cursor", Wrong.MALFORMED, "not a cursor of this list, sort and filters")
    position: list[Any] = msgspec.json.decode(payload)
    return position


def _mac(key: bytes, payload: bytes, binding: bytes) -> bytes:
    return hashlib.blake2b(binding + b"\0" + payload, key=key, digest_size=_MAC).digest()
