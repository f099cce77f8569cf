"""Whom the doors are open to."""

from typing import Final

from insula.core.catalogue.doors import EXECUTABLE
from insula.core.catalogue.facts import LOGINS, OWNERS, Catalogue
from insula.core.catalogue.grants import APPEND_ONLY
from insula.core.catalogue.rights import PINNED
from insula.core.catalogue.rule import Problems, Rule
from insula.core.tables import SCHEMA, TableClass, delete_door, delete_door_body

_LISTED: Final = frozenset((login, name) for login, names in EXECUTABLE.items() for name in names)


def doors_open_to_whom_they_are_for(catalogue: Catalogue) -> Problems:
    """All that core/catalogue/doors.py names, each to its login."""
    for login, name in sorted(_LISTED - _open(catalogue)):
        yield f"{SCHEMA}.{name}", f"{login} may not execute it, or it is missing"


def doors_are_shut_to_other_logins(catalogue: Catalogue) -> Problems:
    """No function but those, and none by another login."""
    deleting = {("app_rw", name) for name in _delete_doors(catalogue)}
    for login, name in sorted(_open(catalogue) - _LISTED - deleting):
        if login in LOGINS:
            yield f"{SCHEMA}.{name}", f"{login} may execute it"


def doors_open_to_logins_alone(catalogue: Catalogue) -> Problems:
    """Nothing by PUBLIC or by anybody else, in any release."""
    for function in catalogue.functions:
        if function.schema == SCHEMA:
            for caller in sorted(set(function.callers) - LOGINS - OWNERS):
                yield f"{SCHEMA}.{function.name}", f"{caller} may execute it"


def doors_have_one_form(catalogue: Catalogue) -> Problems:
    """The list of doors names functions; a second function of the name would pass under it."""
    names = [function.name for function in catalogue.functions if function.schema == SCHEMA]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{SCHEMA}.{name}", "exists with different arguments"


def _open(catalogue: Catalogue) -> set[tuple[str, str]]:
    return {(caller, f.name) for f in catalogue.functions if f.schema == SCHEMA for caller in f.callers}


def _delete_doors(catalogue: Catalogue) -> set[str]:
    """Those that are, to the letter, what core/rls.py makes for a tenant table; others may have its name. What happened
    has none.
    """
    tenants = {table.removeprefix(f"{SCHEMA}.") for table in catalogue.of_class(TableClass.TENANT).keys() - APPEND_ONLY}
    forms = {(f"{SCHEMA}.{delete_door(table)}(uuid)", "app_door", delete_door_body(table)) for table in tenants}
    pinned = [function for function in catalogue.functions if function.settings == [PINNED]]
    return {f.name for f in pinned if (f.signature, f.owner, f"$${f.body}$$") in forms}


DOOR_RULES: Final = (
    Rule(
        doors_open_to_whom_they_are_for,
        "`insula migrate` makes what is missing; GRANT EXECUTE in a migration, where it is there.",
        listed=True,
    ),
    Rule(
        doors_are_shut_to_other_logins,
        "REVOKE EXECUTE in a migration, or name the door in core/catalogue/doors.py with what it asks for.",
        listed=True,
    ),
    Rule(doors_open_to_logins_alone, "REVOKE EXECUTE; logins get it by name, in a migration."),
    Rule(doors_have_one_form, "Drop the older one in the migration that adds the newer."),
)
