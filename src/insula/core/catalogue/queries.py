"""The questions to the system catalogues; each is answered for all of its objects at once."""

from typing import Final

SPELLING: Final = (
    "SET LOCAL search_path = pg_catalog; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO';"
    " SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'; SET LOCAL quote_all_identifiers = off"
)
"""How names, moments and lengths of time are written in definitions, whatever a server prefers."""

# What is in our schemas, and what refers to that from elsewhere: parts, views, what has a foreign key. Other things are
# their owner's, those of extensions too: into their schemas nobody of ours may look.
TABLES: Final = """
WITH RECURSIVE ours (class, id) AS (
    SELECT 'pg_namespace'::regclass::oid, oid FROM pg_namespace WHERE nspname IN ('app', 'migration')
     UNION
    SELECT more.class, more.id
      FROM ours JOIN pg_depend d ON d.refclassid = ours.class AND d.refobjid = ours.id
     CROSS JOIN LATERAL (
        SELECT d.classid, d.objid
         UNION ALL
        SELECT 'pg_class'::regclass, r.ev_class FROM pg_rewrite r
         WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
         UNION ALL
        SELECT 'pg_class'::regclass, k.conrelid FROM pg_constraint k
         WHERE d.classid = 'pg_constraint'::regclass AND k.oid = d.objid) AS more (class, id))
SELECT n.nspname || '.' || c.relname, c.relkind::text, coalesce(obj_description(c.oid, 'pg_class'), ''),
       c.relrowsecurity, c.relforcerowsecurity, c.relispartition, coalesce(c.reloptions, '{}'),
       (SELECT m.nspname || '.' || top.relname FROM pg_class top JOIN pg_namespace m ON m.oid = top.relnamespace
         WHERE top.oid = coalesce(pg_partition_root(c.oid)::oid, c.oid)),
       ARRAY(SELECT m.nspname || '.' || parent.relname FROM pg_inherits h
               JOIN pg_class parent ON parent.oid = h.inhparent JOIN pg_namespace m ON m.oid = parent.relnamespace
              WHERE h.inhrelid = c.oid),
       EXISTS (SELECT FROM pg_inherits h JOIN pg_class parent ON parent.oid = h.inhparent
                WHERE h.inhrelid = c.oid AND parent.relnamespace <> c.relnamespace),
       coalesce(pg_get_partkeydef(c.oid), ''),
       ARRAY(SELECT coalesce(pg_get_expr(i.indpred, i.indrelid), '') FROM pg_index i
              WHERE i.indrelid = c.oid AND i.indpred IS NOT NULL)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname !~ '^pg_temp_' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND c.oid IN (SELECT id FROM ours WHERE class = 'pg_class'::regclass)
 ORDER BY 1
"""

# What is NOT ENFORCED, from PostgreSQL 18 on, bounds nothing; what is NOT VALID bounds every row to come.
COLUMNS: Final = """
SELECT n.nspname || '.' || c.relname, a.attname::text, a.attnotnull,
       coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attidentity <> '', format_type(a.atttypid, a.atttypmod),
       ARRAY(SELECT coalesce(pg_get_expr(k.conbin, k.conrelid), '') FROM pg_constraint k
              WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]
                AND to_jsonb(k) ->> 'conenforced' IS DISTINCT FROM 'false'),
       a.attgenerated <> ''
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE n.nspname !~ '^(pg_|information_schema$)' AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY 1, a.attnum
"""

# Of a column that is computed when it is read (PostgreSQL 18) there are none, and none can be switched off. An index
# keeps statistics of the expressions it is made of, and CREATE STATISTICS of whatever it names.
COUNTED: Final = """
SELECT n.nspname || '.' || c.relname, n.nspname || '.' || c.relname || '.' || a.attname
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname !~ '^(pg_|information_schema$)' AND a.attnum > 0 AND NOT a.attisdropped
   AND coalesce(a.attstattarget, -1) <> 0 AND a.atttypid <> 'timestamptz'::regtype AND a.attgenerated <> 'v'
 UNION ALL
SELECT n.nspname || '.' || c.relname, i.indexrelid::regclass::text || ' (column ' || a.attnum || ')'
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = i.indexrelid AND i.indkey[a.attnum - 1] = 0
 WHERE n.nspname !~ '^(pg_|information_schema$)' AND a.attnum BETWEEN 1 AND i.indnkeyatts
   AND coalesce(a.attstattarget, -1) <> 0 AND a.atttypid <> 'timestamptz'::regtype
 UNION ALL
SELECT n.nspname || '.' || c.relname, s.stxnamespace::regnamespace || '.' || s.stxname
  FROM pg_statistic_ext s JOIN pg_class c ON c.oid = s.stxrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 ORDER BY 1, 2
"""

POLICIES: Final = """
SELECT n.nspname || '.' || c.relname, p.polname::text, p.polpermissive, p.polcmd::text,
       ARRAY(SELECT CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END FROM unnest(p.polroles) AS role),
       coalesce(pg_get_expr(p.polqual, p.polrelid), ''), coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 ORDER BY 1, 2
"""

