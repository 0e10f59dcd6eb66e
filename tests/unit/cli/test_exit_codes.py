"""1 is a refusal in one line, 2 is wrong usage or a wrong setting."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_outcome import Analytics


@pytest.fixture
def silent_port() -> Iterator[str]:
    """A port that is taken, so nothing else can answer there, and refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield str(held.getsockname()[1])


@pytest.mark.parametrize(
    ("variable", "arguments", "begins"),
    [
        ("CLICKHOUSE_PORT", ("query", "SELECT 1"), "ClickHouse does not answer at http://"),
        ("POSTGRES_PORT", ("migrate",), "Postgres does not answer at postgresql://"),
        (
            "NATS_PORT",
            ("publish", "metrics.a", '{"companyId":"a"}'),
            "NATS does not answer at nats",
        ),
        ("PORT_ANALYTICS", ("tail", "--company", "a"), "the API does not answer at http://"),
        ("PORT_ANALYTICS", ("cohort", "list", "--company", "a"), "the API does not answer at "),
        ("PORT_ANALYTICS", ("dlq", "list"), "the API does not answer at http://"),
    ],
)
def test_a_server_that_is_away_is_one_line_that_names_it_and_the_way_out(
    analytics: Analytics,
    monkeypatch: pytest.MonkeyPatch,
    silent_port: str,
    variable: str,
    arguments: tuple[str, ...],
    begins: str,
) -> None:
    monkeypatch.setenv(variable, silent_port)
    outcome = analytics(*arguments)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(begins)
    assert f"127.0.0.1:{silent_port}" in outcome.err
    assert "make up" in outcome.err


def test_a_refused_address_is_shown_without_its_password(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch, silent_port: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://teei:hush@127.0.0.1:{silent_port}/x")
    monkeypatch.setenv("NATS_URL", f"nats://user:hush@127.0.0.1:{silent_port}")
    for arguments in (("migrate",), ("publish", "metrics.a", '{"companyId":"a"}')):
        outcome = analytics(*arguments)
        assert outcome.code == 1
        assert "hush" not in outcome.out + outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("tail",),
        ("tail", "--company", "two words"),
        ("tail", "--company", "a", "--types", "metric_updated,metric"),
        ("tail", "--company", "a", "--count", "0"),
        ("token", "--company", "a", "--ttl", "soon"),
        ("token", "--company", "a", "--ttl", "0s"),
        ("publish", "metrics.a"),
        ("publish", "metrics.a", "{}", "-f", "x.jsonl"),
        ("publish", "metrics.>", "{}"),
        ("publish", "metrics..a", "{}"),
        ("query", " ; "),
        ("cohort", "list"),
        ("cohort", "list", "--company", "two words"),
        ("cohort", "create", "X", "--filter", "language=uk", "--company", "a"),
        ("cohort", "create", "X", "--filter", '["uk"]', "--company", "a"),
        ("cohort", "compare", "A", "--company", "a"),
    ],
)
def test_wrong_usage_is_2(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    outcome = analytics(*arguments)
    assert outcome.code == 2
    assert "Error: " in outcome.err


@pytest.mark.parametrize("command", [("migrate",), ("query", "SELECT 1"), ("psql",)])
def test_a_wrong_setting_is_2_and_names_its_variable(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("POSTGRES_PORT", "many")
    outcome = analytics(*command)
    assert outcome.code == 2
    assert outcome.err.startswith("POSTGRES_PORT: ")
    assert outcome.err.count("\n") == 1


def test_ports_in_the_env_file_lead_to_the_same_servers(
    analytics: Analytics, silent_port: str
) -> None:
    Path(".env").write_text(f"NATS_PORT={silent_port}\n", encoding="utf-8")
    outcome = analytics("publish", "metrics.a", '{"companyId":"a"}')
    assert f"nats://127.0.0.1:{silent_port}" in outcome.err
