-- Where TimescaleDB is installed and preloaded, events become a hypertable. Elsewhere this does
-- nothing, and the table serves as it is.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
        AND current_setting('shared_preload_libraries') LIKE '%timescaledb%'
    THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
        PERFORM create_hypertable('user_events', 'occurred_at',
            chunk_time_interval => INTERVAL '7 days', migrate_data => true,
            create_default_indexes => false);
    END IF;
END
$$;
