"""ClickHouse: does it answer and take writes, has it room, are its parts in order?"""

from __future__ import annotations

from datetime import UTC, datetime

from cli.doctor.check import Finding, failed, ok, warning
from cli.doctor.machine import judge_room
from cli.doctor.runbook import Entry
from cli.doctor.servers import Servers
from pipelines.defs.alerts.condition import span
from pipelines.defs.partitions.stock import read_partitions
from pipelines.defs.partitions.strays import find_detached, find_strays
from sql import statement

# Of the number at which the engine slows inserts down, by default 1,000.
WARNING_SHARE_OF_PARTS = 0.3
# Merges and the sync's deletes take seconds.
WARNING_MUTATION_SECONDS = 600
# Letters that came in within this time are news.
RECENT_SECONDS = 3600
SHOWN_PARTITIONS = 20


def clickhouse_answers(servers: Servers) -> Finding:
    """The server, and whether we may write."""
    with servers.clickhouse("default") as ch:
        [(version, _, read_only)] = ch.query(statement("clickhouse/select_server")).result_rows
    if int(read_only):
        return failed(
            f"user {servers.settings.clickhouse_user} may only read (readonly = {read_only}): "
            "nothing can be stored",
            Entry.CLICKHOUSE_READ_ONLY,
        )
    return ok(f"ClickHouse {version}")


def clickhouse_has_room(servers: Servers) -> Finding:
    """The fullest disk of the server."""
    with servers.clickhouse("default") as ch:
        rows = ch.query(statement("clickhouse/select_disks")).result_rows
    locked = [name for name, _, _, read_only in rows if read_only and name == "default"]
    if locked:
        return failed("its disk is read-only", Entry.CLICKHOUSE_READ_ONLY)
    # A disk of an object store has no end.
    findings = [
        judge_room(f"its disk {name}", free, total, Entry.CLICKHOUSE_DISK)
        for name, free, total, _ in rows
        if total and total < 2**62
    ]
    if not findings:
        return ok("its disks have no end")
    order = ("failed", "warning", "ok")
    return min(findings, key=lambda one: order.index(one.state.value))


def parts_are_few(servers: Servers) -> Finding:
    """The partition with the most parts."""
    with servers.clickhouse() as ch:
        rows = ch.query(statement("clickhouse/select_busiest_partition")).result_rows
    if not rows:
        return ok("nothing is stored yet")
    [(table, partition, parts, limit)] = rows
    text = f"{table} has {parts} parts in partition {partition}"
    if parts >= limit:
        return failed(
            f"{text}: from {limit} on inserts are slowed down, then refused", Entry.TOO_MANY_PARTS
        )
    if parts >= limit * WARNING_SHARE_OF_PARTS:
        return warning(f"{text}; at {limit} inserts are slowed down", Entry.TOO_MANY_PARTS)
    return ok(f"{text}, the most")


def partitions_are_ours(servers: Servers) -> Finding:
    """Partitions that no event can have, and parts that no query reads."""
    with servers.clickhouse() as ch:
        odd = find_strays(read_partitions(ch), datetime.now(UTC).date()) + find_detached(ch)
    if odd:
        more = f", and {len(odd) - SHOWN_PARTITIONS} more" if len(odd) > SHOWN_PARTITIONS else ""
        return warning("; ".join(odd[:SHOWN_PARTITIONS]) + more, Entry.STRAY_PARTITIONS)
    return ok("every partition is of a day or month that events can have")


def mutations_end(servers: Servers) -> Finding:
    """Deletes and updates that fail or hang."""
    with servers.clickhouse() as ch:
        rows = ch.query(statement("clickhouse/select_open_mutations")).result_rows
    for table, command, seconds, reason in rows:
        if reason:
            return failed(f"{table}: {command[:80]} fails: {reason[:200]}", Entry.MUTATION)
        if seconds >= WARNING_MUTATION_SECONDS:
            return warning(
                f"{table}: {command[:80]} has been running for {span(seconds)}", Entry.MUTATION
            )
    return ok(f"{len(rows)} are running" if rows else "none is open")


def dead_letters_are_few(servers: Servers) -> Finding:
    """Open dead letters, and those that came in lately."""
    with servers.clickhouse() as ch:
        rows = ch.query(
            statement("clickhouse/count_open_dead_letters"),
            parameters={"recent_seconds": RECENT_SECONDS},
        ).result_rows
    if not rows:
        return ok("none is open")
    reasons = ", ".join(f"{reason} {count}" for reason, count, _ in rows)
    lately = sum(recent for _, _, recent in rows)
    return warning(
        f"open: {reasons}; {lately} came in within the last hour: `analytics dlq list`",
        Entry.DEAD_LETTERS,
    )
