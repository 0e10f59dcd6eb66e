"""A day's partition of `events`: what is recorded of it, and a backfill over several."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from pipelines.databases import Databases
from pipelines.defs.partitions.assets import events
from pipelines.defs.partitions.events_day import EventsDay, read_events_day

DAY = date(2026, 3, 1)


def publish(ch: Client, day: date, sequences: list[int]) -> None:
    """Store events as the sink does, the first and last at the very edges of the day."""
    begin = datetime.combine(day, datetime.min.time(), UTC)
    end = begin + timedelta(days=1) - timedelta(milliseconds=1)
    ch.insert(
        "events",
        [
            [
                *(f"metrics.calculated-{seq}-1", "metrics.calculated", f"company-{seq % 2}", None),
                *(begin, end if seq == sequences[-1] else begin, seq, "{}"),
            ]
            for seq in sequences
        ],
        [
            *("event_id", "event_type", "company_id", "user_id"),
            *("timestamp", "received_at", "stream_seq", "payload"),
        ],
    )


def test_an_event_that_was_delivered_twice_is_one_event(ch: Client, pipeline_ch: Client) -> None:
    ch.command("SYSTEM STOP MERGES events")
    publish(ch, DAY, [7, 8, 9])
    publish(ch, DAY, [8, 9])
    publish(ch, DAY + timedelta(days=1), [10, 11])
    publish(ch, DAY - timedelta(days=1), [5, 6])
    day = read_events_day(pipeline_ch, DAY)
    assert day == EventsDay(
        stored_rows=5,
        events=3,
        companies=2,
        bytes_on_disk=day.bytes_on_disk,
        parts=2,
        first_seq=7,
        last_seq=9,
    )
    assert day.bytes_on_disk > 0


def test_a_day_without_events_is_a_day_of_zero_rows(pipeline_ch: Client) -> None:
    assert read_events_day(pipeline_ch, DAY) == EventsDay(0, 0, 0, 0, 0, None, None)


def test_a_backfill_over_days_records_each_day_as_its_own(ch: Client, databases: Databases) -> None:
    publish(ch, DAY, [1, 2, 3])
    publish(ch, DAY + timedelta(days=2), [4])
    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions(
            assets=[events], resources={"databases": databases}
        ).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": "2026-03-01",
                "dagster/asset_partition_range_end": "2026-03-03",
            },
        )
        assert result.success
        recorded = {
            str(event.partition): {
                name: entry.value for name, entry in event.materialization.metadata.items()
            }
            for event in result.get_asset_materialization_events()
        }
        assert instance.get_materialized_partitions(events.key) == set(recorded)
    assert {day: found["distinct_events"] for day, found in recorded.items()} == {
        "2026-03-01": 3,
        "2026-03-02": 0,
        "2026-03-03": 1,
    }
    assert (recorded["2026-03-01"]["first_seq"], recorded["2026-03-01"]["last_seq"]) == (1, 3)
    assert "first_seq" not in recorded["2026-03-02"]
    assert recorded["2026-03-02"]["rows"] == 0


@pytest.mark.parametrize("key", ["2026-03-01", datetime.now(UTC).date().isoformat()])
def test_one_day_alone(key: str, ch: Client, databases: Databases) -> None:
    publish(ch, date.fromisoformat(key), [1])
    result = dg.materialize([events], partition_key=key, resources={"databases": databases})
    [event] = result.get_asset_materialization_events()
    assert event.partition == key
    assert event.materialization.metadata["rows"].value == 1
