"""What the hub does with many connections at once."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry

from stream_api.closing import CLOSED_A_TURN
from stream_api.connection import Connection, Ending
from stream_api.hub import Hub
from stream_api.telemetry import StreamMetrics


class Silent(Connection):
    """Takes nothing; knows whether it was cut."""

    aborted = False

    def write(self, data: bytes) -> None:
        raise AssertionError("written to")

    def unsent_bytes(self) -> int:
        return 0

    def abort(self) -> None:
        self.aborted = True


async def test_many_that_are_cut_at_once_leave_time_for_the_others() -> None:
    hub = Hub(
        metrics=StreamMetrics(CollectorRegistry()),
        pace_ms=0,
        buffer_bytes=1,
        stall_seconds=60,
        heartbeat_seconds=30,
    )
    silent = [Silent("a", None) for _ in range(3 * CLOSED_A_TURN)]
    for connection in silent:
        hub.admit(connection)
        hub.cut(connection, Ending.SLOW)
    assert hub.connection_count() == 0
    aborted = []
    for _ in range(4):
        await asyncio.sleep(0)
        aborted.append(sum(connection.aborted for connection in silent))
    assert aborted == [CLOSED_A_TURN, 2 * CLOSED_A_TURN, 3 * CLOSED_A_TURN, 3 * CLOSED_A_TURN]
