"""Everything a schema is made of, line by line: what the database of a release must have, and nothing beside it."""

from collections.abc import Iterable
from typing import Final

from insula.core.catalogue.inventory_query import INVENTORY
from insula.core.catalogue.queries import SPELLING
from insula.core.pool import Driver

_CONTEXT: Final = tuple(
    f"function app.{name}("
    for name in (
        "tenant_id",
        "user_id",
        "set_context",
        "clear_context",
        "context_mac",
        "signed_before_rotation",
        "prove_untouched",
    )
)


async def read_inventory(driver: Driver) -> list[str]:
    """What there is, in an order of its own; inside the caller's transaction."""
    await driver.execute(SPELLING)
    return sorted(row[0] for row in await driver.fetch(INVENTORY))


def names_in(inventory: Iterable[str]) -> set[str]:
    """What rules call the functions, columns and triggers that it tells of."""
    names = set()
    for line in inventory:
        kind, name, *more = line.split(" ")
        names.add(f"{name}.{more[0]}" if kind in {"column", "trigger"} else name.partition("(")[0])
    return names


def context_of(inventory: Iterable[str]) -> set[str]:
    """The functions that read, sign and verify contexts: what all policies ask, the same in every release."""
    return {line for line in inventory if line.startswith(_CONTEXT)}
