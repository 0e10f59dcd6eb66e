"""A batch of the sink: messages that are held, decided on, and not yet acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from config.names import TABLE_EVENTS, TABLE_METRICS
from events import rows
from events.accept import Event, Rejection, accept
from events.rows import DeadLetter
from stream_api.delivery import parse_delivery
from stream_api.nats_client import subject_text
from stream_api.wire import WireMessage

# Messages that are worked on in one step of the event loop, about 4 ms: streams next door wait.
STEP_MESSAGES = 1000


@dataclass(eq=False)
class Batch:
    """Times are of the monotonic clock, `size` is in the producers' bytes.

    Of an event its rows are kept, encoded at once, and not its fields: a sink holds 60,000 of them.
    When the engine refuses some, the messages are decided on once more.
    """

    messages: list[WireMessage] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    rows: int = 0
    size: int = 0
    started_at: float = 0.0
    renewed_at: float = 0.0
    _lines: dict[str, bytearray] = field(
        default_factory=lambda: {TABLE_EVENTS: bytearray(), TABLE_METRICS: bytearray()}
    )

    def add(self, messages: list[WireMessage]) -> None:
        """Decide on messages and hold them."""
        events = []
        for message in messages:
            decided = _decide(message)
            self.size += len(message[2])
            if isinstance(decided, Event):
                events.append(decided)
            else:
                self.letters.append(DeadLetter(decided, message[2]))
        self.messages += messages
        self.rows += len(events)
        self._lines[TABLE_EVENTS] += rows.encode_events(events)
        self._lines[TABLE_METRICS] += rows.encode_metrics(events)

    def blocks(self) -> dict[str, bytearray]:
        """Rows as JSON lines by table; a table without rows is left out."""
        return {table: lines for table, lines in self._lines.items() if lines}

    def reply_subjects(self) -> Iterator[list[bytes]]:
        """Where to answer the messages, in steps."""
        for start in range(0, len(self.messages), STEP_MESSAGES):
            yield [reply for _, reply, _ in self.messages[start : start + STEP_MESSAGES]]

    async def halves(self) -> tuple[Batch, Batch]:
        """The same messages in two batches."""
        middle = len(self.messages) // 2
        return await _batch_of(self.messages[:middle]), await _batch_of(self.messages[middle:])

    def only_event(self) -> Event:
        """The event of a batch that holds no other."""
        (event,) = (e for m in self.messages if isinstance(e := _decide(m), Event))
        return event


async def _batch_of(messages: list[WireMessage]) -> Batch:
    batch = Batch()
    for start in range(0, len(messages), STEP_MESSAGES):
        batch.add(messages[start : start + STEP_MESSAGES])
        await asyncio.sleep(0)
    return batch


def _decide(message: WireMessage) -> Event | Rejection:
    subject, reply, data = message
    delivery = parse_delivery(reply)
    return accept(subject_text(subject), delivery.stream_seq, delivery.ms, data)
