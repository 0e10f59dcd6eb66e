"""Dead letters on real servers: looked at, replayed without doubling an event, discarded."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from config.names import DLQ_STREAM, EVENTS_STREAM, SINK_CONSUMER, SSE_EVENT_NAMES
from config.settings import Settings
from tests.live.api import SECRET, fetch, get, post, token
from tests.live.producer import Producer
from tests.live.sidecar import PATCHED, SidecarProcess, environment
from tests.live.waiting import until

NOT_UTF8 = b'\xff{"companyId":"c"}'


def on_disk(ch: Client, table: str) -> int:
    """Rows before any merge takes repeated ones away."""
    return int(ch.query(f"SELECT count() FROM {table} SETTINGS final = 0").result_rows[0][0])


async def letters(url: str, count: int, **parameters: Any) -> Any:
    """The answer of `/dlq` once it holds so many."""
    return await until(lambda: get(f"{url}/dlq", **parameters), lambda a: a["total"] == count)


async def test_letters_are_found_by_filter_in_pages_and_shown_with_their_bytes(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    for raw in (NOT_UTF8, b'{"n": 1}', b'{"companyId":"c","timestamp":"never"}', b'{"n": 2}'):
        await producer.raw(raw)
    answer = await letters(sidecar.url, 4)
    assert answer["counts"] == {"bad_timestamp": 1, "no_company": 2, "not_json": 1}
    assert [one["streamSeq"] for one in answer["letters"]] == [4, 3, 2, 1]
    url = f"{sidecar.url}/dlq"
    assert [one["streamSeq"] for one in get(url, reason="no_company")["letters"]] == [4, 2]
    assert [one["streamSeq"] for one in get(url, companyId="c")["letters"]] == [3]
    assert [one["streamSeq"] for one in get(url, fromSeq=2, toSeq=3)["letters"]] == [3, 2]
    third = answer["letters"][1]
    since = get(url, since=third["receivedAt"])["letters"]
    assert third in since
    assert get(url, until="2020-01-01T00:00:00Z")["total"] == 0
    seen: list[int] = []
    cursor: dict[str, Any] = {}
    while True:
        page = get(url, limit=3, **cursor)
        seen += [one["streamSeq"] for one in page["letters"]]
        assert page["total"] == 4
        if "nextCursor" not in page:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert seen == [4, 3, 2, 1]
    shown = get(f"{url}/{answer['letters'][3]['id']}")
    assert base64.b64decode(shown["raw"]["base64"]) == NOT_UTF8
    assert shown["raw"]["text"] is None
    assert get(f"{url}/{answer['letters'][2]['id']}")["raw"]["text"] == '{"n": 1}'
    assert (await fetch(f"{url}/metrics.calculated-99-1")).status_code == 404
    for bad in ("?reason=bad_luck", "?cursor=x", "?limit=0", "?since=soon", "/no-id"):
        refused = await fetch(f"{url}{bad}")
        assert refused.status_code == 400, bad
        assert set(refused.json()) == {"error", "message"}


async def test_replay_stores_what_is_accepted_now_once_and_under_the_original_id(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    ch.command("ALTER TABLE events ADD CONSTRAINT no_poison CHECK user_id != 'poison'")
    # What is on disk is compared.
    for table in ("events", "dead_letter_decisions"):
        ch.command(f"SYSTEM STOP MERGES {table}")
    for n in range(6):
        user = "poison" if n % 2 else "fine"
        await producer.publish("c", metricName="m", value=n, userId=user)
    await producer.raw(b"no json")
    await letters(sidecar.url, 4)
    replay = f"{sidecar.url}/dlq/replay"
    # Nothing has changed yet, so nothing can be accepted.
    same = (await post(replay, all=True)).json()
    assert (same["examined"], same["accepted"], same["rejected"]) == (4, 0, 4)
    assert {one["reason"] for one in same["results"]} == {"refused_by_warehouse", "not_json"}
    assert (await letters(sidecar.url, 4))["counts"] == {"not_json": 1, "refused_by_warehouse": 3}
    ch.command("ALTER TABLE events DROP CONSTRAINT no_poison")
    published = (await producer.nats.jetstream().stream_info(EVENTS_STREAM)).state.messages
    # Two at the same moment are one.
    answers = await asyncio.gather(*(post(replay, all=True) for _ in range(2)))
    assert any(answer.json()["accepted"] == 3 for answer in answers)
    rows = ch.query(
        "SELECT stream_seq, event_id = concat(event_type, '-', toString(stream_seq), '-',"
        " toString(toUnixTimestamp64Milli(received_at))) FROM events ORDER BY stream_seq"
    ).result_rows
    assert rows == [(n, True) for n in range(1, 7)]
    values = ch.query("SELECT metric_value FROM metrics_timeseries ORDER BY metric_value")
    assert values.result_rows == [(float(n),) for n in range(6)]
    assert (await letters(sidecar.url, 1))["counts"] == {"not_json": 1}
    replayed = (await letters(sidecar.url, 3, state="replayed"))["letters"]
    assert {one["decidedBy"] for one in replayed} == {"anonymous"}
    assert all(one["decidedAt"] for one in replayed)
    # Again, by id: nothing is written, nothing is published.
    before = on_disk(ch, "events"), on_disk(ch, "dead_letter_decisions")
    ids = [one["id"] for one in replayed]
    again = (await post(replay, ids=ids)).json()
    assert (again["examined"], sorted(again["notOpen"])) == (0, sorted(ids))
    assert (on_disk(ch, "events"), on_disk(ch, "dead_letter_decisions")) == before
    after = (await producer.nats.jetstream().stream_info(EVENTS_STREAM)).state.messages
    assert after == published


async def test_a_version_that_accepts_more_replays_what_one_before_refused(
    settings: Settings, sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    js = producer.nats.jetstream()
    config = (await js.stream_info(EVENTS_STREAM)).config
    await js.update_stream(config.evolve(subjects=[*(config.subjects or []), "orders.>"]))
    await producer.publish("c", subject="orders.made", n=1)
    await producer.publish("c", metricName="m", value=2, userId="u" * 250)
    await producer.raw(b"no json")
    unchanged = {"unknown_subject": 1, "wrong_type": 1, "not_json": 1}
    assert (await letters(sidecar.url, 3))["counts"] == unchanged
    same = (await post(f"{sidecar.url}/dlq/replay", all=True)).json()
    assert (same["examined"], same["accepted"], same["rejected"]) == (3, 0, 3)
    await asyncio.to_thread(sidecar.stop)
    later = SidecarProcess(
        settings,
        PATCHED,
        PATCHES=json.dumps(
            {
                "config.names": {"SSE_EVENT_NAMES": {**SSE_EVENT_NAMES, "orders": "order_updated"}},
                "events.accept": {"MAX_USER_ID_CHARACTERS": 300},
            }
        ),
    )
    await asyncio.to_thread(later.start)
    try:
        replay = f"{later.url}/dlq/replay"
        first = (await post(replay, reason="unknown_subject")).json()
        assert (first["examined"], first["accepted"]) == (1, 1)
        done = (await post(replay, all=True)).json()
        assert (done["examined"], done["accepted"], done["rejected"]) == (2, 1, 1)
        before = on_disk(ch, "events")
        again = (await post(replay, all=True)).json()
        assert (again["examined"], again["accepted"]) == (1, 0)
        assert on_disk(ch, "events") == before == 2
    finally:
        await asyncio.to_thread(later.stop)
    rows = ch.query(
        "SELECT event_type, stream_seq, length(user_id), event_id = concat(event_type, '-',"
        " toString(stream_seq), '-', toString(toUnixTimestamp64Milli(received_at)))"
        " FROM events ORDER BY stream_seq"
    ).result_rows
    assert rows == [("orders.made", 1, None, True), ("metrics.calculated", 2, 250, True)]
    metrics = ch.query("SELECT metric_value, length(user_id) FROM metrics_timeseries").result_rows
    assert metrics == [(2.0, 250)]


async def test_a_decision_outlives_a_redelivery_of_the_letter(
    sidecar: SidecarProcess, producer: Producer, ch: Client
) -> None:
    ch.command("SYSTEM STOP MERGES dead_letters")
    await producer.raw(b"no json")
    await producer.raw(b'{"n": 1}')
    (newest, oldest) = (await letters(sidecar.url, 2))["letters"]
    done = await post(
        f"{sidecar.url}/dlq/discard", ids=[oldest["id"]], why="a test of the producer"
    )
    assert done.json() == {"discarded": 1, "ids": [oldest["id"]], "notOpen": []}
    await producer.nats.jetstream().delete_consumer(EVENTS_STREAM, SINK_CONSUMER)
    await until(lambda: on_disk(ch, "dead_letters"), lambda n: n == 4)
    assert [one["id"] for one in get(f"{sidecar.url}/dlq")["letters"]] == [newest["id"]]
    (kept,) = get(f"{sidecar.url}/dlq", state="discarded")["letters"]
    assert (kept["id"], kept["why"]) == (oldest["id"], "a test of the producer")
    # What is discarded is not replayed, and not discarded a second time.
    calls: dict[str, dict[str, Any]] = {"replay": {}, "discard": {"why": "again"}}
    for call, extra in calls.items():
        answer = await post(f"{sidecar.url}/dlq/{call}", ids=[oldest["id"]], **extra)
        assert answer.json()["notOpen"] == [oldest["id"]]
    (kept,) = get(f"{sidecar.url}/dlq", state="discarded")["letters"]
    assert kept["why"] == "a test of the producer"


async def test_cut_bytes_are_refused_and_lost_ones_come_from_the_table(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    long = b'{"companyId":"c","x":"' + b"y" * 950 * 1024 + b'"}'
    for raw in (long, NOT_UTF8, b'{"n": 1}'):
        await producer.raw(raw)
    found = (await letters(sidecar.url, 3))["letters"]
    text, binary, cut = found
    assert [one["truncated"] for one in found] == [False, False, True]
    assert get(f"{sidecar.url}/dlq/{cut['id']}")["raw"]["bytes"] == 900 * 1024
    # The stream of dead letters is gone: the table has what is text, and says so of the rest.
    await producer.nats.jetstream().purge_stream(DLQ_STREAM)
    assert get(f"{sidecar.url}/dlq/{text['id']}")["raw"]["text"] == '{"n": 1}'
    assert "rawLost" in get(f"{sidecar.url}/dlq/{binary['id']}")
    results = (await post(f"{sidecar.url}/dlq/replay", all=True)).json()["results"]
    assert [(one["id"], one["outcome"]) for one in results] == [
        (cut["id"], "refused"),
        (binary["id"], "refused"),
        (text["id"], "rejected"),
    ]
    assert "900" in results[0]["detail"] or "921600" in results[0]["detail"]
    assert results[2]["reason"] == "no_company"


UNCLEAR: list[tuple[str, dict[str, Any], str]] = [
    ("replay", {}, "which letters"),
    ("replay", {"all": True, "reason": "not_json"}, "which letters"),
    ("replay", {"ids": ["nonsense"]}, "no event id"),
    ("replay", {"ids": []}, "ids"),
    ("replay", {"every": True}, "every"),
    ("discard", {"reason": "not_json"}, "why"),
    ("discard", {"reason": "not_json", "why": "  "}, "why"),
    ("discard", {"all": True, "why": "x"}, "all"),
    ("discard", {"reason": "bad luck", "why": "x"}, "reason"),
]


async def test_a_choice_that_is_not_clear_is_refused(sidecar: SidecarProcess) -> None:
    for call, body, says in UNCLEAR:
        refused = await post(f"{sidecar.url}/dlq/{call}", **body)
        assert refused.status_code == 400, (call, body)
        assert says in refused.json()["message"], (call, body)


async def test_only_admins_see_letters_and_decisions_carry_their_name(
    settings: Settings, producer: Producer
) -> None:
    with SidecarProcess(settings, JWT_SECRET=SECRET, CLICKHOUSE_BATCH_TIMEOUT_MS="200") as sidecar:
        url = f"{sidecar.url}/dlq"
        admin = token(user="ada", role="system_admin")
        for headers, status in ((None, 401), (token("c"), 403)):
            assert (await fetch(url, headers=headers)).status_code == status
            assert (await fetch(f"{url}/m.a-1-1", headers=headers)).status_code == status
            replay = await post(f"{url}/replay", headers, reason="not_json")
            discard = await post(f"{url}/discard", headers, reason="not_json", why="x")
            assert (replay.status_code, discard.status_code) == (status, status)
        await producer.raw(b"no json")
        await until(lambda: get(url, admin), lambda answer: answer["total"] == 1)
        await post(f"{url}/discard", admin, reason="not_json", why="noise")
        (letter,) = get(url, admin, state="discarded")["letters"]
        assert (letter["decidedBy"], letter["why"]) == ("ada", "noise")
        # The command line signs for itself with the same secret.
        port = sidecar.url.rpartition(":")[2]
        dlq = _runner(environment(settings, JWT_SECRET=SECRET, PORT_ANALYTICS=port))
        listed = await asyncio.to_thread(dlq, "list", "--state", "all", "--json")
        assert json.loads(listed)["letters"] == [letter]


def _runner(variables: dict[str, str]) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "cli", "dlq", *arguments],
            cwd=Path(__file__).parents[3],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


async def test_the_command_line_lists_shows_replays_and_discards(
    sidecar: SidecarProcess, producer: Producer, settings: Settings, ch: Client
) -> None:
    ch.command("ALTER TABLE events ADD CONSTRAINT no_poison CHECK user_id != 'poison'")
    await producer.publish("c", userId="poison")
    for n in range(3):
        await producer.raw(b'{"n": %d}' % n)
    found = (await letters(sidecar.url, 4))["letters"]
    ch.command("ALTER TABLE events DROP CONSTRAINT no_poison")
    port = sidecar.url.rpartition(":")[2]
    dlq = _runner(environment(settings, PORT_ANALYTICS=port))

    async def run(*arguments: str) -> str:
        return await asyncio.to_thread(dlq, *arguments)

    table = await run("list")
    head = ["RECEIVED", "(UTC)", "REASON", "COMPANY", "ID", "DETAIL"]
    assert table.splitlines()[0].split() == head
    assert all(one["id"] in table for one in found)
    assert "no_company 3" in table
    assert json.loads(await run("list", "--reason", "no_company", "--json"))["total"] == 3
    assert '{"n": 0}' in await run("show", found[2]["id"])
    done = json.loads(await run("replay", "--all", "--json"))
    assert (done["examined"], done["accepted"], done["rejected"]) == (4, 1, 3)
    assert "discarded 1" in await run("discard", found[0]["id"], "--why", "a test")
    assert "discarded 2" in await run("discard", "--reason", "no_company", "--why", "a test")
    assert "no dead letters" in await run("list")


async def test_without_the_warehouse_there_is_no_letter_box(settings: Settings) -> None:
    with SidecarProcess(settings, CLICKHOUSE_ENABLED="false") as sidecar:
        assert (await fetch(f"{sidecar.url}/dlq")).status_code == 501
        assert (await post(f"{sidecar.url}/dlq/replay", all=True)).status_code == 501
        assert (await fetch(f"{sidecar.url}/events/m.a-1-1/proof")).status_code == 501
