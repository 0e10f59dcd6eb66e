"""Calls of the sidecar's HTTP API, without waiting on the test's own event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import jwt
from prometheus_client.parser import text_string_to_metric_families

SECRET = "a secret of at least thirty-two bytes"


def token(company: str | None = None, user: str = "u1", role: str | None = None) -> dict[str, str]:
    """An Authorization header signed with SECRET."""
    claims: dict[str, Any] = {"sub": user, "exp": int(time.time()) + 300}
    if company:
        claims["companyId"] = company
    if role:
        claims["roles"] = [role]
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}


def get(url: str, headers: dict[str, str] | None = None, **parameters: Any) -> Any:
    """The JSON of a GET that must succeed."""
    answer = httpx.get(url, params=parameters, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def fetch(url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """A GET, whatever it answers."""
    return await asyncio.to_thread(httpx.get, url, headers=headers, timeout=30)


async def post(url: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    """A POST with a JSON body."""
    return await asyncio.to_thread(httpx.post, url, json=body, headers=headers, timeout=30)


def samples(url: str, name: str) -> dict[str, float]:
    """Samples of a metric that are not 0, by the value of their label, empty when it has none."""
    return {
        "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
        for sample in family.samples
        if sample.name == name and sample.value
    }
