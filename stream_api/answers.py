"""From a question to an answer: out of the cache, or computed once for all who ask at the time."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel

from stream_api.budget import Budget
from stream_api.data_version import DataVersions, Kind
from stream_api.directory import Cohorts
from stream_api.entity_tag import names_tag
from stream_api.errors import Refusal
from stream_api.query_cache import Answer, QueryCache, Question
from stream_api.telemetry import QueryMetrics

T = TypeVar("T")
Compute = Callable[[], Coroutine[Any, Any, BaseModel]]

# nginx's number for a client that has gone; nobody reads the answer, only the metrics count it.
CLIENT_GONE = 499


@dataclass
class _Flight:
    """A computation, and how many wait for it."""

    task: asyncio.Task[Answer]
    waiting: int = 0


class Answers:
    """Gives answers of one instance; the cache and the budget may be shared by several."""

    def __init__(
        self, versions: DataVersions, cache: QueryCache, budget: Budget, metrics: QueryMetrics
    ) -> None:
        self._versions = versions
        self._cache = cache
        self._budget = budget
        self._metrics = metrics
        self._flights: dict[tuple[Question, str], _Flight] = {}

    async def give(
        self, request: Request, cohorts: Cohorts, kind: Kind, question: Question, compute: Compute
    ) -> Response:
        """The answer to `question`, with `X-Cache` and `ETag`; 304 when the client has it.

        `compute` makes the answer of the current data. It is cancelled, and its query with it, when
        every client that waits for it has gone.

        Raises:
            Refusal: 429 when the company's budget is used up; what `compute` raises.
        """
        data = await self._versions.of(cohorts.company_id, kind)
        version = f"{data}.{cohorts.version}"
        answer = await self._cache.get(question, version)
        self._metrics.answers.labels("hit" if answer else "miss").inc()
        if answer is not None:
            return _respond(request, answer, "hit")
        computed = await _while_connected(request, self._compute_once(question, version, compute))
        if computed is None:
            self._metrics.abandoned.inc()
            return Response(status_code=CLIENT_GONE)
        return _respond(request, computed, "miss")

    async def _compute_once(self, question: Question, version: str, compute: Compute) -> Answer:
        key = (question, version)
        flight = self._flights.get(key)
        if flight is None:
            # Between here and the flight's start nothing may be awaited but the budget, which is
            # looked at again below: who waited for it may find that another has started.
            wait = await self._budget.take(question.company_id)
            if wait:
                self._metrics.over_budget.inc()
                raise Refusal(
                    429,
                    f"company {question.company_id} has used up its queries; try again later",
                    math.ceil(wait),
                )
            flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.create_task(self._compute(question, version, compute)))
            self._flights[key] = flight
            flight.task.add_done_callback(lambda task: self._landed(key, task))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                # At once: who comes now must not join a computation that is being cancelled.
                self._flights.pop(key, None)
                flight.task.cancel()

    async def _compute(self, question: Question, version: str, compute: Compute) -> Answer:
        answer = encode(await compute())
        await self._cache.put(question, version, answer)
        return answer

    def _landed(self, key: tuple[Question, str], task: asyncio.Task[Answer]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # those who waited were told; nobody may be left


def encode(model: BaseModel) -> Answer:
    """The bytes of an answer, and a tag of what it says.

    `asOf` is not in the tag: the same figures of a later moment are the same answer. That makes the
    tag a weak one.
    """
    body = model.model_dump_json(by_alias=True, exclude_unset=True).encode()
    said = model.model_dump_json(by_alias=True, exclude_unset=True, exclude={"as_of"}).encode()
    return Answer(body, f'W/"{hashlib.sha256(said).hexdigest()[:32]}"')


def _respond(request: Request, answer: Answer, outcome: str) -> Response:
    headers = {
        "ETag": answer.etag,
        "X-Cache": outcome,
        # A browser may keep it, and asks each time whether it is still right.
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization, Cookie",
    }
    tags = request.headers.get("if-none-match", "")
    if tags and request.method == "GET" and names_tag(tags, answer.etag):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type="application/json", headers=headers)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None, and `work` cancelled, when the client goes before."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_client_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        gone.cancel()
        await _end(task)


async def _client_gone(request: Request) -> None:
    # The body was read before the route was called, so all that is left to come is the end.
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _end(task: asyncio.Task[Any]) -> None:
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
