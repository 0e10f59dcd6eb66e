"""A group on real sockets and transports: every stream gets the same bytes, whole and in order."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_api.connection import DirectConnection
from stream_api.group import Group

# Small, so that a few writes fill it.
KERNEL_BUFFER_BYTES = 4096
UNLIMITED = 1 << 30
# What never comes is a failure, not a hanging test.
PATIENCE_SECONDS = 10.0


class Stream(asyncio.Protocol):
    """The server's side of a stream, as the sidecar's protocol treats it, and its client."""

    connection: DirectConnection

    def __init__(self) -> None:
        self.client, self.server = socket.socketpair()
        self.client.setblocking(False)
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
        self.number = self.server.fileno()
        self.lost = asyncio.Event()
        self.expected = b""
        self.received = b""

    async def open(self) -> None:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: self, self.server
        )
        transport.set_write_buffer_limits(high=0)
        self.connection = DirectConnection("c", None, transport)

    def pause_writing(self) -> None:
        self.connection.fall_behind()

    def resume_writing(self) -> None:
        self.connection.catch_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.lose_socket()
        self.lost.set()

    def read(self, count: int) -> None:
        with suppress(BlockingIOError):
            self.received += self.client.recv(count)

    async def close(self) -> None:
        self.connection.abort()
        await self.lost.wait()
        self.client.close()


async def open_streams(group: Group) -> tuple[Stream, Stream]:
    """Two streams of the group."""
    pair = Stream(), Stream()
    for stream in pair:
        await stream.open()
        group.add(stream.connection)
    return pair


def run(check: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def checked() -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await check()

        runner.run(checked())


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from([1, 300, 5000, 60_000])),
        st.tuples(st.just("read"), st.integers(0, 1), st.sampled_from([100, 100_000])),
        st.tuples(st.sampled_from(["join", "own", "leave", "turn"]), st.integers(0, 1)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps)
# What is unsent when the socket becomes its own goes first.
@example([("join", 0), ("write", 60_000), ("own", 0), ("read", 0, 100_000), ("write", 1)])
@example([("join", 0), ("own", 0), ("own", 0), ("leave", 0), ("write", 1)])
def test_each_stream_gets_what_was_written_while_it_was_in(
    steps: list[tuple[str, int] | tuple[str, int, int]],
) -> None:
    async def check() -> None:
        group = Group()
        streams = [Stream(), Stream()]
        for stream in streams:
            await stream.open()
        members: set[Stream] = set()
        written = 0
        for name, number, *count in steps:
            if name == "write":
                # No two writes are alike, so that an exchange of two would be seen.
                data = bytes((written + i) % 251 for i in range(number))
                written += number
                assert group.write(data, UNLIMITED) == []
                for member in members:
                    member.expected += data
            elif name == "read":
                streams[number].read(*count)
            elif name == "join" and streams[number] not in members:
                members.add(streams[number])
                group.add(streams[number].connection)
            elif name == "own":
                streams[number].connection.own_socket(streams[number].number)
            elif name == "leave" and streams[number] in members:
                members.remove(streams[number])
                group.discard(streams[number].connection)
            elif name == "turn":
                await asyncio.sleep(0)
            assert len(group) == len(members)
            assert {*group} == {member.connection for member in members}
        for stream in streams:
            while len(stream.received) < len(stream.expected):
                stream.read(1 << 20)
                await asyncio.sleep(0)
            stream.read(1)
            assert stream.received == stream.expected
            await stream.close()

    run(check)


def test_a_number_that_another_socket_has_got_is_not_written_to() -> None:
    async def check() -> None:
        group = Group()
        gone = Stream()
        await gone.open()
        group.add(gone.connection)
        gone.connection.own_socket(gone.number)
        other, other_client = socket.socketpair()
        other_client.setblocking(False)
        await gone.close()
        os.dup2(other.fileno(), gone.number)
        try:
            # Its transport is asked, and it knows that it is closed.
            with pytest.raises(RuntimeError, match="the handler is closed"):
                group.write(b"one company's event", UNLIMITED)
            with pytest.raises(BlockingIOError):
                other_client.recv(100)
        finally:
            os.close(gone.number)
            other.close()
            other_client.close()

    run(check)


def test_a_stream_is_not_mistaken_for_one_that_had_its_number() -> None:
    async def check() -> None:
        group = Group()
        present, gone = await open_streams(group)
        present.connection.own_socket(present.number)
        gone.connection.own_socket(present.number)
        assert {*group} == {present.connection, gone.connection}
        group.discard(gone.connection)
        group.write(b"to those who are in", UNLIMITED)
        group.discard(present.connection)
        group.write(b"to nobody", UNLIMITED)
        present.read(100)
        assert present.received == b"to those who are in"
        for stream in (present, gone):
            await stream.close()

    run(check)


def test_who_has_too_much_unsent_is_left_out_and_named() -> None:
    async def check() -> None:
        group = Group()
        reading, stalled = await open_streams(group)
        for stream in (reading, stalled):
            stream.connection.own_socket(stream.number)
        data = b"x" * 50_000
        # What was unsent before a write decides: the first one is taken whatever its size.
        assert group.write(data, 1000) == []
        while len(reading.received) < len(data):
            reading.read(1 << 20)
            await asyncio.sleep(0)
        assert group.write(b"y", 1000) == [stalled.connection]
        reading.read(1)
        assert reading.received == data + b"y"
        for stream in (reading, stalled):
            await stream.close()

    run(check)
