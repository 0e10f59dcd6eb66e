"""`analytics cohort` by a real sidecar with authentication: as a person reads it, and a program."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from cli.__main__ import main
from config.settings import Settings, variable_names
from pipelines.databases import Databases
from pipelines.defs.cohorts.sync import sync_cohorts
from tests.live.sidecar import SidecarProcess, environment

SECRET = "a secret of at least thirty-two bytes"
COMPANY = ("--company", "acme")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sidecar(settings: Settings) -> Iterator[SidecarProcess]:
    with SidecarProcess(settings, JWT_SECRET=SECRET) as process:
        yield process


@pytest.fixture
def cohort(
    settings: Settings,
    sidecar: SidecarProcess,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Exit code, output and errors of `analytics cohort …`."""
    known = environment(settings, JWT_SECRET=SECRET, PORT_ANALYTICS=sidecar.url.rpartition(":")[2])
    for name in (*variable_names(), "ANALYTICS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        if name in known:
            monkeypatch.setenv(name, known[name])

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(["cohort", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def populate(pg: psycopg.Connection, ch: Client) -> None:
    """Six people of each language with a value a period, higher for `uk`."""
    pg.execute(
        "INSERT INTO users (company_id, email, language, program) SELECT 'acme', n || '@a.com',"
        " CASE WHEN n <= 6 THEN 'uk' ELSE 'ar' END, 'mentorship' FROM generate_series(1, 12) AS n"
    )
    users = pg.execute("SELECT id::text, language FROM users ORDER BY email").fetchall()
    rows = [
        f"('acme', 'integration_score', {(0.7 if language == 'uk' else 0.4) + 0.01 * number},"
        f" '{period}', now(), '{user}', '', 'm-{number}-{period}')"
        for period in ("2025-10-01", "2025-11-01")
        for number, (user, language) in enumerate(users)
    ]
    ch.command(f"INSERT INTO metrics_timeseries VALUES {', '.join(rows)}")


def test_a_cohort_from_its_filter_to_its_comparison(
    cohort: Run, settings: Settings, pg: psycopg.Connection, ch: Client
) -> None:
    populate(pg, ch)
    assert cohort("list", *COMPANY)[:2] == (
        0,
        "no cohorts; make one with `analytics cohort create`\n",
    )
    for name, language in (("Ukrainian", "uk"), ("Arabic", "ar")):
        code, out, err = cohort(
            "create", name, "--filter", json.dumps({"language": language}), *COMPANY
        )
        assert code == 0, err
        assert ": 6 members " in out
    databases = Databases(lambda: settings)
    with databases.postgres() as platform, databases.clickhouse() as warehouse:
        sync_cohorts(platform, warehouse)

    lines = cohort("list", *COMPANY)[1].splitlines()
    assert lines[0].split() == ["COHORT", "MEMBERS", "CHANGED", "NAME"]
    assert [(line.split()[1], line.split()[-1]) for line in lines[1:]] == [
        ("6", "Arabic"),
        ("6", "Ukrainian"),
    ]
    listed = json.loads(cohort("list", *COMPANY, "--json")[1])["cohorts"]
    uk = next(one["cohortId"] for one in listed if one["name"] == "Ukrainian")

    # By name and by id it is the same cohort.
    by_name = json.loads(cohort("show", "Ukrainian", *COMPANY, "--json")[1])
    assert by_name["cohort"]["cohortId"] == uk
    shown = cohort("show", uk, *COMPANY)[1]
    assert 'filters      {"language": "uk"}' in shown
    assert "METRIC IN 2025-11-01" in shown

    why = cohort("members", "Ukrainian", "--explain", "--limit", "5", *COMPANY)[1].splitlines()
    assert len(why) == 1 + 5 + 1
    assert all(line.endswith("filter: language is uk") for line in why[1:6])
    assert why[6] == "and more; --limit 50 shows them"
    everybody = json.loads(cohort("members", uk, *COMPANY, "--json")[1])
    assert (len(everybody["members"]), everybody["more"]) == (6, False)

    figures = cohort("metrics", uk, "--metric", "integration_score", *COMPANY)[1].splitlines()
    assert [line.split()[0] for line in figures] == ["PERIOD", "2025-10-01", "2025-11-01"]
    later = json.loads(
        cohort(
            *("metrics", uk, "--metric", "integration_score", "--from", "2025-11-01", "--json"),
            *COMPANY,
        )[1]
    )
    assert [row["sampleSize"] for row in later["data"]] == [6]

    code, out, err = cohort(
        "compare", "Arabic", "Ukrainian", "--metric", "integration_score", *COMPANY
    )
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "integration_score in 2025-11-01"
    assert [line.split()[-1] for line in lines[3:5]] == ["Ukrainian", "Arabic"]
    assert " to " in lines[-1]
    assert {"Ukrainian", "Arabic"} <= set(lines[-1].split())
    assert cohort("create", "Nobody", "--filter", '{"language": "xx"}', *COMPANY)[0] == 0
    _, out, _ = cohort("compare", "Arabic", "Nobody", "--metric", "integration_score", *COMPANY)
    assert out.splitlines()[-1].startswith("1 more without data there")


def test_what_is_refused_says_why(cohort: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = cohort("create", "X", "--filter", '{"lang": "uk"}', *COMPANY)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("the API answered 400: filters: unknown filter key 'lang'")
    code, _, err = cohort("show", "Nobody", *COMPANY)
    assert (code, err) == (
        1,
        "there is no cohort named 'Nobody'; `analytics cohort list` shows them\n",
    )
    code, _, err = cohort("show", "00000000-0000-0000-0000-000000000000", *COMPANY)
    assert code == 1
    assert err.startswith("the API answered 404: ")
    monkeypatch.setenv("ANALYTICS_TOKEN", "no token")
    code, _, err = cohort("list", *COMPANY)
    assert code == 1
    assert err.startswith("the API answered 401: ")
