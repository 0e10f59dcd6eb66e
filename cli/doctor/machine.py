"""Settings, disk and clocks of the machines."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cli.doctor.check import Finding, failed, ok, warning
from cli.doctor.nats import EVENTS_INFO
from cli.doctor.runbook import Entry
from cli.doctor.servers import ANSWER_SECONDS, JetStreamError, Servers
from cli.refusal import Refused
from pipelines.defs.alerts.condition import span
from sql import statement

SHORT_SECRET_BYTES = 32
WARNING_FREE = 0.10
FAILED_FREE = 0.02
# Tokens live for minutes, dashboards show seconds.
WARNING_SKEW_SECONDS = 2.0
FAILED_SKEW_SECONDS = 60.0


def settings_are_sound(servers: Servers) -> Finding:
    """What is allowed, but seldom meant."""
    settings = servers.settings
    for name in ("streaming_enabled", "clickhouse_enabled"):
        if not getattr(settings, name):
            return warning(
                f"{name.upper()} is false: that half answers 501; set it to true unless it is "
                "meant to be off",
                Entry.SETTING_REFUSED,
            )
    if settings.jwt_secret is not None:
        length = len(settings.jwt_secret.get_secret_value().encode())
        if length < SHORT_SECRET_BYTES:
            return warning(
                f"JWT_SECRET has {length} bytes and can be guessed; take "
                f"{SHORT_SECRET_BYTES} or more",
                Entry.OPEN_TO_ALL,
            )
    if settings.auth_enabled:
        return ok("authentication is on")
    if settings.allow_anonymous:
        return warning(
            f"ALLOW_ANONYMOUS=1 and no JWT_SECRET: who reaches {settings.host_analytics}:"
            f"{settings.port_analytics} reads every company",
            Entry.OPEN_TO_ALL,
        )
    return ok(f"authentication is off, and the API answers only on {settings.host_analytics}")


def disk_has_room(servers: Servers) -> Finding:
    """Of the file system with ANALYTICS_DATA, or the current folder without it."""
    folder = servers.settings.analytics_data.absolute()
    folder = folder if folder.is_dir() else Path.cwd()
    usage = shutil.disk_usage(folder)
    return judge_room(str(folder), usage.free, usage.total, Entry.DISK)


def judge_room(place: str, free: int, total: int, see: Entry) -> Finding:
    """By the share that is free."""
    share = free / total if total else 0.0
    text = f"{share:.0%} free at {place} ({free / 2**30:.1f} GiB)"
    if share < FAILED_FREE:
        return failed(f"{text}; servers stop writing: make room", see)
    if share < WARNING_FREE:
        return warning(f"{text}; make room, or keep less by RETENTION_…", see)
    return ok(text)


def clocks_agree(servers: Servers) -> Finding:
    """The clocks of the servers that answer, against this machine's."""
    skews: dict[str, float] = {}
    readers = [
        # Side by side, and not waited for at the end: one that hangs must not hide the others.
        threading.Thread(target=_measure, args=(servers, name, read, skews), daemon=True)
        for name, read in CLOCKS.items()
        if name != "ClickHouse" or servers.settings.clickhouse_enabled
    ]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + ANSWER_SECONDS
    for reader in readers:
        reader.join(max(0.0, deadline - time.monotonic()))
    skews = dict(skews)
    if not skews:
        return warning("no server told its time", Entry.CLOCKS)
    worst = max(skews, key=lambda name: abs(skews[name]))
    skew = skews[worst]
    if abs(skew) < WARNING_SKEW_SECONDS:
        return ok(f"{', '.join(skews)} agree with this machine to {abs(skew) * 1000:.0f} ms")
    direction = "ahead of" if skew > 0 else "behind"
    text = f"the clock of {worst} is {span(abs(skew))} {direction} this machine's; let NTP set both"
    if abs(skew) < FAILED_SKEW_SECONDS:
        return warning(text, Entry.CLOCKS)
    return failed(text, Entry.CLOCKS)


def _measure(
    servers: Servers, name: str, read: Callable[[Servers], float], skews: dict[str, float]
) -> None:
    """Put the clock's distance into `skews`; nothing when it can't be read."""
    try:
        before = time.time()
        moment = read(servers)
        after = time.time()
    except (Refused, JetStreamError, KeyError, ValueError):
        return  # that server has a check of its own
    # It was read some time between; only what lies outside is certain.
    skews[name] = min(0.0, moment - before) or max(0.0, moment - after)


def _postgres_clock(servers: Servers) -> float:
    with servers.postgres() as pg:
        [(_, moment, _)] = pg.execute(statement("postgres/select_server")).fetchall()
        return float(moment)


def _clickhouse_clock(servers: Servers) -> float:
    with servers.clickhouse("default") as ch:
        [(_, ms, _)] = ch.query(statement("clickhouse/select_server")).result_rows
        return int(ms) / 1000


def _nats_clock(servers: Servers) -> float:
    return datetime.fromisoformat(servers.jetstream(EVENTS_INFO)["ts"]).timestamp()


def _sidecar_clock(servers: Servers) -> float:
    answer = json.loads(servers.get(f"{servers.api}/health").text)
    return datetime.fromisoformat(answer["timestamp"]).timestamp()


CLOCKS: dict[str, Callable[[Servers], float]] = {
    "Postgres": _postgres_clock,
    "ClickHouse": _clickhouse_clock,
    "NATS": _nats_clock,
    "the sidecar": _sidecar_clock,
}
