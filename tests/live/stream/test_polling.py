"""`once=true`: an answer with an end, for clients that can't hold a stream."""

from __future__ import annotations

import asyncio
import json
import re

import httpx

from tests.live.producer import Producer
from tests.live.stream.conftest import StartSidecars


async def ask(url: str, last_id: str = "") -> tuple[str, list[int], str]:
    """The answer's text, its events' numbers and its last id, once it has ended."""
    parameters = {"companyId": "test-company", "once": "true", "lastEventId": last_id}
    answer = await asyncio.to_thread(
        httpx.get, f"{url}/stream/updates", params=parameters, timeout=20
    )
    assert answer.status_code == 200
    numbers = [
        json.loads(data)["n"]
        for data in re.findall(r"event: metric_updated\r?\ndata: (.*)\r?\n", answer.text)
    ]
    return answer.text, numbers, re.findall(r"id: (\S+)", answer.text)[-1]


async def test_polls_one_after_another_have_each_event_once(
    start_both: StartSidecars, producer: Producer
) -> None:
    for sidecar in start_both():
        text, numbers, last_id = await ask(sidecar.url)
        assert numbers == []
        # The order in which a stream begins, and then its end.
        assert re.findall(r"event: (\w+)", text) == ["connected", "bye"]
        assert '"reason":"polled"' in text
        seen = []
        for start in (0, 700, 1400):
            await producer.numbers(start, start + 700)
            while len(seen) < start + 700:
                _, numbers, last_id = await ask(sidecar.url, last_id)
                seen += numbers
        assert seen == list(range(2100))
        stats = (await asyncio.to_thread(httpx.get, f"{sidecar.url}/stream/stats")).json()
        assert stats["connections"]["totalConnections"] == 0
