"""What `publish` refuses before it connects anywhere."""

from __future__ import annotations

import pytest
from cli_outcome import Analytics


@pytest.fixture(autouse=True)
def nats_that_must_not_be_asked(monkeypatch: pytest.MonkeyPatch, analytics: Analytics) -> None:
    """A check that came too late would show as this address in the refusal."""
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ("{bad", "not JSON"),
        ("", "not JSON"),
        ('{"companyId": "a", "value": NaN}', "NaN is not a JSON number"),
        ("[1, 2]", "a JSON object"),
        ('"text"', "a JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused_in_one_line(
    analytics: Analytics, payload: str, says: str
) -> None:
    outcome = analytics("publish", "metrics.calculated", payload)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert says in outcome.err
    assert "--raw" in outcome.err
    assert "nats://" not in outcome.err


def test_raw_is_not_checked(analytics: Analytics) -> None:
    outcome = analytics("publish", "metrics.calculated", "{bad", "--raw")
    assert outcome.err.startswith("NATS does not answer")


@pytest.mark.parametrize("subject", ["orders.created", "metrics"])
def test_a_subject_that_nobody_listens_to_is_said(analytics: Analytics, subject: str) -> None:
    outcome = analytics("publish", subject, '{"companyId": "a"}')
    assert f"nobody listens to {subject}" in outcome.err


@pytest.mark.parametrize("payload", ["{}", '{"companyId": "two words"}', '{"data": {"value": 1}}'])
def test_an_event_for_the_dead_letters_is_said(analytics: Analytics, payload: str) -> None:
    assert "dead letters" in analytics("publish", "metrics.a", payload).err


@pytest.mark.parametrize("payload", ['{"companyId": "a"}', '{"data": {"companyId": "a"}}'])
def test_a_good_event_brings_no_note(analytics: Analytics, payload: str) -> None:
    assert "note:" not in analytics("publish", "metrics.a", payload).err
