"""The sensor on dead letters: it speaks when their number changes, and not otherwise."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
from clickhouse_connect.driver.client import Client

from events.accept import Rejection, accept
from events.rows import DeadLetter, encode_dead_letters
from pipelines.databases import Databases
from pipelines.defs.dead_letters.growth import (
    dead_letters_sensor,
    no_dead_letter_came_in_lately,
)


def put_aside(ch: Client, seqs: range) -> None:
    """Letters as the sink mirrors them."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    letters = []
    for seq in seqs:
        rejection = accept("metrics.x", seq, now_ms, b"no json")
        assert isinstance(rejection, Rejection)
        letters.append(DeadLetter(rejection, b"no json"))
    ch.raw_insert(
        "dead_letters",
        insert_block=encode_dead_letters(letters, [0] * len(seqs)),
        fmt="JSONEachRow",
    )


def tick(databases: Databases, cursor: str | None) -> dg.SensorResult | dg.SkipReason:
    with dg.build_sensor_context(cursor=cursor, resources={"databases": databases}) as context:
        result = dead_letters_sensor(context)
    assert isinstance(result, (dg.SensorResult, dg.SkipReason))
    return result


def test_the_sensor_speaks_when_letters_come_and_when_they_go(
    ch: Client, databases: Databases
) -> None:
    assert isinstance(tick(databases, None), dg.SkipReason)
    put_aside(ch, range(1, 4))
    grown = tick(databases, None)
    assert isinstance(grown, dg.SensorResult)
    _, check = grown.asset_events
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert not check.passed
    assert check.metadata["open_not_json"].value == 3
    assert isinstance(tick(databases, grown.cursor), dg.SkipReason)
    ch.command(
        "INSERT INTO dead_letter_decisions (dead_letter_id, received_at, stream_seq, state)"
        " SELECT dead_letter_id, received_at, stream_seq, 'discarded' FROM dead_letters"
    )
    gone = tick(databases, grown.cursor)
    assert isinstance(gone, dg.SensorResult)
    _, check = gone.asset_events
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert check.passed
    # A letter of two hours ago waits for a person; one of just now is news.
    ch.command(
        "INSERT INTO dead_letters (dead_letter_id, subject, stream_seq, received_at, reason,"
        " stored_at) SELECT 'x-9-1', 'x', 9, now64(3) - toIntervalHour(2), 'not_json',"
        " now64(3) - toIntervalHour(2)"
    )
    assert judged(databases).passed
    put_aside(ch, range(20, 21))
    assert not judged(databases).passed


def judged(databases: Databases) -> dg.AssetCheckResult:
    """The check, started by hand."""
    result = no_dead_letter_came_in_lately(databases)
    assert isinstance(result, dg.AssetCheckResult)
    return result
