"""All users of a run, and the producer whose events they wait for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import nats

from benchmarks.load.stream import Tally, User

SUBJECT = "metrics.calculated"
# An instance allows 5,000 streams of one company, and no company has that many.
USERS_A_COMPANY = 500
EVENT_BYTES = 200
# What is late at the end is waited for; what has not come by then is missing.
LATE_SECONDS = 10.0


def companies(users: int) -> list[str]:
    """Companies of so many users; the first is k6's too."""
    return [f"load-{n}" for n in range(-(-users // USERS_A_COMPANY))]


@dataclass
class Producer:
    """Publishes numbered events to the companies in turn, as any producer does: plain NATS."""

    nats_url: str
    companies: list[str]
    events_per_second: float
    sent: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        """At a steady rate to each company, until cancelled."""
        async with await nats.connect(self.nats_url) as connection:
            begin, published = time.monotonic(), 0
            while True:
                for company in self.companies:
                    n = self.sent.get(company, 0) + 1
                    self.sent[company] = n
                    event = {
                        "companyId": company,
                        "metricName": "load",
                        "value": 0.85,
                        "n": n,
                        "t": time.time_ns() // 1000,
                        "note": "",
                    }
                    event["note"] = "x" * (EVENT_BYTES - len(json.dumps(event)))
                    await connection.publish(SUBJECT, json.dumps(event).encode())
                published += 1
                due = begin + published / self.events_per_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))


@dataclass
class Outcome:
    """A finished run: what users saw, and events that somebody should have seen and did not."""

    tally: Tally
    published: int
    missing: int


async def run_users(
    url: str,
    nats_url: str,
    users: int,
    *,
    events_per_second: float,
    ramp_seconds: float,
    until: Awaitable[object],
) -> Outcome:
    """Open the streams evenly over `ramp_seconds`, publish all the while, and stop with `until`."""
    parts = urlsplit(url)
    names = companies(users)
    tally = Tally()
    everybody = [
        (name, User(parts.hostname or "", parts.port or 80, name, tally))
        for name in (names[n % len(names)] for n in range(users))
    ]
    producer = Producer(nats_url, names, events_per_second)
    async with _running(producer.run()) as publishing:
        running: list[asyncio.Task[None]] = []
        opening = asyncio.create_task(_open(everybody, ramp_seconds, running))
        await until
        await opening
        # The streams outlive the producer, so that its last events arrive.
        publishing.cancel()
        await _settle(everybody, producer.sent)
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    # Somebody who has received nothing at all has missed one event at least.
    missing = sum(
        1 if user.last_n is None else producer.sent[name] - user.last_n for name, user in everybody
    )
    return Outcome(tally, sum(producer.sent.values()), missing)


async def _open(
    everybody: list[tuple[str, User]], seconds: float, running: list[asyncio.Task[None]]
) -> None:
    begin = time.monotonic()
    for number, (_, user) in enumerate(everybody):
        await asyncio.sleep(max(0.0, begin + number * seconds / len(everybody) - time.monotonic()))
        running.append(asyncio.create_task(user.run()))


async def _settle(everybody: list[tuple[str, User]], sent: dict[str, int]) -> None:
    deadline = time.monotonic() + LATE_SECONDS
    while time.monotonic() < deadline:
        if all(user.last_n == sent[name] for name, user in everybody):
            return
        await asyncio.sleep(0.1)


@asynccontextmanager
async def _running(work: Awaitable[None]) -> AsyncIterator[asyncio.Future[None]]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
