"""NATS: the streams, the sink's consumer, and how far the sink is behind."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from cli.doctor.check import Finding, failed, ok, warning
from cli.doctor.runbook import Entry
from cli.doctor.servers import JetStreamError, Servers
from config.names import DLQ_STREAM, EVENTS_STREAM, SINK_CONSUMER
from config.subjects import covers
from pipelines.defs.alerts.condition import span

EVENTS_INFO = f"STREAM.INFO.{EVENTS_STREAM}"
CONSUMER_INFO = f"CONSUMER.INFO.{EVENTS_STREAM}.{SINK_CONSUMER}"
NANOSECONDS = 1_000_000_000
NOT_FOUND = 404
# The sink stores after CLICKHOUSE_BATCH_TIMEOUT_MS, 10 s by default.
WARNING_LAG_SECONDS = 60
FAILED_LAG_SECONDS = 600


def nats_answers(servers: Servers) -> Finding:
    """NATS, with JetStream."""
    account = servers.jetstream("INFO")
    return ok(f"JetStream keeps {account['streams']} streams, {account['storage'] >> 20} MiB")


def streams_exist(servers: Servers) -> Finding:
    """Both streams, with all subjects and the whole replay window."""
    wanted_hours = servers.settings.retention_replay_hours
    try:
        info = servers.jetstream(EVENTS_INFO)
        servers.jetstream(f"STREAM.INFO.{DLQ_STREAM}")
    except JetStreamError as error:
        return failed(
            f"{EVENTS_STREAM} or {DLQ_STREAM}: {error}; a sidecar that starts makes them",
            Entry.STREAM_MISSING,
        )
    config = info["config"]
    lacking = [
        one
        for one in servers.settings.subjects
        if not any(covers(taken, one) for taken in config["subjects"])
    ]
    if lacking:
        return failed(
            f"{EVENTS_STREAM} does not take {', '.join(lacking)}: such events are lost; restart "
            "the sidecar, which widens it",
            Entry.STREAM_NARROW,
        )
    kept = config.get("max_age", 0) / NANOSECONDS
    if kept and kept < wanted_hours * 3600:
        return warning(
            f"{EVENTS_STREAM} keeps {span(kept)}, RETENTION_REPLAY_HOURS says {wanted_hours} h; "
            "restart the sidecar, which widens it",
            Entry.STREAM_NARROW,
        )
    bounds = [name for name in ("max_bytes", "max_msgs") if config.get(name, -1) > 0]
    if bounds:
        return warning(
            f"{EVENTS_STREAM} has a limit ({', '.join(bounds)}) that may drop events before "
            f"{wanted_hours} h are over",
            Entry.STREAM_NARROW,
        )
    return ok(f"{EVENTS_STREAM} and {DLQ_STREAM}, {info['state']['messages']} events kept")


def consumer_exists(servers: Servers) -> Finding:
    """The durable consumer that all sinks share, with a reader."""
    try:
        info = servers.jetstream(CONSUMER_INFO)
    except JetStreamError as error:
        return failed(
            f"consumer {SINK_CONSUMER}: {error}; nothing is stored until a sidecar makes it anew",
            Entry.STREAM_MISSING,
        )
    return ok(f"{SINK_CONSUMER}, {info.get('num_waiting', 0)} requests of sinks wait")


def sink_keeps_up(servers: Servers) -> Finding:
    """How many events, and how old, are not committed to ClickHouse."""
    info = servers.jetstream(CONSUMER_INFO)
    events = info.get("num_pending", 0) + info.get("num_ack_pending", 0)
    seconds = _age_behind(servers, info["ack_floor"]["stream_seq"]) if events else 0.0
    text = f"{events} events, the oldest {span(seconds)} old, are not in ClickHouse yet"
    if seconds >= FAILED_LAG_SECONDS:
        hours = servers.settings.retention_replay_hours
        return failed(f"{text}; what is {hours} h old is lost", Entry.SINK_LAG)
    if seconds >= WARNING_LAG_SECONDS:
        return warning(f"{text}; /health tells what the sink waits for", Entry.SINK_LAG)
    return ok(text)


def events_are_published(servers: Servers) -> Finding:
    """When the last event came in."""
    state = servers.jetstream(EVENTS_INFO)["state"]
    if not state["messages"]:
        hours = servers.settings.retention_replay_hours
        return warning(
            f"nothing was published within {hours} h: ask the producers, or try "
            "`analytics publish`",
            Entry.NOTHING_PUBLISHED,
        )
    last = datetime.fromisoformat(state["last_ts"]).timestamp()
    return ok(f"the last event came in {span(max(0.0, time.time() - last))} ago")


def _age_behind(servers: Servers, seq: int) -> float:
    """Age in seconds of the first message behind `seq`; 0 when there is none."""
    try:
        asked = {"seq": seq + 1, "next_by_subj": ">"}
        answer: dict[str, Any] = servers.jetstream(f"STREAM.MSG.GET.{EVENTS_STREAM}", asked)
    except JetStreamError as error:
        if error.code == NOT_FOUND:
            return 0.0
        raise
    moment = datetime.fromisoformat(answer["message"]["time"]).timestamp()
    return max(0.0, time.time() - moment)
