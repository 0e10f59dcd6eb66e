"""Addresses of the embedded backend follow its ports."""

from __future__ import annotations

import pytest

from config.addresses import api_url, with_embedded_ports
from config.settings import load_settings


def test_addresses_follow_the_ports() -> None:
    settings = load_settings(
        with_embedded_ports({"POSTGRES_PORT": "15432", "NATS_PORT": "14222"}), None
    )
    assert settings.nats_url.get_secret_value() == "nats://127.0.0.1:14222"
    url = settings.database_url.get_secret_value()
    assert url == "postgresql://teei@127.0.0.1:15432/teei_platform"
    assert settings.clickhouse_host == "127.0.0.1"


def test_an_address_that_is_set_stays() -> None:
    given = {
        "NATS_URL": "nats://n:1",
        "DATABASE_URL": "postgresql://d:2/x",
        "CLICKHOUSE_HOST": "c",
        "NATS_PORT": "14222",
        "POSTGRES_PORT": "15432",
    }
    assert with_embedded_ports(given) == given


def test_empty_counts_as_unset() -> None:
    derived = with_embedded_ports({"NATS_URL": "", "NATS_PORT": ""})
    assert derived["NATS_URL"] == "nats://127.0.0.1:4222"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3007"),
        ("0.0.0.0", "http://127.0.0.1:3007"),  # noqa: S104
        ("::1", "http://[::1]:3007"),
    ],
)
def test_the_api_is_reached_where_it_listens(host: str, url: str) -> None:
    settings = load_settings({"HOST_ANALYTICS": host, "ALLOW_ANONYMOUS": "1"}, None)
    assert api_url(settings) == url
