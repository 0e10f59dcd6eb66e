"""What a user would write: fetch 1,000, parse, insert rows of Python, acknowledge each message.

Both libraries as their pages show them. It checks nothing, and it has no dead letters.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, date

import clickhouse_connect
import nats
from nats.errors import TimeoutError as NothingFetched

from benchmarks.ingest.world import DATABASE
from config.names import EVENTS_STREAM

BATCH_ROWS = 1000
EVENT_COLUMNS = (
    *("event_id", "event_type", "company_id", "user_id"),
    *("timestamp", "received_at", "stream_seq", "payload"),
)
METRIC_COLUMNS = (
    *("company_id", "metric_name", "metric_value", "period_start"),
    *("timestamp", "user_id", "dimensions", "event_id"),
)


async def main(nats_url: str, clickhouse_port: int) -> None:
    """Store the stream for ever."""
    connection = await nats.connect(nats_url)
    js = connection.jetstream()
    subscription = await js.pull_subscribe("", durable="naive", stream=EVENTS_STREAM)
    client = await clickhouse_connect.get_async_client(
        host="127.0.0.1",
        port=clickhouse_port,
        database=DATABASE,
        autogenerate_session_id=False,
    )
    while True:
        try:
            messages = await subscription.fetch(BATCH_ROWS, timeout=1)
        except NothingFetched:
            continue
        events, metrics = [], []
        for message in messages:
            place, event = message.metadata, json.loads(message.data)
            stored_at = place.timestamp.astimezone(UTC)
            seq = place.sequence.stream
            event_id = f"{message.subject}-{seq}-{stored_at.timestamp() * 1000:.0f}"
            company, user = event["companyId"], event.get("userId")
            text = message.data.decode()
            events.append(
                (event_id, message.subject, company, user, stored_at, stored_at, seq, text)
            )
            period = date.fromisoformat(event["periodStart"])
            dimensions = json.dumps(event["dimensions"])
            metric = (company, event["metricName"], event["value"], period)
            metrics.append((*metric, stored_at, user, dimensions, event_id))
        await client.insert("events", events, EVENT_COLUMNS)
        await client.insert("metrics_timeseries", metrics, METRIC_COLUMNS)
        for message in messages:
            await message.ack()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
