"""Every answer names its request, faults included; a caller's id is kept when it can be."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from config.logging import REQUEST_ID
from stream_api.errors import Refusal, install_error_handlers
from stream_api.request_ids import HEADER, RequestIds

MADE = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def client() -> AsyncClient:
    app = FastAPI()
    install_error_handlers(app)
    app.add_middleware(RequestIds)

    @app.get("/named")
    async def _named() -> str:
        return REQUEST_ID.get()

    @app.get("/refused")
    async def _refused() -> None:
        raise Refusal(429, "too many", 1)

    @app.get("/faulty")
    async def _faulty() -> None:
        raise ZeroDivisionError

    transport = ASGITransport(app, raise_app_exceptions=False)
    return AsyncClient(transport=transport, base_url="http://analytics")


@pytest.mark.parametrize("path", ["/named", "/refused", "/faulty", "/absent"])
async def test_every_answer_names_its_request(client: AsyncClient, path: str) -> None:
    ids = [(await client.get(path)).headers[HEADER] for _ in range(2)]
    assert all(MADE.fullmatch(one) for one in ids)
    assert ids[0] != ids[1]
    kept = await client.get(path, headers={HEADER: "from-the-proxy:1"})
    assert kept.headers.get_list(HEADER) == ["from-the-proxy:1"]


async def test_the_id_of_the_answer_is_the_one_in_the_log(client: AsyncClient) -> None:
    answer = await client.get("/named")
    assert answer.json() == answer.headers[HEADER]


@pytest.mark.parametrize("odd", ["", "two words", "a=b", 'a"', "x" * 101, "-leading", "ä"])
async def test_an_id_that_could_pass_for_something_else_is_replaced(
    client: AsyncClient, odd: str
) -> None:
    answer = await client.get("/named", headers={HEADER: odd.encode()})
    assert MADE.fullmatch(answer.headers[HEADER])


async def test_an_error_body_has_the_contract_s_two_members(
    client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/faulty")
    assert answer.json().keys() == {"error", "message"}
    (record,) = (r for r in caplog.records if r.message == "fault of the server")
    assert record.exc_info is not None
