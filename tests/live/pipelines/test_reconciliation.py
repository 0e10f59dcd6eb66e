"""The stream of an hour against what is stored: losses are named, and repaired from the stream."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import nats
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from nats.js.api import StreamConfig

from config.names import DLQ_STREAM, EVENTS_STREAM
from config.settings import Settings
from events.accept import Event, Rejection, accept
from events.event_id import IMPORT_SEQ
from pipelines.databases import Databases
from pipelines.defs.reconciliation.assets import HOURS, reconciliations
from pipelines.defs.reconciliation.comparison import Row, compare
from pipelines.defs.reconciliation.definitions import reconcile_job, repair_job
from pipelines.defs.reconciliation.results import due_hours
from pipelines.event_stream import EventStreams
from tests.live.conftest import NatsProcess
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess
from tests.live.waiting import until, until_acknowledged, until_in_stream

CHECK = "every_event_is_stored_once"
# What `publish_everything` sends.
MESSAGES = 12


@pytest.fixture
def nats_url(nats_server: NatsProcess) -> str:
    """A real server: this flow is the only one here that reads the stream."""
    return nats_server.url


class Flow:
    """Runs the flow's jobs on the hour in which the test began."""

    def __init__(self, settings: Settings) -> None:
        self._resources = {
            "databases": Databases(lambda: settings),
            "event_streams": EventStreams(lambda: settings),
        }
        self.hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self._instance = dg.DagsterInstance.ephemeral()

    def run(self, job: Any = reconcile_job, hour: datetime | None = None) -> dict[str, Any]:
        """Metadata of the check, with its `passed`, `severity` and `description`."""
        resolved = dg.Definitions(
            assets=[reconciliations], jobs=[job], resources=self._resources
        ).resolve_job_def(job.name)
        key = (hour or self.hour).strftime(HOURS.fmt)
        result = resolved.execute_in_process(
            partition_key=key, instance=self._instance, raise_on_error=True
        )
        (check,) = result.get_asset_check_evaluations()
        (made,) = result.get_asset_materialization_events()
        metadata = {name: entry.value for name, entry in made.materialization.metadata.items()}
        return metadata | {
            **{name: entry.value for name, entry in check.metadata.items()},
            "passed": check.passed,
            "severity": check.severity,
            "description": check.description,
        }


def seconds_left() -> float:
    """Until the hour is over."""
    return 3600.0 - time.time() % 3600


@pytest.fixture
async def flow(settings: Settings) -> Flow:
    # What a test publishes must not fall into two hours: one test in a hundred waits for the next.
    await until(seconds_left, lambda left: left > 30, seconds=40)
    return Flow(settings)


async def run(flow: Flow, job: Any = reconcile_job, hour: datetime | None = None) -> dict[str, Any]:
    """Dagster's steps run a loop of their own, so they need a thread of their own."""
    return await asyncio.to_thread(flow.run, job, hour)


async def publish_everything(producer: Producer) -> None:
    """Twelve messages of two companies: ten events, two for the dead letters."""
    for n in range(5):
        await producer.publish("a", metricName="m", value=n, userId=f"u{n}")
        await producer.publish("b", subject="journey.flag", n=n)
    await producer.raw(b"\xff no json")
    await producer.raw(b'{"companyId":"b","timestamp":"never"}')
    await producer.nats.flush()


