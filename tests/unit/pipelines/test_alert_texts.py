"""What an alert may say, where it points to, and how bad a lag and a rate of failures are."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import Settings
from pipelines.defs.alerts.condition import Severity, span
from pipelines.defs.alerts.decision import Alert
from pipelines.defs.alerts.masking import MAX_CHARACTERS, mask
from pipelines.defs.alerts.message import SHOWN_ALERTS, compose
from pipelines.defs.alerts.sources.sidecar import (
    WINDOW_SECONDS,
    Rate,
    Sample,
    failing_streams,
    keep,
    rate,
)
from pipelines.defs.alerts.sources.stream import judge
from pipelines.event_stream import SinkLag

REPOSITORY = Path(__file__).parents[3]
SECRET = "hunter2-hunter2"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOUR = 3600.0


def test_every_alert_says_where_it_is_written_what_to_do() -> None:
    anchors = {
        anchor
        for path in (REPOSITORY / "pipelines/defs/alerts").rglob("*.py")
        for anchor in re.findall(r'"(alert-[a-z]+)"', path.read_text(encoding="utf-8"))
    }
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).strip().replace(" ", "-")
        for line in (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    }
    assert len(anchors) >= 8
    assert anchors | {"alerts"} <= headings


@pytest.mark.parametrize(
    "text",
    [
        f"connection to postgresql://teei:{SECRET}@db:5432/x failed",
        f"host=db user=teei password={SECRET} dbname=x",
        f"Authorization token: {SECRET}",
    ],
)
def test_a_password_is_masked_wherever_it_comes_from(text: str) -> None:
    assert SECRET not in mask(text, Settings())


@pytest.mark.parametrize(
    "settings",
    [
        Settings(clickhouse_password=SecretStr(SECRET)),
        Settings(database_url=SecretStr(f"postgresql://teei:{SECRET}@db/x")),
        Settings(alert_webhook_url=SecretStr(f"https://hooks.example.com/{SECRET}")),
        Settings(jwt_secret=SecretStr(SECRET)),
    ],
)
def test_our_own_secrets_are_masked_in_any_words(settings: Settings) -> None:
    assert SECRET not in mask(f"the server did not like '/{SECRET}'", settings)


def test_a_text_is_one_bounded_line() -> None:
    assert mask("a\n  b", Settings()) == "a b"
    assert len(mask("x" * 5000, Settings())) == MAX_CHARACTERS


def alert(number: int, **changes: object) -> Alert:
    return Alert(
        **{
            "key": f"run/{number}",
            "opened_at": NOW - timedelta(hours=3),
            "severity": Severity.ERROR,
            "text": "run <!channel> & more",
            "see": "alert-run",
            "next_send_at": NOW,
            **changes,
        }  # type: ignore[arg-type]  # a bag of defaults
    )


def test_a_message_is_slacks_text_and_fields_of_every_alert() -> None:
    body = compose([alert(number) for number in range(SHOWN_ALERTS + 5)], NOW)
    lines = body["text"].splitlines()
    assert lines[0] == "analytics: 25 alerts"
    assert lines[1] == (
        "[error] run &lt;!channel&gt; &amp; more, open for 3 h. "
        "What to do: docs/operations.md#alert-run"
    )
    assert lines[-1] == "… and 5 more: analytics alert list"
    assert len(body["alerts"]) == SHOWN_ALERTS + 5
    assert body["alerts"][0]["ageSeconds"] == 3 * HOUR
    [ended] = compose([alert(1, resolved_at=NOW)], NOW)["alerts"]
    assert ended["state"] == "resolved"


@pytest.mark.parametrize(
    ("lag", "severity"),
    [
        (SinkLag(1, 599, 24 * HOUR), None),
        (SinkLag(1, 600, 24 * HOUR), Severity.WARNING),
        (SinkLag(1, HOUR, 24 * HOUR), Severity.ERROR),
        (SinkLag(1, 6 * HOUR - 1, 24 * HOUR), Severity.ERROR),
        (SinkLag(1, 6 * HOUR, 24 * HOUR), Severity.CRITICAL),
        (SinkLag(1, 6 * HOUR, 0), Severity.CRITICAL),
        (SinkLag(1, HOUR, 4 * HOUR), Severity.CRITICAL),
    ],
)
def test_a_lag_is_as_bad_as_what_is_left_of_the_window(
    lag: SinkLag, severity: Severity | None
) -> None:
    assert judge(lag) is severity


def test_a_restart_of_the_sidecar_is_no_failure() -> None:
    samples = [Sample(0, 100, 50, 9), Sample(30, 4, 0, 1), Sample(60, 10, 1, 1)]
    assert rate(samples) == Rate(tried=12, failed=2, seconds=60)
    assert rate([]) == Rate(0, 0, 0.0)


def test_samples_reach_back_over_the_window_and_no_further() -> None:
    samples: list[Sample] = []
    for at in range(0, 1000, 30):
        samples = keep(samples, Sample(at, at, 0, 0))
    assert samples[-1].at - samples[0].at == WINDOW_SECONDS
    assert len(samples) == 11


@pytest.mark.parametrize(
    ("opened", "refused", "severity"),
    [(0, 9, None), (1000, 10, None), (90, 10, Severity.WARNING), (30, 10, Severity.ERROR)],
)
def test_a_handful_is_no_alert_and_a_quarter_is_an_error(
    opened: int, refused: int, severity: Severity | None
) -> None:
    found = list(failing_streams([Sample(0, 0, 0, 0), Sample(60, opened, refused, 0)]))
    assert [one.severity for one in found] == ([severity] if severity else [])


def test_spans_are_words() -> None:
    assert [span(one) for one in (5, 600, 3 * HOUR, 72 * HOUR)] == [
        "5 s",
        "10 min",
        "3 h",
        "3 days",
    ]
