"""Messages out of any cut of the wire, each once and in order, and every other byte for nats-py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_api import wire
from stream_api.wire import Cutter, Status, WireMessage

PAYLOADS = (b"", b"{}", b'{"a": "\r\nMSG x 3 $JS.ACK.y 0\r\n"}', b"x" * 5000)
HEADERS = b"NATS/1.0\r\nNats-Msg-Id: 7\r\n\r\n"


def delivery(number: int, sid: bytes, data: bytes, headers: bytes) -> tuple[bytes, WireMessage]:
    reply = b"$JS.ACK.S.c.1.%d.%d.1795000000000000000.0" % (number, number)
    sizes = b"%d %d" % (len(headers), len(headers) + len(data)) if headers else b"%d" % len(data)
    verb = b"HMSG" if headers else b"MSG"
    wire_text = b"%b metrics.a %b %b %b\r\n%b%b\r\n" % (verb, sid, reply, sizes, headers, data)
    return wire_text, (b"metrics.a", reply, data)


def headed(sid: bytes, reply: bytes, headers: bytes) -> bytes:
    size = len(headers)
    return b"HMSG inbox %b %b%d %d\r\n%b\r\n" % (sid, reply, size, size, headers)


HEARTBEAT = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 5\r\nNats-Last-Stream:  9\r\n\r\n"
STATUSES = {
    headed(b"3", b"", HEARTBEAT): Status(
        *("inbox", "", "100", "Idle Heartbeat"),
        {"Nats-Last-Consumer": "5", "Nats-Last-Stream": "9"},
    ),
    headed(b"3", b"$JS.FC.a ", b"NATS/1.0 100 FlowControl Request\r\n\r\n"): Status(
        "inbox", "$JS.FC.a", "100", "FlowControl Request", {}
    ),
    headed(b"3", b"", b"NATS/1.0 503\r\n\r\n"): Status("inbox", "", "503", "", {}),
    headed(b"3", b"", HEADERS): Status("inbox", "", "", "", {"Nats-Msg-Id": "7"}),
    b"MSG inbox 3 2\r\nok\r\n": Status("inbox", "", "", "", {}),
    b"MSG inbox 3 answer 0\r\n\r\n": Status("inbox", "answer", "", "", {}),
}
OTHERS = (
    b"PING\r\n",
    b"+OK\r\n",
    b"-ERR 'Slow Consumer'\r\n",
    b'INFO {"a": "' + b"b" * 6000 + b'"}\r\n',
    b"MSG answer 1 2\r\nok\r\n",
    b"MSG answer 1 13\r\nMSG x 3 r 0\r\n\r\n",
    headed(b"33", b"$JS.ACK.S.c.1.1.1.1.0 ", HEADERS),
)


class Kept:
    """A reader that keeps what it gets, in order."""

    def __init__(self) -> None:
        self.got: list[WireMessage | Status] = []

    def on_messages(self, messages: list[WireMessage]) -> None:
        assert messages
        self.got += messages

    def on_status(self, status: Status) -> None:
        self.got.append(status)


def lines() -> st.SearchStrategy[bytes | tuple[bytes, bytes, bytes]]:
    """Deliveries (subscription, payload, headers), statuses, and lines of nobody's."""
    return st.one_of(
        st.tuples(
            st.sampled_from([b"3", b"4"]),
            st.sampled_from(PAYLOADS),
            st.sampled_from([b"", HEADERS]),
        ),
        st.sampled_from(sorted(STATUSES)),
        st.sampled_from(OTHERS),
    )


@given(st.lists(lines(), min_size=1, max_size=30), st.data())
def test_any_cut_of_the_wire_gives_each_message_once_and_in_order(
    sent: list[bytes | tuple[bytes, bytes, bytes]], data: st.DataObject
) -> None:
    whole, others = b"", b""
    expected: dict[bytes, list[WireMessage | Status]] = {b"3": [], b"4": []}
    for number, line in enumerate(sent):
        if isinstance(line, tuple):
            text, message = delivery(number, *line)
            expected[line[0]].append(message)
        elif line in STATUSES:
            text = line
            expected[b"3"].append(STATUSES[line])
        else:
            text = line
            others += line
        whole += text
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    readers = {b"3": Kept(), b"4": Kept()}
    cutter = Cutter(dict(readers))
    passed = b""
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        passed += cutter.feed(whole[begin:end])
        # The event loop may bring more before the rest of a large read has had its turn.
        while cutter.more and data.draw(st.booleans()):
            passed += cutter.feed(b"")
    while cutter.more:
        passed += cutter.feed(b"")
    assert {sid: reader.got for sid, reader in readers.items()} == expected
    assert passed == others


def test_a_turn_takes_a_bounded_part_of_a_large_read() -> None:
    one, _ = delivery(1, b"3", b"x" * 1000, b"")
    reader = Kept()
    cutter = Cutter({b"3": reader})
    cutter.feed(one * 200)
    most = wire.TURN_BYTES // len(one) + 1
    assert cutter.more
    assert len(reader.got) == most
    cutter.feed(b"")
    assert len(reader.got) == 2 * most


def test_a_reader_that_leaves_gets_nothing_more() -> None:
    first, message = delivery(1, b"3", b"{}", b"")
    second, _ = delivery(2, b"3", b"{}", b"")
    readers: dict[bytes, wire.Reader] = {}
    cutter = Cutter(readers)

    class Leaving(Kept):
        def on_status(self, status: Status) -> None:
            readers.clear()

    readers[b"3"] = reader = Leaving()
    passed = cutter.feed(first + headed(b"3", b"", HEARTBEAT) + second)
    assert reader.got == [message]
    assert passed == second
