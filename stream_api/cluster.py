"""Statistics of all instances: one NATS request that each of them answers.

Nobody keeps a list of instances, so nobody knows how many answers there will be: the question ends
when no more of them come for a while.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from config.names import STATS_SUBJECT
from stream_api.hub import Hub

# An instance answers within a turn of its loop. One that is slower than this is not counted.
WAIT_SECONDS = 1.0
SILENCE_SECONDS = 0.25


class Cluster:
    """Answers for this instance and asks all of them, this one included."""

    def __init__(self, nats: Nats, hub: Hub, instance: str) -> None:
        self._nats = nats
        self._hub = hub
        self._instance = instance

    async def answer(self) -> None:
        """Answer from now on, also after a reconnect."""
        await self._nats.subscribe(STATS_SUBJECT, cb=self._answer)

    async def stats(self) -> dict[str, Any]:
        """Sums over all instances that answer in time, in the shape of `Hub.stats`, and their
        names in `instances`.

        Raises:
            nats.errors.Error: NATS does not take the question.
        """
        answers: dict[str, dict[str, Any]] = {}
        heard = asyncio.Event()

        async def take(message: Msg) -> None:
            # Compressed: ids of 10,000 companies, twice, would near the message limit of 1 MiB.
            answer = json.loads(zlib.decompress(message.data))
            answers[answer["instance"]] = answer["stats"]
            heard.set()

        inbox = self._nats.new_inbox()
        subscription = await self._nats.subscribe(inbox, cb=take)
        try:
            await self._nats.publish(STATS_SUBJECT, b"", reply=inbox)
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    heard.clear()
                    async with asyncio.timeout(SILENCE_SECONDS if answers else WAIT_SECONDS):
                        await heard.wait()
        except TimeoutError:
            pass
        finally:
            await subscription.unsubscribe()
        return {**total(answers.values()), "instances": sorted(answers)}

    async def _answer(self, message: Msg) -> None:
        answer = {"instance": self._instance, "stats": self._hub.stats()}
        await self._nats.publish(message.reply, zlib.compress(json.dumps(answer).encode(), 1))


def total(answers: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Sums of several instances' `Hub.stats`; a company on two instances is one company."""
    connections: Counter[str] = Counter()
    events: Counter[str] = Counter()
    streams = 0
    for answer in answers:
        streams += answer["connections"]["totalConnections"]
        connections.update(answer["connections"]["connectionsByCompany"])
        events.update(answer["replayCache"]["eventsByCompany"])
    return {
        "connections": {
            "totalConnections": streams,
            "activeCompanies": len(connections),
            "connectionsByCompany": dict(sorted(connections.items())),
        },
        "replayCache": {
            "companies": len(events),
            "totalEvents": events.total(),
            "eventsByCompany": dict(sorted(events.items())),
        },
    }
