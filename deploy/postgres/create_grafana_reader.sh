#!/bin/sh
# Run by the Postgres image on an empty data folder, and by hand where there is one already:
#     docker compose exec postgres sh /docker-entrypoint-initdb.d/create_grafana_reader.sh
# A reader of the platform's tables for Grafana: it can change nothing. Repeating it only sets the
# password anew.
set -eu
psql -v ON_ERROR_STOP=1 -X -q -U "$POSTGRES_USER" -d "$POSTGRES_DB" \
    -v password="${GRAFANA_READER_PASSWORD:-grafana}" <<'SQL'
SELECT 'CREATE ROLE grafana LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana') \gexec
ALTER ROLE grafana PASSWORD :'password';
ALTER ROLE grafana SET default_transaction_read_only = on;
-- A panel that scans for long must not be in the way of the refreshes.
ALTER ROLE grafana SET statement_timeout = '30s';
-- Views that are made later too, and nothing to write.
GRANT pg_read_all_data TO grafana;
SQL
