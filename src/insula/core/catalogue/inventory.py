"""Everything a schema is made of, line by line: what the database of a release must have, and nothing beside it."""

from collections.abc import Iterable
from typing import Final

from insula.core.pool import Driver

# Partitions are left out: they come and go by themselves, and have rules of their own. Nor is text that PostgreSQL
# writes anew in each of its versions compared, but for the bodies of functions, which it keeps as they were given.
_INVENTORY: Final = """
WITH relation AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relkind, c.relacl, c.relowner
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('app', 'migration') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT c.relispartition
)
SELECT format('relation %s %s', r.name, r.relkind) FROM relation AS r
 UNION ALL
SELECT format('grant %s%s %s %s%s', r.name, '.' || g.attname,
              CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END,
              g.privilege_type, CASE WHEN g.is_grantable THEN ' with grant option' END)
  FROM relation AS r CROSS JOIN LATERAL (
       SELECT NULL AS attname, acl.* FROM aclexplode(r.relacl) AS acl
        UNION ALL
       SELECT a.attname::text, acl.* FROM pg_attribute AS a CROSS JOIN LATERAL aclexplode(a.attacl) AS acl
        WHERE a.attrelid = r.oid) AS g
 WHERE g.grantee <> r.relowner
 UNION ALL
SELECT format('column %s.%s %s%s%s', r.name, a.attname, format_type(a.atttypid, a.atttypmod),
              CASE WHEN a.attnotnull THEN ' not null' END, CASE WHEN a.attgenerated <> '' THEN ' generated' END)
  FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
 UNION ALL
SELECT format('constraint %s %s %s%s (%s)', r.name, k.conname, k.contype,
              CASE WHEN NOT k.convalidated THEN ' not valid' END,
              (SELECT string_agg(a.attname, ', ' ORDER BY place)
                 FROM unnest(k.conkey) WITH ORDINALITY AS of (number, place)
                 JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = of.number))
  FROM relation AS r JOIN pg_constraint AS k ON k.conrelid = r.oid AND k.contype <> 'n'
 UNION ALL
SELECT format('index %s %s%s%s%s (%s)', r.name, i.indexrelid::regclass, CASE WHEN i.indisunique THEN ' unique' END,
              CASE WHEN i.indpred IS NOT NULL THEN ' partial' END, CASE WHEN NOT i.indisvalid THEN ' not valid' END,
              (SELECT string_agg(coalesce(a.attname, 'expression'), ', ' ORDER BY place)
                 FROM unnest(i.indkey) WITH ORDINALITY AS of (number, place)
                 LEFT JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = of.number))
  FROM relation AS r JOIN pg_index AS i ON i.indrelid = r.oid
 UNION ALL
SELECT format('trigger %s %s %s', r.name, CASE WHEN t.tgisinternal THEN 'of a key' ELSE t.tgname END, t.tgenabled)
  FROM relation AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid AND (NOT t.tgisinternal OR t.tgenabled <> 'O')
 UNION ALL
SELECT format('policy %s %s %s', r.name, p.polname, p.polcmd)
  FROM relation AS r JOIN pg_policy AS p ON p.polrelid = r.oid
 UNION ALL
SELECT format('function %s.%s(%s) %s %s%s%s %s', n.nspname, f.proname, oidvectortypes(f.proargtypes),
              f.proowner::regrole, f.provolatile, f.proparallel, CASE WHEN f.prosecdef THEN 'd' ELSE 'i' END,
              left(encode(sha256(convert_to(f.prosrc || coalesce(f.proconfig::text, ''), 'UTF8')), 'hex'), 32))
  FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace
 WHERE n.nspname IN ('app', 'migration')
 UNION ALL
SELECT format('publication %s', pubname) FROM pg_publication
 UNION ALL
SELECT format('setting of the database %s', setting)
  FROM pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS setting
 WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND setting ~ '^(session_replication_role|row_security|role)='
"""

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
    """What there is, in an order of its own; in a transaction whose search_path is pg_catalog."""
    return sorted(row[0] for row in await driver.fetch(_INVENTORY))


def names_in(inventory: Iterable[str]) -> set[str]:
    """What rules call the functions, columns and triggers that it tells of."""
    names = set()
    for line in inventory:
        kind, name, *more = line.split(" ")
        names.add(f"{name}.{more[0]}" if kind == "trigger" else name.partition("(")[0])
    return names


def context_of(inventory: Iterable[str]) -> set[str]:
    """The functions that read, sign and verify contexts: what all policies ask, the same in every release."""
    return {line for line in inventory if line.startswith(_CONTEXT)}
