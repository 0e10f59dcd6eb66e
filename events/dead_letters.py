"""The stream of dead letters: one message a letter, its body the producer's bytes."""

from __future__ import annotations

import hashlib

from nats.js import JetStreamContext

from config.names import DLQ_SUBJECT_PREFIX, MAX_DEAD_LETTER_BYTES
from events.rows import MAX_DETAIL_CHARACTERS, DeadLetter

EVENT_ID_HEADER = "Analytics-Event-Id"


async def publish_dead_letter(js: JetStreamContext, letter: DeadLetter) -> int:
    """Its sequence in the stream, also when the stream has it already.

    The body is cut at 900 KiB; everything else stands in headers.

    Raises:
        nats.errors.Error, TimeoutError: it is not known to be stored; the same call may be
            repeated, the server drops a second copy within its duplicate window.
    """
    rejection, raw = letter
    event_id = str(rejection.id)
    stored = await js.publish(
        f"{DLQ_SUBJECT_PREFIX}.{rejection.reason.value}",
        raw[:MAX_DEAD_LETTER_BYTES],
        headers={
            "Nats-Msg-Id": f"dead-letter-{event_id}",
            EVENT_ID_HEADER: event_id,
            "Analytics-Subject": rejection.id.subject,
            "Analytics-Reason": rejection.reason.value,
            "Analytics-Detail": _header_text(rejection.detail),
            "Analytics-Company": rejection.company_id or "",
            "Analytics-Bytes": str(len(raw)),
            "Analytics-Sha256": hashlib.sha256(raw).hexdigest(),
        },
    )
    return stored.seq


def _header_text(text: str) -> str:
    """A header value is one line of visible characters."""
    return " ".join(text.encode("ascii", "backslashreplace").decode().split())[
        :MAX_DETAIL_CHARACTERS
    ]
