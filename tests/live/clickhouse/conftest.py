"""One embedded ClickHouse for the folder's tests, a database of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from clickhouse_connect.driver.client import Client

from tests.live.clickhouse.process import ClickHouseProcess, running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    """The process that most tests share."""
    with running(tmp_path_factory.mktemp("clickhouse")) as process:
        yield process


@pytest.fixture
def http(server: ClickHouseProcess) -> Iterator[httpx.Client]:
    """A plain HTTP client."""
    with server.http() as client:
        yield client


@pytest.fixture
def database(http: httpx.Client) -> Iterator[str]:
    """The name of an empty database."""
    name = f"t_{uuid.uuid4().hex}"
    http.post("/", content=f"CREATE DATABASE {name}").raise_for_status()
    yield name
    http.post("/", content=f"DROP DATABASE {name} SYNC").raise_for_status()


@pytest.fixture
def client(server: ClickHouseProcess, database: str) -> Iterator[Client]:
    """A clickhouse-connect client of the test's database."""
    with closing(server.client(database)) as connected:
        yield connected
