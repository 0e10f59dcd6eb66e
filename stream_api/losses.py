"""What left the stream before it was stored: nobody has it, so no replay passes over it in silence.

The consumer's acknowledgement floor is moved by the server too when messages leave the stream, so
the floor alone does not say that everything below it was stored. Each instance therefore compares
the stream's beginning with the floor that it saw last; only when the beginning has come past it,
which takes an outage of the whole replay window or a purge, the rows in between are counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time

from nats.aio.client import Client as Nats

from config.names import EVENTS_STREAM, SINK_CONSUMER, TABLE_CHECKPOINTS
from stream_api.streams import created_ms
from stream_api.warehouse import Warehouse

logger = logging.getLogger(__name__)

FLOOR = "sink floor"
LOST = "lost events"
# A floor that is kept may be old: it only makes the range that is counted a longer one.
KEEP_FLOOR_SECONDS = 600
FIRST_LOOK_SECONDS = 3.0


class Losses:
    """The last sequence that was lost, in the present life of the stream."""

    def __init__(self, nats: Nats, warehouse: Warehouse) -> None:
        self._js = nats.jetstream()
        self._warehouse = warehouse
        self._life_ms = 0
        self._floor = 0
        self._floor_kept_at = float("-inf")
        self._looking = asyncio.Lock()
        self._looked = False
        self._last = 0

    async def known(self) -> int:
        """The last sequence that nobody has, 0 when there is none.

        A client may come back before the first regular look of an instance that has just started.

        Raises:
            WarehouseAwayError, nats.errors.Error, TimeoutError: this instance could not look yet.
        """
        if not self._looked:
            async with asyncio.timeout(FIRST_LOOK_SECONDS), self._looking:
                if not self._looked:
                    info = await self._js.consumer_info(EVENTS_STREAM, SINK_CONSUMER)
                    await self._look(info.ack_floor.stream_seq if info.ack_floor else 0)
        return self._last

    async def look(self, floor: int) -> None:
        """Compare the beginning of the stream with the floor of the look before.

        Args:
            floor: the consumer's acknowledgement floor, read before this call.

        Raises:
            WarehouseAwayError, nats.errors.Error, TimeoutError: the next look makes up for it.
        """
        async with self._looking:
            await self._look(floor)

    async def _look(self, floor: int) -> None:
        info = await self._js.stream_info(EVENTS_STREAM)
        life_ms, first = created_ms(info), info.state.first_seq
        if life_ms != self._life_ms:
            kept = await self._read(FLOOR, life_ms)
            self._floor = floor if kept is None else kept
            self._last = await self._read(LOST, life_ms) or 0
            self._life_ms = life_ms
        if first - 1 > self._floor:
            await self._count(first)
        # A consumer that is made anew begins below what was stored before.
        self._floor = max(self._floor, floor)
        now = time.monotonic()
        if now - self._floor_kept_at > KEEP_FLOOR_SECONDS:
            await self._keep(FLOOR, self._floor)
            self._floor_kept_at = now
        self._looked = True

    async def _count(self, first: int) -> None:
        """Count what is stored between the floor and the stream's beginning."""
        rows = await self._warehouse.rows(
            "count_stored_sequences",
            {"from_ms": self._life_ms, "after": self._floor, "before": first},
        )
        lost = first - 1 - self._floor - int(rows[0][0])
        if lost > 0:
            logger.error(
                "%d of the messages %d-%d left the stream before they were stored",
                *(lost, self._floor + 1, first - 1),
            )
            await self._keep(LOST, first - 1)
            self._last = first - 1

    async def _read(self, name: str, life_ms: int) -> int | None:
        rows = await self._warehouse.rows("select_checkpoint", {"name": name})
        life, seq = json.loads(rows[0][0]) if rows else (0, 0)
        return int(seq) if life == life_ms else None

    async def _keep(self, name: str, seq: int) -> None:
        row = {"name": name, "position": json.dumps([self._life_ms, seq])}
        await self._warehouse.insert_json_rows(TABLE_CHECKPOINTS, json.dumps(row).encode())
