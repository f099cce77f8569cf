"""What functions, roles and the database itself allow."""

from collections.abc import Iterator
from typing import Final

from insula.core.catalogue.doors import COMPARISONS, RUNS_AS_OWNER
from insula.core.catalogue.facts import LOGINS, OWNERS, Catalogue, Right
from insula.core.catalogue.rule import Problems, Rule
from insula.core.db import defaults_of
from insula.core.tables import SCHEMA

PINNED: Final = "search_path=pg_catalog, pg_temp"
CONTEXT: Final = frozenset({"tenant_id", "user_id"})
HOUSE: Final = frozenset({SCHEMA, "migration"})
"""Schemas of ours; logins look into both."""
SEEN: Final = HOUSE | {"pg_catalog", "information_schema"}
"""Schemas that every login looks into."""
LENDERS: Final = OWNERS | {"app_migrator"}
"""Whose rights reach everybody's rows."""

SIGNALS: Final = frozenset({"pg_signal_backend", "pg_read_all_stats"})
"""With these a door sees and ends transactions that go on for too long."""


def functions_are_pinned(catalogue: Catalogue) -> Problems:
    """Names inside a function mean what they meant to its author, whatever the caller's search_path.

    What every policy asks names each schema itself, which is cheaper; the inventory holds its text.
    """
    for function in catalogue.functions:
        if function.schema != SCHEMA:
            continue
        names_nothing = function.name in CONTEXT or function.name in COMPARISONS
        if names_nothing and function.settings:
            yield function.signature, "sets something, and its text needs no search_path"
        elif not names_nothing and PINNED not in function.settings:
            yield function.signature, "does not SET search_path = pg_catalog, pg_temp"


def functions_lend_the_doors_rights(catalogue: Catalogue) -> Problems:
    """SECURITY DEFINER functions run as app_door; app_owner's rights, the right to DDL, are lent by name only.

    Elsewhere others have theirs, poolers for instance, to look up passwords: none that we may call, and none that
    lends rights of ours.
    """
    callers = LOGINS | OWNERS | {"PUBLIC"}
    looked_into = SEEN | {right.object for right in catalogue.rights if right.kind == "schema"}
    for function in catalogue.functions:
        lends_more = function.owner != "app_door" and function.name not in RUNS_AS_OWNER
        ours = function.schema in HOUSE or (function.schema in looked_into and not callers.isdisjoint(function.callers))
        changed_by_others = function.schema in HOUSE and function.owner not in OWNERS
        lent_away = function.schema not in HOUSE and function.owner in LENDERS
        if (function.definer and ((lends_more and ours) or lent_away)) or changed_by_others:
            yield function.signature, f"runs with the rights of {function.owner}"


def functions_elsewhere_are_nobodys(catalogue: Catalogue) -> Problems:
    """Extensions bring functions (dblink connects, file_fdw reads files); they belong where no login may look. Into the
    schema of migrations logins do look, for the revision, and into the system's.
    """
    usable = {(right.role, right.object) for right in catalogue.rights if right.kind == "schema"}
    usable |= {(login, schema) for login in LOGINS for schema in SEEN}
    for function in catalogue.functions:
        for login in sorted(LOGINS):
            may = {login, "PUBLIC"} & set(function.callers) and (login, function.schema) in usable
            if function.schema != SCHEMA and may:
                yield function.signature, f"{login} may execute it"


def the_context_is_asked_once(catalogue: Catalogue) -> Problems:
    """STABLE: once per statement. PARALLEL RESTRICTED: a worker has another pid, and marked SAFE rows went missing."""
    forms = {f.name: (f.volatility, f.parallel, f.definer) for f in catalogue.functions if f.schema == SCHEMA}
    for name in sorted(CONTEXT):
        if forms.get(name) != ("s", "r", True):
            yield f"{SCHEMA}.{name}", "is not STABLE PARALLEL RESTRICTED SECURITY DEFINER"


def roles_have_no_rights_of_their_own(catalogue: Catalogue) -> Problems:
    """BYPASSRLS and SUPERUSER step over every policy; the others lead there."""
    for role in catalogue.roles:
        for right in role.rights:
            yield role.name, f"is {right}"


