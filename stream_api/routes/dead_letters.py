"""`/dlq…`: look at dead letters, replay them, discard them. For admins: it shows all companies."""

from __future__ import annotations

import base64
from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from config.names import COMPANY_ID_PATTERN
from events.accept import Reason
from events.event_id import EventId
from stream_api.auth import Principal
from stream_api.errors import Refusal, refusals
from stream_api.letter_box import BytesLostError, LetterBox
from stream_api.letter_replay import LetterReplay, Outcome
from stream_api.letters import EARLIEST_MS, LATEST_MS, LATEST_SEQ, Filter, Position, Selection
from stream_api.routes.access import (
    AdminDep,
    SidecarDep,
    get_admin,
    reachable_servers,
    require_event_id,
    require_warehouse,
)
from stream_api.routes.letter_bodies import (
    MAX_PAGE_LETTERS,
    Cursor,
    DiscardChoice,
    ReplayChoice,
    describe,
    epoch_ms,
    position_of,
    selection_of,
)
from stream_api.sidecar import Sidecar

router = APIRouter(
    prefix="/dlq",
    tags=["dead letters"],
    dependencies=[Depends(get_admin)],
    responses=refusals(400, 401, 403, 501, 503),
)


@router.get("")
async def list_letters(
    sidecar: SidecarDep,
    reason: Reason | None = None,
    company_id: Annotated[str | None, Query(alias="companyId", pattern=COMPANY_ID_PATTERN)] = None,
    state: Literal["open", "replayed", "discarded", "all"] = "open",
    since: Annotated[datetime | None, Query(description="stream time, ISO 8601")] = None,
    until: Annotated[datetime | None, Query(description="included")] = None,
    from_seq: Annotated[int, Query(alias="fromSeq", ge=0, le=LATEST_SEQ)] = 0,
    to_seq: Annotated[int, Query(alias="toSeq", ge=0, le=LATEST_SEQ)] = LATEST_SEQ,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_LETTERS)] = 100,
    cursor: Annotated[Cursor | None, Query(description="nextCursor of the page before")] = None,
) -> dict[str, Any]:
    """Dead letters, the newest first, and how many there are by reason."""
    box = _box(sidecar)
    wanted = Filter(
        reason=reason or "",
        company_id=company_id or "",
        state=state,
        since_ms=EARLIEST_MS if since is None else epoch_ms(since),
        until_ms=LATEST_MS if until is None else epoch_ms(until),
        from_seq=from_seq,
        to_seq=to_seq,
    )
    before = position_of(cursor) if cursor else Position(LATEST_MS, LATEST_SEQ)
    with reachable_servers():
        counts = await box.counts(wanted)
        # One more than asked for tells whether there is a next page.
        found = await box.page(wanted, before, limit + 1)
    page = found[:limit]
    answer: dict[str, Any] = {
        "letters": [describe(one) for one in page],
        "count": len(page),
        "total": sum(counts.values()),
        "counts": counts,
    }
    if len(found) > limit:
        answer["nextCursor"] = f"{page[-1].received_ms}-{page[-1].seq}"
    return answer


@router.get("/{letter_id:path}", responses=refusals(404))
async def read_letter(letter_id: str, sidecar: SidecarDep) -> dict[str, Any]:
    """One letter with its bytes: in base64, and as text where they are UTF-8."""
    box = _box(sidecar)
    with reachable_servers():
        letter = await box.find(require_event_id(letter_id))
        if letter is None:
            raise Refusal(404, f"there is no dead letter {letter_id[:300]}")
        try:
            raw = await box.raw(letter)
        except BytesLostError as lost:
            return {**describe(letter), "raw": None, "rawLost": str(lost)}
    try:
        text: str | None = raw.decode()
    except UnicodeDecodeError:
        text = None
    return {
        **describe(letter),
        "raw": {"base64": base64.b64encode(raw).decode(), "text": text, "bytes": len(raw)},
    }


@router.post("/replay")
async def replay_letters(
    body: ReplayChoice, sidecar: SidecarDep, admin: AdminDep
) -> dict[str, Any]:
    """Decide again on open letters and store what is accepted now, under its original id."""
    box = _box(sidecar)
    selection, after, limit = selection_of(body, body.all)
    with reachable_servers():
        done = await LetterReplay(box, require_warehouse(sidecar)).run(
            selection, after, limit, _who(admin)
        )
    counts = Counter(one.outcome for one in done)
    return {
        "examined": len(done),
        **{outcome.value: counts[outcome] for outcome in Outcome},
        "results": [
            {"id": str(one.id), "outcome": one.outcome.value}
            | ({"reason": one.reason} if one.reason else {})
            | ({"detail": one.detail} if one.detail else {})
            for one in done
        ],
        **_rest(selection, [one.id for one in done], limit),
    }


@router.post("/discard")
async def discard_letters(
    body: DiscardChoice, sidecar: SidecarDep, admin: AdminDep
) -> dict[str, Any]:
    """Take open letters off the list for good; they stay readable as discarded."""
    box = _box(sidecar)
    selection, after, limit = selection_of(body, False)
    with reachable_servers():
        done = await box.discard(selection, after, limit, _who(admin), body.why)
    return {
        "discarded": len(done),
        "ids": [str(one) for one in done],
        **_rest(selection, list(done), limit),
    }


def _box(sidecar: Sidecar) -> LetterBox:
    return LetterBox(sidecar.nats, require_warehouse(sidecar))


def _who(admin: Principal) -> str:
    return admin.user_id or "anonymous"


def _rest(selection: Selection, done: list[EventId], limit: int) -> dict[str, Any]:
    """What a caller does next: ids that were not open, or where the next call goes on."""
    if selection.ids:
        closed = set(selection.ids) - set(done)
        return {"notOpen": [str(one) for one in selection.ids if one in closed]}
    return {"nextCursor": f"{done[-1].ms}-{done[-1].seq}"} if len(done) == limit else {}