async def test_losses_are_named_and_repaired_from_the_stream(
    sidecar: SidecarProcess, producer: Producer, flow: Flow, ch: Client
) -> None:
    js = producer.nats.jetstream()
    await publish_everything(producer)
    await until_acknowledged(js, MESSAGES)
    found = await run(flow)
    assert found["passed"], found
    assert (found["streamed"], found["stored"], found["dead_letters"]) == (12, 10, 2)
    assert found["companies"] == 3  # two, and what names none
    before = ch.query("SELECT * FROM events ORDER BY stream_seq").result_rows
    letters = ch.query("SELECT * EXCEPT(stored_at, dlq_seq) FROM dead_letters").result_rows
    # Behind its back: two events, one metric's both rows, and a dead letter.
    ch.command("DELETE FROM events WHERE stream_seq IN (2, 3, 7)")
    ch.command("DELETE FROM metrics_timeseries WHERE metric_value = 1")
    ch.command("DELETE FROM dead_letters WHERE stream_seq = 11")
    found = await run(flow)
    assert not found["passed"]
    assert found["severity"] is dg.AssetCheckSeverity.ERROR
    assert found["missing_sequences"] == [2, 3, 7, 11]
    assert "[2, 3, 7, 11]" in found["description"]
    rows = ch.query(
        "SELECT company_id, state, missing, missing_seqs FROM reconciliations"
        " WHERE state = 'unbalanced' ORDER BY company_id"
    ).result_rows
    assert rows == [
        ("", "unbalanced", 1, [11]),
        ("*", "unbalanced", 4, [2, 3, 7, 11]),
        ("a", "unbalanced", 2, [3, 7]),
        ("b", "unbalanced", 1, [2]),
    ]
    repaired = await run(flow, repair_job)
    assert (repaired["passed"], repaired["repaired"]) == (True, 4)
    assert ch.query("SELECT * FROM events ORDER BY stream_seq").result_rows == before
    again = "SELECT * EXCEPT(stored_at, dlq_seq) FROM dead_letters"
    assert sorted(ch.query(again).result_rows, key=str) == sorted(letters, key=str)
    values = ch.query("SELECT metric_value FROM metrics_timeseries ORDER BY metric_value")
    assert values.result_rows == [(float(n),) for n in range(5)]
    # Once more: nothing is missing, so nothing is written.
    writes = "SELECT count() FROM events SETTINGS final = 0"
    count = ch.query(writes).result_rows
    assert (await run(flow, repair_job))["repaired"] == 0
    assert ch.query(writes).result_rows == count
    states = ch.query(
        "SELECT state, repaired FROM reconciliations WHERE company_id = '*' ORDER BY checked_at"
    ).result_rows
    assert states == [("balanced", 0), ("unbalanced", 0), ("balanced", 4), ("balanced", 0)]


async def test_rows_that_no_message_explains_and_doubled_ones_fail_the_check(
    sidecar: SidecarProcess, producer: Producer, flow: Flow, ch: Client
) -> None:
    await publish_everything(producer)
    await until_acknowledged(producer.nats.jetstream(), MESSAGES)
    # The same event under another key is what a reader would count twice; an import is no row of
    # the stream's, and an event of an hour before is not of this one.
    ch.command(
        "INSERT INTO events SELECT event_id, event_type, 'elsewhere', user_id, timestamp,"
        " received_at, stream_seq, payload FROM events WHERE stream_seq = 1"
    )
    ch.command(
        "INSERT INTO events SELECT concat('x-', toString(stream_seq)), event_type, company_id,"
        f" user_id, timestamp, received_at, {IMPORT_SEQ} + stream_seq, payload FROM events"
    )
    ch.command(
        "INSERT INTO events SELECT event_id, event_type, company_id, user_id, timestamp,"
        " received_at - toIntervalHour(1), stream_seq, payload FROM events WHERE stream_seq = 1"
    )
    found = await run(flow)
    assert not found["passed"]
    assert (found["unexpected"], found["missing"]) == (1, 0)
    (named,) = found["unexpected_ids"]
    assert named.startswith("metrics.calculated-1-")
    wrong = ch.query(
        "SELECT company_id FROM reconciliations WHERE unexpected > 0 AND company_id != '*'"
    )
    assert wrong.result_rows == [("elsewhere",)]


async def test_what_waits_for_the_sink_is_a_warning_and_nothing_is_missing(
    settings: Settings, producer: Producer, flow: Flow
) -> None:
    js = producer.nats.jetstream()
    await js.add_stream(StreamConfig(name=EVENTS_STREAM, subjects=["metrics.>", "journey.>"]))
    await js.add_stream(StreamConfig(name=DLQ_STREAM, subjects=["dlq.>"]))
    await js.update_stream(
        StreamConfig(name=EVENTS_STREAM, subjects=["metrics.>", "journey.>"], allow_direct=True)
    )
    await publish_everything(producer)
    await until_in_stream(js, MESSAGES)
    found = await run(flow)
    assert (found["passed"], found["severity"]) == (False, dg.AssetCheckSeverity.WARN)
    assert (found["state"], found["pending"], found["missing"]) == ("pending", 12, 0)


