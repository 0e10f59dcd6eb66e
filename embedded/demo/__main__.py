"""`python -m embedded.demo`: a producer as any other, publishing plain NATS messages until stopped.

Once a data folder it publishes some weeks of history, then about ten events a second of now.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from datetime import UTC, datetime
from pathlib import Path

import nats
from nats.aio.client import Client

from config import Settings, load_settings
from config.addresses import with_embedded_ports
from config.logging import configure_logging
from config.settings import read_variables
from embedded.demo.events import Live, history

EVENTS_A_SECOND = 10
FLUSH_EVERY = 500
log = logging.getLogger("demo")


async def produce(settings: Settings, stop: asyncio.Event) -> None:
    """Publish until `stop` is set."""
    connection = await nats.connect(
        settings.nats_url.get_secret_value(), name="demo", max_reconnect_attempts=-1
    )
    try:
        marker = settings.analytics_data / "demo-history-published"
        if not marker.exists():  # once, before anything runs beside it
            await _publish_history(connection)
            marker.touch()
        chance = random.Random()
        live = Live(chance)
        while not stop.is_set():
            message = live.next(datetime.now(UTC))
            await connection.publish(message.subject, message.payload)
            try:
                await asyncio.wait_for(stop.wait(), chance.expovariate(EVENTS_A_SECOND))
            except TimeoutError:
                continue
    finally:
        await connection.close()


async def _publish_history(connection: Client) -> None:
    """A start that was cut in the middle publishes the very same messages again: the stream drops
    them by id for two minutes, later ones leave every user's mean as it is."""
    count = 0
    for message in history(datetime.now(UTC).date()):
        await connection.publish(
            message.subject, message.payload, headers={"Nats-Msg-Id": message.id}
        )
        count += 1
        if count % FLUSH_EVERY == 0:  # the client's buffer is bounded
            await connection.flush()
    await connection.flush()
    log.info("published %d events of history", count)


async def main() -> None:
    settings = load_settings(with_embedded_ports(read_variables(os.environ, Path(".env"))), None)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await produce(settings, stop)


if __name__ == "__main__":
    configure_logging("demo")
    asyncio.run(main())
