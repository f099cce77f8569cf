"""Who may do what with tables."""

import re
from typing import Final

from insula.core.catalogue.facts import OUTSIDERS, OWNERS, Catalogue
from insula.core.catalogue.rule import Problems, Rule
from insula.core.catalogue.tables import owner_columns
from insula.core.tables import SCHEMA, TableClass

APPEND_ONLY: Final = frozenset({f"{SCHEMA}.event", f"{SCHEMA}.account_event", f"{SCHEMA}.operator_action"})
"""What happened stays as it was written."""
SECRET: Final = re.compile(r"(^|_)(hash|secret|password|ipad|opad)$")
NO_SECRET: Final = {f"{SCHEMA}.idempotency.key_hash": "names an answer that only its client can decrypt"}

_HOUSE: Final = (f"{SCHEMA}.", "migration.")
"""What the names of all that is ours begin with."""
_BY_BOTH: Final = (
    "((NOT (tenant_id IS DISTINCT FROM ( SELECT app.tenant_id() AS tenant_id)))"
    " AND (NOT (user_id IS DISTINCT FROM ( SELECT app.user_id() AS user_id)))"
    " AND (lane = COALESCE(tenant_id, user_id)) AND (due_at >= transaction_timestamp()))"
)


def rows_cannot_move(catalogue: Catalogue) -> Problems:
    """Whose a row is, and which, is written once."""
    owners = owner_columns(catalogue)
    for grant in catalogue.held("UPDATE"):
        if grant.table in owners and grant.column in {None, "id", owners[grant.table]}:
            yield grant.object, f"{grant.grantee} may UPDATE it"


def nothing_reaches_past_rows(catalogue: Catalogue) -> Problems:
    """TRUNCATE empties every tenant, REFERENCES asks about foreign rows, TRIGGER plants code; none asks a policy."""
    for grant in catalogue.held():
        if grant.privilege not in {"SELECT", "INSERT", "UPDATE", "DELETE"}:
            yield grant.object, f"{grant.grantee} holds {grant.privilege}"
        elif grant.grantable:
            yield grant.object, f"{grant.grantee} may pass on its {grant.privilege}"


def nobody_can_lock_a_table(catalogue: Catalogue) -> Problems:
    """Whoever may UPDATE or DELETE a whole table may LOCK it, and so keep all tenants waiting."""
    for grant in catalogue.held("UPDATE", "DELETE", by=OUTSIDERS - {"app_platform"}):
        if grant.column is None:
            yield grant.object, f"{grant.grantee} holds {grant.privilege} on all of it"


def nobody_else_holds_anything(catalogue: Catalogue) -> Problems:
    """A role that is none of ours has neither our limits nor, perhaps, row security; with pg_read_all_data a policy is
    all that it lacks.
    """
    tables = {table.name for table in catalogue.tables}
    for grant in catalogue.grants:
        ours = grant.table in tables or grant.table.startswith(_HOUSE)
        if ours and grant.grantee not in OUTSIDERS | OWNERS:
            yield grant.object, f"{grant.grantee} holds {grant.privilege}"
    for policy in catalogue.policies:
        if policy.table in tables and not set(policy.roles) <= OUTSIDERS | OWNERS:
            yield policy.table, f"has the policy {policy.name} for {', '.join(policy.roles)}"


def nothing_is_granted_to_everybody(catalogue: Catalogue) -> Problems:
    """PUBLIC holds nothing; app_identity reaches tables through functions only."""
    for grant in catalogue.held(by=frozenset({"PUBLIC", "app_identity"})):
        yield grant.object, f"{grant.grantee} holds {grant.privilege}"


def partitions_have_no_grants(catalogue: Catalogue) -> Problems:
    """They are reached through their parent, whose grants hold for all of them."""
    partitions = {table.name for table in catalogue.tables if table.partition}
    for grant in catalogue.grants:
        if grant.table in partitions:
            yield grant.object, f"{grant.grantee} holds {grant.privilege} on a partition"


def sequences_are_nobodys(catalogue: Catalogue) -> Problems:
    """Whoever looks at one learns how much everybody does."""
    tables = {table.name for table in catalogue.tables}
    for grant in catalogue.held():
        if grant.table.startswith(_HOUSE) and grant.table not in tables:
            yield grant.object, f"{grant.grantee} holds {grant.privilege} on a sequence"


