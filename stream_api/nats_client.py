"""nats-py's client, with subjects that are not UTF-8.

The server lets any bytes but white space through; nats-py decodes them while it reads, and stops
reading for good at the first that are no text. One such message in the stream would then end the
live reader of every instance, again after each reconnect.
"""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client


def subject_text(subject: bytes) -> str:
    """A subject as it stands in ids; bytes that are no UTF-8 are written as `\\xff`."""
    return subject.decode(errors="backslashreplace")


class NatsClient(Client):
    """Delivers messages of any subject."""

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Any:
        try:
            return super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            readable = subject_text(bytes(subject)).encode()
            return super()._build_message(sid, readable, reply, data, headers)
