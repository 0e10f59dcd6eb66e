"""Where a JetStream message stands: read out of its reply subject, the cheapest place.

`$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time ns>.<pending>`; servers
with domains put two tokens before the stream and may add more behind (NATS ADR-15).
"""

from __future__ import annotations

import msgspec

_PLAIN_TOKENS = 9


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """Sequences, stream time in epoch ms, and how many messages wait behind this one."""

    stream_seq: int
    consumer_seq: int
    ms: int
    pending: int


def parse_delivery(reply: bytes) -> Delivery:
    """Read a message's reply subject.

    Raises:
        ValueError: `reply` is no acknowledgement subject.
    """
    tokens = reply.split(b".")
    first = 5 if len(tokens) == _PLAIN_TOKENS else 7
    try:
        stream_seq, consumer_seq, ns, pending = tokens[first : first + 4]
        return Delivery(int(stream_seq), int(consumer_seq), int(ns) // 1_000_000, int(pending))
    except ValueError:
        raise ValueError(f"{reply!r} is no JetStream acknowledgement subject") from None