def registry_tables_are_for_doors_alone(catalogue: Catalogue) -> Problems:
    """What must be found before a tenant is known: a login that reads it reads everybody's."""
    registry = catalogue.of_class(TableClass.REGISTRY)
    for grant in catalogue.held():
        if grant.table in registry:
            yield grant.object, f"{grant.grantee} holds {grant.privilege}"
    for policy in catalogue.policies:
        if policy.table in registry and OUTSIDERS & set(policy.roles):
            yield policy.table, f"has the policy {policy.name} for {', '.join(policy.roles)}"


def the_platform_reads_nobodys_rows(catalogue: Catalogue) -> Problems:
    """Housekeeping of what tenants and people own is a door's, which says how many rows it removed and nothing else."""
    owned = catalogue.of_class(TableClass.TENANT).keys() | catalogue.of_class(TableClass.USER).keys()
    for grant in catalogue.held(by=frozenset({"app_platform"})):
        if grant.table in owned:
            yield grant.object, f"app_platform holds {grant.privilege}"
    for policy in catalogue.policies:
        if policy.table in owned and "app_platform" in policy.roles:
            yield policy.table, f"has the policy {policy.name} for app_platform"


def platform_tables_take_inserts_at_most(catalogue: Catalogue) -> Problems:
    """Requests may leave work behind, as their own tenant and user, and see nothing of it."""
    for table in catalogue.of_class(TableClass.PLATFORM):
        held = [grant for grant in catalogue.held(by=frozenset({"app_rw"})) if grant.table == table]
        for grant in held:
            if grant.privilege != "INSERT":
                yield grant.object, f"app_rw holds {grant.privilege}"
        forms = [(policy.command, policy.permissive, policy.check) for policy in catalogue.policies_met(table)]
        if forms != ([("a", True, _BY_BOTH)] if held else []):
            yield table, "what app_rw may insert is not bound to the context's tenant and user"


def secrets_are_unreadable(catalogue: Catalogue) -> Problems:
    """Not even a hash: it could be tried offline."""
    readers = catalogue.held("SELECT", by=OUTSIDERS - {"app_platform"})
    readable = {(grant.table, grant.column) for grant in readers}
    for column in catalogue.columns:
        name, secret = f"{column.table}.{column.name}", SECRET.search(column.name)
        if secret and name not in NO_SECRET and readable & {(column.table, None), (column.table, column.name)}:
            yield name, "requests can read it"


def what_happened_is_only_added_to(catalogue: Catalogue) -> Problems:
    """The record of events and of operators' decisions cannot be edited by whoever is in it."""
    for grant in catalogue.held("UPDATE", "DELETE", "TRUNCATE"):
        if grant.table in APPEND_ONLY:
            yield grant.object, f"{grant.grantee} holds {grant.privilege}"


def tables_elsewhere_are_nobodys(catalogue: Catalogue) -> Problems:
    """A table outside of the schema obeys none of these rules."""
    for grant in catalogue.held():
        if not grant.table.startswith(f"{SCHEMA}."):
            yield grant.object, f"{grant.grantee} holds {grant.privilege}"


_REVOKE: Final = "REVOKE it in a migration."

GRANT_RULES: Final = (
    Rule(rows_cannot_move, "Grant UPDATE on the columns that change, as core/rls.py does."),
    Rule(nothing_reaches_past_rows, _REVOKE),
    Rule(nobody_can_lock_a_table, "Grant UPDATE on columns, and let rows be deleted by a door, as core/rls.py does."),
    Rule(nobody_else_holds_anything, "REVOKE it; DROP POLICY."),
    Rule(nothing_is_granted_to_everybody, _REVOKE),
    Rule(partitions_have_no_grants, _REVOKE),
    Rule(sequences_are_nobodys, _REVOKE),
    Rule(registry_tables_are_for_doors_alone, "REVOKE it, drop the policy, and write a door."),
    Rule(the_platform_reads_nobodys_rows, "REVOKE it, drop the policy, and write a door."),
    Rule(platform_tables_take_inserts_at_most, "Grant INSERT alone, with a policy as app.outbox has it."),
    Rule(
        secrets_are_unreadable,
        "Keep it in a registry table, or name it in core/catalogue/grants.py NO_SECRET.",
        listed=True,
    ),
    Rule(what_happened_is_only_added_to, _REVOKE),
    Rule(tables_elsewhere_are_nobodys, _REVOKE),
)
