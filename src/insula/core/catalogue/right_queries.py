"""The question what somebody may do to anything but the tables of ours."""

from typing import Final

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
    SELECT 'large object function', p.oid::regprocedure::text, 'EXECUTE'
      FROM pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(lo_|loread$|lowrite$)'
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
SELECT 'public', 'system object', c.oid::regclass || '.' || a.attname, acl.privilege_type
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 CROSS JOIN LATERAL aclexplode(a.attacl) AS acl
 WHERE c.oid < 16384 AND acl.grantee = 0
   AND NOT EXISTS (SELECT FROM pg_init_privs i CROSS JOIN LATERAL aclexplode(i.initprivs) AS b
                    WHERE i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = a.attnum
                      AND b.grantee = 0 AND b.privilege_type = acl.privilege_type)
 UNION ALL
SELECT 'public', 'system object', 'parameter ' || p.parname, acl.privilege_type
  FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) AS acl
 WHERE acl.grantee = 0
 UNION ALL
SELECT 'public', 'condition', p.oid::regprocedure::text, 'LEAKPROOF'
  FROM pg_proc p WHERE p.proleakproof AND p.oid <> 'uuid_eq(uuid, uuid)'::regprocedure
   AND (p.procost < 20 OR NOT (p.proargtypes::oid[] <@ ARRAY['uuid'::regtype::oid]
                               OR p.pronamespace = 'app'::regnamespace AND p.prolang = 12)) -- internal
 UNION ALL
SELECT 'public', 'dear condition', p.oid::regprocedure::text, p.procost::text
  FROM pg_proc p WHERE p.oid = 'uuid_eq(uuid, uuid)'::regprocedure AND p.procost <> 0
 UNION ALL
-- An array's subscript is no function, and is asked before the policy: by one, whoever reads plans finds an integer.
SELECT 'public', 'subscript', c.oid::regclass || '.' || a.attname, format_type(a.atttypid, NULL)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p')
   AND a.atttypid IN ('int4'::regtype, 'oid'::regtype)
   AND has_column_privilege('app_rw', c.oid, a.attnum, 'SELECT')
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
-- Nor by a comparison that is made before the policy is asked, but among the rows that begin with one's own id.
SELECT 'app_rw', 'order', i.indexrelid::regclass::text, 'keys'
  FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
 CROSS JOIN LATERAL coalesce(pg_partition_root(t.oid)::oid, t.oid) AS read (oid)
  LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0] AND a.attnum > 0
 WHERE EXISTS (SELECT FROM pg_opclass o WHERE o.oid = ANY (i.indclass) AND o.opcnamespace = 'app'::regnamespace)
   AND NOT EXISTS (SELECT FROM pg_policy p
                    WHERE a.atttypid = 'uuid'::regtype AND p.polrelid = read.oid AND NOT p.polpermissive
                      AND strpos(pg_get_expr(p.polqual, p.polrelid), '(' || quote_ident(a.attname) || ' = ') > 0)
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
