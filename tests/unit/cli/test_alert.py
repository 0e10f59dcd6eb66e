"""`analytics alert test`: what the receiver answered, or why nobody was told."""

from __future__ import annotations

import json

import pytest
from cli_outcome import Analytics

from tests.live.http_receiver import http_receiver


def test_a_test_alert_arrives_and_the_answer_is_shown(
    analytics: Analytics, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_receiver() as receiver:
        monkeypatch.setenv("ALERT_WEBHOOK_URL", receiver.url)
        outcome = analytics("alert", "test")
        assert (outcome.code, outcome.out) == (0, "delivered: 127.0.0.1 answered 200 'ok'\n")
        [body] = receiver.take()
        assert "nothing is wrong" in body["text"]
        assert body["alerts"][0]["key"] == "test/alert"
        assert json.loads(analytics("alert", "test", "--json").out)["delivered"] is True

        receiver.answers = [403]
        refused = analytics("alert", "test")
        assert refused.code == 1
        assert refused.err == ("the test alert was not delivered: 127.0.0.1 answered 403 'ok'\n")


def test_without_a_receiver_it_says_what_to_set(analytics: Analytics) -> None:
    outcome = analytics("alert", "test")
    assert outcome.code == 1
    assert outcome.err.startswith("ALERT_WEBHOOK_URL is not set")
