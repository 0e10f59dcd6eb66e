"""Replay of dead letters: decided again on the kept bytes, and stored under the original id.

Nothing is published. The id, and with it the key of the rows, comes out of the original subject,
sequence and stream time, so a replay can't make a second event, however often it runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from config.names import MAX_DEAD_LETTER_BYTES, TABLE_EVENTS, TABLE_METRICS
from events import rows
from events.accept import Event, Reason, Rejection, accept
from events.event_id import EventId
from events.history import accept_history
from events.rows import INSERT_SETTINGS
from stream_api.letter_box import BytesLostError, LetterBox
from stream_api.letters import REPLAYED, Decisions, OpenLetter, Position, Selection
from stream_api.warehouse import RowsRefusedError, Warehouse

# Letters of up to 900 KiB each are held in memory at once, no more than this in bytes.
CHUNK_BYTES = 8 * 1024 * 1024
CHUNK_LETTERS = 200


class Outcome(StrEnum):
    """What became of a letter."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REFUSED = "refused"


class Replayed(NamedTuple):
    """One letter's outcome; `reason` is of the closed list for a rejected one, else empty."""

    id: EventId
    outcome: Outcome
    reason: str = ""
    detail: str = ""


class LetterReplay:
    """Replays open letters of a letter box."""

    def __init__(self, box: LetterBox, warehouse: Warehouse) -> None:
        self._box = box
        self._warehouse = warehouse

    async def run(
        self, selection: Selection, after: Position, limit: int, by: str
    ) -> list[Replayed]:
        """Replay at most `limit` open letters of the selection behind a position, in order.

        Raises:
            WarehouseAwayError, nats.errors.Error, TimeoutError: try again; what is done stays.
        """
        done: list[Replayed] = []
        letters = await self._box.open_letters(selection, after, limit)
        while letters:
            chunk = _chunk(letters)
            letters = letters[len(chunk) :]
            done += await self._replay(chunk, by)
        return done

    async def _replay(self, letters: Sequence[OpenLetter], by: str) -> list[Replayed]:
        decided = await asyncio.gather(*(self._decide(one) for one in letters))
        events = [one for one in decided if isinstance(one, Event)]
        refused = await self._store(events)
        outcomes = []
        for letter, one in zip(letters, decided, strict=True):
            if isinstance(one, Replayed):
                outcomes.append(one)
            elif isinstance(one, Rejection):
                outcomes.append(Replayed(letter.id, Outcome.REJECTED, one.reason.value, one.detail))
            elif one.id in refused:
                outcomes.append(
                    Replayed(
                        letter.id,
                        Outcome.REJECTED,
                        Reason.REFUSED_BY_WAREHOUSE.value,
                        refused[one.id],
                    )
                )
            else:
                outcomes.append(Replayed(letter.id, Outcome.ACCEPTED))
        accepted = [one.id for one in outcomes if one.outcome is Outcome.ACCEPTED]
        # After the rows: cut in between, the letter is still open and the next replay finds it.
        await self._box.record(Decisions(REPLAYED, by, letters=accepted))
        return outcomes

    async def _decide(self, letter: OpenLetter) -> Event | Rejection | Replayed:
        if letter.payload_bytes > MAX_DEAD_LETTER_BYTES:
            return Replayed(
                letter.id,
                Outcome.REFUSED,
                detail=f"only the first {MAX_DEAD_LETTER_BYTES} of {letter.payload_bytes} bytes "
                "were kept; ask the producer to send the event again",
            )
        try:
            raw = await self._box.raw(letter)
        except BytesLostError as lost:
            return Replayed(letter.id, Outcome.REFUSED, detail=str(lost))
        own = letter.id
        if own.is_import:
            return accept_history(own.subject, raw, int(time.time() * 1000), own.ms)
        return accept(own.subject, own.seq, own.ms, raw)

    async def _store(self, events: Sequence[Event]) -> dict[EventId, str]:
        """Insert the events; returns those that the engine refuses with its words."""
        if not events:
            return {}
        try:
            for table, block in (
                (TABLE_EVENTS, rows.encode_events(events)),
                (TABLE_METRICS, rows.encode_metrics(events)),
            ):
                if block:
                    await self._warehouse.insert_json_rows(table, block, **INSERT_SETTINGS)
        except RowsRefusedError as error:
            if len(events) == 1:
                return {events[0].id: str(error)}
            half = len(events) // 2
            return await self._store(events[:half]) | await self._store(events[half:])
        return {}


def _chunk(letters: Sequence[OpenLetter]) -> Sequence[OpenLetter]:
    """The first letters that fit together; one at least."""
    size = 0
    for number, letter in enumerate(letters[:CHUNK_LETTERS]):
        size += letter.payload_bytes
        if number and size > CHUNK_BYTES:
            return letters[:number]
    return letters[:CHUNK_LETTERS]
