"""What is accepted, and what is refused with which reason."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.names import MAX_EVENT_BYTES
from events.accept import Event, Reason, Rejection, accept
from events.event_id import EventId

RECEIVED_MS = 1_764_000_000_123  # 2025-11-24T16:00:00.123Z


def decide(raw: bytes, subject: str = "metrics.calculated") -> Event | Rejection:
    return accept(subject, 7, RECEIVED_MS, raw)


def accepted(payload: dict[str, Any], subject: str = "metrics.calculated") -> Event:
    event = decide(json.dumps(payload).encode(), subject)
    assert isinstance(event, Event), event
    return event


def test_guide_event_becomes_a_metric_row() -> None:
    event = accepted(
        {
            "companyId": "test-company",
            "metricName": "integration_score",
            "value": 0.85,
            "periodStart": "2025-11-01",
        }
    )
    assert str(event.id) == "metrics.calculated-7-1764000000123"
    assert (event.name, event.company_id, event.user_id) == ("metric_updated", "test-company", None)
    assert (event.metric_name, event.metric_value) == ("integration_score", 0.85)
    assert event.period_start == date(2025, 11, 1)
    assert event.timestamp_ms == RECEIVED_MS


def test_envelope_is_read_one_level_down() -> None:
    event = accepted(
        {
            "type": "metric.calculated",
            "data": {"companyId": "c1", "userId": "u1", "metricName": "m", "value": 3},
            "metadata": {"id": "x", "timestamp": "2025-11-02T03:04:05.678Z"},
        }
    )
    assert (event.company_id, event.user_id, event.metric_value) == ("c1", "u1", 3.0)
    assert event.period_start == date(2025, 11, 2)
    assert event.timestamp_ms == 1_762_052_645_678


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("metrics.calculated", "metric_updated"),
        ("metrics.calculated.v2", "metric_updated"),
        ("journey.flag", "journey_flag_updated"),
        ("q2q.answered", "vis_updated"),
        ("vis.score", "vis_updated"),
        ("sroi.calculated", "sroi_updated"),
    ],
)
def test_first_token_names_the_event(subject: str, name: str) -> None:
    assert accepted({"companyId": "c"}, subject).name == name


def test_payload_is_one_line_and_keeps_its_tokens() -> None:
    raw = (
        b'{\n  "companyId": "c",\r\n  "big": 12345678901234567890123,'
        b' "x": 1.10,\t"s": "a\\r\\nb"\n}'
    )
    event = decide(raw)
    assert isinstance(event, Event)
    assert event.payload == (
        b'{"companyId":"c","big":12345678901234567890123,"x":1.10,"s":"a\\r\\nb"}'
    )


def test_value_of_another_event_may_be_anything() -> None:
    event = accepted({"companyId": "c", "value": "stage-2", "metricName": 5}, "journey.flag")
    assert event.metric_name == ""


@pytest.mark.parametrize("value", [None, "absent"])
def test_metric_without_a_value_is_an_event_and_no_metric_row(value: str | None) -> None:
    payload: dict[str, Any] = {"companyId": "c", "metricName": "m"}
    if value is None:
        payload["value"] = None
    assert accepted(payload).metric_name == ""


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"not json", Reason.NOT_JSON),
        (b"[]", Reason.NOT_JSON),
        (b"null", Reason.NOT_JSON),
        (b'{"companyId":"c"} trailing', Reason.NOT_JSON),
        (b'{"companyId":"c","x":"\xff"}', Reason.NOT_JSON),
        (b'{"companyId":"c","x":' + b"[" * 50_000, Reason.NOT_JSON),
        (b"{}", Reason.NO_COMPANY),
        (b'{"companyId":null}', Reason.NO_COMPANY),
        (b'{"companyId":""}', Reason.NO_COMPANY),
        (b'{"data":{"x":1}}', Reason.NO_COMPANY),
        (b'{"companyId":"a b"}', Reason.BAD_COMPANY),
        (b'{"companyId":"a\\n"}', Reason.BAD_COMPANY),
        (b'{"companyId":"' + b"a" * 101 + b'"}', Reason.BAD_COMPANY),
        (b'{"companyId":7}', Reason.WRONG_TYPE),
        (b'{"companyId":"c","metricName":"m","value":"0.5"}', Reason.WRONG_TYPE),
        (b'{"companyId":"c","metricName":"m","value":true}', Reason.WRONG_TYPE),
        (b'{"companyId":"c","metricName":"m","value":1e999}', Reason.WRONG_TYPE),
        (b'{"companyId":"c","metricName":"m","value":1,"dimensions":[1]}', Reason.WRONG_TYPE),
        (b'{"companyId":"c","userId":5}', Reason.WRONG_TYPE),
        (b'{"companyId":"c","timestamp":"yesterday"}', Reason.BAD_TIMESTAMP),
        (b'{"companyId":"c","timestamp":"1931-01-01T00:00:00Z"}', Reason.BAD_TIMESTAMP),
        (b'{"companyId":"c","timestamp":1e30}', Reason.BAD_TIMESTAMP),
        (
            b'{"companyId":"c","metricName":"m","value":1,"periodStart":"11/2025"}',
            Reason.BAD_PERIOD,
        ),
        (
            b'{"companyId":"c","metricName":"m","value":1,"periodStart":"2199-01-01"}',
            Reason.BAD_PERIOD,
        ),
        (b'{"companyId":"c","x":"' + b"a" * MAX_EVENT_BYTES + b'"}', Reason.TOO_LARGE),
    ],
)
def test_refusal_has_a_reason_of_the_list(raw: bytes, reason: Reason) -> None:
    decided = decide(raw)
    assert isinstance(decided, Rejection), decided
    assert decided.reason is reason
    assert decided.detail


def test_unknown_subject_is_refused() -> None:
    decided = decide(b'{"companyId":"c"}', "billing.paid")
    assert isinstance(decided, Rejection)
    assert decided.reason is Reason.UNKNOWN_SUBJECT


def test_rejection_names_the_company_when_it_is_known() -> None:
    decided = decide(b'{"companyId":"c","timestamp":"never"}')
    assert isinstance(decided, Rejection)
    assert decided.company_id == "c"


@pytest.mark.parametrize(
    ("timestamp", "ms"),
    [
        ("2025-11-01T00:00:00Z", 1_761_955_200_000),
        ("2025-11-01T02:00:00+02:00", 1_761_955_200_000),
        ("2025-11-01T00:00:00", 1_761_955_200_000),
        (1_761_955_200, 1_761_955_200_000),
        (1_761_955_200_000, 1_761_955_200_000),
    ],
)
def test_timestamps_of_every_kind_mean_the_same_moment(timestamp: str | int, ms: int) -> None:
    assert accepted({"companyId": "c", "timestamp": timestamp}).timestamp_ms == ms


@given(st.binary(max_size=300))
def test_any_bytes_are_decided(raw: bytes) -> None:
    decided = decide(raw)
    assert isinstance(decided, Event | Rejection)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["userId", "metricName", "value", "periodStart", "timestamp", "dimensions", "data", "x"]
        ),
        json_values,
    ),
    st.sampled_from(["", " ", "\n", "\r\n\t"]),
)
def test_any_object_is_decided_and_an_accepted_one_survives_whole(
    extra: dict[str, Any], space: str
) -> None:
    payload = {"companyId": "c-1", **extra}
    # JSON has no surrogates that stand alone; neither has Python's encoder a way to refuse them.
    raw = (space + json.dumps(payload, separators=(f"{space},", f":{space}")) + space).encode()
    decided = decide(raw)
    if isinstance(decided, Event):
        assert json.loads(decided.payload) == json.loads(raw)
        assert decided.payload == msgspec.json.format(raw, indent=-1)
        assert b"\n" not in decided.payload
        assert b"\r" not in decided.payload


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1).filter(
        lambda text: len(text) <= 255
    ),
    st.integers(0, 2**63 - 1),
    st.integers(0, 9_999_999_999_999),
)
def test_ids_are_read_back_from_the_right(subject: str, seq: int, ms: int) -> None:
    assert EventId.parse(str(EventId(subject, seq, ms))) == EventId(subject, seq, ms)


@pytest.mark.parametrize("text", ["", "x", "a-1", "a-b-c", "a-1-2\n", "-1-2", "a--1-2x", "a b-1-2"])
def test_what_is_no_id_is_none(text: str) -> None:
    assert EventId.parse(text) is None
