"""Connections as the pipelines open them, to the test's own databases."""

from collections.abc import Iterator

import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config import Settings
from pipelines.databases import Databases


@pytest.fixture
def nats_url() -> str:
    """Nothing here talks to NATS; starting one a test would be half of this folder's time."""
    return "nats://127.0.0.1:1"


@pytest.fixture
def databases(settings: Settings) -> Databases:
    return Databases(lambda: settings)


@pytest.fixture
def pipeline_pg(databases: Databases) -> Iterator[psycopg.Connection]:
    with databases.postgres() as connection:
        yield connection


@pytest.fixture
def pipeline_ch(databases: Databases) -> Iterator[Client]:
    with databases.clickhouse() as client:
        yield client
