"""A client that opens a stream and does not read it, and what the sidecar counts."""

from __future__ import annotations

import contextlib
import re
import socket
from urllib.parse import urlsplit

import httpx

# What the client's kernel takes for it, so that little has to be published to fill everything.
RECEIVE_BYTES = 4096
_CLOSED = re.compile(r'^analytics_stream_closed_total\{reason="(\w+)"\} (\S+)$', re.MULTILINE)
_ID = re.compile(rb"\nid: (metrics\S+)\n\n")


class UnreadStream:
    """A bare socket with a request on it. `ids` reads it at last, to its end."""

    def __init__(self, url: str, query: str, token: str | None = None) -> None:
        address = urlsplit(url)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.socket.settimeout(20)
        self.socket.connect((address.hostname, address.port))
        head = [
            f"GET /stream/updates?{query} HTTP/1.1",
            f"Host: {address.netloc}",
            "Connection: close",
        ]
        if token:
            head.append(f"Authorization: Bearer {token}")
        self.socket.sendall("\r\n".join([*head, "", ""]).encode())
        self.start = self.socket.recv(64)
        assert self.start.startswith(b"HTTP/1.1 200"), self.start

    def rest(self) -> bytes:
        """Everything up to the end of the connection, chunk framing included."""
        received = bytearray(self.start)
        with contextlib.suppress(ConnectionResetError):
            while data := self.socket.recv(65536):
                received += data
        self.socket.close()
        return bytes(received)

    def ids(self) -> list[str]:
        """Ids of all whole events that arrived."""
        return [found.decode() for found in _ID.findall(self.rest())]


def closed(url: str) -> dict[str, int]:
    """How many streams ended, by the reasons that there were."""
    text = httpx.get(f"{url}/metrics").text
    return {reason: int(float(n)) for reason, n in _CLOSED.findall(text) if float(n)}
