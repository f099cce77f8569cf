"""The question what a schema is made of, in lines of text."""

from typing import Final

# Partitions come and go by themselves: of each is told only in what it differs from the table that it is a part of.
# PostgreSQL spells all of these alike from 15 to 18; a view's text it does not, so that stays out. Statistics and what
# logins hold elsewhere have rules of their own.
INVENTORY: Final = r"""
WITH relation AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relkind, c.relacl, c.relowner, c.relispartition AS part,
           c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.reloptions
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('app', 'migration') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
), thing (relation, kind, text) AS (
    SELECT oid, 'relation', concat_ws(' ', CASE WHEN part THEN 'p' ELSE relkind::text END,
           CASE relpersistence WHEN 'u' THEN 'unlogged' WHEN 't' THEN 'temporary' END,
           CASE WHEN relrowsecurity THEN 'row security' END, CASE WHEN relforcerowsecurity THEN 'forced' END,
           CASE WHEN relkind IN ('r', 'p') THEN 'replica identity ' || nullif(relreplident::text, 'd') END,
           'with ' || (SELECT string_agg(option, ' ' ORDER BY option COLLATE "C") FROM unnest(reloptions) AS option))
      FROM relation
     UNION ALL
    SELECT r.oid, 'parts', pg_get_partkeydef(r.oid) FROM relation AS r WHERE r.relkind = 'p' AND NOT r.part
     UNION ALL
    SELECT r.oid, 'column', concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
           'collate ' || nullif(a.attcollation, t.typcollation)::regcollation::text,
           CASE WHEN a.attnotnull THEN 'not null' END,
           'identity ' || nullif(a.attidentity::text, ''), 'generated ' || nullif(a.attgenerated::text, ''),
           'default ' || pg_get_expr(d.adbin, d.adrelid), 'storage ' || nullif(a.attstorage::text, t.typstorage::text),
           'compression ' || nullif(a.attcompression::text, ''))
      FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
      JOIN pg_type AS t ON t.oid = a.atttypid
      LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
     UNION ALL
    SELECT r.oid, 'sequence', format('%s from %s to %s by %s, starts at %s, cache %s%s', q.seqtypid::regtype, q.seqmin,
           q.seqmax, q.seqincrement, q.seqstart, q.seqcache, CASE WHEN q.seqcycle THEN ', cycles' END)
      FROM relation AS r JOIN pg_sequence AS q ON q.seqrelid = r.oid
     UNION ALL
    -- What a part has of its table's is called as there; what refers to a part refers to its table as well.
    SELECT r.oid, 'constraint', coalesce(above.conname, k.conname) || ' ' || pg_get_constraintdef(k.oid)
      FROM relation AS r JOIN pg_constraint AS k ON k.conrelid = r.oid AND k.contype NOT IN ('n', 't')
      LEFT JOIN pg_constraint AS above ON above.oid = k.conparentid
     WHERE r.part OR k.conparentid = 0
     UNION ALL
    SELECT r.oid, 'index', concat_ws(' ', coalesce(h.inhparent, i.indexrelid)::regclass::text,
           CASE WHEN i.indisprimary THEN 'primary' WHEN i.indisunique THEN 'unique' END,
           substring(pg_get_indexdef(i.indexrelid), ' USING (.*)'), CASE WHEN NOT i.indisvalid THEN 'not valid' END,
           CASE WHEN NOT i.indisready THEN 'not ready' END, CASE WHEN NOT i.indimmediate THEN 'deferrable' END,
           CASE WHEN i.indisreplident THEN 'replica identity' END)
      FROM relation AS r JOIN pg_index AS i ON i.indrelid = r.oid
      LEFT JOIN pg_inherits AS h ON h.inhrelid = i.indexrelid
     UNION ALL
    SELECT r.oid, 'trigger', concat_ws(' ', CASE WHEN t.tgisinternal THEN 'of a key' ELSE t.tgname END, t.tgenabled,
           CASE WHEN NOT t.tgisinternal THEN replace(substring(pg_get_triggerdef(t.oid), '(?:BEFORE|AFTER|INSTEAD) .*'),
                                                     ' ON ' || r.oid::regclass::text, '') END)
      FROM relation AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid AND (NOT t.tgisinternal OR t.tgenabled <> 'O')
     UNION ALL
    SELECT r.oid, 'policy', concat_ws(' ', p.polname, p.polcmd, CASE WHEN NOT p.polpermissive THEN 'restrictive' END,
           'to ' || (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END, ', '
                                       ORDER BY role::regrole::text COLLATE "C") FROM unnest(p.polroles) AS role),
           'using ' || pg_get_expr(p.polqual, p.polrelid), 'check ' || pg_get_expr(p.polwithcheck, p.polrelid))
      FROM relation AS r JOIN pg_policy AS p ON p.polrelid = r.oid
), ours AS (
    SELECT n.nspname || '.' || f.proname || '(' || oidvectortypes(f.proargtypes) || ')' AS name, f.*
      FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace
     WHERE n.nspname IN ('app', 'migration')
), granted (kind, name, owner, acl) AS (
    SELECT '', name, relowner, relacl FROM relation WHERE NOT part
     UNION ALL
    SELECT '', r.name || '.' || a.attname, r.relowner, a.attacl
      FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND NOT a.attisdropped WHERE NOT r.part
     UNION ALL
    SELECT '', name, proowner, coalesce(proacl, acldefault('f', proowner)) FROM ours
     UNION ALL
    SELECT 'schema ', nspname, nspowner, nspacl FROM pg_namespace WHERE nspname IN ('app', 'migration')
     UNION ALL
    SELECT 'to come of ' || defaclrole::regrole::text || ' ',
           coalesce(nullif(defaclnamespace, 0)::regnamespace::text, '*') || ' ' || defaclobjtype::text, NULL, defaclacl
      FROM pg_default_acl
     WHERE defaclrole::regrole::text ~ '^app_' OR defaclnamespace::regnamespace::text IN ('app', 'migration')
), line (text) AS (
    SELECT concat_ws(' ', t.kind, r.name, t.text)
      FROM relation AS r JOIN thing AS t ON t.relation = r.oid WHERE NOT r.part
     UNION ALL
    SELECT concat_ws(' ', 'part', r.name, 'has', more.kind, more.text)
      FROM relation AS r JOIN pg_inherits AS h ON h.inhrelid = r.oid AND r.part
     CROSS JOIN LATERAL (SELECT kind, text FROM thing WHERE relation = r.oid
                         EXCEPT SELECT kind, text FROM thing WHERE relation = h.inhparent) AS more
     UNION ALL
    SELECT concat_ws(' ', 'part', r.name, 'has no', less.kind, less.text)
      FROM relation AS r JOIN pg_inherits AS h ON h.inhrelid = r.oid AND r.part
     CROSS JOIN LATERAL (SELECT kind, text FROM thing WHERE relation = h.inhparent AND kind <> 'parts'
                         EXCEPT SELECT kind, text FROM thing WHERE relation = r.oid) AS less
     UNION ALL
    SELECT format('grant %s%s %s %s%s', g.kind, g.name,
                  CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END,
                  acl.privilege_type, CASE WHEN acl.is_grantable THEN ' with grant option' END)
      FROM granted AS g CROSS JOIN LATERAL aclexplode(g.acl) AS acl WHERE acl.grantee IS DISTINCT FROM g.owner
     UNION ALL
    SELECT format('function %s %s %s%s%s %s', f.name, f.proowner::regrole, f.provolatile, f.proparallel,
                  CASE WHEN f.prosecdef THEN 'd' ELSE 'i' END,
                  left(encode(sha256(convert_to(concat_ws(E'\n', f.prosrc, f.proconfig::text, l.lanname, f.prokind,
                       pg_get_function_arguments(f.oid), pg_get_function_result(f.oid), f.proisstrict, f.proleakproof,
                       f.procost, f.prorows, f.prosupport), 'UTF8')), 'hex'), 32))
      FROM ours AS f JOIN pg_language AS l ON l.oid = f.prolang
     UNION ALL
    SELECT concat_ws(' ', 'type', n.nspname || '.' || t.typname, t.typtype, t.typowner::regrole,
           CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
           CASE WHEN t.typnotnull THEN 'not null' END, 'default ' || t.typdefault,
           (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
              FROM pg_enum AS e WHERE e.enumtypid = t.oid),
           (SELECT string_agg(pg_get_constraintdef(k.oid), ', ' ORDER BY k.conname)
              FROM pg_constraint AS k WHERE k.contypid = t.oid AND k.contype = 'c'))
      FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
     WHERE n.nspname IN ('app', 'migration') AND t.typtype IN ('d', 'e', 'r')
     UNION ALL
    SELECT format('event trigger %s %s %s %s', e.evtname, e.evtevent, e.evtenabled, e.evtfoid::regproc)
      FROM pg_event_trigger AS e
     WHERE NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_event_trigger'::regclass
                          AND d.objid = e.oid AND d.deptype = 'e')
     UNION ALL
    SELECT format('publication %s', pubname) FROM pg_publication
     UNION ALL
    SELECT format('subscription %s', s.subname)
      FROM pg_subscription AS s JOIN pg_database AS d ON d.oid = s.subdbid WHERE d.datname = current_database()
     UNION ALL
    SELECT format('setting of the database %s', setting)
      FROM pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS setting
     WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND setting ~ '^(session_replication_role|row_security|role)='
)
SELECT regexp_replace(text, '\s+', ' ', 'g') FROM line
"""
