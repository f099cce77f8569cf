"""What tables must be, by their class."""

import re
from typing import Final

from insula.core.catalogue.facts import Catalogue, Policy
from insula.core.catalogue.rule import Problems, Rule
from insula.core.tables import COUNT_VERSION, MOMENTS, SCHEMA, TEXT_BYTES, TableClass

KEY_TABLE: Final = f"{SCHEMA}.door_key"
"""Belongs to app_door, which alone reads it, in every statement: row security keeps others out, and is not forced."""
TRIGGERS: Final = {
    (f"{SCHEMA}.outbox", "wait_until_due", f"{SCHEMA}.wait_until_due"): "a job of later is not due yet",
}
"""The table, the trigger's name and what it calls."""
LEFT_BY: Final = {"tenant_id", "user_id", "lane"}
"""What the policy of a platform table takes from the context of the request that leaves a row there."""

BY_TENANT: Final = "(tenant_id = ( SELECT app.tenant_id() AS tenant_id))"
SMALL: Final = frozenset(
    {"uuid", "boolean", "smallint", "integer", "bigint", "real", "double precision", "inet", "cidr"}
)
"""Types whose values are all small, and readable."""
BOUNDED: Final = {
    "timestamp with time zone": (
        rf"\(\(%s >= '{MOMENTS[0]} 00:00:00\+00'::timestamp with time zone\)"
        rf" AND \(%s <= '{MOMENTS[1]} 00:00:00\+00'::timestamp with time zone\)\)"
    ),
    "text": r"\(octet_length\(%s\) <= \d{1,7}\)",
    "date": rf"\(\(%s >= '{MOMENTS[0]}'::date\) AND \(%s <= '{MOMENTS[1]}'::date\)\)",
    "jsonb": r"\(octet_length\(\(%s\)::text\) <= \d{1,7}\)",
    "text[]": r"\(octet_length\(\(%s\)::text\) <= \d{1,7}\)",
    "bytea": r"\(octet_length\(%s\) <= \d{1,7}\)",
}
"""Types whose values have no end that a page could bear, and the CHECK that gives them one: ten megabytes at most."""
SIZED: Final = re.compile(r"numeric\([-\d,]+\)|character(?: varying)?\((\d+)\)")
"""Types that say it themselves; of an array they say how large each of its values is, and not how many there are."""
AS_READER: Final = frozenset(f"security_invoker={yes}" for yes in ("true", "on", "yes", "1"))
"""What a view says that asks row security about whoever reads it."""
_MINE: Final = r"\((\w+) = \( SELECT app\.user_id\(\) AS user_id\)\)"
_ALONE: Final = r"\(\( SELECT app\.tenant_id\(\) AS tenant_id\) IS NULL\)"
BY_USER: Final = re.compile(rf"\({_MINE} AND {_ALONE}\)")
ADDED_BY_USER: Final = re.compile(_MINE)
"""Of a table to which rows are added and nothing else, inside of organizations too."""


def every_table_says_its_class(catalogue: Catalogue) -> Problems:
    """The class decides which rules apply; without one, none would."""
    for table in catalogue.stored():
        if table.comment not in {f"class: {known}" for known in TableClass}:
            yield table.name, f"its comment does not say its class: {table.comment!r}"


def row_security_is_forced(catalogue: Catalogue) -> Problems:
    """ENABLE alone would leave the owner unrestricted, and backfills with it."""
    for table in catalogue.stored():
        if not table.row_security or (table.name != KEY_TABLE and not table.forced):
            yield table.name, f"row security is not {'forced' if table.row_security else 'enabled'}"


def tenant_tables_have_the_tenants_key(catalogue: Catalogue) -> Problems:
    """(tenant_id, id): references can pair the tenant, and pages are read in the index's order."""
    primary = {key.table: key.columns for key in catalogue.keys if key.primary}
    for table in catalogue.of_class(TableClass.TENANT):
        if primary.get(table) != ["tenant_id", "id"]:
            yield table, f"its primary key is {primary.get(table)}"


def the_tenant_comes_from_the_context(catalogue: Catalogue) -> Problems:
    """A row that names no tenant is its writer's, or it is not written."""
    columns = {(column.table, column.name): column for column in catalogue.columns}
    for table in catalogue.of_class(TableClass.TENANT):
        column = columns.get((table, "tenant_id"))
        if column is None or not column.required or column.default != "app.tenant_id()":
            yield table, "tenant_id is not NOT NULL DEFAULT app.tenant_id()"


def tenant_tables_are_isolated(catalogue: Catalogue) -> Problems:
    """One RESTRICTIVE policy says which rows exist, one permissive lets them through, and no third adds to them."""
    for table in catalogue.of_class(TableClass.TENANT):
        yield from _isolated(table, catalogue.policies_met(table), {BY_TENANT})


