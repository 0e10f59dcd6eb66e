"""Erasure of a user or a company from every store, its proof, and doing it again after a restore.

The order is what keeps every other promise:

1. the ledger: an erasure that is cut is known, and is finished by applying the ledger again;
2. a wait for what the sinks hold, because they will write it, whatever becomes of its message;
3. the streams: no replay shows it any more;
4. ClickHouse and Postgres: message and row are gone both, so the reconciliation stays balanced.

It covers data up to its moment. What producers send afterwards is new data: who must not send any
is a matter of the platform.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from clickhouse_connect.driver.client import Client

from config.names import DLQ_STREAM, EVENTS_STREAM
from pipelines.defs.retention import ledger, stores
from pipelines.defs.retention.ledger import Entry
from pipelines.defs.retention.subject import Subject
from pipelines.event_stream import EventStream
from pipelines.progress import SILENT, Progress
from sql import statement

# A sink commits within its batch timeout (10 s by default) and retries while ClickHouse is away.
SINK_SECONDS = 60.0
# Of an erasure: the wait, the streams, their messages, the rows, and the look at the end.
STEPS = 5
# Stands beside what is left where a sink may still write some.
SINK_HOLDS = "sink.holds_messages"


@dataclass(frozen=True)
class Erased:
    """An erasure as it went: rows and messages deleted and left, by store.

    `sink_settled` is False when a sink held messages all the time: it may still write them, so such
    an erasure is not verified and the ledger must be applied again.
    """

    entry: Entry
    counts: dict[str, int]
    left_over: dict[str, int]
    sink_settled: bool
    seconds: float

    @property
    def verified(self) -> bool:
        return self.sink_settled and not self.left_over


def count_subject(
    pg: psycopg.Connection,
    ch: Client,
    stream: EventStream | None,
    subject: Subject,
    progress: Progress = SILENT,
) -> dict[str, int]:
    """What there is of the subject now, by store; reads only."""
    [seqs] = stores.find_messages(stream, [(subject, stores.EVERYTHING)], progress)
    counts = stores.count_platform(pg, subject, stores.EVERYTHING)
    counts += stores.count_warehouse(ch, subject, stores.EVERYTHING)
    return dict(counts + stores.message_counts(seqs))


def find_companies(pg: psycopg.Connection, user_id: str) -> list[str]:
    """Companies in which the platform knows the user; none for an id that is no UUID."""
    own_uuid = Subject("any", user_id).user_uuid
    found = pg.execute(statement("postgres/select_user_companies"), {"user_uuid": own_uuid})
    return [str(row[0]) for row in found.fetchall()]


def erase(
    pg: psycopg.Connection,
    ch: Client,
    stream: EventStream | None,
    subject: Subject,
    now: datetime,
    *,
    requested_by: str,
    run_id: str = "by hand",
    progress: Progress = SILENT,
    erasure_id: str | None = None,
) -> Erased:
    """Erase everything that there is of the subject, and look whether anything is left.

    Args:
        stream: None only where there is no NATS at all.
        now: the moment that the ledger keeps; an application of the ledger erases data up to it.
        requested_by: who asked; kept in the ledger.
        erasure_id: a UUID, of whoever may have to call it again after a failure; one that the
            ledger has keeps its first moment.
    """
    entry = Entry(erasure_id or str(uuid.uuid4()), subject, now, requested_by, run_id)
    ledger.write(pg, stream, entry)
    # Not what comes in meanwhile: its message would stay, and its row go.
    upto = max(now, datetime.now(UTC))
    [erased] = _apply(pg, ch, stream, [(entry, upto, stores.EVERYTHING)], progress)
    return erased


def reapply_erasures(
    pg: psycopg.Connection,
    ch: Client,
    stream: EventStream | None,
    *,
    erasure_id: str | None = None,
    progress: Progress = SILENT,
) -> list[Erased]:
    """Apply the ledger, or one entry of it, to what is there now: after a restore, or after a cut.

    Entries that the restored database has lost are taken from their copy in NATS first. Only data
    up to an entry's own moment goes, so that a user who came back stays. Repeating it is harmless.
    """
    lost = ledger.take_over_copies(pg, stream)
    if lost:
        progress.note(f"{len(lost)} erasures were not in the table any more")
    entries = ledger.read(pg, erasure_id)
    whole = [(entry, entry.erased_at, entry.erased_at) for entry in entries]
    return _apply(pg, ch, stream, whole, progress)


def verify_erasures(
    pg: psycopg.Connection,
    ch: Client,
    stream: EventStream | None,
    entries: Sequence[Entry] | None = None,
    progress: Progress = SILENT,
) -> dict[str, dict[str, int]]:
    """Look through all stores for what should be gone; returns the finds by erasure and store.

    The streams are read once for all entries. Each entry's result is kept in the ledger.
    """
    entries = ledger.read(pg) if entries is None else entries
    messages = stores.find_messages(
        stream, [(one.subject, one.erased_at) for one in entries], progress
    )
    finds: dict[str, dict[str, int]] = {}
    for entry, seqs in zip(entries, messages, strict=True):
        left_over: Counter[str] = stores.count_platform(pg, entry.subject, entry.erased_at)
        left_over += stores.count_warehouse(ch, entry.subject, entry.erased_at)
        left_over += stores.message_counts(seqs)
        ledger.mark_verified(pg, entry, left_over)
        if left_over:
            finds[entry.erasure_id] = dict(left_over)
    return finds


def _apply(
    pg: psycopg.Connection,
    ch: Client,
    stream: EventStream | None,
    entries: Sequence[tuple[Entry, datetime, datetime]],
    progress: Progress,
) -> list[Erased]:
    """Erase what each entry is about; streams are read once for all of them.

    With an entry stand the moments up to which data goes: of events, and of the platform.
    """
    began = time.monotonic()
    progress.begin(STEPS)
    progress.step("waiting for what a sink holds")
    settled = stream is None or not entries or stream.wait_for_sink(SINK_SECONDS)
    messages = stores.find_messages(
        stream, [(entry.subject, upto) for entry, upto, _ in entries], progress
    )
    if stream is not None:
        found = {
            name: sorted({seq for one in messages for seq in one[name]})
            for name in (EVENTS_STREAM, DLQ_STREAM)
        }
        progress.step("deleting messages", sum(map(len, found.values())), "messages")
        for name, seqs in found.items():
            if seqs:
                stream.delete(name, seqs, progress)
    progress.step("deleting rows", len(entries) * (len(stores.WAREHOUSE_TABLES) + 1))
    done = []
    for (entry, upto, platform_upto), seqs_of in zip(entries, messages, strict=True):
        counts = stores.message_counts(seqs_of)
        counts += stores.erase_warehouse(ch, entry.subject, upto, progress)
        counts += stores.erase_platform(pg, entry.subject, platform_upto)
        progress.advance(1)
        seconds = round(time.monotonic() - began, 3)
        ledger.mark_done(pg, entry, counts, seconds)
        progress.note(f"{entry.subject.kind} erased: {sum(counts.values())} rows and messages")
        done.append((entry, dict(counts), seconds))
    if any(store.startswith("postgres.") for _, counts_of, _ in done for store in counts_of):
        stores.refresh_dashboards(pg)
    finds = verify_erasures(pg, ch, stream, [entry for entry, _, _ in entries], progress)
    if not settled:
        # They may still be written: no entry counts as verified.
        progress.note("a sink held messages all the time")
        for entry, _, _ in entries:
            finds[entry.erasure_id] = finds.get(entry.erasure_id, {}) | {SINK_HOLDS: 1}
            ledger.mark_verified(pg, entry, finds[entry.erasure_id])
    return [
        Erased(entry, counts_of, finds.get(entry.erasure_id, {}), settled, seconds)
        for entry, counts_of, seconds in done
    ]
