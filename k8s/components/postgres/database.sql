-- Then, in the database insula: in with our logins, out with everybody else. provision.sql follows.
REVOKE ALL ON DATABASE insula FROM PUBLIC;
GRANT CONNECT ON DATABASE insula TO app_migrator, app_rw, app_identity, app_platform;
-- How long statements take; in a schema where no login looks, whatever the operator's own search_path says.
CREATE EXTENSION pg_stat_statements SCHEMA public;
