"""What tables may be divided into: partitions, and indexes of some of their rows."""

import re
from typing import Final

from insula.core.catalogue.facts import Catalogue, Column
from insula.core.catalogue.rule import Problems, Rule
from insula.core.catalogue.tables import LEFT_BY, owner_columns

_WRITER: Final = re.compile(r"app\.(tenant|user)_id\(\)")
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'")
_FREE: Final = re.compile(r"(text|character varying|json)\b|jsonb")
_WORDS: Final = re.compile(r"= ANY \(+ARRAY\['")
"""How the server spells a CHECK that lists what a column may say."""


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
    for table in catalogue.tables:
        if table.elsewhere:
            yield table.name, f"is a part of {', '.join(table.parents)}, in another schema"


def nobody_has_a_part_of_their_own(catalogue: Catalogue) -> Problems:
    """Everybody may read how large partitions and indexes are, and what decides which rows are in them; also of tables
    that they may not read. A team's or a person's part is that of one tenant, and among few owners, a part by the hash
    of them holds one alone. Ranges of ``id`` mix them; an index that names ids does not, nor one that asks for what
    people write, be it an address; words that a CHECK lists are nobody's.
    """
    owners = owner_columns(catalogue)
    for table in catalogue.stored():
        columns = [column for column in catalogue.columns if column.table == table.name]
        names = LEFT_BY | {owners.get(table.name, "tenant_id")} | {c.name for c in columns if _names_somebody(c)}
        names |= {column.name for column in columns if column.generated and _asks_for(names, column.default)}
        if _asks_for(names, table.parted_by):
            yield table.name, f"is parted by {table.parted_by}"
        for condition in table.conditions:
            if _asks_for(names | {"id"}, condition):
                yield table.name, f"has an index of the rows where {condition}"


def _names_somebody(column: Column) -> bool:
    """A reference, whoever writes the row, or anything in words; what is only computed from the row's own id is not."""
    refers = column.type.startswith("uuid") or column.name.endswith("_id")
    free = bool(_FREE.match(column.type)) and not any(_WORDS.search(check) for check in column.checks)
    return (refers and column.name != "id") or free or _WRITER.search(column.default) is not None


def _asks_for(names: set[str], expression: str) -> bool:
    """Whether it asks for the value of one of these columns, or for the whole row; words in quotes are no names."""
    named = "|".join(re.escape(name) for name in sorted(names))
    return bool(re.search(rf"\b({named})\b(?! IS (NOT )?NULL)|\.\*", _QUOTED.sub("", expression)))


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
        "Part it by id, or by something else than whose a row is; let no index's WHERE name ids, or texts without a"
        " CHECK that lists their words, except by IS NOT NULL.",
    ),
)
