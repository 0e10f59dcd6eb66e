"""Events at a steady rate, over plain sockets, so that publishing costs microseconds."""

from __future__ import annotations

import socket
import time
from typing import Protocol

EVENT_BYTES = 200


class Sink(Protocol):
    """Where events go."""

    def send(self, company: int, payload: bytes) -> None:
        """Hand over one event; does not wait for its delivery."""


class NatsSink:
    """A plain NATS publisher, as any producer of ours is one."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.recv(65536)  # INFO
        self._socket.sendall(b'CONNECT {"verbose":false}\r\n')

    def send(self, company: int, payload: bytes) -> None:
        self._socket.sendall(b"PUB metrics.calculated %d\r\n%b\r\n" % (len(payload), payload))


class HttpSink:
    """POST over one connection, pipelined; answers are read when there are any."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, company: int, payload: bytes) -> None:
        self._socket.sendall(
            b"POST /publish?companyId=c%d HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"X-EventSource-Event: metric_updated\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (company, len(payload), payload)
        )
        try:
            answers = self._socket.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if b" 200 " not in answers and b" 20" not in answers and b"HTTP/1.1 " in answers:
            raise RuntimeError(f"publish was refused: {answers[:100]!r}")


class DatagramSink:
    """The control socket of the C reference."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(path)

    def send(self, company: int, payload: bytes) -> None:
        self._socket.send(b"%d %b" % (company, payload))


class Publisher:
    """Numbers the events of each company from 1 and stamps them with the time of sending."""

    def __init__(self, sink: Sink, companies: int, event_bytes: int = EVENT_BYTES) -> None:
        self._sink = sink
        self._sent = [0] * companies
        self._event_bytes = event_bytes
        self._next = 0

    def sent(self, company: int = 0) -> int:
        """Events of a company so far; the number of its last event."""
        return self._sent[company]

    def publish(self) -> None:
        """One event, to the companies in turn."""
        company = self._next
        self._next = (company + 1) % len(self._sent)
        self._sent[company] += 1
        head = b'{"companyId":"c%d","n":%d,"t":%d,"metricName":"score","value":0.85,"note":"' % (
            company,
            self._sent[company],
            time.time_ns() // 1000,
        )
        self._sink.send(company, head + b"x" * (self._event_bytes - len(head) - 2) + b'"}')

    def run(self, events_per_second: float, seconds: float) -> int:
        """Publish at a steady rate over all companies; the number of events."""
        count = round(events_per_second * seconds)
        started = time.monotonic()
        for number in range(count):
            pause = started + number / events_per_second - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            self.publish()
        return count
