"""The letter box: what lies in the dead letters, and what was decided about it.

A letter is `open` until somebody replays or discards it. It stays in its table either way; the
decision stands beside it, in a table that only this module writes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from config.names import DLQ_STREAM, MAX_DEAD_LETTER_BYTES, TABLE_DEAD_LETTER_DECISIONS
from events.dead_letters import EVENT_ID_HEADER
from events.event_id import EventId
from stream_api.letters import (
    DISCARDED,
    EARLIEST_MS,
    Decisions,
    Filter,
    Letter,
    OpenLetter,
    Position,
    Selection,
)
from stream_api.warehouse import Warehouse

_encoder = msgspec.json.Encoder()


class BytesLostError(RuntimeError):
    """The bytes of a letter can't be had whole; `str()` says why."""


class LetterBox:
    """Reads letters and writes decisions. Every call may raise WarehouseAwayError."""

    def __init__(self, nats: Nats, warehouse: Warehouse) -> None:
        self._js = nats.jetstream()
        self._warehouse = warehouse

    async def page(self, wanted: Filter, before: Position, limit: int) -> list[Letter]:
        """The newest `limit` letters before a position."""
        rows = await self._warehouse.rows(
            "select_dead_letters",
            {
                **vars(wanted),
                "before_ms": before.ms,
                "before_seq": before.seq,
                "page_rows": limit,
            },
        )
        return [Letter(*row) for row in rows]

    async def counts(self, wanted: Filter) -> dict[str, int]:
        """How many letters there are, by reason."""
        rows = await self._warehouse.rows("count_dead_letters", vars(wanted))
        return {str(reason): int(count) for reason, count in rows}

    async def find(self, letter_id: EventId) -> Letter | None:
        """The letter of that id, whatever its state."""
        rows = await self._warehouse.rows("select_dead_letter", _key(letter_id))
        return Letter(*rows[0]) if rows else None

    async def open_letters(
        self, selection: Selection, after: Position, limit: int
    ) -> list[OpenLetter]:
        """The oldest `limit` open letters of the selection behind a position."""
        # The times of the ids prune: without them a handful of ids would read the whole table.
        times = [one.ms for one in selection.ids] or [EARLIEST_MS, selection.until_ms]
        rows = await self._warehouse.rows(
            "select_open_dead_letters",
            {
                "ids": [str(one) for one in selection.ids],
                "reason": selection.reason,
                "since_ms": min(times),
                "until_ms": max(times),
                "after_ms": after.ms,
                "after_seq": after.seq,
                "page_rows": limit,
            },
        )
        found = []
        for letter_id, ms, seq, payload_bytes, sha256, dlq_seq in rows:
            # From the right: seq and ms as they stand in the key.
            subject = str(letter_id).removesuffix(f"-{seq}-{ms}")
            found.append(OpenLetter(EventId(subject, seq, ms), payload_bytes, sha256, dlq_seq))
        return found

    async def raw(self, letter: Letter | OpenLetter) -> bytes:
        """The producer's bytes; of more than 900 KiB only the beginning was kept.

        Raises:
            BytesLostError: they are neither in the stream nor whole in the table.
            nats.errors.Error, TimeoutError: the stream could not be asked.
        """
        kept = await self._from_stream(letter) if letter.dlq_seq else None
        if kept is None:
            kept = await self._from_table(letter)
        if letter.payload_bytes <= MAX_DEAD_LETTER_BYTES and not _is_whole(kept, letter):
            raise BytesLostError(
                "the stream of dead letters has the bytes no more, and the text in the table is "
                "not exactly them"
            )
        return kept

    async def record(self, decisions: Decisions) -> None:
        """Write decisions, one row a letter; the same decision again changes nothing."""
        now = time.time()
        block = _encoder.encode_lines(
            [
                {
                    "dead_letter_id": str(one),
                    "received_at": one.ms / 1000,
                    "stream_seq": one.seq,
                    "state": decisions.state,
                    "decided_at": round(now, 3),
                    "decided_by": decisions.by,
                    "why": decisions.why,
                }
                for one in decisions.letters
            ]
        )
        if block:
            await self._warehouse.insert_json_rows(TABLE_DEAD_LETTER_DECISIONS, block)

    async def discard(
        self, selection: Selection, after: Position, limit: int, by: str, why: str
    ) -> Sequence[EventId]:
        """Discard open letters of the selection; returns which, `limit` at most."""
        letters = [one.id for one in await self.open_letters(selection, after, limit)]
        await self.record(Decisions(DISCARDED, by, why, letters))
        return letters

    async def _from_stream(self, letter: Letter | OpenLetter) -> bytes | None:
        try:
            message = await self._js.get_msg(DLQ_STREAM, seq=letter.dlq_seq, direct=True)
        except NotFoundError:
            return None
        # A stream that was made anew has other letters under the same sequences.
        if (message.headers or {}).get(EVENT_ID_HEADER) != str(letter.id):
            return None
        return message.data or b""

    async def _from_table(self, letter: Letter | OpenLetter) -> bytes:
        letter_id = letter.id if isinstance(letter.id, EventId) else EventId.parse(letter.id)
        if letter_id is None:
            return b""
        rows = await self._warehouse.rows("select_dead_letter_payload", _key(letter_id))
        return str(rows[0][0]).encode() if rows else b""


def _key(letter_id: EventId) -> dict[str, Any]:
    return {"id": str(letter_id), "received_ms": letter_id.ms, "seq": letter_id.seq}


def _is_whole(raw: bytes, letter: Letter | OpenLetter) -> bool:
    return hashlib.sha256(raw).hexdigest() == letter.payload_sha256
