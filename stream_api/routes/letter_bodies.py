"""What `/dlq…` is asked and how it answers: bodies, cursors, and a letter as JSON."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from config.names import MAX_DEAD_LETTER_BYTES
from events.accept import Reason
from stream_api.errors import Refusal
from stream_api.letters import EARLIEST_MS, LATEST_MS, LATEST_SEQ, Letter, Position, Selection
from stream_api.routes.access import require_event_id

MAX_PAGE_LETTERS = 1000
# Bound to a statement as one parameter; more would make addresses that proxies refuse.
MAX_IDS = 500

Cursor = Annotated[str, StringConstraints(pattern=r"^\d{1,14}-\d{1,20}$")]


class Choice(BaseModel):
    """Which open letters: by ids, or by reason; of these what came until a time, now by default."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[str] | None, Field(min_length=1, max_length=MAX_IDS)] = None
    reason: Reason | None = None
    until: datetime | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_LETTERS)] = MAX_PAGE_LETTERS


class ReplayChoice(Choice):
    """Body of a replay: also all of them."""

    all: bool = False


class DiscardChoice(Choice):
    """Body of a discard. `why` is kept with the letter."""

    why: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


def selection_of(body: Choice, all_of_them: bool) -> tuple[Selection, Position, int]:
    """The letters that a body chooses, where to begin, and how many at most.

    Raises:
        Refusal: 400 when it does not choose in exactly one way.
    """
    if [body.ids is not None, body.reason is not None, all_of_them].count(True) != 1:
        also = ", or all: true" if isinstance(body, ReplayChoice) else ""
        raise Refusal(400, f"say which letters: either ids or a reason{also}")
    after = position_of(body.cursor) if body.cursor else Position(EARLIEST_MS, 0)
    if body.ids is not None:
        ids = tuple(dict.fromkeys(require_event_id(one) for one in body.ids))
        return Selection(ids=ids), after, len(ids)
    # What comes in from now on was seen by nobody who decided this.
    until_ms = int(time.time() * 1000) if body.until is None else epoch_ms(body.until)
    return Selection(reason=body.reason or "", until_ms=until_ms), after, body.limit


def position_of(cursor: str) -> Position:
    """The place that a cursor names."""
    ms, _, seq = cursor.partition("-")
    return Position(min(int(ms), LATEST_MS), min(int(seq), LATEST_SEQ))


def epoch_ms(moment: datetime) -> int:
    """Epoch milliseconds within what a letter's time can be; without an offset it is UTC."""
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return min(max(int(utc.timestamp() * 1000), EARLIEST_MS), LATEST_MS)


def describe(letter: Letter) -> dict[str, Any]:
    """A letter without its bytes."""
    described = {
        "id": letter.id,
        "reason": letter.reason,
        "detail": letter.detail,
        "companyId": letter.company_id,
        "subject": letter.subject,
        "streamSeq": letter.seq,
        "receivedAt": _iso(letter.received_ms),
        "bytes": letter.payload_bytes,
        "sha256": letter.payload_sha256,
        "truncated": letter.payload_bytes > MAX_DEAD_LETTER_BYTES,
        "state": letter.state,
    }
    if letter.decided_by:
        described |= {"decidedAt": _iso(letter.decided_ms), "decidedBy": letter.decided_by}
    if letter.why:
        described["why"] = letter.why
    return described


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
