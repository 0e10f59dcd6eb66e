"""`token` signs what the sidecar accepts; `psql` hands the connection over without showing it."""

from __future__ import annotations

import json
import os
import time

import jwt
import pytest
from cli_outcome import Analytics

from pipelines.postgres_programs import connection_variables, find_program

SECRET = "a secret of at least thirty-two bytes"


def test_a_token_carries_company_user_role_and_end(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.example")
    monkeypatch.setenv("JWT_AUDIENCE", "analytics")
    outcome = analytics(
        "token", "--company", "acme", "--user", "u1", "--role", "system_admin", "--ttl", "8h"
    )
    assert outcome.code == 0
    assert outcome.err == ""
    claims = jwt.decode(
        outcome.out.strip(),
        SECRET,
        algorithms=["HS256"],
        audience="analytics",
        issuer="https://issuer.example",
    )
    assert claims["companyId"] == "acme"
    assert claims["sub"] == "u1"
    assert claims["roles"] == ["system_admin"]
    assert claims["exp"] == pytest.approx(time.time() + 8 * 3600, abs=30)


def test_a_token_as_json_says_how_long_it_is_valid(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    answer = json.loads(analytics("token", "--company", "acme", "--ttl", "30m", "--json").out)
    assert answer["expiresIn"] == 1800
    claims = jwt.decode(answer["token"], SECRET, algorithms=["HS256"])
    assert claims["exp"] - claims["iat"] == 1800


def test_a_short_secret_is_said_once(analytics: Analytics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "short")
    outcome = analytics("token", "--company", "acme")
    assert outcome.code == 0
    assert outcome.err.count("\n") == 1
    assert "32 bytes" in outcome.err


def test_without_a_secret_there_is_no_token(analytics: Analytics) -> None:
    outcome = analytics("token", "--company", "acme")
    assert outcome.code == 1
    assert outcome.out == ""
    assert "JWT_SECRET is not set" in outcome.err


def test_psql_gets_all_arguments_and_the_connection_by_its_environment(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://teei:hush@db.example:5433/teei_platform")
    run: dict[str, object] = {}

    def execve(program: str, arguments: list[str], environment: dict[str, str]) -> None:
        run.update(program=program, arguments=arguments, environment=environment)

    monkeypatch.setattr(os, "execve", execve)
    outcome = analytics("psql", "-U", "teei", "-c", "SELECT 1", "--json", "--format=x")
    assert outcome.code == 0
    assert run["arguments"] == [
        find_program("psql"), "-U", "teei", "-c", "SELECT 1", "--json", "--format=x"
    ]  # fmt: skip
    environment = run["environment"]
    assert isinstance(environment, dict)
    assert environment["PGHOST"] == "db.example"
    assert environment["PGPASSWORD"] == "hush"
    assert environment["PATH"] == os.environ["PATH"]


def test_every_part_of_a_url_has_its_variable() -> None:
    assert connection_variables(
        "postgresql://u:p%40ss@h:1/d?sslmode=require&application_name=x&connect_timeout=3"
    ) == {
        "PGUSER": "u",
        "PGPASSWORD": "p@ss",
        "PGHOST": "h",
        "PGPORT": "1",
        "PGDATABASE": "d",
        "PGSSLMODE": "require",
        "PGAPPNAME": "x",
        "PGCONNECT_TIMEOUT": "3",
    }
