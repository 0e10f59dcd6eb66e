"""What is asked of the sink's consumer and has not come yet: one pull request at a time, bounded.

A request names messages and bytes, so that what is on its way fits into memory whatever the size
of an event. It ends when its messages have come, by a status of the server (expired after 30 s, no
room in the bytes, consumer gone), or in silence with its connection. Its number is the last token
of its inbox, so that a status of one before is told apart: adding up what several open requests
have left went wrong, and the sink waited for messages that nobody was to send.

Source: NATS ADR-37, section "pull errors".
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from nats.aio.subscription import Subscription

from config.names import EVENTS_STREAM, SINK_CONSUMER
from stream_api.nats_client import NatsClient
from stream_api.wire import Status, WireMessage

logger = logging.getLogger(__name__)

EXPIRES_SECONDS = 30
HEARTBEAT_SECONDS = 5
# Two missed heartbeats and a little: the request is lost.
SILENCE_SECONDS = 12
# Ordinary ends: expired, the next message does not fit into the bytes, all messages delivered.
ORDINARY_ENDS = frozenset({"Request Timeout", "Message Size Exceeds MaxBytes", "Batch Completed"})


class Pull:
    """The request that is open. `take` gets each message; `wake` is called when it has ended.

    `messages` are still to come, 0 when no request is open. `lost` says that the consumer or its
    stream is gone: both are to be made before the next one.
    """

    def __init__(
        self,
        nats: NatsClient,
        take: Callable[[list[WireMessage]], None],
        wake: Callable[[], None],
    ) -> None:
        self._nats = nats
        self._take = take
        self._wake = wake
        self._inbox = nats.new_inbox()
        self._heard_at = 0.0
        self._subscription: Subscription | None = None
        self._number = 0
        self.messages = 0
        self.lost = False

    async def open(self) -> None:
        """Listen for answers; through reconnects too."""
        self._subscription = await self._nats.subscribe_direct(f"{self._inbox}.*", self)

    async def close(self) -> None:
        """Take no more; what is on its way is delivered to somebody else later."""
        if self._subscription is not None:
            await self._nats.unsubscribe_direct(self._subscription)

    async def ask(self, messages: int, size: int) -> None:
        """Ask for so many messages of so many bytes together.

        Raises:
            nats.errors.Error: not sent.
        """
        self._number += 1
        self.messages = messages
        self._heard_at = time.monotonic()
        request = {
            "batch": messages,
            "max_bytes": size,
            "expires": EXPIRES_SECONDS * 1_000_000_000,
            "idle_heartbeat": HEARTBEAT_SECONDS * 1_000_000_000,
        }
        await self._nats.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS_STREAM}.{SINK_CONSUMER}",
            json.dumps(request).encode(),
            reply=f"{self._inbox}.{self._number}",
        )

    def forget(self) -> None:
        """Nothing comes any more, e.g. after a reconnect: the server has dropped the request."""
        self.messages = 0
        self._wake()

    def forget_if_silent(self) -> None:
        """Forget a request of which neither a message nor a heartbeat comes."""
        if self.messages and time.monotonic() - self._heard_at > SILENCE_SECONDS:
            logger.warning("no heartbeat for %d s: asking anew", SILENCE_SECONDS)
            self.forget()

    def on_messages(self, messages: list[WireMessage]) -> None:
        """Messages of the open request, or late ones of an earlier one."""
        self._heard_at = time.monotonic()
        self.messages = max(0, self.messages - len(messages))
        self._take(messages)
        if not self.messages:
            self._wake()

    def on_status(self, status: Status) -> None:
        """A heartbeat, or the end of a request."""
        if status.subject != f"{self._inbox}.{self._number}":
            return
        self._heard_at = time.monotonic()
        if status.code == "100":
            return
        if status.description not in ORDINARY_ENDS:
            logger.warning("pull ended: %s %s", status.code, status.description)
            self.lost = True
        self.forget()
