"""What an event is: one pure function decides, for the hub and the sink alike.

`accept` reads a message's raw bytes once. It returns an `Event`, which is streamed and stored, or a
`Rejection`, which goes to the dead letters. It knows no clock and no state: the same message gives
the same answer on every instance and at every redelivery.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from math import isfinite

import msgspec

from config.names import COMPANY_ID_PATTERN, MAX_EVENT_BYTES, SSE_EVENT_NAMES
from events.event_id import EventId

# A period outside of this is a producer's mistake, and would make a partition of its own.
EARLIEST_PERIOD = date(2000, 1, 1)
LATEST_AHEAD_DAYS = 400
# DateTime64(3) holds 1900-2299; a time outside of this is a unit mistake (seconds for ms, say).
EARLIEST_TIMESTAMP = datetime(2000, 1, 1, tzinfo=UTC)
MAX_USER_ID_CHARACTERS = 200
MAX_METRIC_NAME_CHARACTERS = 200

# What one event says, thousands more say: companies and periods are looked up, not checked again.
# Only texts of bounded length are kept. With this and whole numbers for times an event costs 2.4 us
# instead of 3.4.
KNOWN_TEXTS = 4096

_COMPANY_ID = re.compile(COMPANY_ID_PATTERN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_MILLISECOND = timedelta(milliseconds=1)
_DAY_MS = 86_400_000
_EARLIEST_MS = (EARLIEST_TIMESTAMP - _EPOCH) // _MILLISECOND
_LATEST_AHEAD_MS = LATEST_AHEAD_DAYS * _DAY_MS
# Epoch seconds of the year 2000 are 9.5e8, milliseconds 9.5e11: no time of ours lies between.
_SECONDS_LIMIT = 1e11


class Reason(StrEnum):
    """Why an event can't be accepted; a closed list."""

    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NO_COMPANY = "no_company"
    BAD_COMPANY = "bad_company"
    WRONG_TYPE = "wrong_type"
    BAD_TIMESTAMP = "bad_timestamp"
    BAD_PERIOD = "bad_period"
    UNKNOWN_SUBJECT = "unknown_subject"
    REFUSED_BY_WAREHOUSE = "refused_by_warehouse"


class Event(msgspec.Struct, frozen=True, gc=False):
    """An accepted event. Times are epoch milliseconds; `payload` is one line of JSON.

    `metric_name` is empty for an event that is no metric, and then `metric_value` means nothing.
    """

    id: EventId
    name: str
    company_id: str
    user_id: str | None
    timestamp_ms: int
    payload: bytes
    metric_name: str
    metric_value: float
    period_start: date
    dimensions: str


class Rejection(msgspec.Struct, frozen=True):
    """A message that can't be accepted: a reason of the closed list and what was wrong."""

    id: EventId
    reason: Reason
    detail: str
    company_id: str | None = None


_NO_RAW = msgspec.Raw(b"")


class _Fields(msgspec.Struct):
    """Members that we read of every event, by the producers' own names."""

    companyId: str | None = None
    userId: str | None = None
    timestamp: str | float | None = None
    data: msgspec.Raw = _NO_RAW
    metadata: msgspec.Raw = _NO_RAW


class _MetricFields(_Fields):
    """A metric event has more; in another event a `value` may be anything."""

    metricName: str | None = None
    value: float | None = None
    periodStart: str | None = None
    dimensions: msgspec.Raw = _NO_RAW


class _Metadata(msgspec.Struct):
    timestamp: str | float | None = None


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


_fields = msgspec.json.Decoder(_Fields)
_metric_fields = msgspec.json.Decoder(_MetricFields)
_metadata = msgspec.json.Decoder(_Metadata)


