"""History out of files: every event once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cli.import_events import LineReader
from config.settings import Settings
from events.accept import Event
from events.event_id import IMPORT_SEQ, EventId
from tests.live.api import get, post
from tests.live.sidecar import SidecarProcess, environment, open_stream
from tests.live.waiting import until

ROOT = Path(__file__).parents[3]
EVENTS = 1_000_000
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
NOW_MS = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)


def event(n: int, **members: Any) -> dict[str, Any]:
    moment = BEGIN + timedelta(seconds=n * 4)
    return {
        "companyId": f"company-{n % 7}",
        "userId": f"user-{n % 500}",
        "metricName": "integration_score",
        "value": n,
        "timestamp": moment.isoformat(),
        **members,
    }


def write(path: Path, lines: Iterator[Any]) -> Path:
    with path.open("w") as out:
        out.writelines(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    return path


class Importer:
    """Runs `analytics import` with the test's settings."""

    def __init__(self, settings: Settings) -> None:
        self._environment = environment(settings)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", "import", *map(str, arguments)],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: object, code: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, err
        return out if code == 0 else err

    def summary(self, *arguments: object) -> Any:
        return json.loads(self(*arguments, "--subject", "metrics.calculated", "--json"))


@pytest.fixture
def importer(settings: Settings) -> Importer:
    return Importer(settings)


@pytest.fixture
def nats_url() -> str:
    """An import does not touch the stream."""
    return "nats://127.0.0.1:1"


def totals(ch: Client) -> tuple[int, int, float]:
    """Events, metric rows, and the sum of the metrics' values."""
    ((events,),) = ch.query("SELECT count() FROM events").result_rows
    ((rows, values),) = ch.query(
        "SELECT count(), sum(metric_value) FROM metrics_timeseries"
    ).result_rows
    return int(events), int(rows), float(values)


@pytest.mark.timeout(600)
async def test_an_import_that_is_killed_goes_on_and_stores_every_event_once(
    importer: Importer, ch: Client, tmp_path: Path
) -> None:
    path = write(tmp_path / "history.jsonl", (event(n) for n in range(EVENTS)))
    process = importer.start(path, "--subject", "metrics.calculated")
    try:
        await until(
            lambda: ch.query("SELECT count() FROM processing_checkpoints").result_rows[0][0],
            lambda count: count > 0,
        )
    finally:
        process.kill()
        process.communicate()
    before = totals(ch)[0]
    assert 0 < before < EVENTS
    summary = await asyncio.to_thread(importer.summary, path)
    assert 0 < summary["resumedAt"] <= before
    assert summary["resumedAt"] + summary["lines"] == EVENTS
    whole = (EVENTS, EVENTS, float(sum(range(EVENTS))))
    assert totals(ch) == whole
    # The whole file again, now as gzip and under another name: the same events.
    packed = tmp_path / "again.jsonl.gz"
    with gzip.open(packed, "wb", compresslevel=1) as out:
        out.write(path.read_bytes())
    again = await asyncio.to_thread(importer.summary, packed)
    assert (again["resumedAt"], again["events"]) == (0, EVENTS)
    assert totals(ch) == whole
    assert again["first"] == BEGIN.isoformat(timespec="milliseconds")


def test_bad_lines_are_dead_letters_and_the_rest_is_imported(
    importer: Importer, ch: Client, tmp_path: Path
) -> None:
    lines = [
        event(0),
        "no json",
        event(1, companyId="a b"),
        "",
        event(2, timestamp=None),
        event(3, subject="orders.made"),
        event(4, subject="journey.flag"),
        {"type": "sroi.calculated", "data": event(5), "metadata": {"timestamp": "2026-05-02"}},
        event(6, timestamp="2031-01-01T00:00:00Z"),
        event(7, x="y" * 1_100_000),
        event(8),
    ]
    path = write(tmp_path / "mixed.jsonl", iter(lines))
    dry = importer.summary(path, "--dry-run")
    assert totals(ch) == (0, 0, 0.0)
    summary = importer.summary(path)
    reasons = {
        "not_json": 1,
        "bad_company": 1,
        "bad_timestamp": 2,
        "unknown_subject": 1,
        "too_large": 1,
    }
    assert summary["deadLetters"] == reasons
    assert {**dry, "seconds": 0} == {**summary, "seconds": 0}
    assert (summary["lines"], summary["events"]) == (11, 4)
    types = ch.query("SELECT event_type, count() FROM events GROUP BY 1 ORDER BY 1").result_rows
    assert types == [("journey.flag", 1), ("metrics.calculated", 2), ("sroi.calculated", 1)]
    rows = ch.query(
        "SELECT extract(detail, 'line (\\\\d+):'), reason FROM dead_letters ORDER BY toUInt32("
        "extract(detail, 'line (\\\\d+):'))"
    ).result_rows
    assert [int(row[0]) for row in rows] == [2, 3, 5, 6, 9, 10]
    # The same bad lines once more are the same letters.
    importer.summary(path)
    assert ch.query("SELECT count() FROM dead_letters").result_rows == [(6,)]
    ids = ch.query("SELECT event_id, stream_seq FROM events").result_rows
    for event_id, seq in ids:
        parsed = EventId.parse(event_id)
        assert parsed is not None
        assert parsed.is_import
        assert parsed.seq == seq