def user_tables_are_isolated(catalogue: Catalogue) -> Problems:
    """Likewise, by a column that is never empty; and outside of organizations, unless rows are added and no more."""
    required = {(column.table, column.name) for column in catalogue.columns if column.required}
    more = {grant.table for grant in catalogue.held(by=frozenset({"app_rw"})) if grant.privilege != "INSERT"}
    for table in catalogue.of_class(TableClass.USER):
        policies = catalogue.policies_met(table)
        form = BY_USER if catalogue.topmost(table) in more else ADDED_BY_USER
        found = [match for policy in policies if (match := form.fullmatch(policy.using))]
        yield from _isolated(table, policies, {match[0] for match in found if (table, match[1]) in required})


def unique_keys_start_with_their_owner(catalogue: Catalogue) -> Problems:
    """A global UNIQUE, or EXCLUDE, tells whoever can write it that somebody else has the value."""
    owners = {table: {column} for table, column in owner_columns(catalogue).items()}
    left = LEFT_BY - {"user_id"}  # one organization must not learn what its member left in another
    owners |= dict.fromkeys(catalogue.of_class(TableClass.PLATFORM), left)
    for key in catalogue.keys:
        owner = owners.get(key.table)
        if owner is None or key.columns[0] in owner or (key.primary and owner is left):
            continue
        if owner == {"tenant_id"} or catalogue.writable(key.table, key.columns):
            over = ", ".join(column or "something else than a column" for column in key.columns)
            yield key.name, f"is unique over {over}, whoever's the row is"


def references_pair_the_tenant(catalogue: Catalogue) -> Problems:
    """Foreign keys do not ask row security: with a simple one, A attaches to B's row, and B's delete cascades."""
    tenants = catalogue.of_class(TableClass.TENANT)
    for reference in catalogue.references:
        paired = ("tenant_id", "tenant_id") in zip(reference.columns, reference.target_columns, strict=True)
        if reference.target in tenants and not paired:
            yield f"{reference.table} ({reference.name})", f"refers to {reference.target} without the tenant"


def references_clear_only_themselves(catalogue: Catalogue) -> Problems:
    """ON DELETE SET NULL without a column list would clear tenant_id as well."""
    for reference in catalogue.references:
        if reference.on_delete in "nd" and "tenant_id" in (reference.set_on_delete or reference.columns):
            yield f"{reference.table} ({reference.name})", "clears tenant_id when its target is deleted"


def references_outwards_are_not_writable(catalogue: Catalogue) -> Problems:
    """Whoever may write a reference to a table that they cannot see learns by trying which rows it has.

    To a tenant's table none but a tenant's may refer: elsewhere nothing says that the tenant in it is the writer's.
    """
    tenants = catalogue.of_class(TableClass.TENANT).keys()
    for reference in catalogue.references:
        outwards = not {reference.table, reference.target} <= tenants
        if outwards and catalogue.writable(reference.table, reference.columns):
            yield f"{reference.table} ({reference.name})", f"requests may write what refers to {reference.target}"


def rows_are_not_numbered(catalogue: Catalogue) -> Problems:
    """A sequence shared by tenants, or by people, tells each how much the others do."""
    ours = catalogue.of_class(TableClass.TENANT) | catalogue.of_class(TableClass.USER)
    for column in catalogue.columns:
        if column.table in ours and (column.identity or "nextval(" in column.default):
            yield f"{column.table}.{column.name}", "counts everybody's rows"


def what_requests_write_has_bounds(catalogue: Catalogue) -> Problems:
    """A year that no program can read, or a name of megabytes, breaks every page it is on, other people's too."""
    for column in catalogue.columns:
        if _small(column.type) or not catalogue.writable(column.table, [column.name]):
            continue
        name, bound = f"{column.table}.{column.name}", _bound(column.type)
        if bound is None:
            yield name, f"is a {column.type}, which may be of any size, or what no program can read"
            continue
        form = re.compile(bound.replace("%s", f'"?{re.escape(column.name)}"?'))
        if not any(form.fullmatch(check) for check in column.checks):
            yield name, f"has no CHECK that bounds its {column.type}"


def _bound(type_: str) -> str | None:
    """The CHECK that a type needs. Of an array of what is small it is that of texts: as text it is so long at most."""
    element = type_.removesuffix("[]")
    return BOUNDED["text[]"] if element != type_ and _small(element) else BOUNDED.get(type_)


def _small(type_: str) -> bool:
    sized = SIZED.fullmatch(type_)
    return type_ in SMALL or (sized is not None and int(sized[1] or 0) <= TEXT_BYTES)


