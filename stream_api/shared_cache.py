"""Cache and budgets in Redis, shared by all instances. Needs the extra `redis`.

Redis is a helper, never a condition: while it is away answers are computed and budgets kept in
process, and it is asked again after some seconds. A key holds the version of its data, so that
nothing has to be invalidated; what is not asked for any more expires.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from stream_api.budget import LocalBudget, burst_of
from stream_api.query_cache import Answer, Question

logger = logging.getLogger(__name__)

PREFIX = "analytics"
# An answer older than this was not asked for in a while; its version has most often passed as well.
KEEP_SECONDS = 300
ANSWER_SECONDS = 0.25
# Every request would wait for a Redis that is away; one every few seconds does.
AWAY_SECONDS = 5.0
# Larger ones cost more to move than to compute, and one company's would push out the others'.
MAX_ANSWER_BYTES = 512 * 1024

# A token bucket by Redis's own clock. Returns the microseconds until there is a token, 0 for taken.
TAKE_ONE = """
local now = redis.call('TIME')
local micros = now[1] * 1000000 + now[2]
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(kept[1]) or burst
tokens = math.min(burst, tokens + (micros - (tonumber(kept[2]) or micros)) * rate / 1000000)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = math.ceil((1 - tokens) / rate * 1000000) end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.0f', micros))
redis.call('EXPIRE', KEYS[1], math.ceil(burst / rate) + 1)
return wait
"""

T = TypeVar("T")


class SharedStore:
    """Both a `QueryCache` and a `Budget`; `answers` says whether Redis did at the last call."""

    def __init__(
        self, url: str, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            # A second attempt is the next request's, after the pause.
            retry=Retry(NoBackoff(), 0),
        )
        self._take = self._redis.register_script(TAKE_ONE)
        self._rate = per_minute / 60
        self._burst = burst_of(per_minute)
        self._local = LocalBudget(per_minute)
        self._clock = clock
        self._away_until = float("-inf")
        self.answers: bool | None = None

    async def get(self, question: Question, version: str) -> Answer | None:
        kept: Any = await self._ask(lambda: self._redis.hgetall(_key(question, version)))
        if not kept:
            return None
        return Answer(kept[b"body"], kept[b"etag"].decode())

    async def put(self, question: Question, version: str, answer: Answer) -> None:
        if len(answer.body) > MAX_ANSWER_BYTES:
            return
        key = _key(question, version)

        async def write() -> None:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(key, mapping={"body": answer.body, "etag": answer.etag})
                pipeline.expire(key, KEEP_SECONDS)
                await pipeline.execute()

        await self._ask(write)

    async def take(self, company_id: str) -> float:
        key = f"{PREFIX}:budget:{company_id}"
        wait = await self._ask(lambda: self._take(keys=[key], args=[self._rate, self._burst]))
        return await self._local.take(company_id) if wait is None else int(wait) / 1e6

    async def ping(self) -> bool:
        """Whether Redis answers now."""
        return await self._ask(self._redis.ping) is not None

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """What Redis says; None while it is away."""
        if self._clock() < self._away_until:
            return None
        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS):
                value: Any = await call()
        except (RedisError, OSError, TimeoutError) as error:
            if self.answers is not False:
                logger.warning(
                    "Redis does not answer, going on without it: %s", type(error).__name__
                )
            self.answers = False
            self._away_until = self._clock() + AWAY_SECONDS
            return None
        if not self.answers:
            logger.info("Redis client initialized")
        self.answers = True
        return value  # type: ignore[no-any-return]


def _key(question: Question, version: str) -> str:
    """The company stands in the key as it is; the rest, which may be long, by its hash."""
    text = f"{question.route}\0{question.parameters}\0{version}"
    return f"{PREFIX}:answer:{question.company_id}:{hashlib.sha256(text.encode()).hexdigest()}"
