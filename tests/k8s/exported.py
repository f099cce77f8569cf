"""What CloudNativePG exports, as far as alerts and dashboards ask for it."""

from typing import Final

OF_PODS: Final = {"namespace", "pod"}
"""Labels that a PodMonitor gives to everything it has scraped, with those of each target."""

EXPORTED: Final[dict[str, set[str]]] = {
    # Of each instance's manager, whatever is asked of PostgreSQL: "Predefined set of metrics" in its documentation.
    "cnpg_collector_up": {"cluster"},
    "cnpg_collector_pg_wal": {"value"},
    "cnpg_collector_pg_wal_archive_status": {"value"},
    # Of its predefined queries, config/manager/default-monitoring.yaml: the query's name, then the column's.
    "cnpg_backends_total": {"datname", "usename", "application_name", "state"},
    "cnpg_backends_max_tx_duration_seconds": {"datname", "usename", "application_name", "state"},
    "cnpg_backends_waiting_total": set(),
    "cnpg_pg_database_size_bytes": {"datname"},
    "cnpg_pg_replication_in_recovery": set(),
    "cnpg_pg_replication_is_wal_receiver_up": set(),
    "cnpg_pg_replication_lag": set(),
    "cnpg_pg_replication_streaming_replicas": set(),
    "cnpg_pg_settings_setting": {"name"},
    "cnpg_pg_stat_database_blks_hit": {"datname"},
    "cnpg_pg_stat_database_blks_read": {"datname"},
    "cnpg_pg_stat_database_xact_commit": {"datname"},
    "cnpg_pg_stat_database_xact_rollback": {"datname"},
    # Of the Barman Cloud plugin.
    "barman_cloud_cloudnative_pg_io_first_recoverability_point": set(),
    "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp": set(),
}
"""Series, with their labels. A predefined query that is left out (`disableDefaultQueries`) takes its own with it."""
