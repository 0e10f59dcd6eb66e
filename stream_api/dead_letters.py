"""Messages that can't be accepted: put aside with their reason and their bytes, never dropped.

The stream `ANALYTICS_DLQ` keeps them, the table `dead_letters` mirrors them for queries. Both are
written before the original message is acknowledged, and both are idempotent by its place in the
stream: the server drops a repeated `Nats-Msg-Id`, the table replaces by sequence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from nats.js import JetStreamContext

from config.names import DLQ_SUBJECT_PREFIX, MAX_DEAD_LETTER_BYTES, TABLE_DEAD_LETTERS
from stream_api.events import Rejection
from stream_api.warehouse import Warehouse

MAX_DETAIL_CHARACTERS = 1000


class DeadLetter(NamedTuple):
    """A rejection and the producer's bytes."""

    rejection: Rejection
    raw: bytes


class _Row(msgspec.Struct):
    dead_letter_id: str
    subject: str
    stream_seq: int
    received_at: str
    company_id: str | None
    reason: str
    detail: str
    payload: str
    payload_bytes: int
    payload_sha256: str


_encoder = msgspec.json.Encoder()


async def publish(js: JetStreamContext, letters: Sequence[DeadLetter]) -> None:
    """Write the letters to the stream; returns when the server has stored each.

    The body is the producer's bytes, cut at 900 KiB; everything else stands in headers.
    """
    for rejection, raw in letters:
        event_id = str(rejection.id)
        await js.publish(
            f"{DLQ_SUBJECT_PREFIX}.{rejection.reason.value}",
            raw[:MAX_DEAD_LETTER_BYTES],
            headers={
                "Nats-Msg-Id": f"dead-letter-{event_id}",
                "Analytics-Event-Id": event_id,
                "Analytics-Subject": rejection.id.subject,
                "Analytics-Reason": rejection.reason.value,
                "Analytics-Detail": _header_text(rejection.detail),
                "Analytics-Company": rejection.company_id or "",
                "Analytics-Bytes": str(len(raw)),
                "Analytics-Sha256": hashlib.sha256(raw).hexdigest(),
            },
        )


async def mirror(warehouse: Warehouse, letters: Sequence[DeadLetter]) -> None:
    """Write the letters to the table `dead_letters`.

    Raises:
        WarehouseAwayError: try again later.
    """
    rows = [
        _Row(
            dead_letter_id=str(rejection.id),
            subject=rejection.id.subject,
            stream_seq=rejection.id.seq,
            received_at=f"{rejection.id.ms // 1000}.{rejection.id.ms % 1000:03d}",
            company_id=rejection.company_id,
            reason=rejection.reason.value,
            detail=rejection.detail[:MAX_DETAIL_CHARACTERS],
            # The exact bytes stand in the stream; here what is no UTF-8 is shown as such.
            payload=raw[:MAX_DEAD_LETTER_BYTES].decode(errors="backslashreplace"),
            payload_bytes=len(raw),
            payload_sha256=hashlib.sha256(raw).hexdigest(),
        )
        for rejection, raw in letters
    ]
    await warehouse.insert_json_rows(TABLE_DEAD_LETTERS, _encoder.encode_lines(rows))


def _header_text(text: str) -> str:
    """A header value is one line of visible characters."""
    return " ".join(text.encode("ascii", "backslashreplace").decode().split())[
        :MAX_DETAIL_CHARACTERS
    ]