# EXCLUDE says of a column how it is compared; one that is not compared by = stands here as an expression, and so does
# one whose rows without a value are all the same (NULLS NOT DISTINCT).
KEYS: Final = """
SELECT n.nspname || '.' || c.relname, i.indexrelid::regclass::text, i.indisprimary,
       ARRAY(SELECT coalesce(CASE WHEN (x.conexclop IS NULL OR o.oprname = '=')
                                   AND (a.attnotnull OR NOT i.indnullsnotdistinct) THEN a.attname::text END, '')
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, position)
               LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
               LEFT JOIN pg_operator o ON o.oid = x.conexclop[k.position]
              WHERE k.position <= i.indnkeyatts ORDER BY k.position)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_constraint x ON x.conindid = i.indexrelid AND x.contype = 'x'
 WHERE n.nspname !~ '^(pg_|information_schema$)' AND (i.indisunique OR i.indisexclusion)
 ORDER BY 1, 2
"""

REFERENCES: Final = """
SELECT n.nspname || '.' || c.relname, f.conname::text,
       ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY AS k (number, position)
               JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number ORDER BY k.position),
       m.nspname || '.' || target.relname,
       ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY AS k (number, position)
               JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.number ORDER BY k.position),
       f.confdeltype::text,
       ARRAY(SELECT a.attname::text FROM unnest(f.confdelsetcols) AS number
               JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = number)
  FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_class target ON target.oid = f.confrelid JOIN pg_namespace m ON m.oid = target.relnamespace
 WHERE f.contype = 'f'
 ORDER BY 1, 2
"""

GRANTS: Final = """
SELECT n.nspname || '.' || c.relname, g.attname,
       CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END, g.privilege_type, g.is_grantable
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (
       SELECT NULL AS attname, acl.* FROM aclexplode(c.relacl) AS acl
        UNION ALL
       SELECT a.attname::text, acl.* FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) AS acl
        WHERE a.attrelid = c.oid) AS g
 WHERE c.oid >= 16384 AND n.nspname !~ '^pg_temp_' AND g.grantee <> c.relowner
   AND (n.nspname IN ('app', 'migration')
        OR NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
 ORDER BY 1, 2, 3, 4
"""

# All that initdb did not make, those that somebody put among the system's too; and whatever lends its owner's rights,
# of which initdb makes none. What only makes a language work is called by nobody: languages have a rule of their own.
FUNCTIONS: Final = """
SELECT n.nspname::text, p.proname::text, oidvectortypes(p.proargtypes), p.proowner::regrole::text,
       p.prosecdef, coalesce(p.proconfig, '{}'), p.provolatile::text, p.proparallel::text,
       ARRAY(SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
               FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl
              WHERE acl.grantee <> p.proowner),
       p.prosrc
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.prosecdef OR (p.oid >= 16384 AND NOT EXISTS (
       SELECT FROM pg_language l WHERE p.oid IN (l.lanplcallfoid, l.laninline, l.lanvalidator)))
 ORDER BY 1, 2, 3
"""

ATTACHMENTS: Final = """
SELECT n.nspname || '.' || c.relname, a.kind, a.name, a.function
  FROM (SELECT tgrelid AS relation, 'trigger' AS kind, tgname::text AS name, tgfoid::regproc::text AS function
          FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL
        SELECT ev_class, 'rule', rulename::text, '' FROM pg_rewrite WHERE rulename <> '_RETURN') AS a
  JOIN pg_class c ON c.oid = a.relation JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname !~ '^(pg_|information_schema$)'
 ORDER BY 1, 3
"""

# pg_shdepend knows, for this database, what a role owns (o) and what was granted to it by name (a).
ROLES: Final = """
SELECT r.rolname::text, r.rolcanlogin,
       array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
                          CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                          CASE WHEN r.rolreplication THEN 'REPLICATION' END], NULL),
       ARRAY(SELECT m.roleid::regrole::text FROM pg_auth_members m WHERE m.member = r.oid),
       ARRAY(SELECT coalesce(pg_describe_object(d.classid, d.objid, d.objsubid), 'something in another database')
               FROM pg_shdepend d
              WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o'
                AND r.rolname IN ('app_rw', 'app_identity', 'app_platform')),
       ARRAY(SELECT DISTINCT o.type || ' ' || o.identity
               FROM pg_shdepend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) AS o
              WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'a'
                AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                AND r.rolname IN ('app_rw', 'app_identity', 'app_platform')
                AND o.type <> 'database' AND o.identity IS NOT NULL
                AND coalesce(o.schema, CASE o.type WHEN 'schema' THEN o.name END, '') NOT IN ('app', 'migration')),
       ARRAY(SELECT setting FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS setting
              WHERE s.setrole = r.oid
                AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))
  FROM pg_roles r
 WHERE r.rolname IN ('app_owner', 'app_door', 'app_migrator', 'app_rw', 'app_identity', 'app_platform')
 ORDER BY 1
"""

LOGINS: Final = """
SELECT session_user::text, current_user::text, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""
