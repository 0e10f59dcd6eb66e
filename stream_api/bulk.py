"""A NATS client that takes and answers JetStream messages in bulk, for the sink.

nats-py spends 5-6 us on a message that a callback takes: two regular expressions, four coroutine
steps, a queue, an object. Cutting a read of 32 KiB into its messages at once takes 0.8 us each, and
a thousand acknowledgements in one write 0.1 us each instead of 1.2. Whatever is no whole message of
a bulk subscription (pings, statuses, answers of the API, reconnecting) is left to nats-py.

This leans on internals of nats-py: `Client._ps`, `Client._send_command`, `Client._flush_pending`,
and the state of its `Parser`. The version is pinned for it, and `test_bulk.py` holds the behaviour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import OutboundBufferLimitError
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, CRLF_SIZE, Parser

from stream_api.nats_client import NatsClient

ACK_PREFIX = b"$JS.ACK."
# A control line is at most this long (the server's default); a longer one is nats-py's to refuse.
MAX_LINE_BYTES = 4096


# Subject, reply subject and payload as they came over the wire.
BulkMessage = tuple[bytes, bytes, bytes]
Take = Callable[[list[BulkMessage]], None]


class BulkClient(NatsClient):
    """A client of nats-py with bulk subscriptions, which hold up all others on its connection."""

    def __init__(self) -> None:
        super().__init__()
        self._bulk_parser = BulkParser(self)
        self._ps = self._bulk_parser

    async def subscribe_bulk(
        self, inbox: str, take: Take, on_other: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """Give all JetStream messages of one read to `take`, and anything else to `on_other`."""
        subscription = await self.subscribe(inbox, cb=on_other)
        self._bulk_parser.takers[str(subscription._id).encode()] = take
        return subscription

    async def unsubscribe_bulk(self, subscription: Subscription) -> None:
        """Take no more, at once; tell the server if there is one."""
        del self._bulk_parser.takers[str(subscription._id).encode()]
        if not self.is_closed:
            await subscription.unsubscribe()

    async def publish_to_all(self, subjects: Sequence[bytes], payload: bytes) -> None:
        """Publish the same payload to each subject, in one write.

        Raises:
            OutboundBufferLimitError: not connected, and nats-py's buffer is full.
        """
        between = b" %d\r\n%b\r\n" % (len(payload), payload)
        commands = b"PUB " + (between + b"PUB ").join(subjects) + between
        if not self.is_connected and self.pending_data_size + len(commands) > self.max_pending_size:
            raise OutboundBufferLimitError
        await self._send_command(commands)
        await self._flush_pending()

    @property
    def max_pending_size(self) -> int:
        """Bytes that nats-py keeps while it reconnects."""
        return self._max_pending_size


class BulkParser(Parser):
    """nats-py's parser with a short way for whole messages of bulk subscriptions.

    `takers` are the bulk subscriptions by their id, which stays through reconnects. They must not
    raise: nats-py would stop reading.
    """

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.takers: dict[bytes, Take] = {}

    async def parse(self, data: bytes = b"") -> None:
        """Take what a read has brought; called by nats-py's read loop."""
        if self.state == AWAITING_MSG_PAYLOAD:
            # nats-py is inside of another message and gets no byte more than that.
            missing = self.needed + CRLF_SIZE - len(self.buf)
            await super().parse(data[:missing])
            data = data[missing:]
        if self.buf and self.state == AWAITING_CONTROL_LINE:
            data = bytes(self.buf) + data
            self.buf.clear()
        rest = self._take_whole_messages(data)
        if self._is_cut(rest):
            self.buf.extend(rest)
        else:
            await super().parse(rest)
        # nats-py's loop gives way only when the socket's buffer is empty, after 10 ms of messages.
        # Last of all: a reconnect meanwhile empties `buf`, and nothing older may be put there.
        await asyncio.sleep(0)

    def _take_whole_messages(self, data: bytes) -> bytes:
        """Hand over what stands at the front in whole bulk messages; returns what is left."""
        at = 0
        found: dict[bytes, list[BulkMessage]] = {}
        while (end := data.find(b"\r\n", at)) >= 0:
            tokens = data[at:end].split(b" ")
            if not self._is_bulk(tokens):
                break
            begin = end + CRLF_SIZE
            stop = begin + int(tokens[-1])
            if stop + CRLF_SIZE > len(data):
                break
            if len(tokens) == 6:
                begin += int(tokens[4])
            message = (tokens[1], tokens[3], data[begin:stop])
            found.setdefault(tokens[2], []).append(message)
            at = stop + CRLF_SIZE
        for taker, messages in found.items():
            self.takers[taker](messages)
        return data[at:]

    def _is_bulk(self, tokens: list[bytes]) -> bool:
        """`MSG subject sid reply size`, or `HMSG` with the size of the headers before the last."""
        return len(tokens) >= 5 and tokens[2] in self.takers and tokens[3].startswith(ACK_PREFIX)

    def _is_cut(self, rest: bytes) -> bool:
        """Whether this is the beginning of a bulk message, or of a line; false when it is empty."""
        line, ended, _ = rest.partition(b"\r\n")
        return self._is_bulk(line.split(b" ")) if ended else 0 < len(rest) < MAX_LINE_BYTES
