"""nats-py's client with a direct way for the messages of JetStream (`wire.py`).

It leans on internals of nats-py: `TcpTransport` and its attributes, `Client._transport`,
`_connect_to_server`, `_build_message`, `_send_command` and `_flush_pending`. The version is pinned
for it, and `test_wire.py` and `test_nats_client.py` hold the behaviour.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import ParseResult

from nats.aio.client import Client, Srv
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import OutboundBufferLimitError

from stream_api.wire import DirectProtocol, Reader


def subject_text(subject: bytes) -> str:
    """A subject as it stands in ids; bytes that are no UTF-8 are written as `\\xff`."""
    return subject.decode(errors="backslashreplace")


class NatsClient(Client):
    """A client with direct subscriptions, and with subjects that are not UTF-8.

    The server lets any bytes but white space through; nats-py decodes them while it reads, and
    stops reading for good at the first that are no text.
    """

    def __init__(self) -> None:
        super().__init__()
        # By subscription id, which stays through reconnects.
        self._readers: dict[bytes, Reader] = {}

    async def subscribe_direct(self, inbox: str, reader: Reader) -> Subscription:
        """Give what comes to an inbox that nobody publishes to yet to `reader`, past nats-py."""
        subscription = await self.subscribe(inbox)
        self._readers[_sid(subscription)] = reader
        return subscription

    async def unsubscribe_direct(self, subscription: Subscription) -> None:
        """Take no more, at once; tell the server if there is one."""
        del self._readers[_sid(subscription)]
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

    async def _connect_to_server(self, s: Srv) -> None:
        if self._transport is None:
            self._transport = DirectTransport(self._readers)
        await super()._connect_to_server(s)

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Any:
        try:
            return super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            readable = subject_text(bytes(subject)).encode()
            return super()._build_message(sid, readable, reply, data, headers)


class DirectTransport(TcpTransport):
    """nats-py's TCP transport, plain or TLS, over `DirectProtocol`."""

    def __init__(self, readers: dict[bytes, Reader]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._readers = readers

    def __bool__(self) -> bool:
        """Nats-py would make one of its own if this said no before the first connection."""
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        protocol, reader = self._protocol(buffer_size)
        async with asyncio.timeout(connect_timeout):
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: protocol,
                uri.hostname,  # type: ignore[arg-type]  # nats-py has seen to both
                uri.port,  # type: ignore[arg-type]
            )
        self._use(transport, protocol, reader)
        # nats-py keeps the plain connection alive through these while TLS runs over it.
        self._bare_io_reader, self._bare_io_writer = self._io_reader, self._io_writer

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        assert self._io_writer is not None  # noqa: S101 - nats-py connects first
        protocol, reader = self._protocol(buffer_size)
        async with asyncio.timeout(connect_timeout):
            transport = await asyncio.get_running_loop().start_tls(
                self._io_writer.transport,
                protocol,
                ssl_context,
                server_hostname=uri if isinstance(uri, str) else uri.hostname,
            )
        assert transport is not None  # noqa: S101 - for the type: only a closed loop gives None
        self._use(transport, protocol, reader)

    def _protocol(self, buffer_size: int) -> tuple[DirectProtocol, asyncio.StreamReader]:
        reader = asyncio.StreamReader(limit=buffer_size)
        return DirectProtocol(reader, self._readers), reader

    def _use(
        self,
        transport: asyncio.Transport,
        protocol: DirectProtocol,
        reader: asyncio.StreamReader,
    ) -> None:
        protocol.transport = transport
        self._io_reader = reader
        self._io_writer = asyncio.StreamWriter(
            transport, protocol, reader, asyncio.get_running_loop()
        )


def _sid(subscription: Subscription) -> bytes:
    return str(subscription._id).encode()
