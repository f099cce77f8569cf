"""The questions to the system catalogues; each is answered for all of its objects at once."""

from typing import Final

# What an extension brings, pg_stat_statements for instance, is its own: into its schema nobody of ours may look.
TABLES: Final = """
SELECT n.nspname || '.' || c.relname, c.relkind::text, coalesce(obj_description(c.oid, 'pg_class'), ''),
       c.relrowsecurity, c.relforcerowsecurity, c.relispartition, coalesce(c.reloptions, '{}'),
       (SELECT m.nspname || '.' || top.relname FROM pg_class top JOIN pg_namespace m ON m.oid = top.relnamespace
         WHERE top.oid = coalesce(pg_partition_root(c.oid)::oid, c.oid)),
       ARRAY(SELECT m.nspname || '.' || parent.relname FROM pg_inherits h
               JOIN pg_class parent ON parent.oid = h.inhparent JOIN pg_namespace m ON m.oid = parent.relnamespace
              WHERE h.inhrelid = c.oid),
       coalesce(pg_get_partkeydef(c.oid), ''),
       ARRAY(SELECT coalesce(pg_get_expr(i.indpred, i.indrelid), '') FROM pg_index i
              WHERE i.indrelid = c.oid AND i.indpred IS NOT NULL)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid >= 16384 AND n.nspname !~ '^pg_temp_' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND (n.nspname IN ('app', 'migration') OR EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)
        OR NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
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

# An index keeps statistics of the expressions it is made of, and CREATE STATISTICS of whatever it names.
COUNTED: Final = """
SELECT n.nspname || '.' || c.relname, n.nspname || '.' || c.relname || '.' || a.attname
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname !~ '^(pg_|information_schema$)' AND a.attnum > 0 AND NOT a.attisdropped
   AND coalesce(a.attstattarget, -1) <> 0 AND a.atttypid <> 'timestamptz'::regtype
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
 WHERE n.nspname !~ '^(pg_|information_schema$)' AND g.grantee <> c.relowner
   AND (n.nspname IN ('app', 'migration')
        OR NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
 ORDER BY 1, 2, 3, 4
"""

FUNCTIONS: Final = """
SELECT n.nspname::text, p.proname::text, oidvectortypes(p.proargtypes), p.proowner::regrole::text,
       p.prosecdef, coalesce(p.proconfig, '{}'), p.provolatile::text, p.proparallel::text,
       ARRAY(SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END
               FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl
              WHERE acl.grantee <> p.proowner),
       p.prosrc
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname !~ '^(pg_|information_schema$)'
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
 WHERE r.rolname ~ '^app_'
 ORDER BY 1
"""

# has_..._privilege counts what a role gets through PUBLIC, too.
RIGHTS: Final = """
SELECT role, kind, object, privilege
  FROM (VALUES ('app_rw'), ('app_identity'), ('app_platform'), ('app_door'), ('public')) AS r (role)
 CROSS JOIN LATERAL (
    SELECT 'database', current_database()::text, privilege
      FROM unnest(ARRAY['CREATE', 'TEMPORARY']) AS privilege
     WHERE has_database_privilege(role, current_database(), privilege)
     UNION ALL
    SELECT 'schema', n.nspname::text, privilege
      FROM pg_namespace n CROSS JOIN unnest(ARRAY['CREATE', 'USAGE']) AS privilege
     WHERE has_schema_privilege(role, n.oid, privilege)
       AND (privilege = 'CREATE' OR n.nspname !~ '^(pg_|(information_schema|app|migration)$)')
     UNION ALL
    SELECT 'language', l.lanname::text, 'USAGE'
      FROM pg_language l
     WHERE l.lanpltrusted AND l.lanname <> 'sql' AND role <> 'app_door' AND has_language_privilege(role, l.oid, 'USAGE')
     UNION ALL
    SELECT 'large object function', p.proname::text, 'EXECUTE'
      FROM pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(lo_|loread$|lowrite$)'
       -- What works on a descriptor that only lo_open could have given.
       AND p.proname !~ '^lo_(close|tell|lseek)(64)?$'
       AND has_function_privilege(role, p.oid, 'EXECUTE')
     UNION ALL
    SELECT 'function', p.oid::regprocedure::text, 'EXECUTE'
      FROM pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND role <> 'app_door'
       AND p.proname ~ '^pg_((try_)?advisory_(xact_)?lock(_shared)?|terminate_backend|cancel_backend)$'
       AND has_function_privilege(role, p.oid, 'EXECUTE')
     UNION ALL
    SELECT 'foreign server', s.srvname::text, 'USAGE'
      FROM pg_foreign_server s WHERE has_server_privilege(role, s.oid, 'USAGE')
  ) AS g (kind, object, privilege)
 UNION ALL
-- What initdb kept from PUBLIC: reading files, other sessions, hashes of passwords.
SELECT 'public', 'system object', coalesce(p.oid::regprocedure::text, c.oid::regclass::text), acl.privilege_type
  FROM pg_init_privs i
  LEFT JOIN pg_proc p ON i.classoid = 'pg_proc'::regclass AND p.oid = i.objoid
  LEFT JOIN pg_class c ON i.classoid = 'pg_class'::regclass AND c.oid = i.objoid
 CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, c.relacl)) AS acl
 WHERE i.objsubid = 0 AND acl.grantee = 0
   AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) AS b
                    WHERE b.grantee = 0 AND b.privilege_type = acl.privilege_type)
 UNION ALL
