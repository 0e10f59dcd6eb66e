"""The ledger of erasures: the table `erasures`, and a copy in a bucket of NATS.

The copy is for a restore: a database that is set back to a day before an erasure has lost the entry
together with its effect. Nothing restores the bucket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg

from pipelines.defs.retention.subject import Subject
from pipelines.event_stream import EventStream
from sql import statement


@dataclass(frozen=True)
class Entry:
    """One erasure: of whom, and of data up to which moment."""

    erasure_id: str
    subject: Subject
    erased_at: datetime
    requested_by: str
    run_id: str


def write(pg: psycopg.Connection, stream: EventStream | None, entry: Entry) -> None:
    """Keep the entry in both places; one that is there already is left as it is."""
    pg.execute(
        statement("postgres/insert_erasure"),
        {
            "erasure_id": entry.erasure_id,
            "kind": entry.subject.kind,
            "company_id": entry.subject.company_id,
            "user_id": entry.subject.user_id,
            "erased_at": entry.erased_at,
            "requested_by": entry.requested_by,
            "run_id": entry.run_id,
        },
    )
    if stream is not None:
        stream.keep_erasure(entry.erasure_id, _encode(entry))


def read(pg: psycopg.Connection, erasure_id: str | None = None) -> list[Entry]:
    """All entries of the table in the order of their moments, or the one of that id."""
    found = pg.execute(statement("postgres/select_erasures"), {"erasure_id": erasure_id}).fetchall()
    return [
        Entry(str(one_id), Subject(company, user), erased_at, by, run_id)
        for one_id, _, company, user, erased_at, by, run_id in found
    ]


def take_over_copies(pg: psycopg.Connection, stream: EventStream | None) -> list[Entry]:
    """Make table and bucket hold the same entries; returns those that the table had lost."""
    if stream is None:
        return []
    here = {entry.erasure_id: entry for entry in read(pg)}
    copies = {entry.erasure_id: entry for entry in map(_decode, stream.kept_erasures())}
    lost = [entry for one_id, entry in copies.items() if one_id not in here]
    for entry in lost + [entry for one_id, entry in here.items() if one_id not in copies]:
        write(pg, stream, entry)
    return lost


def mark_done(
    pg: psycopg.Connection, entry: Entry, counts: Mapping[str, int], seconds: float
) -> None:
    """The entry was applied, for the first time or again."""
    pg.execute(
        statement("postgres/update_erasure"),
        {
            "erasure_id": entry.erasure_id,
            "counts": json.dumps(counts),
            "duration_seconds": seconds,
        },
    )


def mark_verified(pg: psycopg.Connection, entry: Entry, left_over: Mapping[str, int]) -> None:
    """All stores were looked through; `left_over` is what was found, by store."""
    pg.execute(
        statement("postgres/update_erasure_verified"),
        {"erasure_id": entry.erasure_id, "left_over": json.dumps(left_over)},
    )


def _encode(entry: Entry) -> bytes:
    return json.dumps(
        {
            "erasure_id": entry.erasure_id,
            "company_id": entry.subject.company_id,
            "user_id": entry.subject.user_id,
            "erased_at": entry.erased_at.isoformat(),
            "requested_by": entry.requested_by,
            "run_id": entry.run_id,
        }
    ).encode()


def _decode(value: bytes) -> Entry:
    text = json.loads(value)
    return Entry(
        text["erasure_id"],
        Subject(text["company_id"], text["user_id"]),
        datetime.fromisoformat(text["erased_at"]),
        text["requested_by"],
        text["run_id"],
    )