def logins_are_only_themselves(catalogue: Catalogue) -> Problems:
    """A member can become the role; an owner can change policies and grants."""
    for role in catalogue.roles:
        if role.name in LOGINS | OWNERS:
            for other in role.member_of:
                if role.name != "app_door" or other not in SIGNALS:
                    yield role.name, f"is a member of {other}"
        for thing in role.owned:
            yield role.name, f"owns {thing}"


def the_house_owns_the_schema(catalogue: Catalogue) -> Problems:
    """Whoever owns a table switches its row security off, whoever owns the schema drops it, without any grant."""
    for right in _of_kind(catalogue, "ownership"):
        yield right.object, f"belongs to {right.role}"


def owners_cannot_log_in(catalogue: Catalogue) -> Problems:
    """Nobody works as the owner or the door; migrations become them for a moment."""
    present = {role.name: role for role in catalogue.roles}
    for name in sorted(OWNERS | LOGINS):
        if name not in present:
            yield name, "does not exist"
        elif present[name].can_login != (name in LOGINS):
            yield name, "can log in" if present[name].can_login else "cannot log in"


def logins_reach_only_the_schema(catalogue: Catalogue) -> Problems:
    """What was granted to a login by name elsewhere: system functions, other schemas, parameters."""
    for role in catalogue.roles:
        for thing in role.reaches:
            yield role.name, f"was granted {thing}"


def logins_have_our_defaults(catalogue: Catalogue) -> Problems:
    """A login's settings hold for every connection to come: exactly ours, for these databases and for all."""
    for role in catalogue.roles:
        if role.name in LOGINS:
            found = [(name.lower(), value) for name, _, value in (setting.partition("=") for setting in role.settings)]
            expected = defaults_of(role.name).items()
            for name, value in sorted(set(found) - expected):
                yield role.name, f"sets {name} = {value} for its sessions"
            for name, value in sorted(expected - set(found)):
                yield role.name, f"has not {name} = {value}"


def nothing_can_be_created(catalogue: Catalogue) -> Problems:
    """Neither schemas nor temporary tables nor functions: what SQL leaves behind, the next request could meet."""
    for right in catalogue.rights:
        if right.privilege in {"CREATE", "TEMPORARY"}:
            yield f"{right.kind} {right.object}", f"{_who(right)} holds {right.privilege}"


def no_other_schema_is_visible(catalogue: Catalogue) -> Problems:
    """public, and what extensions bring."""
    for right in catalogue.rights:
        if right.kind == "schema" and right.privilege == "USAGE" and right.role != "app_door":
            yield f"schema {right.object}", f"{_who(right)} holds USAGE"


def no_code_but_sql_is_written(catalogue: Catalogue) -> Problems:
    """DO runs loops, catches errors and opens cursors, all in one statement."""
    for right in _of_kind(catalogue, "language"):
        yield f"language {right.object}", f"{_who(right)} holds USAGE"


def nobody_locks_or_ends_what_is_not_theirs(catalogue: Catalogue) -> Problems:
    """Advisory locks of a session outlive its transaction and fill everybody's table of locks; a login's connections
    carry all tenants.
    """
    for right in _of_kind(catalogue, "function"):
        yield right.object, f"{_who(right)} may execute it"


def nothing_is_stored_outside_of_tables(catalogue: Catalogue) -> Problems:
    """Large objects and foreign servers know no tenants."""
    for right in catalogue.rights:
        if right.kind in {"large object function", "foreign server"}:
            yield f"{right.kind} {right.object}", f"{_who(right)} holds {right.privilege}"


def nobody_else_becomes_one_of_us(catalogue: Catalogue) -> Problems:
    """A member of the door writes contexts, a member of the owner policies, a member of a login is that login."""
    for right in _of_kind(catalogue, "role"):
        yield right.role, f"is a member of {right.object}"


def logins_change_no_schema(catalogue: Catalogue) -> Problems:
    """DROP OWNED needs no right, and takes a role's policies with it: nothing but the event trigger refuses it."""
    for right in _of_kind(catalogue, "schema change"):
        yield right.object, "is missing, disabled or another one"


def triggers_and_policies_are_in_force(catalogue: Catalogue) -> Problems:
    """For every session: in ``replica`` no foreign key and no trigger is looked at; and for every table."""
    for right in _of_kind(catalogue, "setting"):
        yield right.object, f"is {right.privilege}"


