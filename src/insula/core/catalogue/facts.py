"""What the database says about itself."""

from typing import Final, TypeVar

import msgspec

from insula.core.catalogue import queries, right_queries
from insula.core.catalogue.doors import EXECUTABLE
from insula.core.pool import Driver
from insula.core.tables import SCHEMA, TableClass

F = TypeVar("F", bound=msgspec.Struct)

LOGINS: Final = frozenset(EXECUTABLE)
OWNERS: Final = frozenset({"app_owner", "app_door"})
OUTSIDERS: Final = LOGINS | {"PUBLIC"}
"""Whoever a policy has to hold against; app_owner and app_door are the house itself."""


class Table(msgspec.Struct, frozen=True):
    """A table, partition, view, materialized view or foreign table of ours, or one elsewhere that refers to ours."""

    name: str
    kind: str
    """pg_class.relkind: r, p, v, m or f."""
    comment: str
    row_security: bool
    forced: bool
    partition: bool
    options: list[str]
    topmost: str
    """Itself, or the table that it is a partition of: the one whose grants are asked."""
    parents: list[str]
    """What it is a partition of, or inherits from."""
    elsewhere: bool
    """Whether one of them is in another schema."""
    parted_by: str
    """As in ``RANGE (id)``; empty where it has no partitions."""
    conditions: list[str]
    """Of its indexes: which rows are in them."""

    @property
    def table_class(self) -> str:
        """One of TableClass, or what stands there instead."""
        return self.comment.removeprefix("class: ")


class Column(msgspec.Struct, frozen=True):
    """A column of a table."""

    table: str
    name: str
    required: bool
    default: str
    identity: bool
    type: str
    checks: list[str]
    """What CHECK constraints say of it alone."""
    generated: bool


class Counted(msgspec.Struct, frozen=True):
    """Something of a table, other than a moment, that ANALYZE makes statistics of."""

    table: str
    object: str


class Policy(msgspec.Struct, frozen=True):
    """A policy, its expressions as the server spells them."""

    table: str
    name: str
    permissive: bool
    command: str
    """pg_policy.polcmd: * for all, r, a, w or d."""
    roles: list[str]
    using: str
    check: str


class Key(msgspec.Struct, frozen=True):
    """A unique index, the primary key's among them, or what an EXCLUDE constraint is made of."""

    table: str
    name: str
    primary: bool
    columns: list[str]
    """Empty where it is not a column's value that must differ."""


class Reference(msgspec.Struct, frozen=True):
    """A foreign key."""

    table: str
    name: str
    columns: list[str]
    target: str
    target_columns: list[str]
    on_delete: str
    """pg_constraint.confdeltype: a, r, c, n (set null) or d (set default)."""
    set_on_delete: list[str]


class Grant(msgspec.Struct, frozen=True):
    """One privilege on a table, or on one of its columns, of anybody but its owner."""

    table: str
    column: str | None
    grantee: str
    privilege: str
    grantable: bool

    @property
    def object(self) -> str:
        return f"{self.table}.{self.column}" if self.column else self.table


class Function(msgspec.Struct, frozen=True):
    """A function."""

    schema: str
    name: str
    arguments: str
    owner: str
    definer: bool
    settings: list[str]
    volatility: str
    """pg_proc.provolatile: i, s or v."""
    parallel: str
    """pg_proc.proparallel: s, r or u."""
    callers: list[str]
    """Who holds EXECUTE, beside the owner."""
    body: str

    @property
    def signature(self) -> str:
        return f"{self.schema}.{self.name}({self.arguments})"


class Attachment(msgspec.Struct, frozen=True):
    """Code that runs by itself when a table is used: a trigger or a rule."""

    table: str
    kind: str
    name: str
    function: str
    """What a trigger calls; empty for a rule."""


class Role(msgspec.Struct, frozen=True):
    """One of our roles."""

    name: str
    can_login: bool
    rights: list[str]
    """Attributes that step around grants and policies, as CREATE ROLE spells them."""
    member_of: list[str]
    owned: list[str]
    reaches: list[str]
    """Objects outside of our schemas that were granted to it by name."""
    settings: list[str]


class Right(msgspec.Struct, frozen=True):
    """What somebody may do to something that is not a table of ours, be it as PUBLIC."""

    role: str
    kind: str
    object: str
    privilege: str


class Login(msgspec.Struct, frozen=True):
    """Who asks."""

    session_user: str
    current_user: str
    superuser: bool


class Catalogue(msgspec.Struct, frozen=True):
    """All of it, at one moment."""

    tables: list[Table]
    columns: list[Column]
    counted: list[Counted]
    policies: list[Policy]
    keys: list[Key]
    references: list[Reference]
    grants: list[Grant]
    functions: list[Function]
    attachments: list[Attachment]
    roles: list[Role]
    rights: list[Right]
    logins: list[Login]

    def stored(self) -> list[Table]:
        """Tables and partitions of ours."""
        return [table for table in self.tables if table.name.startswith(f"{SCHEMA}.") and table.kind in "rp"]

    def of_class(self, wanted: TableClass) -> dict[str, Table]:
        """Tables and partitions of one class, by name."""
        return {table.name: table for table in self.stored() if table.table_class == wanted}

    def held(self, *privileges: str, by: frozenset[str] = OUTSIDERS) -> list[Grant]:
        """What outsiders hold; all privileges where none is named."""
        return [
            grant for grant in self.grants if grant.grantee in by and (not privileges or grant.privilege in privileges)
        ]

    def topmost(self, table: str) -> str:
        """The table through which requests reach this one: itself, or what it is a partition of."""
        return next((found.topmost for found in self.tables if found.name == table), table)

    def writable(self, table: str, columns: list[str]) -> bool:
        """Whether a request may write any of the columns; what is computed, by writing what it is computed from."""
        topmost = self.topmost(table)
        writers = self.held("INSERT", "UPDATE", by=frozenset({"app_rw", "PUBLIC"}))
        written = {grant.column for grant in writers if grant.table == topmost}
        computed = "" in columns or any(c.generated for c in self.columns if c.table == table and c.name in columns)
        return bool(written and (computed or written & {None, *columns}))

    def policies_met(self, table: str) -> list[Policy]:
        """The policies that requests meet; app_platform has its own on the program's tables."""
        met = OUTSIDERS - {"app_platform"}
        return [policy for policy in self.policies if policy.table == table and met & set(policy.roles)]


async def read_catalogue(driver: Driver) -> Catalogue:
    """Read it inside the caller's transaction, whose search_path is left at pg_catalog.

    Everything else is then rendered with its schema, and the text of a policy or a CHECK can be compared.
    """
    await driver.execute(queries.SPELLING)
    return Catalogue(
        tables=await _read(driver, Table, queries.TABLES),
        columns=await _read(driver, Column, queries.COLUMNS),
        counted=await _read(driver, Counted, queries.COUNTED),
        policies=await _read(driver, Policy, queries.POLICIES),
        keys=await _read(driver, Key, queries.KEYS),
        references=await _read(driver, Reference, queries.REFERENCES),
        grants=await _read(driver, Grant, queries.GRANTS),
        functions=await _read(driver, Function, queries.FUNCTIONS),
        attachments=await _read(driver, Attachment, queries.ATTACHMENTS),
        roles=await _read(driver, Role, queries.ROLES),
        rights=await _read(driver, Right, right_queries.RIGHTS),
        logins=await _read(driver, Login, queries.LOGINS),
    )


async def _read(driver: Driver, fact: type[F], query: str) -> list[F]:
    return [fact(*record) for record in await driver.fetch(query)]
