"""A range of a JetStream stream, read without a consumer: batched direct gets.

Source: NATS ADR-31 (server 2.11 and later).
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import NamedTuple

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

# The server answers one request with at most 1,000 messages.
BATCH_MESSAGES = 512
BATCH_BYTES = 4 * 1024 * 1024
TIMEOUT_SECONDS = 5.0


class StreamUnavailableError(RuntimeError):
    """The stream did not answer, or answered something else than a batch."""


class StoredMessage(NamedTuple):
    """Subject, stream sequence, the stream's own time in epoch ms, and the producer's bytes."""

    subject: str
    seq: int
    ms: int
    data: bytes


class Batch(NamedTuple):
    """Messages in order, and the sequence up to which there are no others."""

    messages: list[StoredMessage]
    complete_upto: int


async def read_batch(
    nats: Nats, stream: str, start: int, upto: int, messages: int = BATCH_MESSAGES
) -> Batch:
    """The next messages of [start, upto]; the caller goes on behind `complete_upto`.

    A callback takes them: half the cost of awaiting each.

    Raises:
        StreamUnavailableError: no whole answer within 5 s.
    """
    found: list[StoredMessage] = []
    seen = start - 1
    ended: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def take(message: Msg) -> None:
        nonlocal seen
        headers = message.headers or {}
        if "Nats-Sequence" in headers:
            seen = int(headers["Nats-Sequence"])
            if seen <= upto:
                ms = epoch_ms(headers["Nats-Time-Stamp"])
                found.append(StoredMessage(headers["Nats-Subject"], seen, ms, message.data))
        elif not ended.done():
            ended.set_result(headers)

    request = {
        "seq": start,
        "batch": min(messages, upto - start + 1),
        "max_bytes": BATCH_BYTES,
    }
    inbox = nats.new_inbox()
    try:
        subscription = await nats.subscribe(inbox, cb=take)
        try:
            await nats.publish(
                f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), reply=inbox
            )
            async with asyncio.timeout(TIMEOUT_SECONDS):
                headers = await ended
        finally:
            await subscription.unsubscribe()
    except (NatsError, TimeoutError) as error:
        raise StreamUnavailableError(
            f"the stream did not answer: {error or type(error).__name__}"
        ) from error
    return Batch(found, min(upto, _complete_upto(headers, seen, start, upto)))


def _complete_upto(headers: dict[str, str], seen: int, start: int, upto: int) -> int:
    """Read the end of a batch: 204 after messages, 404 when there is none from `start` on."""
    status = headers.get("Status", "")
    if status == "404" or (status == "204" and headers.get("Nats-Num-Pending") == "0"):
        return upto
    if status == "204" and seen >= start:
        return seen
    raise StreamUnavailableError(
        f"the stream answered {status or 'nothing'} {headers.get('Description', '')} from "
        f"{start}; batched direct get needs a NATS server of 2.11 or later"
    )


def epoch_ms(text: str) -> int:
    """Epoch milliseconds of the server's time stamp."""
    moment = datetime.fromisoformat(text)
    # By whole numbers: a float of seconds rounds the last millisecond up now and then.
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


async def first_sequence_since(nats: Nats, stream: str, ms: int) -> int | None:
    """Sequence of the first message of that stream time or later; None when there is none yet.

    Raises:
        StreamUnavailableError: no answer within 5 s.
    """
    since = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    request = {"batch": 1, "start_time": since}
    try:
        answer = await nats.request(
            f"$JS.API.DIRECT.GET.{stream}", json.dumps(request).encode(), timeout=TIMEOUT_SECONDS
        )
    except (NatsError, TimeoutError) as error:
        raise StreamUnavailableError(
            f"the stream did not answer: {error or type(error).__name__}"
        ) from error
    headers = answer.headers or {}
    if "Nats-Sequence" in headers:
        return int(headers["Nats-Sequence"])
    if headers.get("Status") == "404":
        return None
    raise StreamUnavailableError(f"the stream answered {headers} when asked for its time {since}")
