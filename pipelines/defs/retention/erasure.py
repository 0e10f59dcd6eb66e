"""Erasure of a user or a company from every store, its proof, and doing it again after a restore.

The order is what keeps every other promise:

1. the ledger: an erasure that is cut is known, and is finished by applying the ledger again;
2. the streams: no replay shows it and no sink fetches it any more; then a wait for what the sinks
   hold already, because they will write it;
3. ClickHouse and Postgres: message and row are gone both, so the reconciliation stays balanced.

It covers data up to its moment. What producers send afterwards is new data: who must not send any
is a matter of the platform.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from clickhouse_connect.driver.client import Client

from pipelines.defs.retention import ledger, stores
from pipelines.defs.retention.ledger import Entry
from pipelines.defs.retention.subject import Subject
from pipelines.event_stream import EventStream
from sql import statement

# A sink commits within its batch timeout (10 s by default) and retries while ClickHouse is away.
SINK_SECONDS = 60.0


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
    pg: psycopg.Connection, ch: Client, stream: EventStream | None, subject: Subject
) -> dict[str, int]:
    """What there is of the subject now, by store; reads only."""
    [seqs] = stores.find_messages(stream, [(subject, stores.EVERYTHING)])
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
    say: Callable[[str], None] = lambda _: None,
) -> Erased:
    """Erase everything that there is of the subject, and look whether anything is left.

    Args:
        stream: None only where there is no NATS at all.
        now: the moment that the ledger keeps; an application of the ledger erases data up to it.
        requested_by: who asked; kept in the ledger.
    """
    entry = Entry(str(uuid.uuid4()), subject, now, requested_by, run_id)
    ledger.write(pg, stream, entry)
    return _apply(pg, ch, stream, entry, stores.EVERYTHING, say)


def reapply_erasures(
    pg: psycopg.Connection,
    ch: Client,
    stream: EventStream | None,
    *,
    erasure_id: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Erased]:
    """Apply the ledger, or one entry of it, to what is there now: after a restore, or after a cut.

    Entries that the restored database has lost are taken from their copy in NATS first. Only data
    up to an entry's own moment goes, so that a user who came back stays. Repeating it is harmless.
    """
    lost = ledger.take_over_copies(pg, stream)
    if lost:
        say(f"{len(lost)} erasures were not in the table any more")
    return [
        _apply(pg, ch, stream, entry, entry.erased_at, say) for entry in ledger.read(pg, erasure_id)
    ]


def verify_erasures(
    pg: psycopg.Connection,
    ch: Client,
    stream: EventStream | None,
    entries: Sequence[Entry] | None = None,
) -> dict[str, dict[str, int]]:
    """Look through all stores for what should be gone; returns the finds by erasure and store.

    The streams are read once for all entries. Each entry's result is kept in the ledger.
    """
    entries = ledger.read(pg) if entries is None else entries
    messages = stores.find_messages(stream, [(one.subject, one.erased_at) for one in entries])
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
    entry: Entry,
    upto: datetime,
    say: Callable[[str], None],
) -> Erased:
    began = time.monotonic()
    subject = entry.subject
    settled = True
    [seqs] = stores.find_messages(stream, [(subject, upto)])
    if stream is not None:
        for name, some in seqs.items():
            if some:
                say(f"deleting {len(some)} messages of {name}")
                stream.delete(name, some)
        settled = stream.wait_for_sink(SINK_SECONDS)
    counts = stores.message_counts(seqs)
    counts += stores.erase_warehouse(ch, subject, upto)
    counts += stores.erase_platform(pg, subject, upto)
    ledger.mark_done(pg, entry, counts, round(time.monotonic() - began, 3))
    left_over = verify_erasures(pg, ch, stream, [entry]).get(entry.erasure_id, {})
    if not settled:
        left_over["sink.holds_messages"] = 1
        ledger.mark_verified(pg, entry, left_over)
    say(f"{subject.kind} erased: {sum(counts.values())} rows and messages, {len(left_over)} left")
    return Erased(entry, dict(counts), left_over, settled, time.monotonic() - began)