SELECT 'public', 'condition', p.oid::regprocedure::text, 'LEAKPROOF'
  FROM pg_proc p WHERE p.proleakproof AND (p.procost < 20 OR NOT p.proargtypes::oid[] <@ ARRAY['uuid'::regtype::oid])
 UNION ALL
SELECT 'public', 'condition', 'a subscript of ' || t.oid::regtype::text, 'LEAKPROOF'
  FROM pg_type t WHERE t.typsubscript <> 0 AND t.typsubscript <> 'array_subscript_handler'::regproc
   AND t.typsubscript <> 'raw_array_subscript_handler'::regproc
 UNION ALL
-- What app_rw can walk in the order of a value, if only to count whom it passes. An order of ids is safe where a policy
-- says which of them to begin with. Partitions have no grants: they are read as the table is that they are a part of.
SELECT 'app_rw', 'order', i.indexrelid::regclass::text, coalesce(a.attname::text, 'an expression')
  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
 CROSS JOIN LATERAL coalesce(pg_partition_root(t.oid)::oid, t.oid) AS read (oid)
  LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0] AND a.attnum > 0
  JOIN pg_attribute led ON led.attrelid = x.oid AND led.attnum = 1
 WHERE t.relnamespace = 'app'::regnamespace AND pg_indexam_has_property(x.relam, 'can_order')
   AND (led.atttypid <> 'uuid'::regtype
        OR NOT EXISTS (SELECT FROM pg_policy p
                        WHERE p.polrelid = read.oid AND NOT p.polpermissive
                          AND strpos(pg_get_expr(p.polqual, p.polrelid), '(' || quote_ident(a.attname) || ' = ') > 0))
   AND CASE WHEN a.attnum IS NULL THEN has_any_column_privilege('app_rw', read.oid, 'SELECT')
            ELSE has_column_privilege('app_rw', read.oid, a.attname, 'SELECT') END
 UNION ALL
-- Nor from what is next to a value to what is further: however the index begins, it passes everybody's rows.
SELECT 'app_rw', 'order', i.indexrelid::regclass::text, 'nearness'
  FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
 WHERE t.relnamespace = 'app'::regnamespace
   AND has_any_column_privilege('app_rw', coalesce(pg_partition_root(t.oid)::oid, t.oid), 'SELECT')
   AND EXISTS (SELECT FROM generate_series(1, i.indnkeyatts) AS n
                WHERE pg_index_column_has_property(i.indexrelid, n, 'distance_orderable'))
 UNION ALL
-- Nor what lies between two ids, wherever in the index they stand: they are compared before the policy is asked.
SELECT 'app_rw', 'order', i.indexrelid::regclass::text, 'ids'
  FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
  JOIN pg_class t ON t.oid = i.indrelid
 WHERE t.relnamespace = 'app'::regnamespace AND m.amname NOT IN ('btree', 'hash')
   AND has_any_column_privilege('app_rw', coalesce(pg_partition_root(t.oid)::oid, t.oid), 'SELECT')
   AND EXISTS (SELECT FROM pg_opclass o WHERE o.oid = ANY (i.indclass) AND o.opcintype = 'uuid'::regtype)
 UNION ALL
SELECT m.member::regrole::text, 'role', m.roleid::regrole::text, 'MEMBER'
  FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
 WHERE r.rolname IN ('app_owner', 'app_door', 'app_migrator', 'app_rw', 'app_identity', 'app_platform')
   AND NOT (m.member::regrole::text = 'app_migrator' AND r.rolname IN ('app_owner', 'app_door'))
 UNION ALL
-- An owner switches row security off, and needs no grant.
SELECT c.relowner::regrole::text, 'ownership', c.oid::regclass::text, 'OWNER'
  FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
 WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   AND r.rolname NOT IN ('app_owner', 'app_door')
 UNION ALL
SELECT n.nspowner::regrole::text, 'ownership', 'schema ' || n.nspname, 'OWNER'
  FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
 WHERE n.nspname IN ('app', 'migration') AND r.rolname <> 'app_owner'
 UNION ALL
SELECT 'public', 'schema change', 'event trigger logins_change_no_schema', 'ANY'
 WHERE NOT EXISTS (SELECT FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid
                    WHERE t.evtname = 'logins_change_no_schema' AND t.evtevent = 'ddl_command_start'
                      AND t.evtenabled = 'A' AND t.evttags IS NULL
                      AND p.oid = to_regprocedure('migration.refuse_logins()'))
 UNION ALL
SELECT 'public', 'setting', name, setting
  FROM pg_settings WHERE (name, setting) IN (('session_replication_role', 'replica'), ('row_security', 'off'))
 UNION ALL
-- Those of foreign keys among them.
SELECT 'public', 'setting', t.tgrelid::regclass || '.' || t.tgname,
       CASE t.tgenabled WHEN 'D' THEN 'disabled' ELSE 'not as it was made' END
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'app'::regnamespace AND t.tgenabled <> 'O'
"""

LOGINS: Final = """
SELECT session_user::text, current_user::text, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""
