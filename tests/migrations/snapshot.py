"""Everything that makes up a schema, as text that can be compared: what two migrations must leave alike."""

import asyncpg

_OURS = "n.nspname IN ('app', 'migration', 'public')"
_RIGHTS = """ARRAY(
    SELECT format('%s: %s%s', coalesce(pg_get_userbyid(nullif(right_.grantee, 0)), 'PUBLIC'), right_.privilege_type,
                  CASE WHEN right_.is_grantable THEN ' with grant option' END)
      FROM aclexplode({acl}) AS right_ ORDER BY 1)"""

QUESTIONS = {
    "schemas": f"""
        SELECT n.nspname, n.nspowner::regrole, {_RIGHTS.format(acl="coalesce(n.nspacl, acldefault('n', n.nspowner))")}
          FROM pg_namespace n WHERE {_OURS}""",
    "relations": f"""
        SELECT c.oid::regclass, c.relkind, c.relowner::regrole, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
               c.relpersistence, pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
               obj_description(c.oid, 'pg_class'),
               {_RIGHTS.format(acl="coalesce(c.relacl, acldefault('r', c.relowner))")}
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {_OURS}""",
    "columns": f"""
        SELECT a.attrelid::regclass, rank() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), a.attname,
               format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attcollation,
               pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum),
               {_RIGHTS.format(acl="a.attacl")}
          FROM pg_attribute a
          JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE {_OURS} AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": f"""
        SELECT k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), k.convalidated
          FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE {_OURS}""",
    "indexes": f"""
        SELECT pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisprimary
          FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {_OURS}""",
    "policies": """
        SELECT p.polrelid::regclass, p.polname, p.polpermissive, p.polcmd, p.polroles::regrole[],
               pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid) FROM pg_policy p""",
    "triggers": "SELECT pg_get_triggerdef(t.oid), t.tgenabled FROM pg_trigger t WHERE NOT t.tgisinternal",
    "functions": f"""
        SELECT pg_get_functiondef(f.oid), f.proowner::regrole, obj_description(f.oid, 'pg_proc'),
               {_RIGHTS.format(acl="coalesce(f.proacl, acldefault('f', f.proowner))")}
          FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE {_OURS} AND f.prokind <> 'a'""",
    "types": f"""
        SELECT t.oid::regtype, t.typtype, t.typowner::regrole, obj_description(t.oid, 'pg_type')
          FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE {_OURS} AND t.typtype <> 'b'""",
    "default rights": "SELECT d.defaclrole::regrole, d.defaclobjtype, d.defaclacl FROM pg_default_acl d",
}


async def snapshot(connection: asyncpg.Connection) -> list[str]:
    """One line for each object, part and right of the schema, in an order that does not depend on history."""
    lines: list[str] = []
    for kind, question in QUESTIONS.items():
        rows = await connection.fetch(f"SELECT row_to_json(found)::text FROM ({question}) AS found")
        lines += sorted(f"{kind}: {row[0]}" for row in rows)
    return lines
