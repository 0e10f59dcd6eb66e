"""Where a finding sends its reader: entries of `docs/runbook`, as file and anchor.

A test holds that every entry exists.
"""

from __future__ import annotations

from enum import StrEnum

FOLDER = "docs/runbook"


class Entry(StrEnum):
    """`<file>#<anchor>` below docs/runbook."""

    SETTING_REFUSED = "machine.md#a-setting-is-refused"
    OPEN_TO_ALL = "machine.md#the-api-is-open-to-everybody"
    PORT_TAKEN = "machine.md#a-port-is-taken"
    DISK = "machine.md#the-disk-fills-up"
    CLOCKS = "machine.md#clocks-differ"

    POSTGRES_AWAY = "postgres.md#postgres-does-not-answer"
    POSTGRES_READ_ONLY = "postgres.md#postgres-is-read-only"
    MIGRATIONS_PENDING = "postgres.md#migrations-are-pending"
    MIGRATION_REFUSED = "postgres.md#a-migration-is-refused"
    VIEWS_STALE = "postgres.md#materialised-views-are-stale"
    REFRESH_FAILS = "postgres.md#a-refresh-fails"
    POSTGRES_RESTORED = "postgres.md#postgres-was-restored"

    NATS_AWAY = "nats.md#nats-does-not-answer"
    STREAM_MISSING = "nats.md#a-stream-or-consumer-is-missing"
    STREAM_NARROW = "nats.md#the-stream-keeps-less-than-it-should"
    NOTHING_PUBLISHED = "nats.md#nothing-is-published"

    NOT_STORED = "ingestion.md#events-are-not-in-clickhouse"
    SINK_LAG = "ingestion.md#the-sink-falls-behind"
    DEAD_LETTERS = "ingestion.md#dead-letters-grow"

    CLICKHOUSE_AWAY = "clickhouse.md#clickhouse-does-not-answer"
    CLICKHOUSE_READ_ONLY = "clickhouse.md#clickhouse-is-read-only"
    CLICKHOUSE_DISK = "clickhouse.md#the-disk-of-clickhouse-is-full"
    TOO_MANY_PARTS = "clickhouse.md#too-many-parts"
    MUTATION = "clickhouse.md#a-mutation-does-not-end"
    STRAY_PARTITIONS = "clickhouse.md#stray-partitions-and-detached-parts"

    SIDECAR_AWAY = "streaming.md#the-sidecar-does-not-answer"
    SIDECAR_DEGRADED = "streaming.md#the-sidecar-is-degraded-or-not-ready"
    NO_EVENTS = "streaming.md#events-do-not-arrive-in-a-dashboard"
    RECONNECTS = "streaming.md#clients-reconnect-again-and-again"
    PROXY_BUFFERS = "streaming.md#a-proxy-holds-events-back"
    STREAM_401 = "streaming.md#the-stream-answers-401"
    STREAM_403 = "streaming.md#the-stream-answers-403"
    STREAM_429 = "streaming.md#the-stream-answers-429"
    STREAM_503 = "streaming.md#the-stream-answers-503"

    COHORT_EMPTY = "cohorts.md#a-cohort-is-empty"
    COHORT_NOT_SYNCED = "cohorts.md#a-cohort-is-missing-in-clickhouse"
    PARITY = "cohorts.md#parity-failed"

    DAGSTER_AWAY = "dagster.md#the-dagster-ui-does-not-answer"
    DAEMON = "dagster.md#the-daemon-is-not-running"
    CODE_LOCATION = "dagster.md#the-code-location-does-not-load"
    RUN_STUCK = "dagster.md#a-run-is-stuck"
    RUNS_FAIL = "dagster.md#runs-fail"
    SCHEDULE_OFF = "dagster.md#a-schedule-or-sensor-is-off"
