"""The diagram of the tables, as a migrated database has them."""

from collections.abc import Iterator
from typing import Final

import asyncpg

from insula.schema import MIGRATIONS

DIAGRAM: Final = MIGRATIONS / "diagram.md"

_COLUMNS: Final = """
SELECT c.relname::text AS table, substr(d.description, 8) AS class, a.attname::text AS column,
       replace(split_part(format_type(a.atttypid, NULL), ' ', 1), '[]', '_array') AS type,
       concat_ws(',', CASE WHEN a.attnum = ANY (p.conkey) THEN 'PK' END, CASE WHEN EXISTS (
           SELECT FROM pg_constraint AS f WHERE f.conrelid = c.oid AND f.contype = 'f' AND a.attnum = ANY (f.conkey))
           THEN 'FK' END) AS keys
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'app'
  JOIN pg_description AS d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_constraint AS p ON p.conrelid = c.oid AND p.contype = 'p'
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND d.description LIKE 'class: %'
 ORDER BY 2 DESC, 1, a.attnum
"""

_REFERENCES: Final = """
SELECT DISTINCT c.relname::text AS from, r.relname::text AS to, f.confdeltype::text AS deleting,
       (SELECT string_agg(a.attname, ' ' ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY AS k (number, place)
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number AND a.attname <> 'tenant_id') AS by
  FROM pg_constraint AS f
  JOIN pg_class AS c ON c.oid = f.conrelid AND NOT c.relispartition
  JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'app'
  JOIN pg_class AS r ON r.oid = f.confrelid
 WHERE f.contype = 'f' AND f.conparentid = 0
 ORDER BY 2, 1, 4
"""

_DELETING: Final = {"a": "restricts", "r": "restricts", "c": "takes along", "n": "is forgotten", "d": "is reset"}


async def drawn(connection: asyncpg.Connection) -> str:
    """The whole file."""
    lines = _lines(await connection.fetch(_COLUMNS), await connection.fetch(_REFERENCES))
    return "".join(f"{line}\n" for line in lines)


def _lines(columns: list[asyncpg.Record], references: list[asyncpg.Record]) -> Iterator[str]:
    yield "# Tables"
    yield ""
    yield "Drawn by `./insula test tests/architecture/test_golden.py --write-golden`. A line from one table to another is a"
    yield "foreign key, with its columns beside the tenant's, and what deleting the row it leads to does. The class says whose"
    yield "rows a table holds: see [README.md](README.md)."
    yield ""
    yield "```mermaid"
    yield "erDiagram"
    for reference in references:
        by = f"{reference['by'] or 'tenant_id'}, {_DELETING[reference['deleting']]}"
        yield f'    "{reference["to"]}" ||--o{{ "{reference["from"]}" : "{by}"'
    table = None
    for column in columns:
        if column["table"] != table:
            if table is not None:
                yield "    }"
            table = column["table"]
            yield f'    "{table}" {{'
            yield f"        class {column['class']}"
        yield f"        {column['type']} {column['column']} {column['keys']}".rstrip()
    yield "    }"
    yield "```"