def no_order_spans_tenants(catalogue: Catalogue) -> Problems:
    """Whoever walks an index in the order of a value learns how many rows of others come before their own."""
    for right in _of_kind(catalogue, "order"):
        yield right.object, f"is an order by {right.privilege} of everybody's rows, which {right.role} can walk"


def row_security_is_asked_first(catalogue: Catalogue) -> Problems:
    """What is LEAKPROOF and cheap is asked before a policy, and how often it was asked tells of everybody's rows."""
    for right in _of_kind(catalogue, "condition"):
        yield right.object, "is LEAKPROOF"
    for right in _of_kind(catalogue, "dear condition"):
        yield right.object, f"costs {right.privilege}, and what costs less is asked before a policy"
    for right in _of_kind(catalogue, "subscript"):
        yield right.object, f"is {right.privilege}, and an array's subscript is asked before a policy"


def the_system_keeps_its_secrets(catalogue: Catalogue) -> Problems:
    """What initdb kept from PUBLIC: files, other sessions, hashes of passwords, settings that switch keys off."""
    for right in _of_kind(catalogue, "system object"):
        yield right.object, f"{_who(right)} holds {right.privilege}"


def the_program_runs_as_its_login(catalogue: Catalogue) -> Problems:
    """All of this says what app_rw cannot do; whoever is connected as somebody else can."""
    for login in catalogue.logins:
        if login.superuser or {login.session_user, login.current_user} != {"app_rw"}:
            yield login.current_user, f"is connected, as {login.session_user}, where app_rw should be"


def _of_kind(catalogue: Catalogue, kind: str) -> Iterator[Right]:
    return (right for right in catalogue.rights if right.kind == kind)


def _who(right: Right) -> str:
    return "PUBLIC" if right.role == "public" else right.role


_PROVISION: Final = "Run `insula provision` again; it takes away what is not ours to have."

RIGHT_RULES: Final = (
    Rule(functions_are_pinned, "ALTER FUNCTION ... SET search_path = pg_catalog, pg_temp, in a migration."),
    Rule(functions_lend_the_doors_rights, "Create doors with run_script(..., role='app_door'), in the schema app."),
    Rule(
        functions_elsewhere_are_nobodys,
        "Install extensions, and create what is yours, in a schema that no login may use.",
    ),
    Rule(the_context_is_asked_once, "Recreate it as in migrations/sql/context.sql."),
    Rule(roles_have_no_rights_of_their_own, "ALTER ROLE ... NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB ..."),
    Rule(logins_are_only_themselves, "REVOKE the membership; REASSIGN OWNED BY ... TO app_owner."),
    Rule(the_house_owns_the_schema, "ALTER ... OWNER TO app_owner."),
    Rule(owners_cannot_log_in, "ALTER ROLE ... NOLOGIN (app_owner, app_door) or LOGIN (the others)."),
    Rule(logins_reach_only_the_schema, "REVOKE it."),
    Rule(logins_have_our_defaults, "ALTER ROLE ... RESET ALL, then `insula provision`; and ask who set it."),
    Rule(nothing_can_be_created, _PROVISION),
    Rule(no_other_schema_is_visible, _PROVISION),
    Rule(no_code_but_sql_is_written, _PROVISION),
    Rule(nobody_locks_or_ends_what_is_not_theirs, _PROVISION),
    Rule(nothing_is_stored_outside_of_tables, _PROVISION),
    Rule(nobody_else_becomes_one_of_us, "REVOKE the membership; and ask who granted it."),
    Rule(logins_change_no_schema, _PROVISION),
    Rule(
        triggers_and_policies_are_in_force,
        "ALTER ROLE ALL RESET ..., ALTER DATABASE ... RESET ...; ALTER TABLE ... ENABLE TRIGGER ALL.",
    ),
    Rule(
        no_order_spans_tenants,
        "Begin a btree with tenant_id (user_id); where no order is asked for, take hash, or BRIN for what is no id.",
    ),
    Rule(row_security_is_asked_first, _PROVISION),
    Rule(the_system_keeps_its_secrets, "REVOKE it from PUBLIC, as a superuser."),
    Rule(the_program_runs_as_its_login, "Let INSULA_DATABASE_URL name app_rw."),
)
