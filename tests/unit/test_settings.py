"""Settings: read once, refused one line each, never leaking a secret, all of them documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config import Settings, SettingsError, load_settings
from config.addresses import with_embedded_ports
from config.settings import SECRET_VARIABLES, read_variables, variable_names
from embedded.addresses import derive

EXAMPLE = Path(__file__).parents[2] / ".env.example"
SECRET = "s3cret-that-nobody-may-see"


def test_defaults_need_no_variable() -> None:
    settings = load_settings({}, None)
    assert settings.port_analytics == 3007
    assert not settings.auth_enabled
    assert settings.origins == ()


def test_environment_wins_over_file_and_empty_counts_as_unset(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("NATS_PORT=1\nPOSTGRES_PORT=2\nDEMO=0\n")
    settings = load_settings({"NATS_PORT": "3", "POSTGRES_PORT": ""}, env_file)
    assert settings.nats_port == 3
    # An empty variable hides the file's value: it is how a caller takes one back.
    assert settings.postgres_port == 5432
    assert settings.demo is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT_ANALYTICS", "http"),
        ("PORT_ANALYTICS", "65536"),
        ("PORT_ANALYTICS", "-1"),
        ("STREAMING_ENABLED", "maybe"),
        ("CLICKHOUSE_ENABLED", "2"),
        ("CLICKHOUSE_PORT", "8123/tcp"),
        ("CLICKHOUSE_DATABASE", "a-b"),
        ("CLICKHOUSE_DATABASE", "x; DROP"),
        ("CLICKHOUSE_BATCH_SIZE", "0"),
        ("CLICKHOUSE_BATCH_TIMEOUT_MS", "soon"),
        ("NATS_URL", "localhost:4222"),
        ("NATS_URL", "http://localhost:4222"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("REDIS_URL", "localhost"),
        ("ALERT_WEBHOOK_URL", "ftp://example.com"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "example.com"),
        ("ALLOWED_ORIGINS", "https://example.com/path"),
        ("EVENT_SUBJECTS", "metrics.>,orders.>"),
        ("EVENT_SUBJECTS", ">"),
        ("EVENT_SUBJECTS", ","),
        ("EVENT_SUBJECTS", "*.calculated"),
        ("EVENT_SUBJECTS", "metrics.>.more"),
        ("EVENT_SUBJECTS", "metrics..x"),
        ("EVENT_SUBJECTS", "metrics x"),
        ("HOST_ANALYTICS", "0.0.0.0"),  # noqa: S104  # refused is what is tested
        ("STREAM_HEARTBEAT_S", "0"),
        ("STREAM_BUFFER_BYTES", "1"),
        ("STREAM_PACE_MS", "-1"),
        ("STREAM_MAX_LIFETIME_S", "-1"),
        ("STREAM_MAX_CONNECTIONS", "none"),
        ("RETENTION_EVENTS_DAYS", "0"),
        ("BACKUP_KEEP_DAYS", "a month"),
        ("BACKUP_TARGET", "/var/backups"),
        ("BACKUP_TARGET", "s3://"),
        ("BACKUP_TARGET", "s3://key:secret@bucket"),
        ("BACKUP_TARGET", "s3://bucket?endpoint=host:9000"),
        ("DEMO", "please"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({name: value}, None)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"{name}: ")


def test_every_bad_value_has_its_own_line() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({"PORT_ANALYTICS": "x", "NATS_PORT": "y", "DEMO": "z"}, None)
    named = {line.split(":")[0] for line in str(refused.value).splitlines()}
    assert named == {"PORT_ANALYTICS", "NATS_PORT", "DEMO"}


@pytest.mark.parametrize("name", sorted({"NATS_URL", "DATABASE_URL", "REDIS_URL"}))
def test_a_refused_secret_is_not_echoed(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({name: f"wrong://user:{SECRET}@host"}, None)
    assert name in str(refused.value)
    assert SECRET not in str(refused.value)


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    values = {
        "JWT_SECRET": SECRET,
        "CLICKHOUSE_PASSWORD": SECRET,
        "NATS_URL": f"nats://user:{SECRET}@host",
        "DATABASE_URL": f"postgresql://user:{SECRET}@host/db",
        "REDIS_URL": f"redis://:{SECRET}@host",
        "ALERT_WEBHOOK_URL": f"https://hooks.example.com/{SECRET}",
    }
    assert set(values) == SECRET_VARIABLES
    settings = load_settings(values, None)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()}"
    assert settings.auth_enabled


def test_without_authentication_only_loopback_is_allowed() -> None:
    everywhere = {"HOST_ANALYTICS": "0.0.0.0"}  # noqa: S104  # nothing listens here
    with pytest.raises(SettingsError, match="set JWT_SECRET or JWT_JWKS_URL, or ALLOW_ANONYMOUS=1"):
        load_settings(everywhere, None)
    assert load_settings({**everywhere, "JWT_SECRET": SECRET}, None).auth_enabled
    assert load_settings({**everywhere, "ALLOW_ANONYMOUS": "1"}, None).allow_anonymous
    for host in ("127.0.0.1", "127.8.0.1", "localhost", "::1"):
        assert load_settings({"HOST_ANALYTICS": host}, None).host_analytics == host


def test_example_file_has_every_setting_and_nothing_else() -> None:
    named = re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=", EXAMPLE.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(set(named)), "a setting stands twice"
    assert set(named) == set(variable_names())


def test_example_file_shows_the_defaults(tmp_path: Path) -> None:
    uncommented = tmp_path / ".env"
    text = re.sub(r"^# ([A-Z][A-Z0-9_]*=)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    uncommented.write_text(text)
    assert load_settings({}, uncommented) == Settings()


def test_example_file_sets_nothing_as_it_is() -> None:
    assert read_variables({}, EXAMPLE) == {}


def test_addresses_follow_the_ports() -> None:
    settings = derive({"NATS_PORT": "14222", "POSTGRES_PORT": "15432"}).settings
    assert settings.nats_url.get_secret_value() == "nats://127.0.0.1:14222"
    assert settings.database_url.get_secret_value().endswith("@127.0.0.1:15432/teei_platform")
    assert settings.clickhouse_host == "127.0.0.1"
    assert with_embedded_ports({"NATS_URL": "nats://other:1"})["NATS_URL"] == "nats://other:1"


def test_port_zero_is_chosen_once() -> None:
    addresses = derive({"NATS_PORT": "0", "PORT_ANALYTICS": "0"})
    assert addresses.settings.nats_port > 0
    assert addresses.variables["NATS_PORT"] == str(addresses.settings.nats_port)
    assert addresses.variables["NATS_URL"].endswith(f":{addresses.settings.nats_port}")
    assert addresses.api_url == f"http://127.0.0.1:{addresses.settings.port_analytics}"


@pytest.mark.parametrize(
    ("name", "value", "port"),
    [
        ("NATS_URL", "nats://localhost:4222", "NATS_PORT"),
        ("DATABASE_URL", "postgresql://teei@localhost/x", "POSTGRES_PORT"),
        ("CLICKHOUSE_HOST", "localhost", "CLICKHOUSE_PORT"),
    ],
)
def test_make_up_refuses_an_address_that_it_derives(name: str, value: str, port: str) -> None:
    with pytest.raises(SettingsError) as refused:
        derive({name: value})
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{name} is set")
    assert port in str(refused.value)
