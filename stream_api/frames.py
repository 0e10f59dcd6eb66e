"""Server-Sent Events as bytes. Everything a stream sends is made here, once, and shared.

Source: the WHATWG HTML standard, section 9.2, "Server-sent events".
"""

from __future__ import annotations

import json
from typing import Any

# What a browser waits before it reconnects by itself.
RETRY_MS = 2000

HEARTBEAT = b":heartbeat\n\n"
LAST_CHUNK = b"0\r\n\r\n"


def event_frame(name: str, data: bytes, event_id: str) -> bytes:
    """One data event. `data` is a single line of JSON; JSON has no raw line end inside a string."""
    return b"event: %b\ndata: %b\nid: %b\n\n" % (name.encode(), data, event_id.encode())


def control_frame(name: str, data: dict[str, Any]) -> bytes:
    """An event of our own (`connected`, `reset`, `bye`): no id, so it is no resume point."""
    text = json.dumps(data, separators=(",", ":"))
    return b"event: %b\ndata: %b\n\n" % (name.encode(), text.encode())


def id_frame(event_id: str) -> bytes:
    """A block with only an id: sets the client's last id and dispatches nothing."""
    return b"id: %b\n\n" % event_id.encode()


def retry_frame(milliseconds: int = RETRY_MS) -> bytes:
    """A block that sets the client's pause before it reconnects."""
    return b"retry: %d\n\n" % milliseconds


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of an HTTP/1.1 chunked body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