async def test_hours_that_the_stream_has_lost_are_not_checkable_any_more(
    sidecar: SidecarProcess, producer: Producer, flow: Flow, ch: Client
) -> None:
    js = producer.nats.jetstream()
    await publish_everything(producer)
    await until_acknowledged(js, MESSAGES)
    for back in (1, 30):  # before the stream was made
        found = await run(flow, hour=flow.hour - timedelta(hours=back))
        assert (found["state"], found["severity"]) == ("not_checkable", dg.AssetCheckSeverity.WARN)
        assert "not checkable any more" in found["description"]
    # A window that ends within this hour, and an oldest message that is of this hour as well.
    info = await js.stream_info(EVENTS_STREAM)
    await js.purge_stream(EVENTS_STREAM, seq=5)
    info.config.max_age = 1.0
    info.config.duplicate_window = 1.0
    await js.update_stream(info.config)
    ch.command("DELETE FROM events WHERE stream_seq = 2")
    found = await run(flow)
    assert found["state"] == "not_checkable"
    assert (await run(flow, repair_job))["repaired"] == 0


async def test_a_comparison_that_could_not_run_is_an_error_and_no_failed_check(
    flow: Flow, nats_server: NatsProcess, ch: Client
) -> None:
    nats_server.process.stop()
    with pytest.raises((nats.errors.Error, OSError)):
        await run(flow)
    assert ch.query("SELECT count() FROM reconciliations").result_rows == [(0,)]


def test_hours_that_were_left_open_are_due_again() -> None:
    hours = [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in range(12)]
    assert due_hours({}, hours[5]) == [hours[5]]
    states = {hours[1]: "balanced", hours[2]: "pending", hours[4]: "unbalanced"}
    assert due_hours(states, hours[5]) == [hours[2], hours[3], hours[5]]
    assert due_hours({hours[0]: "not_checkable"}, hours[11]) == hours[6:]


MESSAGE = st.sampled_from(["a", "b", "bad"])
FATE = st.sampled_from(["kept", "lost", "doubled", "moved", "letter", "letter and kept"])


def decide(seq: int, company: str) -> Event | Rejection:
    raw = b"no json" if company == "bad" else json.dumps({"companyId": company}).encode()
    return accept("metrics.x", seq, 1_764_000_000_000 + seq, raw)


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(MESSAGE, FATE), max_size=30), st.integers(0, 30))
def test_every_fate_of_a_message_is_counted_where_it_belongs(
    messages: list[tuple[str, str]], floor: int
) -> None:
    decided, rows, letters = [], [], set()
    for seq, (company, fate) in enumerate(messages, 1):
        one = decide(seq, company)
        decided.append(one)
        row = Row(seq, one.id.ms, company, str(one.id))
        if "letter" in fate:
            letters.add(one.id)
        if "kept" in fate:
            rows.append(row)
        rows += {"doubled": [row, row], "moved": [row._replace(company_id="z")]}.get(fate, [])
    piece = compare(decided, rows, frozenset(letters), floor)
    fates = [(company == "bad", fate) for company, fate in messages]
    good = [fate for bad, fate in fates if not bad]
    total = {
        name: sum(getattr(tally, name) for tally in piece.tallies.values())
        for name in ("streamed", "stored", "dead_letters", "missing", "pending", "duplicates")
    }
    in_place = {"kept", "doubled", "letter and kept"}
    assert total["streamed"] == len(messages)
    assert total["stored"] == sum(fate in in_place for fate in good)
    assert total["duplicates"] == good.count("doubled")
    assert total["dead_letters"] == sum(
        fate == "letter" or (bad and "letter" in fate) for bad, fate in fates
    )
    absent = [
        seq
        for seq, (bad, fate) in enumerate(fates, 1)
        if "letter" not in fate and (bad or fate not in in_place)
    ]
    assert piece.missing == [seq for seq in absent if seq <= floor]
    assert total["pending"] == len([seq for seq in absent if seq > floor])
    unexpected = sum(tally.unexpected for tally in piece.tallies.values())
    assert unexpected == good.count("moved") + sum(
        {"kept": 1, "letter and kept": 1, "doubled": 2, "moved": 1}.get(fate, 0)
        for bad, fate in fates
        if bad
    )
    assert piece.unexplained == []
