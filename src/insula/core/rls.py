"""The one definition of what each class of table grants to whom; migrations create every table through it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.sql.schema import SchemaItem

from insula.core.tables import (
    ALONE,
    COUNT_VERSION,
    ISOLATION,
    JSON_BYTES,
    MOMENTS,
    SCHEMA,
    TEXT_BYTES,
    TableClass,
    delete_door,
    delete_door_body,
)


def create_tenant_table(
    op: Operations,
    name: str,
    *elements: SchemaItem,
    updatable: Iterable[str] = (),
    deletable: bool = False,
) -> None:
    """Create a tenant-owned table: key (tenant_id, id), forced row security, no way to move a row.

    ``updatable`` names the columns the application may change; ``tenant_id`` and ``id`` never can. ``deletable`` is for
    tables whose rows go at once; others are soft-deleted.
    """
    op.create_table(name, *tenant_key(), *bounded(*elements), schema=SCHEMA)
    protect_tenant_table(op, name, updatable=updatable, deletable=deletable)
    _count_lost_references(op, name, elements)


def _count_lost_references(op: Operations, name: str, elements: Iterable[SchemaItem]) -> None:
    """A row whose reference PostgreSQL takes away is another version of itself: its ETag must not stay the same."""
    if not any(isinstance(element, sa.Column) and element.name == "version" for element in elements):
        return
    lost = [
        f"(OLD.{column} IS NOT NULL AND NEW.{column} IS NULL)"
        for element in elements
        if isinstance(element, sa.ForeignKeyConstraint) and (element.ondelete or "").startswith("SET NULL")
        for column in element.column_keys
        if column != "tenant_id"
    ]
    if lost:
        op.execute(
            f'CREATE TRIGGER {COUNT_VERSION} BEFORE UPDATE ON {SCHEMA}."{name}" FOR EACH ROW'
            f" WHEN (NEW.version = OLD.version AND ({' OR '.join(lost)})) EXECUTE FUNCTION {SCHEMA}.{COUNT_VERSION}()"
        )


def bounded(*elements: SchemaItem) -> list[SchemaItem]:
    """The elements of a table, and a CHECK for each column whose type alone would let a value be of any size."""
    columns = [element for element in elements if isinstance(element, sa.Column)]
    return [*elements, *(sa.CheckConstraint(bound) for column in columns if (bound := bound_of(column)))]


def bound_of(column: sa.Column[Any]) -> str | None:
    """What a CHECK says of a moment, a text, bytes, an array or a JSON document; None for what is small by its type."""
    if isinstance(column.type, sa.DateTime):
        return f"{column.name} BETWEEN timestamptz '{MOMENTS[0]} UTC' AND timestamptz '{MOMENTS[1]} UTC'"
    if isinstance(column.type, sa.Date):
        return f"{column.name} BETWEEN date '{MOMENTS[0]}' AND date '{MOMENTS[1]}'"
    if isinstance(column.type, sa.Text):
        return f"octet_length({column.name}) <= {column.info.get('bytes', TEXT_BYTES)}"
    if isinstance(column.type, sa.LargeBinary):
        return f"octet_length({column.name}) <= {column.info.get('bytes', JSON_BYTES)}"
    if isinstance(column.type, sa.JSON | sa.ARRAY):
        # As text: a number of a few bytes may be one of a hundred thousand digits.
        return f"octet_length({column.name}::text) <= {column.info.get('bytes', JSON_BYTES)}"
    return None


def tenant_key() -> list[SchemaItem]:
    """The first columns and the primary key of every tenant table."""
    return [
        sa.Column("tenant_id", sa.Uuid, server_default=sa.text("app.tenant_id()"), nullable=False),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    ]


def tenant_reference(column: str, table: str, ondelete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    """A reference between tenant tables; paired with tenant_id, because foreign keys do not ask row security."""
    return sa.ForeignKeyConstraint(
        ["tenant_id", column], [f"{SCHEMA}.{table}.tenant_id", f"{SCHEMA}.{table}.id"], ondelete=ondelete
    )


def protect_tenant_table(op: Operations, name: str, *, updatable: Iterable[str] = (), deletable: bool = False) -> None:
    """Policies and grants of a tenant table (or of one partition of it, whose grants its parent holds)."""
    table = f'{SCHEMA}."{name}"'
    force_row_security(op, table)
    op.execute(
        f"CREATE POLICY isolation ON {table} AS RESTRICTIVE TO app_rw USING ({ISOLATION}) WITH CHECK ({ISOLATION})"
    )
    op.execute(f"CREATE POLICY access ON {table} TO app_rw USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY door ON {table} TO app_door USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO app_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO app_door")
    op.execute(f"GRANT SELECT, INSERT ON {table} TO app_rw")
    if columns := ", ".join(updatable):
        op.execute(f"GRANT UPDATE ({columns}) ON {table} TO app_rw")
    if deletable:
        create_delete_door(op, name)
    hide_statistics(op, table)
    classify(op, table, TableClass.TENANT)


def create_delete_door(op: Operations, name: str) -> None:
    """Deletes one row of the context's tenant.

    The right to DELETE would do, but for what comes with it: LOCK TABLE, which stops all tenants.
    """
    act_as_door(op)
    op.execute(
        f"CREATE FUNCTION {SCHEMA}.{delete_door(name)}(row_id uuid) RETURNS boolean"
        " LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
        f" AS {delete_door_body(name)}"
    )
    op.execute(f"GRANT EXECUTE ON FUNCTION {SCHEMA}.{delete_door(name)}(uuid) TO app_rw")
    act_as_owner(op)


def protect_user_table(op: Operations, name: str, *, owner: str, grants: str, everywhere: bool = False) -> None:
    """Policies of a table whose rows belong to the person named by its ``owner`` column.

    They are theirs alone: inside an organization they can neither be read nor changed, since SQL that slipped in there
    would do it to the person everywhere. ``everywhere`` is for tables to which rows are added and nothing else.
    """
    table = f'{SCHEMA}."{name}"'
    mine = f"{owner} = (SELECT app.user_id())" + ("" if everywhere else f" AND {ALONE}")
    force_row_security(op, table)
    op.execute(f"CREATE POLICY isolation ON {table} AS RESTRICTIVE TO app_rw USING ({mine}) WITH CHECK ({mine})")
    op.execute(f"CREATE POLICY access ON {table} TO app_rw USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY door ON {table} TO app_door USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO app_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO app_door")
    op.execute(f"GRANT {grants} ON {table} TO app_rw")
    hide_statistics(op, table)
    classify(op, table, TableClass.USER)


def protect_registry_table(op: Operations, name: str) -> None:
    """A table that only doors reach."""
    table = f'{SCHEMA}."{name}"'
    force_row_security(op, table)
    op.execute(f"CREATE POLICY door ON {table} TO app_door USING (true) WITH CHECK (true)")
    op.execute(f"CREATE POLICY owner ON {table} TO app_owner USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO app_door")
    classify(op, table, TableClass.REGISTRY)


def protect_platform_table(op: Operations, name: str, *, grants: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """A table of the program itself, worked on by the platform login."""
    table = f'{SCHEMA}."{name}"'
    force_row_security(op, table)
    for role in ("app_door", "app_owner", "app_platform"):
        op.execute(f"CREATE POLICY {role} ON {table} TO {role} USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO app_door")
    op.execute(f"GRANT {grants} ON {table} TO app_platform")
    classify(op, table, TableClass.PLATFORM)


def hide_statistics(op: Operations, table: str) -> None:
    """ANALYZE looks at nothing but moments: estimates would let anybody search for everybody's ids, and how many
    different values there are would tell whether one's own is new.

    The planner misses little. Row security keeps it from asking about anything but ids, of which there is an index; and
    how many rows are deleted, of which lists have to know, a moment says.
    """
    op.execute(
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT attname FROM pg_attribute"  # noqa: S608  # a table of ours
        f" WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        " AND atttypid <> 'timestamptz'::regtype"
        f" LOOP EXECUTE format('ALTER TABLE {table} ALTER %I SET STATISTICS 0', name); END LOOP; END $$"
    )


def force_row_security(op: Operations, table: str) -> None:
    """ENABLE alone would leave the owner unrestricted."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def classify(op: Operations, table: str, table_class: TableClass) -> None:
    """Write the class where the catalogue check reads it."""
    op.execute(f"COMMENT ON TABLE {table} IS 'class: {table_class}'")


def run_script(op: Operations, path: Path | str, *, role: str = "app_owner") -> None:
    """Run a file of SQL statements as ``role``; door scripts run as app_door, which then owns what they create."""
    script = Path(path).read_text(encoding="utf-8")
    if role == "app_door":
        act_as_door(op)
    driver = op.get_bind().connection.dbapi_connection
    assert driver is not None
    driver.run_async(lambda connection: connection.execute(script))  # many statements: the simple protocol
    if role == "app_door":
        act_as_owner(op)


def act_as_door(op: Operations) -> None:
    """What is created from now on belongs to app_door, which may create nothing otherwise."""
    op.execute(f"GRANT CREATE ON SCHEMA {SCHEMA} TO app_door")
    op.execute("SET LOCAL ROLE app_door")


def act_as_owner(op: Operations) -> None:
    """The other way round."""
    op.execute("SET LOCAL ROLE app_owner")
    op.execute(f"REVOKE CREATE ON SCHEMA {SCHEMA} FROM app_door")