def accept(subject: str, seq: int, received_ms: int, raw: bytes) -> Event | Rejection:
    """Decide on one message.

    Args:
        subject: the NATS subject, e.g. `metrics.calculated`.
        seq: sequence in the stream.
        received_ms: the stream's own time of the message, epoch milliseconds.
        raw: the producer's bytes.
    """
    event_id = EventId(subject, seq, received_ms)
    fields: _Fields | None = None
    try:
        name = _event_name(subject)
        if name is None:
            raise _Refused(Reason.UNKNOWN_SUBJECT, f"no event is known for subject {subject}")
        if len(raw) > MAX_EVENT_BYTES:
            raise _Refused(
                Reason.TOO_LARGE, f"{len(raw)} bytes; at most {MAX_EVENT_BYTES} are accepted"
            )
        is_metric = name == "metric_updated"
        fields, metadata_timestamp = _decode(_metric_fields if is_metric else _fields, raw)
        company_id = fields.companyId
        if not company_id:
            raise _Refused(Reason.NO_COMPANY, "companyId is missing; every event names its company")
        if not _is_company(company_id):
            raise _Refused(
                Reason.BAD_COMPANY, f"companyId {company_id[:120]!r} is not 1-100 of [A-Za-z0-9_-]"
            )
        timestamp = metadata_timestamp if fields.timestamp is None else fields.timestamp
        occurred_ms = received_ms
        if timestamp is not None and timestamp != "":
            occurred_ms = _timestamp_ms(timestamp, received_ms)
        metric_name, value, period, dimensions = "", 0.0, _day(occurred_ms // _DAY_MS), ""
        if isinstance(fields, _MetricFields) and fields.metricName and fields.value is not None:
            metric_name = fields.metricName
            _check_length(metric_name, "metricName", MAX_METRIC_NAME_CHARACTERS)
            value = fields.value
            if not isfinite(value):
                raise _Refused(Reason.WRONG_TYPE, f"value {value} is not a finite number")
            if fields.periodStart:
                period = _period(fields.periodStart, received_ms // _DAY_MS)
            if fields.dimensions is not _NO_RAW:
                dimensions = _object_text(fields.dimensions, "dimensions")
        if fields.userId:
            _check_length(fields.userId, "userId", MAX_USER_ID_CHARACTERS)
        return Event(
            id=event_id,
            name=name,
            company_id=company_id,
            user_id=fields.userId or None,
            timestamp_ms=occurred_ms,
            payload=_minified(raw),
            metric_name=metric_name,
            metric_value=value,
            period_start=period,
            dimensions=dimensions,
        )
    except _Refused as refused:
        company = fields.companyId if fields else None
        known = company if company and _is_company(company) else None
        return Rejection(event_id, refused.reason, refused.detail, known)


def _decode(
    decoder: msgspec.json.Decoder[_Fields] | msgspec.json.Decoder[_MetricFields], raw: bytes
) -> tuple[_Fields, str | float | None]:
    try:
        raw.decode()  # msgspec skips over the text of members that nobody asked for
        fields = decoder.decode(raw)
        # The envelope {type, data: {companyId, …}, metadata: {timestamp, …}} holds the same
        # members one level down.
        if fields.companyId is None and bytes(fields.data).startswith(b"{"):
            metadata = bytes(fields.metadata)
            envelope = _metadata.decode(metadata) if metadata else None
            return decoder.decode(fields.data), envelope.timestamp if envelope else None
    except msgspec.ValidationError as error:
        # "Expected `object`, got `array`" is of the whole; "… - at `$.value`" of one member.
        reason = Reason.WRONG_TYPE if "$" in str(error) else Reason.NOT_JSON
        raise _Refused(reason, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(Reason.NOT_JSON, f"not a JSON object in UTF-8: {error}") from None
    return fields, None


@lru_cache
def _event_name(subject: str) -> str | None:
    return SSE_EVENT_NAMES.get(subject.partition(".")[0])


_companies: set[str] = set()


def _is_company(company_id: str) -> bool:
    if company_id in _companies:
        return True
    if not _COMPANY_ID.fullmatch(company_id):
        return False
    if len(_companies) >= KNOWN_TEXTS:
        _companies.clear()
    _companies.add(company_id)
    return True


def _check_length(text: str, member: str, limit: int) -> None:
    if len(text) > limit:
        raise _Refused(Reason.WRONG_TYPE, f"{member} has {len(text)} characters; at most {limit}")


def _minified(raw: bytes) -> bytes:
    """Valid JSON without white space between its tokens, each token as it was written."""
    # Most events have none anywhere, and looking for it is less work.
    if len(raw.split(None, 1)[0]) == len(raw):
        return raw
    return msgspec.json.format(raw, indent=-1)


def _object_text(raw: msgspec.Raw, member: str) -> str:
    text = bytes(raw)
    if text == b"null":
        return ""
    if text[:1] != b"{":
        raise _Refused(Reason.WRONG_TYPE, f"{member} is not an object")
    return _minified(text).decode()


def _timestamp_ms(value: str | float, received_ms: int) -> int:
    try:
        if isinstance(value, str):
            occurred = datetime.fromisoformat(value)
        else:
            seconds = value if abs(value) < _SECONDS_LIMIT else value / 1000
            occurred = _EPOCH + timedelta(seconds=seconds)
        # Without an offset a time is UTC: the producers' clocks are servers'.
        aware = occurred if occurred.tzinfo else occurred.replace(tzinfo=UTC)
        occurred_ms = (aware - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        raise _Refused(
            Reason.BAD_TIMESTAMP, f"timestamp {str(value)[:60]!r} is neither ISO 8601 nor epoch"
        ) from None
    if not _EARLIEST_MS <= occurred_ms <= received_ms + _LATEST_AHEAD_MS:
        raise _Refused(
            Reason.BAD_TIMESTAMP,
            f"timestamp {str(value)[:60]!r} lies outside of 2000-01-01 and 400 days from now",
        )
    return occurred_ms


@lru_cache
def _day(days: int) -> date:
    """The date that lies so many days after 1970-01-01."""
    return date.fromordinal(_EPOCH_ORDINAL + days)


def _period(value: str, received_days: int) -> date:
    try:
        period = _plain_date(value) if len(value) == 10 else _utc_date(value)
    except ValueError:
        raise _Refused(
            Reason.BAD_PERIOD, f"periodStart {value[:60]!r} is not a date YYYY-MM-DD"
        ) from None
    if not EARLIEST_PERIOD <= period <= _day(received_days + LATEST_AHEAD_DAYS):
        raise _Refused(
            Reason.BAD_PERIOD,
            f"periodStart {value[:60]!r} lies outside of 2000-01-01 and 400 days from now",
        )
    return period


@lru_cache(KNOWN_TEXTS)
def _plain_date(value: str) -> date:
    return date.fromisoformat(value)


def _utc_date(value: str) -> date:
    moment = datetime.fromisoformat(value)
    return moment.astimezone(UTC).date() if moment.tzinfo else moment.date()
