"""All checks in the order in which they are shown: the table of contents of `analytics doctor`."""

from __future__ import annotations

from cli.doctor import clickhouse, dagster, machine, nats, postgres, probe, sidecar
from cli.doctor.check import Check, Half
from cli.doctor.runbook import Entry

PG, CH, NATS, SIDECAR, DAGSTER = ("postgres", "clickhouse", "nats", "sidecar", "dagster")
PG_SCHEMA, CH_SCHEMA = ("postgres migrations", "clickhouse migrations")
STREAMS, CONSUMER = ("streams", "consumer")

CHECKS = (
    Check("settings", machine.settings_are_sound, Entry.SETTING_REFUSED),
    Check("disk", machine.disk_has_room, Entry.DISK),
    Check("clocks", machine.clocks_agree, Entry.CLOCKS),
    Check(PG, postgres.postgres_answers, Entry.POSTGRES_AWAY),
    Check(PG_SCHEMA, postgres.postgres_is_migrated, Entry.MIGRATIONS_PENDING, (PG,)),
    Check("materialised views", postgres.views_are_fresh, Entry.VIEWS_STALE, (PG_SCHEMA,)),
    Check("cohort filters", postgres.filters_are_valid, Entry.COHORT_EMPTY, (PG_SCHEMA,)),
    Check("cohort changes", postgres.changes_are_taken, Entry.COHORT_NOT_SYNCED, (PG_SCHEMA,)),
    Check(NATS, nats.nats_answers, Entry.NATS_AWAY),
    Check(STREAMS, nats.streams_exist, Entry.STREAM_MISSING, (NATS,)),
    Check("events", nats.events_are_published, Entry.NOTHING_PUBLISHED, (STREAMS,)),
    Check(CONSUMER, nats.consumer_exists, Entry.STREAM_MISSING, (STREAMS,), Half.WAREHOUSE),
    Check("sink lag", nats.sink_keeps_up, Entry.SINK_LAG, (CONSUMER,), Half.WAREHOUSE),
    Check(CH, clickhouse.clickhouse_answers, Entry.CLICKHOUSE_AWAY, half=Half.WAREHOUSE),
    Check(
        CH_SCHEMA,
        postgres.clickhouse_is_migrated,
        Entry.MIGRATIONS_PENDING,
        (CH,),
        Half.WAREHOUSE,
    ),
    Check(
        "clickhouse disk",
        clickhouse.clickhouse_has_room,
        Entry.CLICKHOUSE_DISK,
        (CH,),
        Half.WAREHOUSE,
    ),
    Check("parts", clickhouse.parts_are_few, Entry.TOO_MANY_PARTS, (CH_SCHEMA,), Half.WAREHOUSE),
    Check(
        "partitions",
        clickhouse.partitions_are_ours,
        Entry.STRAY_PARTITIONS,
        (CH_SCHEMA,),
        Half.WAREHOUSE,
    ),
    Check("mutations", clickhouse.mutations_end, Entry.MUTATION, (CH_SCHEMA,), Half.WAREHOUSE),
    Check(
        "dead letters",
        clickhouse.dead_letters_are_few,
        Entry.DEAD_LETTERS,
        (CH_SCHEMA,),
        Half.WAREHOUSE,
    ),
    Check(
        "cohort parity",
        postgres.both_sides_agree,
        Entry.PARITY,
        (PG_SCHEMA, CH_SCHEMA),
        Half.WAREHOUSE,
    ),
    Check(SIDECAR, sidecar.sidecar_answers, Entry.SIDECAR_AWAY),
    Check("sidecar health", sidecar.sidecar_is_well, Entry.SIDECAR_DEGRADED, (SIDECAR,)),
    # Not behind the sidecar's check: that one asks the process, this one what is in front of it.
    Check("event stream", sidecar.stream_flows, Entry.NO_EVENTS, half=Half.STREAMING),
    Check("stream endings", sidecar.streams_are_kept, Entry.RECONNECTS, (SIDECAR,), Half.STREAMING),
    Check(DAGSTER, dagster.dagster_answers, Entry.DAGSTER_AWAY),
    Check("daemons", dagster.daemons_run, Entry.DAEMON, (DAGSTER,)),
    Check("code location", dagster.code_loads, Entry.CODE_LOCATION, (DAGSTER,)),
    Check("schedules", dagster.schedules_are_on, Entry.SCHEDULE_OFF, (DAGSTER,)),
    Check("runs", dagster.runs_go_through, Entry.RUN_STUCK, (DAGSTER,)),
)

PROBE = Check(
    "probe", probe.event_goes_through, Entry.NO_EVENTS, ("event stream", NATS), Half.STREAMING
)
