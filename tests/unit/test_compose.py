"""The compose file as far as it can be checked without an engine: its schema, and that all that it
names is there.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.settings import variable_names
from sql.migrations import split_statements

REPOSITORY = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if one.get("build")}
# Dagster's own and S3's, beside our settings.
OTHER_VARIABLES = {
    *("DAGSTER_POSTGRES_URL", "DAGSTER_HOME"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
}
INTERPOLATED = re.compile(r"\$\{(\w+):-(.*?)\}")


def text_of(values: Any) -> str:
    return " ".join(map(str, values))


def test_the_file_fits_the_compose_schema() -> None:
    # The schema comes with the package: nothing is fetched.
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(REPOSITORY / "docker-compose.yml")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_core_needs_no_profile_and_monitoring_is_two_services() -> None:
    profiles = {name: one.get("profiles", []) for name, one in SERVICES.items()}
    assert {name for name, of in profiles.items() if of} == {"prometheus", "grafana"}
    assert all(of in ([], ["monitoring"]) for of in profiles.values())


def test_every_port_is_published_on_loopback_only() -> None:
    ports = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert len(ports) == 7
    assert all(port.startswith("127.0.0.1:") for port in ports)
    published = [INTERPOLATED.sub(r"\2", port).split(":")[1] for port in ports]
    assert len(set(published)) == len(published)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_fixed_image_a_healthcheck_and_its_files(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":(v?\d|local$)", service["image"]), service["image"]
    # These end by themselves.
    assert (name in {"migrate", "row-policies"}) != ("healthcheck" in service)
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (REPOSITORY / source).exists(), volume
            assert volume.endswith(":ro"), volume
        else:
            assert source in COMPOSE["volumes"], volume
    for other, condition in service.get("depends_on", {}).items():
        state = condition["condition"]
        assert state != "service_healthy" or "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_given_settings_that_exist(name: str) -> None:
    given = OURS[name]["environment"].keys()
    assert given - OTHER_VARIABLES <= set(variable_names())
    # .env is read as well, and what it says about this machine's ports must not reach inside.
    assert {"PORT_ANALYTICS", "CLICKHOUSE_PORT", "CLICKHOUSE_HOST", "NATS_URL"} <= given


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_commands_that_the_image_has(name: str) -> None:
    for words in (
        OURS[name]["command"],
        OURS[name].get("healthcheck", {}).get("test", ["CMD"])[1:],
    ):
        if words[:2] == ["python", "-m"]:
            assert find_spec(words[2]), words
        elif words:
            assert (REPOSITORY / ".venv" / "bin" / words[0]).exists(), words


def test_the_file_says_which_passwords_there_are() -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text()
    header = text[: text.index("\nname:")]
    passwords = {name for name, _ in INTERPOLATED.findall(text) if name.endswith("PASSWORD")}
    assert len(passwords) == 4
    assert all(f"{name}=" in header for name in passwords)


def test_the_image_runs_as_somebody_and_without_what_only_tests_need() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    last = len(lines) - 1 - lines[::-1].index(next(x for x in lines[::-1] if x.startswith("FROM")))
    assert "USER analytics" in lines[last:]
    assert any(line.startswith("HEALTHCHECK") for line in lines[last:])
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    assert {".git", ".env", ".venv", ".data", "tests"} <= set(ignored)
    assert re.findall(r"--extra (\w+)", "\n".join(lines)) == ["redis"]


def test_every_table_that_a_companys_reader_may_read_has_both_policies() -> None:
    text = (REPOSITORY / "deploy" / "clickhouse" / "row_policies.sql").read_text()
    statements = split_statements(re.sub(r"^--.*$", "", text, flags=re.MULTILINE))
    named = [(one.split()[0], set(re.findall(r"teei_analytics\.(\w+)", one))) for one in statements]
    granted = set().union(*(tables for verb, tables in named if verb == "GRANT"))
    policies = [tables for verb, tables in named if verb == "CREATE" and tables]
    # A view has its tables' policies.
    assert [{one for one in granted if not one.endswith("_mv")}] * 2 == policies
    # Nobody else ever finds a table empty, and the role never one without its policy.
    verbs = [verb for verb, _ in named]
    assert verbs == sorted(verbs)
    assert text.index("every_company") < text.index("own_company")