def test_events_without_a_company_get_the_one_that_is_named(
    importer: Importer, ch: Client, tmp_path: Path
) -> None:
    flat, own = event(0), event(1)
    del flat["companyId"]
    inner = event(2, companyId=None, value=12345678901234567890)
    lines = [flat, own, {"type": "metrics.calculated", "data": inner, "metadata": {}}]
    path = write(tmp_path / "x.jsonl", iter(lines))
    assert importer.summary(path)["events"] == 1
    assert importer.summary(path, "--company", "acme")["events"] == 3
    rows = ch.query("SELECT company_id, payload FROM events ORDER BY timestamp").result_rows
    assert [row[0] for row in rows] == ["acme", "company-1", "acme"]
    assert "12345678901234567890" in rows[2][1]


def test_what_can_not_be_imported_is_one_clear_line(importer: Importer, tmp_path: Path) -> None:
    nothing = write(tmp_path / "csv.jsonl", iter(["a,b,c", "1,2,3"]))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(json.dumps(event(0)).encode())[:-9])
    no_subject = write(tmp_path / "plain.jsonl", iter([event(0)]))
    for arguments, says in (
        ([nothing], "nothing of the first 2 lines is an event"),
        ([cut], "cut.jsonl.gz"),
        ([tmp_path / "absent"], "no such file"),
        ([no_subject], "give --subject"),
    ):
        error = importer(*arguments, code=1)
        assert says in error
        assert error.count("\n") == 1
    assert "subject of events" in importer(no_subject, "--subject", "orders.made", code=2)


async def test_a_file_that_changed_since_is_read_from_its_beginning(
    importer: Importer, ch: Client, tmp_path: Path
) -> None:
    path = write(tmp_path / "h.jsonl", (event(n) for n in range(60_000)))
    process = importer.start(path, "--subject", "metrics.calculated")
    try:
        await until(
            lambda: ch.query("SELECT count() FROM processing_checkpoints").result_rows[0][0],
            lambda count: count > 0,
        )
    finally:
        process.kill()
        process.communicate()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(event(100_000)), *lines[1:]]) + "\n")
    summary = await asyncio.to_thread(importer.summary, path)
    assert (summary["resumedAt"], summary["events"]) == (0, 60_000)
    assert totals(ch)[0] == 60_001  # the event of the old first line was imported before


LINE = st.dictionaries(
    st.sampled_from(["companyId", "userId", "metricName", "value", "periodStart", "x"]),
    st.one_of(st.text(max_size=5), st.integers(), st.floats(allow_nan=False), st.none()),
)


# The machine may be busy with servers; how long an example takes says nothing here.
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LINE, st.integers(0, 10**9), st.integers(0, 10**12))
def test_an_events_id_is_its_content_and_nothing_else(
    members: dict[str, Any], number: int, later_ms: int
) -> None:
    event_of_line = {"companyId": "c", "timestamp": "2026-05-02T03:04:05.678Z"} | members
    tight = json.dumps(event_of_line, separators=(",", ":")).encode()
    wide = b"  " + json.dumps(event_of_line, separators=(" ,\t", " : ")).encode() + b"\r\n"
    first = LineReader("a", "metrics.x", None, NOW_MS, 1).read(1, tight)
    again = LineReader("b", "metrics.x", None, NOW_MS + later_ms, 2).read(number, wide)
    assert type(first) is type(again)
    if isinstance(first, Event):
        assert first == again
        assert first.id.ms == 1_777_691_045_678
        assert first.id.seq >= IMPORT_SEQ


class TestBesideAStream:
    """Imported events and a running sidecar."""

    @pytest.fixture
    def nats_url(self, nats_server: Any) -> str:
        return str(nats_server.url)

    async def test_an_import_is_proven_and_is_no_place_to_resume_from(
        self, sidecar: SidecarProcess, importer: Importer, ch: Client, tmp_path: Path
    ) -> None:
        # Later than the stream was made: by its time alone it could be one of the stream's.
        ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        lines = [event(0, timestamp=ahead), "no json", event(1, timestamp=None)]
        path = write(tmp_path / "h.jsonl", iter(lines))
        await asyncio.to_thread(importer.summary, path)
        ((event_id, company),) = ch.query("SELECT event_id, company_id FROM events").result_rows
        proof = get(f"{sidecar.url}/events/{event_id}/proof", companyId=company)
        assert (proof["verdict"], proof["events"]["rows"]) == ("stored", 1)
        assert proof["stream"]["present"] is False
        # Its letters are replayed by the rules of an import: nothing has changed, so they stay.
        answer = (await post(f"{sidecar.url}/dlq/replay", all=True)).json()
        assert (answer["examined"], answer["rejected"]) == (2, 2)
        assert {one["reason"] for one in answer["results"]} == {"not_json", "bad_timestamp"}
        async with open_stream(sidecar.url, company, last_id=event_id) as stream:
            (reset,), _ = await stream.until_connected()
        assert reset.event == "reset"
        assert json.loads(reset.data)["oldestAvailable"] is None
