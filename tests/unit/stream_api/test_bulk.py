"""Bulk messages out of any cut of the wire, and everything else as nats-py has it.

`BulkClient` leans on internals of nats-py: a new version of it has to pass here first.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_api.bulk import BulkClient, BulkMessage, BulkParser

SID = b"3"
PAYLOADS = (b"", b"{}", b'{"a": "\r\nMSG x 3 $JS.ACK.y 0\r\n"}', b"x" * 5000)
HEADERS = b"NATS/1.0\r\nNats-Msg-Id: 7\r\n\r\n"
STATUS = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 9\r\n\r\n"


class Other:
    """Where nats-py's parser delivers what is no bulk message."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, ...]] = []

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self.got.append((sid, bytes(subject), bytes(reply), bytes(data), headers))

    async def _process_ping(self) -> None:
        self.got.append(("ping",))

    async def _process_pong(self) -> None:
        self.got.append(("pong",))


def bulk(number: int, data: bytes, headers: bytes = b"") -> tuple[bytes, BulkMessage]:
    reply = b"$JS.ACK.S.c.1.%d.%d.1795000000000000000.0" % (number, number)
    sizes = b"%d %d" % (len(headers), len(headers) + len(data)) if headers else b"%d" % len(data)
    verb = b"HMSG" if headers else b"MSG"
    wire = b"%b metrics.a %b %b %b\r\n%b%b\r\n" % (verb, SID, reply, sizes, headers, data)
    return wire, (b"metrics.a", reply, data)


OTHERS = {
    b"PING\r\n": ("ping",),
    b"PONG\r\n": ("pong",),
    b"MSG answer 1 2\r\nok\r\n": (1, b"answer", b"", b"ok", None),
    b"MSG answer 3 2\r\nok\r\n": (3, b"answer", b"", b"ok", None),
    b"HMSG inbox 3 %d %d\r\n%b\r\n" % (len(STATUS), len(STATUS), STATUS): (
        *(3, b"inbox", b"", b"", STATUS),
    ),
}


@given(st.data())
def test_any_cut_of_the_wire_gives_each_message_once_and_in_order(data: st.DataObject) -> None:
    wire, bulks, others = b"", [], []
    for number in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            payload = data.draw(st.sampled_from(PAYLOADS))
            text, message = bulk(number, payload, data.draw(st.sampled_from([b"", HEADERS])))
            bulks.append(message)
        else:
            text = data.draw(st.sampled_from(sorted(OTHERS)))
            others.append(OTHERS[text])
        wire += text
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    other, taken = Other(), list[BulkMessage]()
    parser = BulkParser(other)  # type: ignore[arg-type]
    parser.takers[SID] = taken.extend

    async def parse() -> None:
        for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
            await parser.parse(wire[begin:end])

    asyncio.run(parse())
    # A bulk message that nats-py has begun on behind another line comes through the callback.
    through_nats = {got[2]: got[3] for got in other.got if len(got) == 5 and got[2]}
    assert [m for m in bulks if m[1] not in through_nats] == taken
    assert [(m[1], m[2]) for m in bulks if m[1] in through_nats] == list(through_nats.items())
    assert [got for got in other.got if len(got) == 1 or not got[2]] == others


async def test_one_write_publishes_to_all_subjects() -> None:
    client = BulkClient()
    sent: list[bytes] = []

    async def keep(command: bytes, priority: bool = False) -> None:
        sent.append(command)

    async def nothing(force_flush: bool = False) -> None:
        return

    client._send_command = keep  # type: ignore[method-assign,assignment]
    client._flush_pending = nothing  # type: ignore[method-assign]
    client._status = BulkClient.CONNECTED
    await client.publish_to_all([b"a", b"b"], b"+ACK")
    assert sent == [b"PUB a 4\r\n+ACK\r\nPUB b 4\r\n+ACK\r\n"]
