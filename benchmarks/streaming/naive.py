"""The obvious way: a queue, a task and a JSON encoding a client. What ours is compared with."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from sse_starlette import EventSourceResponse

app = FastAPI()
queues: dict[str, set[asyncio.Queue[dict[str, Any]]]] = defaultdict(set)
numbers: dict[str, int] = defaultdict(int)

CompanyId = Annotated[str, Query(alias="companyId")]


@app.post("/publish")
async def publish(company_id: CompanyId, request: Request) -> None:
    event = await request.json()
    numbers[company_id] += 1
    for queue in queues[company_id]:
        queue.put_nowait({"id": numbers[company_id], **event})


@app.get("/stream/updates")
async def updates(company_id: CompanyId) -> EventSourceResponse:
    return EventSourceResponse(_events(company_id))


async def _events(company_id: str) -> AsyncIterator[dict[str, Any]]:
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    queues[company_id].add(queue)
    try:
        while True:
            event = await queue.get()
            number = event.pop("id")
            yield {
                "event": "metric_updated",
                "id": str(number),
                "data": json.dumps(event, separators=(",", ":")),
            }
    finally:
        queues[company_id].discard(queue)
