"""The doctor when nothing answers, when a setting is wrong, and when a call never returns."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from cli_outcome import Analytics

from cli.doctor.check import Check, Finding, Half, State, failed, ok
from cli.doctor.examination import Examination
from cli.doctor.machine import judge_room, settings_are_sound
from cli.doctor.runbook import Entry
from cli.doctor.servers import Servers
from cli.refusal import Refused
from config import Settings

# The limit of an examination, and a margin for a busy machine; starting Python is not in it.
MOST_SECONDS = 30.0


@pytest.fixture
def ports(analytics: Analytics, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Addresses at which nobody answers: three refuse, two accept and say nothing."""
    assert analytics  # which first forgets every setting
    with socket.socket() as refusing, socket.create_server(("127.0.0.1", 0)) as silent:
        refusing.bind(("127.0.0.1", 0))
        for name in ("POSTGRES_PORT", "CLICKHOUSE_PORT", "DAGSTER_PORT"):
            monkeypatch.setenv(name, str(refusing.getsockname()[1]))
        for name in ("NATS_PORT", "PORT_ANALYTICS"):
            monkeypatch.setenv(name, str(silent.getsockname()[1]))
        yield


@pytest.mark.usefixtures("ports")
def test_with_everything_down_it_ends_in_time_and_names_each(analytics: Analytics) -> None:
    began = time.monotonic()
    outcome = analytics("doctor", "--json")
    assert time.monotonic() - began < MOST_SECONDS
    assert outcome.code == 1
    answer = json.loads(outcome.out)
    assert answer["ok"] is False
    by_state: dict[str, set[str]] = {}
    for one in answer["checks"]:
        by_state.setdefault(one["state"], set()).add(one["name"])
    assert by_state["failed"] == {
        *("postgres", "clickhouse", "nats", "sidecar", "dagster", "event stream"),
    }
    assert {"postgres migrations", "streams", "sink lag", "daemons"} <= by_state["skipped"]
    assert all(one["see"].startswith("docs/runbook/") for one in answer["checks"] if one["see"])


@pytest.mark.usefixtures("ports")
def test_for_people_a_failure_is_followed_by_where_to_read(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NATS_PORT", "PORT_ANALYTICS"):  # refused, which is known at once
        monkeypatch.setenv(name, os.environ["POSTGRES_PORT"])
    outcome = analytics("doctor")
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("FAILED   postgres "))
    assert "; start it with `make up` or set DATABASE_URL" in lines[place]
    assert lines[place + 1].strip() == "see docs/runbook/postgres.md#postgres-does-not-answer"
    assert "6 failed" in lines[-1]


def test_settings_that_can_not_be_read_are_all_named(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_PORT", "many")
    monkeypatch.setenv("DATABASE_URL", "mysql://teei:hush@x/y")
    outcome = analytics("doctor", "--json")
    assert outcome.code == 1
    texts = [one["text"] for one in json.loads(outcome.out)["checks"]]
    assert [text.partition(":")[0] for text in texts] == ["DATABASE_URL", "NATS_PORT"]
    assert "hush" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("values", "state", "says"),
    [
        ({}, State.OK, "authentication is off, and the API answers only on 127.0.0.1"),
        ({"jwt_secret": "x" * 32}, State.OK, "authentication is on"),
        ({"jwt_secret": "short"}, State.WARNING, "JWT_SECRET has 5 bytes"),
        ({"allow_anonymous": True}, State.WARNING, "ALLOW_ANONYMOUS=1 and no JWT_SECRET"),
        ({"streaming_enabled": False}, State.WARNING, "STREAMING_ENABLED is false"),
        ({"clickhouse_enabled": False}, State.WARNING, "CLICKHOUSE_ENABLED is false"),
    ],
)
def test_settings_that_are_seldom_meant(values: dict[str, object], state: State, says: str) -> None:
    found = settings_are_sound(Servers.of(Settings.model_validate(values)))
    assert found.state is state
    assert found.text.startswith(says)


@pytest.mark.parametrize(("free", "state"), [(50, State.OK), (9, State.WARNING), (1, State.FAILED)])
def test_room_is_judged_by_its_share(free: int, state: State) -> None:
    assert judge_room("here", free << 30, 100 << 30, Entry.DISK).state is state


# --- The order of checks, and calls that hang -------------------------------------------------

SEE = Entry.DISK


def examine(*checks: Check, limit: float = 5.0, **settings: object) -> dict[str, Finding]:
    return Examination(Servers.of(Settings.model_validate(settings)), checks, limit).run()


def raising(error: Exception) -> Check:
    def run(_: Servers) -> Finding:
        raise error

    return Check("one", run, SEE)


def test_what_needs_a_failed_check_is_skipped_with_all_behind_it() -> None:
    found = examine(
        Check("three", lambda _: ok("never"), SEE, ("two",)),
        Check("two", lambda _: ok("never"), SEE, ("one",)),
        Check("one", lambda _: failed("away", SEE), SEE),
    )
    assert list(found) == ["three", "two", "one"]
    assert found["two"] == Finding(State.SKIPPED, "not looked at: see one")
    assert found["three"] == Finding(State.SKIPPED, "not looked at: see two")


def test_a_refusal_is_a_failure_and_a_fault_of_ours_says_so() -> None:
    assert examine(raising(Refused("no answer")))["one"] == failed("no answer", SEE)
    found = examine(raising(KeyError("config")))["one"]
    assert found == failed("could not be looked at: KeyError: 'config'", SEE)


def test_a_call_that_never_returns_ends_with_the_limit() -> None:
    for_ever = threading.Event()

    def hang(_: Servers) -> Finding:
        for_ever.wait()
        return ok("at last")

    began = time.monotonic()
    found = examine(
        Check("hanging", hang, SEE),
        Check("behind", lambda _: ok("never"), SEE, ("hanging",)),
        Check("quick", lambda _: ok("at once"), SEE),
        limit=2,
    )
    assert time.monotonic() - began < MOST_SECONDS
    for_ever.set()
    assert found["quick"] == ok("at once")
    assert found["hanging"] == failed("no answer within 2 s", SEE)
    assert found["behind"] == Finding(State.SKIPPED, "not looked at: see hanging")


def test_a_half_that_is_off_is_not_looked_at() -> None:
    found = examine(
        Check("one", lambda _: ok("never"), SEE, half=Half.WAREHOUSE), clickhouse_enabled=False
    )
    assert found["one"] == Finding(State.SKIPPED, "CLICKHOUSE_ENABLED is false")