def values_are_not_counted(catalogue: Catalogue) -> Problems:
    """Of everybody's values the planner knows which ids there are and how many different ones, and EXPLAIN tells it."""
    ours = catalogue.of_class(TableClass.TENANT) | catalogue.of_class(TableClass.USER)
    for counted in catalogue.counted:
        if counted.table in ours:
            yield counted.object, "is in the planner's statistics"


def views_ask_as_their_reader(catalogue: Catalogue) -> Problems:
    """An ordinary view reads with its owner's rights; a materialized one holds everybody's rows."""
    for table in catalogue.tables:
        if table.kind == "v" and not AS_READER & {option.lower() for option in table.options}:
            yield table.name, "is a view without security_invoker"
        elif table.kind in "mf":
            yield table.name, "is a materialized view" if table.kind == "m" else "is a foreign table"


def nothing_runs_by_itself(catalogue: Catalogue) -> Problems:
    """A trigger or a rule acts on every tenant's rows: each is known here, with its reason."""
    tables = {table.name for table in catalogue.tables}
    for attachment in catalogue.attachments:
        counts = (attachment.name, attachment.function) == (COUNT_VERSION, f"{SCHEMA}.{COUNT_VERSION}")
        known = counts or (attachment.table, attachment.name, attachment.function) in TRIGGERS
        if attachment.table in tables and not known:
            yield f"{attachment.table}.{attachment.name}", f"is a {attachment.kind}"


def owner_columns(catalogue: Catalogue) -> dict[str, str]:
    """Tenant and user tables, each with the column that says whose a row is."""
    owners = dict.fromkeys(catalogue.of_class(TableClass.TENANT), "tenant_id")
    for table in catalogue.of_class(TableClass.USER):
        for policy in catalogue.policies_met(table):
            if found := BY_USER.fullmatch(policy.using) or ADDED_BY_USER.fullmatch(policy.using):
                owners[table] = found[1]
    return owners


def _isolated(table: str, policies: list[Policy], forms: set[str]) -> Problems:
    """Exactly a restrictive policy of one of ``forms`` and a permissive one, each for app_rw alone."""
    ours = [policy for policy in policies if policy.roles == ["app_rw"] and policy.command == "*"]
    restrictive = [p for p in ours if not p.permissive and p.using in forms and p.check == p.using]
    permissive = [p for p in ours if p.permissive and p.using == p.check == "true"]
    if len(restrictive) != 1:
        yield table, "has no restrictive policy on the signed context, for reading and for writing"
    if len(permissive) != 1:
        yield table, "has no permissive policy beside the restrictive one"
    for policy in policies:
        if policy not in restrictive + permissive:
            yield table, f"has the policy {policy.name} for {', '.join(policy.roles)}"


_RECREATE: Final = "Create tables with core/rls.py only, in a migration."
_POLICIES: Final = "Recreate the policies as core/rls.py writes them, and drop all others that name app_rw or PUBLIC."

TABLE_RULES: Final = (
    Rule(every_table_says_its_class, "Create it with core/rls.py, or COMMENT ON TABLE ... IS 'class: tenant'."),
    Rule(row_security_is_forced, "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY."),
    Rule(tenant_tables_have_the_tenants_key, _RECREATE),
    Rule(the_tenant_comes_from_the_context, _RECREATE),
    Rule(tenant_tables_are_isolated, _POLICIES),
    Rule(user_tables_are_isolated, _POLICIES),
    Rule(unique_keys_start_with_their_owner, "Make it unique per tenant (per user): the owner's column first."),
    Rule(references_pair_the_tenant, "Declare it with core/rls.py tenant_reference."),
    Rule(references_clear_only_themselves, "Name the column: ON DELETE SET NULL (column)."),
    Rule(references_outwards_are_not_writable, "Take the grant from app_rw, and let a door write the column."),
    Rule(rows_are_not_numbered, "Use a UUIDv7 made by the program."),
    Rule(
        what_requests_write_has_bounds,
        "Create it with core/rls.py, or ADD CHECK what its bound_of says; for a type it does not know, take another.",
    ),
    Rule(
        values_are_not_counted,
        "ALTER TABLE ... ALTER ... SET STATISTICS 0, ALTER INDEX ... ALTER COLUMN <number> SET STATISTICS 0 for what an"
        " index is made of, DROP STATISTICS; and, since ANALYZE keeps what there was, as a superuser"
        " DELETE FROM pg_statistic WHERE starelid = '...'::regclass.",
    ),
    Rule(views_ask_as_their_reader, "CREATE VIEW ... WITH (security_invoker = true); nothing materialized or foreign."),
    Rule(
        nothing_runs_by_itself, "Drop it, or name it in core/catalogue/tables.py TRIGGERS with its reason.", listed=True
    ),
)
