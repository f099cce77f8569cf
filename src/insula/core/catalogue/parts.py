"""What tables may be divided into: partitions, and indexes of some of their rows."""

import re
from typing import Final

from insula.core.catalogue.facts import Catalogue
from insula.core.catalogue.rule import Problems, Rule
from insula.core.catalogue.tables import LEFT_BY, owner_columns
from insula.core.rls import SCHEMA


def partitions_are_of_their_tables_class(catalogue: Catalogue) -> Problems:
    """What is read and written through a table must obey its rules; INHERITS would take over none of its keys."""
    classes = {table.name: table.table_class for table in catalogue.tables}
    for table in catalogue.tables:
        for parent in table.parents:
            if not table.partition:
                yield table.name, f"inherits from {parent}"
            elif table.table_class != classes.get(parent):
                yield table.name, f"is not of the class of {parent}"


def parts_stay_in_the_schema(catalogue: Catalogue) -> Problems:
    """Requests read a part through its table, wherever it lies; these rules look at what lies in the schema."""
    ours = f"{SCHEMA}."
    for table in catalogue.tables:
        for parent in table.parents:
            if table.name.startswith(ours) != parent.startswith(ours):
                yield table.name, f"is a part of {parent}, in another schema"


def nobody_has_a_part_of_their_own(catalogue: Catalogue) -> Problems:
    """Everybody may read how large partitions and indexes are, and what decides which rows are in them; also of tables
    that they may not read. Among few owners, a part by the hash of them holds one alone.
    """
    owners = owner_columns(catalogue)
    for table in catalogue.stored():
        columns = LEFT_BY | {owners.get(table.name, "tenant_id")}
        computed = [column for column in catalogue.columns if column.table == table.name and column.generated]
        columns |= {column.name for column in computed if _names(columns).search(column.default)}
        named = _names(columns)
        if named.search(table.parted_by):
            yield table.name, f"is parted by {table.parted_by}"
        for condition in table.conditions:
            if named.search(condition):
                yield table.name, f"has an index of the rows where {condition}"


def _names(columns: set[str]) -> re.Pattern[str]:
    """Finds an expression that asks for the value of one of these columns, or for the whole row."""
    return re.compile(rf"\b({'|'.join(sorted(columns))})\b(?! IS (NOT )?NULL)|\.\*")


PART_RULES: Final = (
    Rule(
        partitions_are_of_their_tables_class,
        "Let it say its table's class, with that class's policies; use partitions in place of INHERITS.",
    ),
    Rule(
        parts_stay_in_the_schema,
        "ALTER TABLE ... SET SCHEMA app; or, to keep it elsewhere, ALTER TABLE ... DETACH PARTITION, NO INHERIT.",
    ),
    Rule(
        nobody_has_a_part_of_their_own,
        "Part it by id, or by something else than whose a row is; let no index's WHERE name that column.",
    ),
)
